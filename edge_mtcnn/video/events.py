"""Events of a watcher, and queues that deliver all of them to each reader. Events carry no image.

The sequence number of an event is one more than that of the event before, so a reader knows what it
missed and can resume.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from edge_mtcnn.options.checks import check_timeout
from edge_mtcnn.video.blind import BlindReason

__all__ = [
    "Event",
    "EventHub",
    "EventReader",
    "FaceAppeared",
    "FaceLeft",
    "LeaveReason",
    "PersonChanged",
    "RotationFound",
    "SourceBack",
    "SourceLost",
    "ViewBlocked",
    "ViewCleared",
]

Box = tuple[float, float, float, float]
LeaveReason = Literal["gone", "unknown", "dismissed", "ended", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events.

    Attributes:
        sequence: number of the event, from 1, without gaps.
        time: time of the frame or of the observation, monotonic seconds.
        wall_time: time at which the event was sent, seconds since 1970.
        position_seconds: place in the video file, seconds from its first frame; ``None`` for
            cameras and streams. It is the same at the pace of the file and with
            ``SourceOptions(pace="fast")``, unless frames were dropped.
    """

    sequence: int = 0
    time: float = 0.0
    wall_time: float = 0.0
    position_seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the event's name first: ``{"event": "FaceLeft", ...}``.

        Seconds and pixels have at most three digits after the point, scores six.
        """
        values = {name: _rounded(name, value) for name, value in asdict(self).items()}
        return {"event": type(self).__name__, **values}


def _rounded(name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_rounded(name, each) for each in value)
    return round(value, 6 if name == "score" else 3) if isinstance(value, float) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceAppeared(Event):
    """A person is present.

    Attributes:
        person: number of the person.
        box: box of the face, ``x1, y1, x2, y2``, source pixels.
        score: mean score of the recent detections, 0..1.
        eye_distance: distance between the eyes, pixels.
    """

    person: int
    box: Box
    score: float
    eye_distance: float

    def to_dict(self) -> dict[str, Any]:
        """As for all events; ``box_xyxy`` is the name that the box has in every JSON."""
        values = Event.to_dict(self)  # super() does not work in a class with slots
        return {**values, "box_xyxy": values["box"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceLeft(Event):
    """A person is no longer present.

    Attributes:
        person: number of the person.
        dwell_seconds: time from the first to the last detection, seconds.
        reason: ``"gone"``; ``"unknown"`` if the source was lost or blind for too long;
            ``"dismissed"`` if it is not a person, see ``FaceWatcher.dismiss``; ``"ended"`` if the
            video ended; ``"stopped"`` if the watcher was stopped or failed.
    """

    person: int
    dwell_seconds: float
    reason: LeaveReason


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonChanged(Event):
    """Another person is the selected one.

    Attributes:
        person: number of the person who is selected now; ``None`` if no person is selected.
        previous: number of the person who was selected before.
    """

    person: int | None
    previous: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLost(Event):
    """The source delivers no frames. Until it is back, it is unknown who is present."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBack(Event):
    """The source delivers frames again."""

    lost_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewBlocked(Event):
    """The frames show nothing. Until they do, it is unknown who is present."""

    reason: BlindReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewCleared(Event):
    """The frames show something again."""

    blocked_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationFound(Event):
    """With ``SourceOptions(rotate="auto")``: it is clear how frames must be turned.

    Attributes:
        rotation: degrees by which frames are turned clockwise from now on.
        previous: degrees by which they were turned until now.
    """

    rotation: int
    previous: int


class EventReader:
    """The events for one reader, in order. If it is slow, its oldest are dropped and counted.

    Iterating waits for events. It ends when the watcher stops or the reader is closed.

    Attributes:
        missed: number of events that were dropped.
    """

    def __init__(self, hub: EventHub, size: int) -> None:
        self.missed = 0
        self._hub = hub
        self._events: deque[Event] = deque()
        self._size = size
        self._condition = threading.Condition()
        self._closed = False

    def get(self, timeout: float | None = None) -> Event | None:
        """Return the next event; ``None`` if none came within ``timeout`` seconds or none will."""
        check_timeout(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            while not self._events and not self._closed:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._condition.wait(left)
            return self._events.popleft() if self._events else None

    @property
    def closed(self) -> bool:
        """Whether no more events will come than those that are waiting."""
        return self._closed

    def close(self) -> None:
        """Receive no more events. Those that are waiting can still be read."""
        self._hub.forget(self)
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _put(self, event: Event) -> None:
        """Add an event; called by the hub, never blocks."""
        with self._condition:
            if self._closed:
                return
            if len(self._events) >= self._size:
                self._events.popleft()
                self.missed += 1
            self._events.append(event)
            self._condition.notify_all()

    def __iter__(self) -> Iterator[Event]:
        while (event := self.get()) is not None:
            yield event


class EventHub:
    """Delivers every event to every reader, and remembers the latest ones.

    Args:
        remembered: number of events kept for readers that resume.
    """

    def __init__(self, remembered: int = 1000) -> None:
        self._lock = threading.Lock()
        # Weak, so that a reader which its owner drops without closing it is no longer served.
        self._readers: weakref.WeakSet[EventReader] = weakref.WeakSet()
        self._ended = False
        self._past: deque[Event] = deque(maxlen=remembered)
        self.last_sequence = 0

    def reader(self, size: int, after: int | None) -> EventReader:
        """Make a reader.

        Args:
            size: number of events that may wait for it.
            after: number of an event; the reader first receives the remembered events after it.
        """
        reader = EventReader(self, size)
        with self._lock:
            if after is not None:
                past = [event for event in self._past if event.sequence > after]
                known_from = past[0].sequence if past else self.last_sequence + 1
                reader.missed = max(0, known_from - after - 1)
                for event in past:
                    reader._put(event)
            if not self._ended:
                self._readers.add(reader)
                return reader
        reader.close()
        return reader

    def forget(self, reader: EventReader) -> None:
        """Deliver no more events to a reader."""
        with self._lock:
            self._readers.discard(reader)

    def send(self, event: Event) -> None:
        """Number an event, add the time of day, and deliver it to all readers."""
        with self._lock:
            self.last_sequence += 1
            event = replace(event, sequence=self.last_sequence, wall_time=time.time())
            self._past.append(event)
            for reader in tuple(self._readers):
                reader._put(event)

    def begin(self) -> None:
        """Accept events again, after ``end``."""
        with self._lock:
            self._ended = False

    def end(self) -> None:
        """Close all readers, because no more events will come."""
        with self._lock:
            self._ended = True
            readers = tuple(self._readers)
        for reader in readers:
            reader.close()
