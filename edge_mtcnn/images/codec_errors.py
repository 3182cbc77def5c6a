"""What image decoders in C write to standard error, heard while they decode and kept away.

libjpeg and libpng write there directly, past OpenCV's log, and nowhere else does libjpeg tell that
a picture is damaged. Imports nothing of this package.
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
    """What the codecs wrote during one decoding; ``alone`` when no other ran meanwhile."""

    complaints: list[str]
    alone: bool


class _CodecMessages:
    """Listens to standard error while pictures are decoded.

    The codecs' lines and OpenCV's are kept; lines of others are passed on as soon as any decoding
    ends. Where that cannot be done (standard error closed, Windows), pictures are decoded all the
    same.
    """

    _OPENCV = re.compile(rb"\[ *[A-Z]+:\d+@|imdecode_\(")
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
        """Collect what is written inside; ``exclusive`` waits until no other decoding runs."""
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
        """Give standard error back."""
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
        """Sort what was written since the last time."""
        if self._stderr < 0:
            return
        written = os.pread(self._file, os.fstat(self._file).st_size - self._read, self._read)
        self._read += len(written)
        of_opencv = False
        foreign = []
        for line in written.splitlines(keepends=True):
            # A message of OpenCV may go on over lines that are empty or start with ">".
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
    """Hear what codecs say while a picture is decoded inside.

    Args:
        exclusive: wait until no other thread decodes, so that all that is heard is this picture's.

    Returns:
        A context manager; what it gives is filled in when it ends.
    """
    return _codecs.listening(exclusive=exclusive)


def _start_afresh() -> None:
    """In a forked child: no other thread lives that could end what it began."""
    global _codecs
    _codecs.restore()
    _codecs = _CodecMessages()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
