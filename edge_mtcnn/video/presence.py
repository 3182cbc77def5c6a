"""Who is present, and since when: turns tracks into persons and events.

A person appears when a good track has lasted for some time, and leaves when it has not been seen
for some time. So a short mistake does not count, and neither does a missed frame. While the source
is lost or blind, nothing changes. The rules use tracks and times only, no threads and no images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options.checks import check_choice, check_number
from edge_mtcnn.types import Face
from edge_mtcnn.video.events import Event, FaceAppeared, FaceLeft, LeaveReason, PersonChanged
from edge_mtcnn.video.tracking.tracks import Track

__all__ = ["Person", "Presence", "PresenceOptions"]

_MOST_PERSONS = 1000
"""If there are more persons, those who were unseen longest leave early. The number of persons who
are seen is limited by the number of tracks."""
# A new track is the person that has just lost its own when it is this near, in face sizes.
_SAME_PLACE = 1.0
_SAME_SIZE = 1.7


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceOptions:
    """When a person counts as present, and which person is selected.

        near = PresenceOptions(min_eye_distance=60, select="central")

    Attributes:
        confidence: minimum mean score of a track's recent detections, 0..1.
        appear_after: time that a track must last before its person appears, seconds, 0..60.
        leave_after: time without a detection after which a person leaves, seconds, 0..3600.
        unknown_after: time with a lost or blind source after which all persons leave, seconds,
            0..1e9.
        select: which person is selected: the one with the ``"largest"`` face, the most
            ``"central"`` face, or the one who is present ``"longest"``.
        switch_margin: factor by which another person must be better to be selected, 1..10: in
            height for ``"largest"``, in distance for ``"central"``.
        switch_after: time for which the other person must be better, seconds, 0..60.
        region: ``x1, y1, x2, y2`` in fractions of the frame; only faces whose centre is inside
            count.
        min_height, max_height: limits of the height of the face's box, pixels; ``None`` for none.
        min_eye_distance, max_eye_distance: limits of the distance between the eyes, pixels;
            ``None`` for none. Eyes are about 63 mm apart, so with a focal length of f pixels they
            are 63 f / d pixels apart at a distance of d mm.
    """

    confidence: float = 0.7
    appear_after: float = 0.3
    leave_after: float = 1.0
    unknown_after: float = 10.0
    select: Literal["largest", "central", "longest"] = "largest"
    switch_margin: float = 1.2
    switch_after: float = 0.5
    region: tuple[float, float, float, float] | None = None
    min_height: float | None = None
    max_height: float | None = None
    min_eye_distance: float | None = None
    max_eye_distance: float | None = None

    def __post_init__(self) -> None:
        check_number("confidence", self.confidence, 0, 1)
        check_number("appear_after", self.appear_after, 0, 60)
        check_number("leave_after", self.leave_after, 0, 3600)
        check_number("unknown_after", self.unknown_after, 0, 1e9)
        check_choice("select", self.select, ("largest", "central", "longest"))
        check_number("switch_margin", self.switch_margin, 1, 10)
        check_number("switch_after", self.switch_after, 0, 60)
        for name in ("min_height", "max_height", "min_eye_distance", "max_eye_distance"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0, 1e6)
        if self.region is not None:
            object.__setattr__(self, "region", _checked_region(self.region))


def _checked_region(region: object) -> tuple[float, float, float, float]:
    if not isinstance(region, (tuple, list)) or len(region) != 4:
        raise OptionsError(f"region must be x1, y1, x2, y2 as fractions; got {shown(region)}")
    for value in region:
        check_number("each of region", value, 0, 1)
    x1, y1, x2, y2 = region
    if not (x1 < x2 and y1 < y2):
        raise OptionsError(f"region must have x1 < x2 and y1 < y2; got {shown(region)}")
    return (x1, y1, x2, y2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person who is present.

    Attributes:
        id: number of the person, from 1; numbers are not used again.
        track: id of the track of the face.
        face: the face, smoothed, as last known.
        since, last_seen: monotonic times of the first and the last detection, seconds.
        seen: whether the face was found in the newest frame.
        selected: whether this is the selected person.
    """

    id: int
    track: int
    face: Face
    since: float
    last_seen: float
    seen: bool
    selected: bool

    @property
    def dwell_seconds(self) -> float:
        """Time from the first to the last detection, seconds, rounded to milliseconds."""
        return round(self.last_seen - self.since, 3)


@dataclass(slots=True)
class _PresentPerson:
    """A present person (mutable, internal)."""

    id: int
    track: int
    face: Face
    place: tuple[float, float, float]
    since: float
    last_seen: float
    seen: bool = True


class Presence:
    """Tracks which persons are present.

    The methods return events without sequence number and time of day; ``EventHub`` adds them.

    Args:
        options: when a person counts as present.
        first_id: number of the first person.
    """

    def __init__(self, options: PresenceOptions | None = None, first_id: int = 1) -> None:
        self.options = options or PresenceOptions()
        self._selected: int | None = None
        self._next_id = first_id
        self._here: dict[int, _PresentPerson] = {}
        self._blind_time = 0.0
        self._unknown_since: float | None = None
        self._rival: tuple[int | None, float] = (None, 0.0)

    @property
    def next_id(self) -> int:
        """Number of the next person to appear."""
        return self._next_id

    def persons(self) -> tuple[Person, ...]:
        """All persons who are present; the one who is present longest comes first."""
        return tuple(
            Person(
                id=here.id,
                track=here.track,
                face=here.face,
                since=here.since,
                last_seen=here.last_seen,
                seen=here.seen,
                selected=here.id == self._selected,
            )
            for here in self._here.values()
        )

    def update(
        self, tracks: Sequence[Track], time: float, frame_size: tuple[int, int]
    ) -> list[Event]:
        """Use the tracks of a frame.

        Args:
            tracks: what ``FaceTracker.update`` returned.
            time: time of the frame, seconds.
            frame_size: height and width of the frame, pixels.
        """
        if self._unknown_since is not None:
            # Time during which the source was lost or blind does not count as time unseen.
            self._blind_time = time
            self._unknown_since = None
        events: list[Event] = []
        for here in self._here.values():
            here.seen = False
        carried = {here.track: here for here in self._here.values()}
        alive = {track.id for track in tracks}
        for track in tracks:
            if not track.confirmed or not self._counts(track, frame_size):
                continue
            known = carried.get(track.id)
            if known is not None:
                self._follow(known, track, frame_size)
            elif track.seen and track.mean_score >= self.options.confidence:
                adopted = self._adopted(track, frame_size, alive)
                if adopted is not None:
                    self._follow(adopted, track, frame_size)
                elif time - track.first_seen >= self.options.appear_after:
                    events.append(self._appear(track, time, frame_size))
        gone = [
            here
            for here in self._here.values()
            if time - max(here.last_seen, self._blind_time) > self.options.leave_after
        ]
        events.extend(self._leave(gone, time, "gone"))
        events.extend(self._leave(self._excess(), time, "gone"))
        return events + self._select(time)

    def unknown(self, time: float) -> list[Event]:
        """Note that the source is lost or blind at this time."""
        if self._unknown_since is None:
            self._unknown_since = time
        for here in self._here.values():
            here.seen = False
        if time - self._unknown_since <= self.options.unknown_after:
            return []
        return self._leave(list(self._here.values()), time, "unknown") + self._select(time)

    def dismiss(self, person: int, time: float) -> list[Event]:
        """Let the person with this number leave at once, if there is one: it is not a person."""
        gone = [here for here in self._here.values() if here.id == person]
        return self._leave(gone, time, "dismissed") + self._select(time)

    def end(self, time: float, reason: LeaveReason) -> list[Event]:
        """Let all persons leave, because watching ends."""
        return self._leave(list(self._here.values()), time, reason) + self._select(time)

    def _counts(self, track: Track, frame_size: tuple[int, int]) -> bool:
        """Whether the face is in the region and within the limits of size."""
        options, face = self.options, track.face
        if options.region is not None:
            height, width = frame_size
            x, y = (face.box[0] + face.box[2]) / 2 / width, (face.box[1] + face.box[3]) / 2 / height
            x1, y1, x2, y2 = options.region
            if not (x1 <= x <= x2 and y1 <= y <= y2):
                return False
        limits = (
            (face.height, options.min_height, options.max_height),
            (face.eye_distance, options.min_eye_distance, options.max_eye_distance),
        )
        return all(
            (low is None or value >= low) and (high is None or value <= high)
            for value, low, high in limits
        )

    def _appear(self, track: Track, time: float, frame_size: tuple[int, int]) -> Event:
        here = _PresentPerson(
            id=self._next_id,
            track=track.id,
            face=track.face,
            place=_place(track.face, frame_size),
            since=track.first_seen,
            last_seen=track.last_seen,
        )
        self._here[here.id] = here
        self._next_id += 1
        return FaceAppeared(
            time=time,
            person=here.id,
            box=track.face.box,
            score=track.mean_score,
            eye_distance=track.face.eye_distance,
        )

    def _follow(self, here: _PresentPerson, track: Track, frame_size: tuple[int, int]) -> None:
        here.track, here.face, here.seen = track.id, track.face, track.seen
        here.place = _place(track.face, frame_size)
        here.last_seen = max(here.last_seen, track.last_seen)

    def _adopted(
        self, track: Track, frame_size: tuple[int, int], alive: set[int]
    ) -> _PresentPerson | None:
        """The person whose track ended at the place of this new track, if there is one."""
        x, y, size = _place(track.face, frame_size)
        for here in self._here.values():
            last_x, last_y, last_size = here.place
            near = max(abs(x - last_x), abs(y - last_y)) <= _SAME_PLACE * max(size, last_size)
            alike = max(size, last_size) <= _SAME_SIZE * min(size, last_size)
            if here.track not in alive and near and alike:
                return here
        return None

    def _excess(self) -> list[_PresentPerson]:
        """The persons who were unseen longest, if there are too many."""
        excess = len(self._here) - _MOST_PERSONS
        if excess <= 0:
            return []
        unseen = [here for here in self._here.values() if not here.seen]
        return sorted(unseen, key=lambda here: here.last_seen)[:excess]

    def _leave(self, gone: list[_PresentPerson], time: float, reason: LeaveReason) -> list[Event]:
        for here in gone:
            del self._here[here.id]
        return [
            FaceLeft(
                time=time,
                person=here.id,
                dwell_seconds=round(here.last_seen - here.since, 3),
                reason=reason,
            )
            for here in gone
        ]

    def _select(self, time: float) -> list[Event]:
        """Select another person if one is clearly better for long enough.

        Two faces of nearly equal size would otherwise take turns with every frame. So the rival
        must be better by ``switch_margin``, and stay so for ``switch_after``.
        """
        current = self._here.get(self._selected) if self._selected is not None else None
        best = min(self._here.values(), key=self._rank, default=None)
        if current is not None and best is not None and best is not current:
            better = self._rank(current) > self.options.switch_margin * self._rank(best)
            if not better or self.options.select == "longest":
                self._rival, best = (None, 0.0), current
            elif self._rival[0] != best.id:
                self._rival, best = (best.id, time), current
            elif time - self._rival[1] < self.options.switch_after:
                best = current
        chosen = None if best is None else best.id
        if chosen == self._selected:
            return []
        event = PersonChanged(time=time, person=chosen, previous=self._selected)
        self._selected, self._rival = chosen, (None, 0.0)
        return [event]

    def _rank(self, here: _PresentPerson) -> float:
        """Lower is better. Always positive, so that ratios compare with ``switch_margin``."""
        x, y, size = here.place
        if self.options.select == "largest":
            return 1 / max(size, 1e-6)
        if self.options.select == "central":
            return max(math.hypot(x, y), 0.02)
        return here.since


def _place(face: Face, frame_size: tuple[int, int]) -> tuple[float, float, float]:
    """Offset from the frame's centre, and height, in frame heights, at any resolution the same."""
    height, width = frame_size
    x1, y1, x2, y2 = face.box
    return ((x1 + x2 - width) / 2 / height, (y1 + y2 - height) / 2 / height, (y2 - y1) / height)
