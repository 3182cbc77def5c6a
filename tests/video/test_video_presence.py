"""Who is present, and since when: rules over tracks and times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_mtcnn import OptionsError
from edge_mtcnn.types import Face, Landmarks
from edge_mtcnn.video import (
    Event,
    FaceAppeared,
    FaceLeft,
    PersonChanged,
    PresenceOptions,
    Track,
)
from edge_mtcnn.video import presence as presence_module
from edge_mtcnn.video.presence import Presence

SIZE = (480, 640)


def track(
    number: int = 1, *, x: float = 200, size: float = 100, first: float = 0.0, last: float = 0.0
) -> Track:
    box = (x, 100.0, x + size, 100.0 + size)
    points = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    marks = Landmarks(*((x + a * size, 100 + b * size) for a, b in points))
    return Track(
        id=number,
        face=Face(box=box, score=0.99, landmarks=marks, confidence=0.99),
        confirmed=True,
        seen=True,
        first_seen=first,
        last_seen=last,
        hits=9,
        mean_score=0.99,
    )


def appeared(presence: Presence, number: int = 1, **place: float) -> list[Event]:
    """Let a track last for a second."""
    presence.update([track(number, last=0.0, **place)], 0.0, SIZE)
    return presence.update([track(number, last=1.0, **place)], 1.0, SIZE)


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


def test_a_person_appears_when_the_track_has_lasted_and_not_before() -> None:
    presence = Presence(PresenceOptions(appear_after=0.3))
    assert presence.update([track(last=0.2)], 0.2, SIZE) == []
    events = presence.update([track(last=0.3)], 0.3, SIZE)
    assert kinds(events) == [FaceAppeared, PersonChanged]
    (person,) = presence.persons()
    assert (person.id, person.since, person.selected) == (1, 0.0, True)


@pytest.mark.parametrize(
    "change", [{"mean_score": 0.5}, {"confirmed": False}, {"seen": False}], ids=str
)
def test_a_doubtful_track_is_not_a_person(change: dict[str, object]) -> None:
    presence = Presence()
    doubtful = replace(track(last=5), **change)  # type: ignore[arg-type]
    assert presence.update([doubtful], 5.0, SIZE) == []


def test_missed_frames_end_no_presence_and_the_dwell_is_from_first_to_last_detection() -> None:
    presence = Presence(PresenceOptions(leave_after=1.0))
    appeared(presence)
    assert presence.update([], 1.9, SIZE) == []
    assert not presence.persons()[0].seen
    assert presence.update([track(last=2.0)], 2.0, SIZE) == []
    assert presence.update([], 3.0, SIZE) == []
    events = presence.update([], 3.01, SIZE)
    assert kinds(events) == [FaceLeft, PersonChanged]
    assert isinstance(events[0], FaceLeft)
    assert (events[0].dwell_seconds, events[0].reason) == (2.0, "gone")


def test_a_new_track_in_the_place_of_a_lost_one_is_the_same_person() -> None:
    presence = Presence()
    appeared(presence)
    presence.update([], 1.5, SIZE)
    assert presence.update([track(2, x=250, first=1.6, last=1.6)], 1.6, SIZE) == []
    (person,) = presence.persons()
    assert (person.id, person.track, person.since) == (1, 2, 0.0)


def test_a_new_track_elsewhere_is_another_person() -> None:
    presence = Presence()
    appeared(presence)
    events = presence.update([track(2, x=500, first=1.0, last=1.5)], 1.5, SIZE)
    assert kinds(events) == [FaceAppeared]
    assert [person.id for person in presence.persons()] == [1, 2]


def test_of_very_many_persons_those_unseen_longest_leave_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presence_module, "_MOST_PERSONS", 2)
    presence = Presence(PresenceOptions(leave_after=3600, appear_after=0))
    left: list[int] = []
    for number in range(1, 6):
        now = float(number)
        here = track(number, x=5000.0 * number, first=now, last=now)
        events = presence.update([here], now, SIZE)
        left += [event.person for event in events if isinstance(event, FaceLeft)]
    assert [person.id for person in presence.persons()] == [4, 5]
    assert left == [1, 2, 3]


def test_nothing_changes_while_nothing_can_be_known_and_the_time_does_not_count() -> None:
    presence = Presence(PresenceOptions(leave_after=1.0, unknown_after=10))
    appeared(presence)
    for time in (1.5, 5.0, 9.0):
        assert presence.unknown(time) == []
    assert len(presence.persons()) == 1
    assert presence.update([], 9.5, SIZE) == []  # it has a leave_after again from here on
    assert kinds(presence.update([], 10.6, SIZE)) == [FaceLeft, PersonChanged]


def test_after_too_long_without_knowledge_all_leave_as_unknown() -> None:
    presence = Presence(PresenceOptions(unknown_after=10))
    appeared(presence)
    presence.unknown(2.0)
    events = presence.unknown(12.1)
    assert isinstance(events[0], FaceLeft)
    assert (events[0].reason, events[0].dwell_seconds) == ("unknown", 1.0)


def test_a_dismissed_person_leaves_at_once_and_is_no_longer_selected() -> None:
    presence = Presence()
    appeared(presence, 1, size=100)
    both = [track(1, size=100, last=1.0), track(2, x=400, size=50, last=1.0)]
    presence.update(both, 1.0, SIZE)
    presence.update(both, 2.0, SIZE)
    assert [person.id for person in presence.persons()] == [1, 2]
    left, changed = presence.dismiss(1, 2.0)
    assert isinstance(left, FaceLeft)
    assert (left.person, left.reason) == (1, "dismissed")
    assert isinstance(changed, PersonChanged)
    assert (changed.person, changed.previous) == (2, 1)
    assert [person.id for person in presence.persons()] == [2]
    assert presence.dismiss(1, 2.0) == []


def test_at_the_end_all_leave() -> None:
    presence = Presence()
    appeared(presence)
    events = presence.end(1.0, "ended")
    assert kinds(events) == [FaceLeft, PersonChanged]
    assert isinstance(events[0], FaceLeft)
    assert events[0].reason == "ended"
    assert presence.persons() == ()
    assert presence.next_id == 2


@pytest.mark.parametrize(
    ("select", "expected"), [("largest", 2), ("central", 1), ("longest", 3)], ids=str
)
def test_the_selected_person_follows_the_rule(select: str, expected: int) -> None:
    presence = Presence(PresenceOptions(select=select))  # type: ignore[arg-type]
    tracks = [
        track(11, x=270, size=100, first=0.2, last=1),
        track(12, x=20, size=180, first=0.2, last=1),
        track(13, x=500, size=80, first=0.1, last=1),
    ]
    presence.update(tracks, 1.0, SIZE)
    assert [person.id for person in presence.persons() if person.selected] == [expected]


def test_another_is_selected_only_when_clearly_better_for_some_time() -> None:
    presence = Presence(PresenceOptions(switch_margin=1.2, switch_after=0.5))
    appeared(presence)

    def two(time: float, size: float) -> list[Event]:
        tracks = [track(1, last=time), track(2, x=400, size=size, first=1.0, last=time)]
        return presence.update(tracks, time, SIZE)

    assert kinds(two(1.5, 110)) == [FaceAppeared]
    assert two(3.0, 110) == []  # larger, but not by a fifth
    assert two(3.1, 130) == []
    assert two(3.5, 130) == []
    events = two(3.7, 130)
    assert kinds(events) == [PersonChanged]
    assert isinstance(events[0], PersonChanged)
    assert (events[0].previous, events[0].person) == (1, 2)


def test_only_faces_in_the_region_count() -> None:
    presence = Presence(PresenceOptions(region=(0.5, 0, 1, 1)))
    assert appeared(presence, x=100) == []
    assert kinds(appeared(presence, number=2, x=400)) == [FaceAppeared, PersonChanged]


def test_distance_is_limited_by_face_height_or_eye_distance() -> None:
    assert appeared(Presence(PresenceOptions(min_height=120))) == []
    assert len(appeared(Presence(PresenceOptions(min_height=90, max_height=110)))) == 2
    assert appeared(Presence(PresenceOptions(max_height=90))) == []
    assert appeared(Presence(PresenceOptions(min_eye_distance=41))) == []
    assert len(appeared(Presence(PresenceOptions(min_eye_distance=39)))) == 2
    assert appeared(Presence(PresenceOptions(max_eye_distance=39))) == []


@pytest.mark.parametrize(
    "options",
    [
        {"confidence": 1.1},
        {"appear_after": -1},
        {"select": "best"},
        {"switch_margin": 0.5},
        {"region": (0, 0, 1)},
        {"region": (0.5, 0, 0.5, 1)},
        {"region": (0, 0, 2, 1)},
        {"min_height": -5},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionsError):
        PresenceOptions(**options)  # type: ignore[arg-type]
