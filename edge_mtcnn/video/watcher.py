"""``FaceWatcher`` watches a source in its own thread and reports who is present.

Slow consumers cannot block it: readers of events have bounded queues, and each callback runs in its
own thread. Frames are only passed on if the caller asks for it; events carry no image.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import EdgeMTCNNError, OptionsError, SourceError
from edge_mtcnn.options import DetectorOptions
from edge_mtcnn.options.checks import (
    check_bool,
    check_function,
    check_int,
    check_options,
    check_timeout,
    check_type,
)
from edge_mtcnn.video.callbacks import Callbacks
from edge_mtcnn.video.events import Event, EventHub, EventReader, FaceLeft, PersonChanged
from edge_mtcnn.video.loop import WatchLoop, WatchOptions
from edge_mtcnn.video.snapshot import Snapshot
from edge_mtcnn.video.source.captures import SourceSpec, Spec, mounting_of
from edge_mtcnn.video.source.reader import Frame

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FaceWatcher"]

_DETECTOR_OPTIONS = replace(DetectorOptions.from_preset("kiosk"), confidence=0.0)
_FINAL = ("ended", "failed", "stopped")
_STOP_SECONDS = 0.7
_CALLBACK_SECONDS = 0.2


class FaceWatcher:
    """Watches one source. Its methods may be called from any thread.

        with FaceWatcher(0) as watcher:
            for event in watcher.events():
                print(event.to_dict())

    Args:
        spec: see ``open_source``. A function that returns frames can be watched again after a stop,
            an iterator cannot.
        detector: finds the faces; the watcher does not close it. If omitted, the watcher makes one
            with the preset ``kiosk`` and ``confidence=0``: a person's face may have a low score in
            some frames, and ``PresenceOptions.confidence`` decides over their mean.
        options: options of source, tracker, presence and blindness.
        on_frame: called in the watching thread with every frame and the snapshot after it. If it is
            slow, watching is slow.
        keep_frame: keep the newest frame for ``frame()``.

    Raises:
        SourceError: no such file, or no source at all.
        OptionsError: ``SourceOptions.loop`` for a camera, a stream or an iterator, or another
            argument of the wrong type.
    """

    def __init__(
        self,
        spec: Spec,
        detector: FaceDetector | None = None,
        options: WatchOptions | None = None,
        *,
        on_frame: Callable[[Frame, Snapshot], object] | None = None,
        keep_frame: bool = False,
    ) -> None:
        self._options = check_options("options", options, WatchOptions)
        if detector is not None:
            check_type("detector", detector, FaceDetector)
        if on_frame is not None:
            check_function("on_frame", on_frame)
        check_bool("keep_frame", keep_frame)
        self._spec = SourceSpec(spec)
        self._spec.check(self._options.source)
        self._on_frame = on_frame
        self._keep_frame = keep_frame
        self._own_detector = FaceDetector(_DETECTOR_OPTIONS) if detector is None else None
        self._detector = detector or self._own_detector
        self._hub = EventHub()
        self._callbacks = Callbacks(self._hub)
        self._lock = threading.RLock()  # of start and stop
        self._changed = threading.Condition()
        self._loop: WatchLoop | None = None
        # Reports of an older loop, which may be stuck, are ignored.
        self._generation = 0
        self._snapshot = Snapshot(
            rotation=mounting_of(self._options.source).rotate,
            rotation_state="looking" if self._options.source.rotate == "auto" else "fixed",
        )
        self._frame: tuple[Frame, Snapshot] | None = None

    @property
    def name(self) -> str:
        """The source's name, without credentials."""
        return self._spec.name

    @property
    def detector(self) -> FaceDetector:
        """Finds the faces: the one that was given, or the watcher's own.

        Raises:
            EdgeMTCNNError: the watcher is closed.
        """
        if self._detector is None:
            raise EdgeMTCNNError("this FaceWatcher is closed; make a new one")
        return self._detector

    @property
    def snapshot(self) -> Snapshot:
        """The newest result."""
        return self._snapshot

    @property
    def running(self) -> bool:
        """Whether it is watching: started, not stopped or failed, not at the end of the video."""
        return self._loop is not None and self._snapshot.state not in _FINAL

    @property
    def heartbeat(self) -> float:
        """Monotonic time of the last turn of the loop, for a watchdog.

        The loop turns several times per second, with or without frames. The heartbeat stops if the
        thread hangs, or if so many calls hang in the camera's driver that only a new process helps.
        """
        loop = self._loop
        return 0.0 if loop is None else loop.heartbeat

    @property
    def failure(self) -> Exception | None:
        """The exception that ended the last run, if its state is ``failed``."""
        loop = self._loop
        return None if loop is None else loop.failure

    @property
    def callback_errors(self) -> int:
        """Number of exceptions that callbacks and ``on_frame`` raised; all were logged."""
        return self._callbacks.errors

    def start(self) -> None:
        """Start watching; does nothing if it is watching already.

        Raises:
            SourceError: the source is an iterator that was watched before.
        """
        with self._lock:
            if self.running:
                return
            if self._loop is not None and not self._spec.reopens:
                raise SourceError(f"{self._spec.name} is used up; give a function that makes more")
            detector = self.detector
            first_person = 1 if self._loop is None else self._loop.presence.next_id
            _started.add(self)
            self._hub.begin()
            self._callbacks.start()
            self._loop = None
            self._generation += 1
            self._loop = WatchLoop(
                self._spec,
                detector,
                self._options,
                first_person=first_person,
                send=partial(self._send, self._generation),
                publish=partial(self._publish, self._generation),
                before=self._snapshot,
            )
            self._loop.start()

    def stop(self) -> None:
        """Stop watching, within a second whatever the source does. ``start`` starts it again."""
        with self._lock:
            loop = self._loop
            if loop is None:
                return
            until = time.monotonic() + _STOP_SECONDS
            loop.stop()
            if loop is not threading.current_thread():  # on_frame may stop its watcher
                loop.join(max(until - time.monotonic(), 0))
            with self._changed:
                if self._snapshot.state not in _FINAL:
                    self._give_up()
            self._frame = None
            self._callbacks.stop(_CALLBACK_SECONDS)

    def close(self) -> None:
        """Stop for good, and close the detector if the watcher made it."""
        with self._lock:
            self.stop()
            self._detector = None
            if self._own_detector is not None:
                self._own_detector.close()

    def wait(self, after: int, timeout: float | None = None) -> Snapshot:
        """Wait until ``turn`` exceeds ``after``, or ``timeout`` seconds; return the snapshot."""
        check_int("after", after, -1, None)
        check_timeout(timeout)
        with self._changed:
            self._changed.wait_for(lambda: self._snapshot.turn > after, timeout)
            return self._snapshot

    def frame(self) -> tuple[Frame, Snapshot] | None:
        """The newest frame and the snapshot after it; only with ``keep_frame``."""
        return self._frame

    def events(self, *, size: int = 256, after: int | None = None) -> EventReader:
        """Read all events from now on, until watching stops.

        Args:
            size: number of events that may wait for a slow reader; older ones are dropped.
            after: number of the last event that the reader knows; it receives those after it first.
        """
        check_int("size", size, 1, None)
        if after is not None:
            check_int("after", after, 0, None)
        return self._hub.reader(size, after)

    def dismiss(self, person: int) -> None:
        """Take a person for none: it leaves before the next frame, with the reason ``dismissed``.

        If the face is found again, it appears as a new person, so the detector must know it first:

            frame, snapshot = watcher.frame()
            person = snapshot.persons[0]
            doll = detector.remember(frame.image, person.face.box, "doll", color="bgr")
            detector.known_false = [*detector.known_false, doll]
            watcher.dismiss(person.id)

        Args:
            person: ``Person.id``; nothing happens if that person is not present.
        """
        check_int("person", person, 1, None)
        loop = self._loop
        if loop is not None:
            loop.dismiss(person)

    def find_rotation(self) -> None:
        """Find out again how the frames must be turned, for example after the camera was moved.

        It looks from the next frame on, or from the next start on if it is not watching. Until it
        is clear, frames are turned as before.

        Raises:
            OptionsError: ``SourceOptions.rotate`` is not ``"auto"``.
        """
        if self._options.source.rotate != "auto":
            raise OptionsError(
                f"the rotation is fixed at {self._options.source.rotate} degrees; use"
                " SourceOptions(rotate='auto') to have it found"
            )
        with self._lock:
            if self._loop is not None and self.running:
                self._loop.find_rotation()
            else:
                self._snapshot = replace(self._snapshot, rotation_state="looking")

    def add_callback(self, function: Callable[[Event], object]) -> None:
        """Call a function with every event, in its own thread, also after a new start."""
        check_function("function", function)
        self._callbacks.add(function)

    def remove_callback(self, function: Callable[[Event], object]) -> None:
        """Stop calling the function."""
        check_function("function", function)
        self._callbacks.remove(function)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FaceWatcher cannot be pickled or copied; make one in each process")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _give_up(self) -> None:
        """The thread is stuck. Ignore its later events and emit the final ones here."""
        self._generation += 1
        old = self._snapshot
        now = max(old.time, time.monotonic())
        last: list[Event] = [
            FaceLeft(person=person.id, dwell_seconds=person.dwell_seconds, reason="stopped")
            for person in old.persons
        ]
        if old.selected is not None:
            last.append(PersonChanged(person=None, previous=old.selected.id))
        for event in last:
            self._hub.send(replace(event, time=now, position_seconds=old.position_seconds))
        self._snapshot = replace(old, turn=old.turn + 1, state="stopped", persons=(), tracks=())
        self._hub.end()
        self._changed.notify_all()

    def _send(self, generation: int, event: Event) -> None:
        """Called by the loop of a generation with every event."""
        with self._changed:
            if generation == self._generation:
                self._hub.send(event)

    def _publish(self, generation: int, snapshot: Snapshot, frame: Frame | None) -> None:
        """Called by the loop of a generation with every new snapshot."""
        with self._changed:
            if generation != self._generation:
                return
            if snapshot.state in _FINAL:
                self._hub.end()  # before the snapshot shows that it may be started again
            self._snapshot = snapshot
            if self._keep_frame and frame is not None:
                self._frame = (frame, snapshot)
            self._changed.notify_all()
        if frame is not None and self._on_frame is not None:
            try:
                self._on_frame(frame, snapshot)
            except Exception:  # noqa: BLE001 - the caller's code; logged and counted
                self._callbacks.failed("on_frame")


_started: weakref.WeakSet[FaceWatcher] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Stop watching before the interpreter ends; sources are closed after this."""
    for watcher in tuple(_started):
        watcher.close()
