"""The reading thread of a source, and the inbox through which it hands over frames.

Opening, reading and closing a capture may each block for ever, so only a ``ReadingThread`` does it.
A thread that is late is left alone and replaced. The inbox knows which thread is the current one
and refuses the frames of all others.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Literal

from edge_mtcnn.errors import SourceError
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video.source.captures import Capture, SourceOptions, SourceSpec
from edge_mtcnn.video.source.devices import open_capture

__all__ = ["Frame", "Inbox", "ReadingThread", "SourceState"]

SourceState = Literal["opening", "running", "lost", "closed"]

_log = logging.getLogger(__name__)

_FRAMES_AHEAD = 2
"""Frames that are read ahead when none may be dropped."""
_MOST_STUCK = 4
"""Replaced threads that may still be blocked before no new one is started."""
_JOIN_SECONDS = 0.3
_USUAL_FPS = 25.0
_LATEST, _EARLIEST = 1.0, 10.0
"""Seconds by which a frame of a live stream may miss its time. Beyond that, the stream has stalled
or skipped a part, and the times of its frames are counted anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        image: (H, W, 3) BGR or (H, W) gray, uint8, turned as ``SourceOptions.rotate`` and ``flip``
            say.
        time: when the frame arrived or, in a file, is due: monotonic seconds.
        number: position in the source, from 0; dropped frames are counted too.
        live: the frame comes from a camera, which drops frames that are not read in time.
        position_seconds: place of the frame in a video file, seconds from its first frame, rounded
            to milliseconds; ``None`` for cameras and streams.
    """

    image: ImageArray
    time: float
    number: int
    live: bool
    position_seconds: float | None = None


class Inbox:
    """What a source and its reading threads share; hold ``changed`` to read or write several parts.

    Args:
        name: name of the source, for the log.

    Attributes:
        changed: notified when a frame, a failure or the end arrives, or a thread is replaced.
        thread: the reading thread whose frames are accepted, if any.
        frames: frames that have not been taken yet.
        state: state of the source, as last noted.
        fps: frames per second, where the source reports it.
        turned: whether the device has turned the frames, see ``Capture``.
        dropped: frames of a live source that were not taken in time.
        reconnects: how often the source came back.
        error: why the source is lost now.
        failing_since: when the current series of failures began, monotonic seconds.
    """

    def __init__(self, name: str) -> None:
        self.changed = threading.Condition()
        self.thread: ReadingThread | None = None
        self.frames: deque[Frame] = deque()
        self.state: SourceState = "opening"
        self.fps: float | None = None
        self.turned = False
        self.dropped = 0
        self.reconnects = 0
        self.error: str | None = None
        self.failing_since: float | None = None
        self._name = name
        self._replaced: list[ReadingThread] = []
        self._count = 0
        self._last_time = float("-inf")
        _open.add(self)

    # For the source.

    def start_thread(self, spec: SourceSpec, options: SourceOptions) -> None:
        """Start a new reading thread and accept its frames only."""
        self.thread = ReadingThread(self, spec, options)
        self.thread.start()

    def take(self) -> Frame:
        """Remove and return the oldest frame."""
        frame = self.frames.popleft()
        if self.thread is not None:
            # The thread may have waited for room, which is not the camera's delay.
            self.thread.restart_clock()
        self.changed.notify_all()
        return frame

    def finish(self) -> None:
        """Mark the source as closed and accept no more frames."""
        self.state = "closed"
        self.release_thread()
        self.changed.notify_all()

    def release_thread(self) -> None:
        """Ignore the current thread from now on; it ends when its call returns."""
        thread, self.thread = self.thread, None
        if thread is not None and thread.is_alive():
            self._replaced = [*self._replaced, thread]

    def too_many_stuck(self) -> bool:
        """Whether so many replaced threads are still blocked that no new one may start."""
        self._replaced = [thread for thread in self._replaced if thread.is_alive()]
        return len(self._replaced) >= _MOST_STUCK

    def close(self) -> None:
        """Stop reading, and give the threads a moment to end."""
        with self.changed:
            self.frames.clear()
            self.finish()
        until = time.monotonic() + _JOIN_SECONDS
        for thread in self._replaced:
            thread.join(max(until - time.monotonic(), 0))

    # For the reading thread.

    def accepts(self, thread: ReadingThread) -> bool:
        """Whether this is the current thread."""
        return self.thread is thread

    def wait_until(self, thread: ReadingThread, when: float) -> None:
        """Wait until a frame is due, or until the thread is replaced."""
        with self.changed:
            while self.accepts(thread) and (left := when - time.monotonic()) > 0:
                thread.restart_clock(left)
                self.changed.wait(left)

    def deliver(
        self,
        thread: ReadingThread,
        image: ImageArray,
        when: float,
        position: float | None,
        newest: bool,
    ) -> bool:
        """Accept a frame.

        Args:
            thread: the thread that read it.
            image: the frame.
            when: its time, monotonic seconds.
            position: its place in the file, seconds, if it comes from one.
            newest: drop the frames before it that were not taken; else wait until there is room.

        Returns:
            Whether the thread should go on reading.
        """
        with self.changed:
            while not newest and len(self.frames) >= _FRAMES_AHEAD and self.accepts(thread):
                self.changed.wait()
            if not self.accepts(thread):
                return False
            if newest:
                self.dropped += len(self.frames)
                self.frames.clear()
            if self.state == "lost":
                self.reconnects += 1
                _log.info("source is back: %s", self._name)
            self.state = "running"
            self.fps, self.turned = thread.fps, thread.turned
            self.error = self.failing_since = None
            self._last_time = max(when, self._last_time)  # time never runs backwards
            self.frames.append(Frame(image, self._last_time, self._count, thread.live, position))
            self._count += 1
            thread.restart_clock()
            self.changed.notify_all()
            return True

    def notify(self) -> None:
        """Wake the source, because the thread has ended."""
        with self.changed:
            self.changed.notify_all()


# A reading thread keeps its inbox alive, even when the caller has dropped the source.
_open: weakref.WeakSet[Inbox] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Stop reading before the interpreter ends.

    Python kills a thread that returns from OpenCV after that, which aborts the process.
    """
    for inbox in tuple(_open):
        inbox.close()


class ReadingThread(threading.Thread):
    """Opens a capture, reads it to the end and closes it.

    Attributes:
        opened: the capture is open and has delivered a frame.
        ended: the last frame was read and the capture is closed.
        failure: why reading failed.
        fps, live, turned: see ``Capture``.
        deadline: monotonic time by which the next frame must arrive.
    """

    def __init__(self, inbox: Inbox, spec: SourceSpec, options: SourceOptions) -> None:
        super().__init__(name="edge-mtcnn-source", daemon=True)
        self.opened = False
        self.ended = False
        self.failure: SourceError | None = None
        self.fps: float | None = None
        self.live = True
        self.turned = False
        self._inbox = inbox
        self._spec = spec
        self._options = options
        self._start: float | None = None  # time of position 0
        self._count = 0  # frames since the capture was opened
        self.deadline = time.monotonic() + options.open_timeout

    @property
    def limit(self) -> float:
        """Seconds within which the next frame must arrive."""
        return self._options.frame_timeout if self.opened else self._options.open_timeout

    def restart_clock(self, waiting: float = 0.0) -> None:
        """Count the time limit from now, or from ``waiting`` seconds later."""
        self.opened = True
        self.deadline = time.monotonic() + waiting + self.limit

    def run(self) -> None:
        """Read until the end, a failure, or until the thread is replaced."""
        capture: Capture | None = None
        ended = False
        try:
            capture = open_capture(self._spec, self._options)
            # Nothing would slow down a loop of no frames.
            while (ended := self._read_all(capture)) and self._options.loop and self._count:
                self.deadline = time.monotonic() + self._options.open_timeout
                capture.close()
                capture = open_capture(self._spec, self._options)
        except SourceError as error:
            # A copy without the traceback, which would keep this thread's images alive.
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
            # Only after closing: the caller may end the process as soon as it sees the end.
            self.ended = ended and self.failure is None  # a loop may fail in a later pass
            self._inbox.notify()

    def _read_all(self, capture: Capture) -> bool:
        """Read frames; whether the end was reached, and the thread not replaced before."""
        self.fps, self.live, self.turned = capture.fps, capture.live, capture.turned
        self._count = 0
        when = time.monotonic()
        while self._inbox.accepts(self):
            captured = capture.read()
            if captured is None:
                if self._start is not None:  # of the next pass
                    self._start = when + _on_grid(1 / (capture.fps or _USUAL_FPS))
                return True
            self._count += 1
            when, position = time.monotonic(), captured.position
            if position is not None:
                when = self._due(when, position, capture.live)
            if capture.paced:
                self._inbox.wait_until(self, when)
            place = None if position is None or capture.live else round(position, 3)
            newest = capture.live or capture.paced
            if not self._inbox.deliver(self, captured.image, when, place, newest):
                break
        return False

    def _due(self, now: float, position: float, live: bool) -> float:
        """When a frame is due that is read now."""
        if self._start is not None:
            due = self._start + _on_grid(position)
            if not live or -_LATEST < due - now < _EARLIEST:
                return due
        self._start = _on_grid(now) - _on_grid(position)
        return self._start + _on_grid(position)


def _on_grid(seconds: float) -> float:
    """The nearest multiple of 2**-20 s, so that sums and differences of times are exact.

    Otherwise the rounding of a frame's time would depend on when the file was opened, and a person
    who appears after 0.3 s would sometimes do so one frame later.
    """
    return round(seconds * 2**20) / 2**20
