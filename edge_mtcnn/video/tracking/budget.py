"""How much time tracking may take: a purse that every frame fills and every search empties.

Known faces are looked at as long as the purse is not in debt; a search for new ones waits until the
purse holds what it will cost, by the cost of those before. Times are milliseconds.
"""

from __future__ import annotations

__all__ = ["Budget"]

_ENDLESS = float("inf")


class Budget:
    """The purse.

    Args:
        frame_ms: what a frame adds; ``None`` for no such limit.
        share: what a second of video adds, in seconds of one core; ``None`` for no such limit.
        threads: cores that a millisecond of wall time occupies, at most.
    """

    def __init__(self, frame_ms: float | None, share: float | None, threads: int) -> None:
        self._frame_ms = frame_ms
        self._share_ms = None if share is None else share * 1e3 / threads
        self._limited = frame_ms is not None or share is not None
        self.forget()

    def forget(self) -> None:
        """Start without knowledge of costs, with an empty purse."""
        self._purse = 0.0
        self._full_ms: float | None = None
        self._near_ms: float | None = None

    def frame(self, seconds: float) -> None:
        """A frame came, this long after the one before."""
        if not self._limited:
            return
        seconds = min(seconds, 1.0)
        incomes = [
            self._frame_ms if self._frame_ms is not None else _ENDLESS,
            self._share_ms * seconds if self._share_ms is not None else _ENDLESS,
        ]
        income = min(incomes)
        # Enough for the dearest thing to come, and no more: a long calm must not pay for a storm.
        most = 1.5 * (self._full_ms or 0.0) + income
        self._purse = min(self._purse + income, most)

    def spent(self, milliseconds: float) -> None:
        """A frame took this long in all."""
        if self._limited:
            self._purse -= milliseconds

    def full_took(self, milliseconds: float) -> None:
        """A full search took this long."""
        self._full_ms = _followed(self._full_ms, milliseconds)

    def near_took(self, milliseconds: float) -> None:
        """Looking at expected places took this long."""
        self._near_ms = _followed(self._near_ms, milliseconds)

    def allows_search(self, share: float) -> bool:
        """Whether this share of a full search can be paid; the first one always."""
        if not self._limited or self._full_ms is None:
            return True
        return self._purse >= share * self._full_ms

    def allows_near(self) -> bool:
        """Whether known faces may be looked at."""
        return not self._limited or self._near_ms is None or self._purse >= self._near_ms


def _followed(average: float | None, value: float) -> float:
    # The lesser of two first values: the very first call pays for code and memory.
    if average is None:
        return value
    return average + 0.2 * (value - average) if value > 0.5 * average else value
