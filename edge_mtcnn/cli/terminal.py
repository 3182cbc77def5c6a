"""Output to the terminal: lines, messages, and the progress of long work."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

__all__ = [
    "Progress",
    "UsageError",
    "plural",
    "printable",
    "running_on",
    "write_line",
    "write_message",
]

_SECONDS_BETWEEN_LINES = 5.0


class UsageError(Exception):
    """A command cannot do what its arguments ask for; the message says what to change."""


def write_line(text: str, stream: TextIO | None = None) -> None:
    """Write one line and flush it; to standard output unless a stream is given."""
    target: TextIO = sys.stdout if stream is None else stream
    encoding = target.encoding or "utf-8"
    target.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    target.flush()


def write_message(text: str) -> None:
    """Write one line to standard error: a message for people, never a result."""
    write_line(text, sys.stderr)


def printable(text: str | os.PathLike[str]) -> str:
    """A path or message as one harmless line: file names may contain newlines and escape codes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in os.fspath(text)
    )


def running_on(info: Mapping[str, Any]) -> str:
    """The execution provider in ``FaceDetector.info``, or that of each network if they differ."""
    networks: Mapping[str, str] = info["runs_on"]
    providers = list(dict.fromkeys(networks.values()))
    if len(providers) == 1:
        return providers[0]
    return ", ".join(f"{name} on {provider}" for name, provider in networks.items())


def plural(number: int, noun: str) -> str:
    """``1 face``, ``2 faces``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class Progress:
    """The progress of long work, on standard error when that is a terminal, otherwise nowhere.

    It is a bar when ``tqdm`` is installed, and a plain line every few seconds when it is not.

    Args:
        total: number of steps; ``None`` where it is not known.
        noun: what one step does, such as ``image``.
        done: steps that were done before.

    Write lines to the terminal inside ``writing()``, which hides the bar.
    """

    def __init__(self, total: int | None, noun: str, done: int = 0) -> None:
        self._total = total
        self._noun = noun
        self._done = done
        self._bar: Any = None
        self._bar_stream: TextIO | None = None
        self._plain = False
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        if total != 1 and total != 0 and sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                self._plain = True
            else:
                # Another thread decodes images meanwhile, with standard error redirected to read
                # the messages of codecs. A bar has no end of line, so a message would be appended
                # to it and be missed: the bar is written to a duplicate, which is not redirected.
                self._bar_stream = os.fdopen(
                    os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding
                )
                self._bar = tqdm(
                    total=total,
                    initial=done,
                    unit=noun,
                    dynamic_ncols=True,
                    leave=False,
                    file=self._bar_stream,
                )

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None and self._bar_stream is not None:
            self._bar.close()
            self._bar_stream.close()

    def step(self, count: int = 1, note: str | None = None) -> None:
        """Count steps as done.

        Args:
            count: number of steps.
            note: shown beside the bar from now on.
        """
        self._done += count
        if self._total is not None and self._done > self._total:
            self._total = None  # it was an estimate
        if self._bar is not None:
            self._bar.total = self._total
            if note is not None:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif self._plain and time.monotonic() >= self._next_line:
            of = "" if self._total is None else f" of {self._total}"
            write_message(f"{self._done}{of} {self._noun}s")
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hide the bar while lines are written."""
        if self._bar is None:
            yield
        else:
            with self._bar.external_write_mode(file=self._bar_stream):
                yield
