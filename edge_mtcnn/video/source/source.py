"""``open_source``: frames with times from a camera, file or stream that comes and goes.

A reading thread owns the capture, since any of its calls may block for ever. The reader of frames
watches over it: a thread that is late is left alone, to end when its call returns, and a new one is
started. So ``read`` and ``close`` return in time whatever the device does.
"""

from __future__ import annotations

import atexit
import logging
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from edge_mtcnn.errors import SourceError
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video.source.captures import Capture, SourceOptions, SourceSpec, Spec, open_capture

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Frame", "Source", "SourceState", "open_source"]

SourceState = Literal["opening", "running", "lost", "closed"]

LOGGER = "edge_mtcnn.video.source"
"""Name of the logger of lost and returned sources, for programs that show the events instead."""
_log = logging.getLogger(LOGGER)

_AHEAD = 2
"""Frames that are read ahead where every frame counts."""
_MOST_STUCK = 4
"""Reading threads that may be stuck in a call before no new one is started."""
_JOIN_SECONDS = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        image: (H, W, 3) BGR or (H, W) gray, uint8.
        time: monotonic, seconds: when it came, or for a file when it is due.
        number: from 0, counting the dropped ones too.
        live: it comes from a camera: what was not read in time is gone.
    """

    image: ImageArray
    time: float
    number: int
    live: bool


def open_source(spec: Spec, options: SourceOptions | None = None) -> Source:
    """Begin to open a source of frames; what is missing now is tried again.

    Args:
        spec: camera index or ``/dev`` path, file, RTSP or HTTP address, GStreamer pipeline ending
            in ``appsink``, ``"picamera2"``, an iterable of frames, or a function that gives one.
        options: how it is opened, read and reopened.

    Raises:
        SourceError: a file that is not there, a pipeline without GStreamer, or no source at all.
    """
    return Source(SourceSpec(spec), options or SourceOptions())


class Source:
    """An open source, see ``open_source``. One thread reads; any may look at its state or close it.

    Iterating gives frames until the end; ``read`` waits at most as long as it is told to.

    Attributes:
        name: for messages; without user name and password.
        fps: frames per second, where the source tells.
        dropped: frames of a live source that were not read in time.
        reconnects: times that it was lost and came back.
        error: why it is lost now.
        last_loss: why it was lost last.
    """

    def __init__(self, spec: SourceSpec, options: SourceOptions) -> None:
        self.name = spec.name
        self.dropped = 0
        self.reconnects = 0
        self.error: str | None = None
        self.last_loss: str | None = None
        self.fps: float | None = None
        self._spec = spec
        self._options = options
        self._condition = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._count = 0
        self._state: SourceState = "opening"
        self._reader: _Reader | None = None
        self._left: list[_Reader] = []
        self._failure: SourceError | None = None
        self._pause = options.retry_first
        self._retry_at = 0.0
        self._failing_since: float | None = None
        self._last_time = float("-inf")
        _open.add(self)
        with self._condition:
            self._start_reader()

    @property
    def state(self) -> SourceState:
        """``opening``, ``running``, ``lost`` or ``closed``; also closed after the last frame."""
        with self._condition:
            reader = self._reader
            if self._state == "running" and not self._frames and reader is not None:
                late = reader.failure is not None or time.monotonic() > reader.deadline
                return "lost" if late else "running"
            return self._state

    @property
    def stuck(self) -> bool:
        """So many reading threads hang in the device that no new one is started."""
        with self._condition:
            return self._stuck()

    def read(self, timeout: float | None = None) -> Frame | None:
        """The next frame; the newest of a live source.

        Args:
            timeout: seconds to wait; ``None`` for as long as it takes.

        Returns:
            The frame; ``None`` when none came in time or, with ``state`` ``closed``, none will.

        Raises:
            SourceError: the source was lost and cannot be reopened, or not within
                ``give_up_after``.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            while True:
                if self._frames:
                    return self._taken()
                if self._state == "closed":
                    if self._failure is not None:
                        raise self._failure
                    return None
                now = time.monotonic()
                wake = self._watch(now)
                if self.state == "closed" or self._frames:
                    continue
                if until is not None:
                    if now >= until:
                        return None
                    wake = min(wake, until)
                self._condition.wait(max(wake - now, 0.001))

    def close(self) -> None:
        """End reading; takes well under a second whatever the device does."""
        with self._condition:
            self._state = "closed"
            self._frames.clear()
            self._leave_reader()
            self._condition.notify_all()
        until = time.monotonic() + _JOIN_SECONDS
        for reader in self._left:
            reader.join(max(until - time.monotonic(), 0))

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self.read()) is not None:
            yield frame

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _taken(self) -> Frame:
        frame = self._frames.popleft()
        if self._reader is not None:
            self._reader.alive()  # it may have waited for this frame to be taken
        self._condition.notify_all()
        return frame

    def _watch(self, now: float) -> float:
        """Note what became of the reading thread; when to look again."""
        reader = self._reader
        if reader is not None:
            if reader.ended:
                self._finish(None)
            elif reader.failure is not None:
                # A file that cannot be read will not heal; only a hanging disk may.
                self._lose(reader.failure, now, final=self._spec.kind == "file")
            elif now >= reader.deadline:
                what = "no frame came" if reader.opened else "it did not open"
                limit = reader.limit
                self._lose(SourceError(f"{self.name}: {what} within {limit:g} s"), now)
            else:
                return reader.deadline
        if self._state == "closed":
            return now
        if now >= self._retry_at and not self._stuck():
            self._start_reader()
            return now
        return max(self._retry_at, now + 0.05)

    def _lose(self, error: SourceError, now: float, final: bool = False) -> None:
        if self._state != "lost":
            _log.warning("source lost: %s", error)
            self._state = "lost"
        if self._failing_since is None:
            self._failing_since = now
        self.error = self.last_loss = str(error)
        self._leave_reader()
        self._condition.notify_all()
        patience = self._options.give_up_after
        if final or not self._spec.reopens:
            self._finish(error)
        elif patience is not None and now - self._failing_since >= patience:
            self._finish(SourceError(f"gave up after {patience:g} s: {error}"))
        jitter = self._options.retry_jitter
        self._retry_at = now + self._pause * random.uniform(1 - jitter, 1 + jitter)
        self._pause = min(2 * self._pause, self._options.retry_longest)

    def _finish(self, failure: SourceError | None) -> None:
        self._state, self._failure = "closed", failure
        self._leave_reader()
        self._condition.notify_all()

    def _leave_reader(self) -> None:
        """Listen no more to the reading thread, which ends when its call returns."""
        reader, self._reader = self._reader, None
        if reader is not None and reader.is_alive():
            self._left = [*self._left, reader]

    def _stuck(self) -> bool:
        self._left = [reader for reader in self._left if reader.is_alive()]
        return len(self._left) >= _MOST_STUCK

    def _start_reader(self) -> None:
        self._reader = _Reader(self, self._spec, self._options)
        self._reader.start()

    # Called by the reading thread.

    def wanted(self, reader: _Reader) -> bool:
        """Whether the thread is still the one that is listened to."""
        return self._reader is reader

    def wait_until(self, reader: _Reader, when: float) -> None:
        """Wait for the time at which a frame is due, or until the thread is not wanted."""
        with self._condition:
            while self.wanted(reader) and (left := when - time.monotonic()) > 0:
                reader.alive(left)
                self._condition.wait(left)

    def deliver(self, reader: _Reader, image: ImageArray, when: float, newest: bool) -> bool:
        """Take a frame from the thread; whether it shall go on."""
        with self._condition:
            while not newest and len(self._frames) >= _AHEAD and self.wanted(reader):
                self._condition.wait()
            if not self.wanted(reader):
                return False
            if newest:
                self.dropped += len(self._frames)
                self._frames.clear()
            if self._state == "lost":
                self.reconnects += 1
                _log.info("source is back: %s", self.name)
            self._state = "running"
            self.fps = reader.fps
            self.error, self._failing_since = None, None
            self._pause = self._options.retry_first
            self._last_time = max(when, self._last_time)  # time never runs back
            self._frames.append(Frame(image, self._last_time, self._count, reader.live))
            self._count += 1
            reader.alive()
            self._condition.notify_all()
            return True

    def told(self) -> None:
        """The thread ended or failed."""
        with self._condition:
            self._condition.notify_all()


_open: weakref.WeakSet[Source] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Stop reading before the interpreter ends.

    A thread that comes back from OpenCV after that is ended by force, and the process aborted.
    """
    for source in tuple(_open):
        source.close()


class _Reader(threading.Thread):
    """Opens the capture, reads it to the end and closes it; all that may block happens here."""

    def __init__(self, source: Source, spec: SourceSpec, options: SourceOptions) -> None:
        super().__init__(name="edge-mtcnn-source", daemon=True)
        self.opened = False
        self.ended = False
        self.failure: SourceError | None = None
        self.fps: float | None = None
        self.live = True
        self._source = source
        self._spec = spec
        self._options = options
        self.deadline = time.monotonic() + options.open_timeout

    @property
    def limit(self) -> float:
        """Seconds that it may take for the next frame."""
        return self._options.frame_timeout if self.opened else self._options.open_timeout

    def alive(self, waiting: float = 0.0) -> None:
        """The thread is not stuck, and may take its time from now on, or after ``waiting``."""
        self.opened = True
        self.deadline = time.monotonic() + waiting + self.limit

    def run(self) -> None:
        """Read until the end, a failure, or nobody listens."""
        capture: Capture | None = None
        ended = False
        try:
            capture = open_capture(self._spec, self._options)
            ended = self._read_all(capture)
        except SourceError as error:
            # Without the traceback, which would keep this thread's frames and images alive.
            self.failure = SourceError(str(error))
            _log.debug("reading %s failed", self._spec.name, exc_info=True)
        except Exception as error:  # noqa: BLE001 - a driver may raise anything; it is reported
            self.failure = SourceError(f"{self._spec.name}: {type(error).__name__}: {error}")
            _log.debug("reading %s failed", self._spec.name, exc_info=True)
        finally:
            try:
                if capture is not None:
                    capture.close()
            except Exception:  # noqa: BLE001 - as above
                _log.exception("closing %s failed", self._spec.name)
            self.ended = ended  # told when all is done: the caller may end the process then
            self._source.told()

    def _read_all(self, capture: Capture) -> bool:
        """Whether it came to the end; else nobody listened any more."""
        self.fps, self.live = capture.fps, capture.live
        paced = self._spec.kind != "frames" and not capture.live and self._options.pace == "file"
        start: float | None = None
        while self._source.wanted(self):
            captured = capture.read()
            if captured is None:
                return True
            when = time.monotonic()
            if captured.position is not None:
                start = when if start is None else start
                when = start + captured.position
            if paced:
                self._source.wait_until(self, when)
            if not self._source.deliver(self, captured.image, when, capture.live or paced):
                break
        return False
