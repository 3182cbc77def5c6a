"""Messages that image codecs write to standard error, captured while they decode.

libjpeg and libpng write there directly, not to OpenCV's log, and libjpeg reports a damaged picture
nowhere else. On Windows nothing is captured: messages then appear on standard error, which does no
harm to results or standard output. Imports nothing of this package.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

__all__ = ["Heard", "listening"]


@dataclass(slots=True)
class Heard:
    """Messages of one decoding; ``alone`` when no other decoding ran at the same time."""

    complaints: list[str]
    alone: bool


class _CodecMessages:
    """Redirects standard error to a file while pictures are decoded.

    Lines of codecs are collected, and those of OpenCV and FFmpeg dropped; all other lines are
    written to the real standard error as soon as any decoding ends. Where standard error cannot be
    redirected (closed, or on Windows), pictures are decoded without.
    """

    _OPENCV = re.compile(rb"\[ *[A-Z]+:\d+@|imdecode_\(|OpenCV: |\[\w+ @ 0x")
    _CODEC = re.compile(
        rb"libpng (warning|error): |Corrupt JPEG data: |Premature end of JPEG file"
        rb"|Inconsistent progression |Unknown Adobe color |Warning: unknown JFIF |Invalid SOS "
    )

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._exclusive = False
        self._active = 0
        self._entries = 0
        self._stderr = self._file = -1
        self._read = 0
        self._complaints: list[str] = []

    @contextmanager
    def listening(self, *, exclusive: bool) -> Iterator[Heard]:
        """Collect the messages of a decoding; ``exclusive`` waits until no other decoding runs."""
        heard = Heard([], alone=False)
        with self._changed:
            self._changed.wait_for(lambda: not self._exclusive)
            self._exclusive = exclusive
            if exclusive:
                try:
                    self._changed.wait_for(lambda: self._active == 0)
                except BaseException:
                    self._exclusive = False
                    raise
            if self._active == 0:
                self._complaints = []
                self._redirect()
            alone = self._active == 0
            self._active += 1
            self._entries += 1
            entry = self._entries
        try:
            yield heard
        finally:
            with self._changed:
                self._pass_on()
                heard.complaints = list(self._complaints)
                heard.alone = alone and self._entries == entry
                self._active -= 1
                if exclusive:
                    self._exclusive = False
                if self._active == 0:
                    self.restore()
                self._changed.notify_all()

    def restore(self) -> None:
        """Restore standard error."""
        if self._stderr >= 0:
            os.dup2(self._stderr, 2)
            os.close(self._stderr)
            os.close(self._file)
            self._stderr = self._file = -1

    def _redirect(self) -> None:
        if not hasattr(os, "pread"):
            return
        try:
            stderr = os.dup(2)
        except OSError:
            return
        try:
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())
            self._read = 0
            os.dup2(self._file, 2)
        except OSError:
            os.close(stderr)
            return
        self._stderr = stderr

    def _pass_on(self) -> None:
        """Sort the lines written since the last call: collect, drop, or write to standard error."""
        if self._stderr < 0:
            return
        written = os.pread(self._file, os.fstat(self._file).st_size - self._read, self._read)
        self._read += len(written)
        of_opencv = False
        foreign = []
        for line in written.splitlines(keepends=True):
            # A message of OpenCV may continue on lines that are empty or start with ">".
            of_opencv = bool(
                self._OPENCV.match(line) or (of_opencv and (line[:1] == b">" or not line.strip()))
            )
            if self._CODEC.match(line):
                self._complaints.append(line.decode("latin-1").strip())
            elif not of_opencv:
                foreign.append(line)
        if foreign:
            os.write(self._stderr, b"".join(foreign))


_codecs = _CodecMessages()


def listening(*, exclusive: bool) -> AbstractContextManager[Heard]:
    """Capture the messages of codecs while a picture is decoded.

        with listening(exclusive=False) as heard:
            pixels = cv2.imdecode(data, flags)
        print(heard.complaints)

    Args:
        exclusive: wait until no other thread decodes, so that all messages concern this picture.

    Returns:
        A context manager; its ``Heard`` is filled in when the block ends.
    """
    return _codecs.listening(exclusive=exclusive)


def _start_afresh() -> None:
    """Start again in a forked child, which has none of the threads that were decoding."""
    global _codecs
    _codecs.restore()
    _codecs = _CodecMessages()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
