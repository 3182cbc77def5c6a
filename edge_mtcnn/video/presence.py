"""Who is here, since when: tracks in, persons and what changed out.

A person appears when a good track has lasted, and leaves when it was not seen for a while; so
neither a passing mistake nor a missed frame counts. While nothing can be known, nothing changes. A
pure rule over tracks and times, without threads or images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_mtcnn.checks import check_choice, check_number
from edge_mtcnn.errors import OptionsError
from edge_mtcnn.types import Face
from edge_mtcnn.video.events import Event, FaceAppeared, FaceLeft, PersonChanged
from edge_mtcnn.video.tracks import Track

__all__ = ["Person", "Presence", "PresenceOptions"]

_MOST_PERSONS = 1000
"""Of more persons than that, those unseen longest leave early. Those who are seen are never more
than the tracks."""
# A new track is the person that has just lost its own when it is this near, in face sizes.
_SAME_PLACE = 1.0
_SAME_SIZE = 1.7


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceOptions:
    """Who counts as here, and who is the selected one.

    Attributes:
        confidence: lowest mean score of a track's recent sights, 0..1.
        appear_after: seconds that a track must last before its person appears, 0..60.
        leave_after: seconds without a sight after which a person leaves, 0..3600.
        unknown_after: seconds without knowledge (source lost, lens covered) after which all leave,
            0..1e9.
        select: whose turn it is: the ``"largest"`` face, the most ``"central"`` one, or who is here
            ``"longest"``.
        switch_margin: how much better another must be to be selected, 1..10: largest by height,
            central by distance.
        switch_after: seconds that it must be so, 0..60.
        region: ``x1, y1, x2, y2`` in fractions of the frame; a face counts when its centre is
            inside.
        min_height, max_height: of the face's box, pixels; ``None`` for no limit.
        min_eye_distance, max_eye_distance: pixels; ``None`` for no limit. Eyes are about 63 mm
            apart, so at a focal length of f pixels a distance of d mm is 63 f / d pixels.
    """

    confidence: float = 0.9
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
        raise OptionsError(f"region must be x1, y1, x2, y2 as fractions; got {region!r}")
    for value in region:
        check_number("each of region", value, 0, 1)
    x1, y1, x2, y2 = region
    if not (x1 < x2 and y1 < y2):
        raise OptionsError(f"region must have x1 < x2 and y1 < y2; got {region!r}")
    return (x1, y1, x2, y2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Someone who is here.

    Attributes:
        id: number of the presence, from 1, never used again.
        track: id of the track that carries it.
        face: smoothed, as last known.
        since, last_seen: monotonic times of the first and last sight, seconds.
        seen: in the newest frame.
        selected: whose turn it is.
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
        """From the first to the last sight."""
        return self.last_seen - self.since


@dataclass(slots=True)
class _Here:
    """A person in the book."""

    id: int
    track: int
    face: Face
    place: tuple[float, float, float]
    since: float
    last_seen: float
    seen: bool = True


class Presence:
    """The book of who is here.

    ``update`` and the others return what changed, without numbers and times of day: whoever sends
    the events adds them.
    """

    def __init__(self, options: PresenceOptions | None = None, first_id: int = 1) -> None:
        self.options = options or PresenceOptions()
        self.selected: int | None = None
        self.next_id = first_id
        self._here: dict[int, _Here] = {}
        self._blind_time = 0.0
        self._unknown_since: float | None = None
        self._rival: tuple[int | None, float] = (None, 0.0)

    def persons(self) -> tuple[Person, ...]:
        """All who are here, longest first."""
        return tuple(
            Person(
                id=here.id,
                track=here.track,
                face=here.face,
                since=here.since,
                last_seen=here.last_seen,
                seen=here.seen,
                selected=here.id == self.selected,
            )
            for here in self._here.values()
        )

    def update(
        self, tracks: Sequence[Track], time: float, frame_size: tuple[int, int]
    ) -> list[Event]:
        """Take in the tracks of a frame that shows something.

        Args:
            tracks: of ``FaceTracker.update``.
            time: of the frame, seconds.
            frame_size: height and width, pixels.
        """
        if self._unknown_since is not None:
            # The time without knowledge is no time without a sight.
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
        """Take in that nothing can be known at this time."""
        if self._unknown_since is None:
            self._unknown_since = time
        for here in self._here.values():
            here.seen = False
        if time - self._unknown_since <= self.options.unknown_after:
            return []
        return self._leave(list(self._here.values()), time, "unknown") + self._select(time)

    def end(self, time: float) -> list[Event]:
        """All leave: nothing more will come."""
        return self._leave(list(self._here.values()), time, "stopped") + self._select(time)

    def _counts(self, track: Track, frame_size: tuple[int, int]) -> bool:
        """Whether the face is where and as large as asked for."""
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
        here = _Here(
            id=self.next_id,
            track=track.id,
            face=track.face,
            place=_place(track.face, frame_size),
            since=track.first_seen,
            last_seen=track.last_seen,
        )
        self._here[here.id] = here
        self.next_id += 1
        return FaceAppeared(
            time=time,
            person=here.id,
            box=track.face.box,
            score=track.mean_score,
            eye_distance=track.face.eye_distance,
        )

    def _follow(self, here: _Here, track: Track, frame_size: tuple[int, int]) -> None:
        here.track, here.face, here.seen = track.id, track.face, track.seen
        here.place = _place(track.face, frame_size)
        here.last_seen = max(here.last_seen, track.last_seen)

    def _adopted(self, track: Track, frame_size: tuple[int, int], alive: set[int]) -> _Here | None:
        """The person whose track ended just here, if any."""
        x, y, size = _place(track.face, frame_size)
        for here in self._here.values():
            last_x, last_y, last_size = here.place
            near = max(abs(x - last_x), abs(y - last_y)) <= _SAME_PLACE * max(size, last_size)
            alike = max(size, last_size) <= _SAME_SIZE * min(size, last_size)
            if here.track not in alive and near and alike:
                return here
        return None

    def _excess(self) -> list[_Here]:
        """The persons unseen longest, where there are too many."""
        excess = len(self._here) - _MOST_PERSONS
        if excess <= 0:
            return []
        unseen = [here for here in self._here.values() if not here.seen]
        return sorted(unseen, key=lambda here: here.last_seen)[:excess]

    def _leave(
        self, gone: list[_Here], time: float, reason: Literal["gone", "unknown", "stopped"]
    ) -> list[Event]:
        for here in gone:
            del self._here[here.id]
        return [
            FaceLeft(
                time=time,
                person=here.id,
                dwell_seconds=here.last_seen - here.since,
                reason=reason,
            )
            for here in gone
        ]

    def _select(self, time: float) -> list[Event]:
        current = self._here.get(self.selected) if self.selected is not None else None
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
        if chosen == self.selected:
            return []
        event = PersonChanged(time=time, person=chosen, previous=self.selected)
        self.selected, self._rival = chosen, (None, 0.0)
        return [event]

    def _rank(self, here: _Here) -> float:
        """The less, the better; positive, so that a ratio tells how much."""
        x, y, size = here.place
        if self.options.select == "largest":
            return 1 / max(size, 1e-6)
        if self.options.select == "central":
            return max(math.hypot(x, y), 0.02)
        return here.since


def _place(face: Face, frame_size: tuple[int, int]) -> tuple[float, float, float]:
    """Centre from the frame's centre, and height, in frame heights: the same at any resolution."""
    height, width = frame_size
    x1, y1, x2, y2 = face.box
    return ((x1 + x2 - width) / 2 / height, (y1 + y2 - height) / 2 / height, (y2 - y1) / height)
