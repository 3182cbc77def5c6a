"""``open_source``: frames with times, from a camera, file or stream that may fail and come back.

A thread reads the frames, because any call to a capture may block for ever. Whoever reads frames
from the ``Source`` supervises that thread: one that is late is left alone and replaced. So ``read``
and ``close`` return in time whatever the device does.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from edge_mtcnn.errors import OptionsError, SourceError
from edge_mtcnn.options.checks import check_options, check_timeout, check_type
from edge_mtcnn.video.source.captures import SourceOptions, SourceSpec, Spec, mounting_of
from edge_mtcnn.video.source.reader import Frame, Inbox, SourceState

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Source", "open_source"]

LOGGER = "edge_mtcnn.video.source"
"""Name of the logger of lost and returned sources, for programs that show the events instead."""
_log = logging.getLogger(LOGGER)

_LATE = {
    "stream": "; check the address, that the camera is on, and the network",
    "camera": "; close other programs that use it, or unplug it and plug it in again",
}
"""What to do about a source that does not open in time, by its kind."""
_POLL_SECONDS = 0.05
"""Pause between two looks at threads that are stuck: nothing notifies us when they return."""


def open_source(spec: Spec, options: SourceOptions | None = None) -> Source:
    """Open a source of frames. A camera or stream that is not there yet is tried again.

        with open_source("rtsp://camera/stream") as source:
            for frame in source:
                print(frame.number, frame.image.shape)

    Args:
        spec: camera index or ``/dev`` path, file, network address, GStreamer pipeline ending in
            ``appsink``, ``"picamera2"``, an iterable of frames, or a function that returns one. An
            address and a pipeline are live whatever length they announce: their end is a loss, and
            they are opened again.
        options: how the source is opened, read and reopened.

    Raises:
        SourceError: the file does not exist, OpenCV has no GStreamer, or ``spec`` is not a source.
        OptionsError: ``options`` are not ``SourceOptions``, ``loop`` is set for what cannot be
            played again and again, or ``rotate`` is ``"auto"``.
    """
    options = check_options("options", options, SourceOptions)
    if options.rotate == "auto":
        raise OptionsError(
            "rotate='auto' looks for faces, which only a FaceWatcher does; here rotate must be 0,"
            " 90, 180 or 270"
        )
    return Source(SourceSpec(spec), options)


class Source:
    """An open source; made by ``open_source``.

    Only one thread may read; any thread may look at the state or close the source. Iterating yields
    frames until the end; ``read`` can also stop waiting after a time.

    Attributes:
        name: name for messages, without user name and password.
        mounting: how frames are turned when they are read. With ``rotate="auto"`` whoever reads
            them sets it; otherwise the device may do it instead.
    """

    def __init__(self, spec: SourceSpec, options: SourceOptions) -> None:
        check_type("spec", spec, SourceSpec, "open_source")
        check_type("options", options, SourceOptions)
        spec.check(options)
        self.name = spec.name
        self.mounting = mounting_of(options)
        self._spec = spec
        self._options = options
        self._last_loss: str | None = None
        self._failure: SourceError | None = None
        self._pause = options.retry_first
        self._retry_at = 0.0
        self._inbox = Inbox(spec.name)
        self._inbox.start_thread(spec, options)

    @property
    def fps(self) -> float | None:
        """Frames per second, where the source reports it."""
        return self._inbox.fps

    @property
    def dropped(self) -> int:
        """Number of frames of a live source that were not read in time."""
        return self._inbox.dropped

    @property
    def reconnects(self) -> int:
        """How often the source was lost and came back."""
        return self._inbox.reconnects

    @property
    def error(self) -> str | None:
        """Why the source is lost now; ``None`` while it works."""
        return self._inbox.error

    @property
    def last_loss(self) -> str | None:
        """Why the source was lost the last time."""
        return self._last_loss

    @property
    def state(self) -> SourceState:
        """``opening``, ``running``, ``lost`` or ``closed``; also closed after the last frame."""
        inbox = self._inbox
        with inbox.changed:
            thread = inbox.thread
            if inbox.state == "running" and not inbox.frames and thread is not None:
                # The loss is noted by the next `read`; nobody may be reading now.
                late = thread.failure is not None or time.monotonic() > thread.deadline
                return "lost" if late else "running"
            return inbox.state

    @property
    def stuck(self) -> bool:
        """So many reading threads are blocked in the driver that no new one is started."""
        with self._inbox.changed:
            return self._inbox.too_many_stuck()

    def read(self, timeout: float | None = None) -> Frame | None:
        """Return the next frame; the newest one of a live source.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Returns:
            The frame. ``None`` when none arrived in time or, if ``state`` is ``closed``, when there
            are no more.

        Raises:
            SourceError: the source was lost and cannot be reopened, or not within
                ``give_up_after``.
        """
        check_timeout(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        frame = self._take(until)
        if frame is None or not self.mounting or self._inbox.turned:
            return frame
        # Here and not when it arrives, since many frames are dropped.
        return replace(frame, image=self.mounting.applied(frame.image))

    def _take(self, until: float | None) -> Frame | None:
        """The next frame as the device delivers it, see ``read``."""
        inbox = self._inbox
        with inbox.changed:
            while True:
                if inbox.frames:
                    return inbox.take()
                if inbox.state == "closed":
                    if self._failure is not None:
                        raise self._failure
                    return None
                now = time.monotonic()
                wake = self._supervise(now)
                if self.state == "closed" or inbox.frames:
                    continue
                if until is not None:
                    if now >= until:
                        return None
                    wake = min(wake, until)
                inbox.changed.wait(max(wake - now, 0.001))

    def close(self) -> None:
        """Stop reading; takes well under a second whatever the device does."""
        self._inbox.close()

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self.read()) is not None:
            yield frame

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Source cannot be pickled or copied; make one in each process")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _supervise(self, now: float) -> float:
        """Deal with a reading thread that has ended, failed or is late; when to look again.

        The caller of ``read`` does this while it waits. A thread of its own would be one more that
        has to end in time, and without a reader it does not matter whether frames arrive.
        """
        inbox = self._inbox
        thread = inbox.thread
        if thread is not None:
            if thread.ended:
                self._finish(None)
            elif thread.failure is not None:
                # A file that cannot be read stays so; a file that is late may be on a slow disk.
                self._lose(thread.failure, now, final=self._spec.kind == "file")
            elif now >= thread.deadline:
                what = "no frame came" if thread.opened else "it did not open"
                where = "" if thread.opened else _LATE.get(self._spec.kind, "")
                limit = thread.limit
                self._lose(SourceError(f"{self.name}: {what} within {limit:g} s{where}"), now)
            else:
                return thread.deadline
        if inbox.state == "closed":
            return now
        # Each blocked thread holds a handle of the driver, so their number is bounded.
        if now >= self._retry_at and not inbox.too_many_stuck():
            inbox.start_thread(self._spec, self._options)
            return now
        return max(self._retry_at, now + _POLL_SECONDS)

    def _lose(self, error: SourceError, now: float, final: bool = False) -> None:
        """Note a failure, and when to try again; close the source when there is no point."""
        inbox = self._inbox
        if inbox.state != "lost":  # one line for each loss, not for each try
            _log.warning("source lost: %s", error)
            inbox.state = "lost"
        if inbox.failing_since is None:  # a frame has arrived since the last failure
            inbox.failing_since = now
            self._pause = self._options.retry_first
        inbox.error = self._last_loss = str(error)
        # The thread may still hang in the device: it is not waited for, only ignored.
        inbox.release_thread()
        inbox.changed.notify_all()
        patience = self._options.give_up_after
        if final or not self._spec.reopens:
            self._finish(error)
        elif patience is not None and now - inbox.failing_since >= patience:
            self._finish(SourceError(f"gave up after {patience:g} s: {error}"))
        jitter = self._options.retry_jitter
        self._retry_at = now + self._pause * random.uniform(1 - jitter, 1 + jitter)
        self._pause = min(2 * self._pause, self._options.retry_longest)

    def _finish(self, failure: SourceError | None) -> None:
        self._failure = failure
        self._inbox.finish()
