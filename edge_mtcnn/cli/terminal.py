"""What commands write to the terminal: lines, messages and the progress of long work."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Commands = _SubParsersAction[argparse.ArgumentParser]

__all__ = [
    "Progress",
    "UsageError",
    "complain",
    "counted",
    "native_messages_muted",
    "shown",
    "write_line",
]

_STDERR = 2


_SECONDS_BETWEEN_LINES = 5.0


class UsageError(Exception):
    """A command cannot do what its arguments ask for; the message says what to change."""


def write_line(text: str, stream: TextIO | None = None) -> None:
    """Write one line, to standard output unless told, and pass it on at once."""
    target: TextIO = sys.stdout if stream is None else stream
    encoding = target.encoding or "utf-8"
    target.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    target.flush()


def complain(text: str) -> None:
    """Write one line to standard error."""
    write_line(text, sys.stderr)


@contextlib.contextmanager
def native_messages_muted() -> Iterator[None]:
    """Keep what image decoders in C write to standard error away; Python's own lines still come.

    libpng and libjpeg remark on every odd file; what matters is an ``ImageError`` anyway.
    """
    try:
        saved = os.dup(_STDERR)
    except OSError:  # closed: nothing to keep clean
        yield
        return
    before = sys.stderr
    if _is_native(before):
        before.flush()
        sys.stderr = open(  # noqa: SIM115 - a descriptor, closed below
            saved, "w", encoding=before.encoding, errors=before.errors, buffering=1, closefd=False
        )
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, _STDERR)
        sys.stderr = before
        os.close(nowhere)
        os.close(saved)


def _is_native(stream: TextIO) -> bool:
    try:
        return stream.fileno() == _STDERR
    except (OSError, ValueError):  # a stand-in, or closed
        return False


def shown(text: str | os.PathLike[str]) -> str:
    """A path or message as one harmless line: file names may hold newlines and escape codes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in os.fspath(text)
    )


def counted(number: int, noun: str) -> str:
    """``1 face``, ``2 faces``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class Progress:
    """How far long work is, on standard error, where that is a terminal; otherwise nothing.

    A bar when ``tqdm`` is installed, a plain line now and then without it. Lines of output go
    through ``writing``, which keeps them apart from the bar; ``mixed=False`` when all of them go
    into files.
    """

    def __init__(self, total: int, noun: str, *, mixed: bool = True) -> None:
        self._total = total
        self._mixed = mixed
        self._noun = noun
        self._done = 0
        self._bar: Any = None
        self._plain = False
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        if total > 1 and sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                self._plain = True
            else:
                self._bar = tqdm(total=total, unit=noun, dynamic_ncols=True, leave=False)

    def close(self) -> None:
        """Take the bar away for good."""
        if self._bar is not None:
            self._bar.close()

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        if self._bar is not None:
            self._bar.update()
        elif self._plain and time.monotonic() >= self._next_line:
            complain(f"{self._done} of {counted(self._total, self._noun)}")
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Take the bar away while lines are written."""
        if self._bar is None or not self._mixed:
            yield
        else:
            with self._bar.external_write_mode():
                yield
