"""How much time tracking may take: a time budget (token bucket).

Each frame adds to the budget, and each search spends from it. Known faces are looked at if the
budget covers that. A search for new faces waits until the budget covers its expected cost, which is
the average of earlier searches. Times are milliseconds.
"""

from __future__ import annotations

__all__ = ["Budget"]

_ENDLESS = float("inf")


class Budget:
    """The time budget of one tracker.

    Args:
        frame_ms: what a frame adds; ``None`` for no such limit.
        share: what a second of video adds, in seconds of one core; ``None`` for no such limit.
        threads: maximum number of cores that are busy at the same time.
    """

    def __init__(self, frame_ms: float | None, share: float | None, threads: int) -> None:
        self._frame_ms = frame_ms
        self._share_ms = None if share is None else share * 1e3 / threads
        self._limited = frame_ms is not None or share is not None
        self.forget()

    def forget(self) -> None:
        """Start again with an empty budget and unknown costs."""
        self._balance = 0.0
        self._full_ms: float | None = None
        self._near_ms: float | None = None

    def frame(self, seconds: float) -> None:
        """Add the income of a frame that came this long after the previous one."""
        if not self._limited:
            return
        seconds = min(seconds, 1.0)
        incomes = [
            self._frame_ms if self._frame_ms is not None else _ENDLESS,
            self._share_ms * seconds if self._share_ms is not None else _ENDLESS,
        ]
        income = min(incomes)
        # The balance is capped, so that a quiet period cannot fund a long burst.
        most = 1.5 * (self._full_ms or 0.0) + income
        self._balance = min(self._balance + income, most)

    def spent(self, milliseconds: float) -> None:
        """Spend the whole time of a frame."""
        if self._limited:
            self._balance -= milliseconds

    def full_took(self, milliseconds: float) -> None:
        """Note the time of a full search."""
        self._full_ms = _followed(self._full_ms, milliseconds)

    def near_took(self, milliseconds: float) -> None:
        """Note the time of a look at expected places."""
        self._near_ms = _followed(self._near_ms, milliseconds)

    def allows_search(self, share: float) -> bool:
        """Whether the budget covers this share of a full search; the first is always allowed."""
        if not self._limited or self._full_ms is None:
            return True
        return self._balance >= share * self._full_ms

    def allows_near(self) -> bool:
        """Whether the budget covers a look at known faces."""
        return not self._limited or self._near_ms is None or self._balance >= self._near_ms


def _followed(average: float | None, value: float) -> float:
    # The first call also pays for loading code and memory, so a much lower value replaces it.
    if average is None:
        return value
    return average + 0.2 * (value - average) if value > 0.5 * average else value
