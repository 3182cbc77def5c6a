"""What a watcher tells: events without images, and queues in which each reader gets them all.

Every event has a number that goes up by one, so a reader knows what it missed and can resume.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from edge_mtcnn.video.blind import BlindReason

__all__ = [
    "Event",
    "EventHub",
    "EventReader",
    "FaceAppeared",
    "FaceLeft",
    "PersonChanged",
    "SourceBack",
    "SourceLost",
    "ViewBlocked",
    "ViewCleared",
]

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events share.

    Attributes:
        sequence: number of the event, from 1, without gaps.
        time: of the frame or of the notice, monotonic seconds.
        wall_time: seconds since 1970.
    """

    sequence: int = 0
    time: float = 0.0
    wall_time: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the event's name first: ``{"event": "FaceLeft", ...}``."""
        return {"event": type(self).__name__, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceAppeared(Event):
    """Someone is here.

    Attributes:
        person: number of this presence.
        box: ``x1, y1, x2, y2``, source pixels.
        score: 0..1, mean of the recent sights.
        eye_distance: pixels.
    """

    person: int
    box: Box
    score: float
    eye_distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceLeft(Event):
    """Someone is no longer here.

    Attributes:
        person: number of the presence.
        dwell_seconds: from the first to the last sight.
        reason: ``"gone"``; ``"unknown"`` when the source was lost or blind for too long to tell;
            ``"stopped"`` when the watcher stopped or the video ended.
    """

    person: int
    dwell_seconds: float
    reason: Literal["gone", "unknown", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonChanged(Event):
    """Another person is the selected one.

    Attributes:
        person: number of the presence that is selected now, ``None`` for no one.
        previous: the one before.
    """

    person: int | None
    previous: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLost(Event):
    """The source gives no frames; who is there is unknown until it is back."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBack(Event):
    """The source gives frames again, after so many seconds."""

    lost_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewBlocked(Event):
    """Frames come but show nothing; who is there is unknown until they do."""

    reason: BlindReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewCleared(Event):
    """Frames show something again, after so many seconds."""

    blocked_seconds: float


class EventReader:
    """The events for one reader, in order. When it is slow, its oldest are dropped and counted.

    Iterating waits for events and ends when the watcher stops or the reader is closed.
    """

    def __init__(self, hub: EventHub, size: int) -> None:
        self.missed = 0
        self._hub = hub
        self._events: deque[Event] = deque()
        self._size = size
        self._condition = threading.Condition()
        self._closed = False

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event; ``None`` when none came in time, or none will."""
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
        """No event will come that is not already waiting."""
        return self._closed

    def close(self) -> None:
        """Want no more events; those waiting can still be read."""
        self._hub.forget(self)
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def put(self, event: Event) -> None:
        """Called by the hub; never blocks."""
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
    """Gives every event to every reader and remembers the latest.

    Args:
        remembered: events kept for readers that resume.
    """

    def __init__(self, remembered: int = 1000) -> None:
        self._lock = threading.Lock()
        self._readers: weakref.WeakSet[EventReader] = weakref.WeakSet()  # dropped: wants no more
        self._ended = False
        self._past: deque[Event] = deque(maxlen=remembered)
        self.last_sequence = 0

    def reader(self, size: int, after: int | None) -> EventReader:
        """A new reader; with ``after``, it first gets the remembered events after that number.

        After the end, it gets no others.
        """
        reader = EventReader(self, size)
        with self._lock:
            if after is not None:
                past = [event for event in self._past if event.sequence > after]
                known_from = past[0].sequence if past else self.last_sequence + 1
                reader.missed = max(0, known_from - after - 1)
                for event in past:
                    reader.put(event)
            if not self._ended:
                self._readers.add(reader)
                return reader
        reader.close()
        return reader

    def forget(self, reader: EventReader) -> None:
        """Give a reader no more events."""
        with self._lock:
            self._readers.discard(reader)

    def send(self, event: Event) -> None:
        """Number an event, tell its time of day, and give it to all."""
        with self._lock:
            self.last_sequence += 1
            event = replace(event, sequence=self.last_sequence, wall_time=time.time())
            self._past.append(event)
            for reader in tuple(self._readers):
                reader.put(event)

    def begin(self) -> None:
        """Events come again."""
        with self._lock:
            self._ended = False

    def end(self) -> None:
        """Tell all readers that no more events come."""
        with self._lock:
            self._ended = True
            readers = tuple(self._readers)
        for reader in readers:
            reader.close()
