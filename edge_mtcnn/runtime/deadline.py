"""``Deadline``: the time limit of one detection, checked before each of its jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from edge_mtcnn.errors import DetectionTimeout
from edge_mtcnn.options.checks import check_number

__all__ = ["Deadline"]

Map = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]
"""Runs jobs, perhaps in parallel, as ``workers.Workers.map`` does."""


class Deadline:
    """The time limit of one detection."""

    def __init__(self, seconds: float) -> None:
        check_number("timeout", seconds, 0.001, 86_400)
        self._seconds = seconds
        self._end = time.perf_counter() + seconds

    def check(self) -> None:
        """Raise ``DetectionTimeout`` if the time is over."""
        if time.perf_counter() > self._end:
            raise DetectionTimeout(
                f"the detection was stopped after {self._seconds:g} s, its timeout. A smaller"
                " image, a larger min_face_size or lower caps (max_candidates) take less time"
            )

    def checking(self, run: Map) -> Map:
        """The same map, but it checks the time before each job."""

        def checked_run(function: Callable[[Any], Any], items: Iterable[Any], /) -> list[Any]:
            def checked(item: Any) -> Any:
                self.check()
                return function(item)

            self.check()
            return run(checked, items)

        return checked_run
