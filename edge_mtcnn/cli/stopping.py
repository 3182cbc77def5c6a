"""``Stop``: Ctrl-C and SIGTERM, for commands that finish what they have begun."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

    from typing_extensions import Self

__all__ = ["Stop"]


class Stop:
    """Notes Ctrl-C or SIGTERM, so that what belongs together is written together.

    A second signal acts at once.

    Args:
        message: written to standard error when a signal comes.

    Attributes:
        signal: number of the signal that came.
        requested: set when a signal came.
    """

    def __init__(self, message: str | None = None) -> None:
        self.signal: int | None = None
        self.requested = threading.Event()
        self._message = message
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self.__exit__()
        self.requested.set()
        if self._message is not None:
            # Not through a stream, which the interrupted code may be writing to.
            os.write(2, f"\n{self._message}\n".encode())
