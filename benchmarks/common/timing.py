"""Arithmetic of measurements: quartiles, ratios pair by pair, interleaved runs, memory.

Times are milliseconds of wall time, memory is MB of 10**6 bytes. Imports nothing that a detector
does not import too, so that it adds nothing to what is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.common.program import BenchmarkError
from edge_mtcnn.board.memory import anonymous_mb, peak_resident_mb, resident_mb
from edge_mtcnn.speed.timing import percentile

__all__ = [
    "Spread",
    "anonymous_mb",
    "geometric_mean",
    "interleaved",
    "milliseconds",
    "pair_ratios",
    "peak_rss_mb",
    "percentile",
    "rss_mb",
    "spread",
]


class Spread(NamedTuple):
    """Quartiles of repeated measurements."""

    low: float
    median: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The quartiles."""
    return Spread(percentile(values, 0.25), percentile(values, 0.5), percentile(values, 0.75))


def geometric_mean(values: Sequence[float]) -> float:
    """The right mean for ratios: the mean of inverse ratios is the inverse of the mean."""
    return statistics.geometric_mean(values)


def pair_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Ratio of the two measurements of each round; drift of the machine cancels out.

    Raises:
        ValueError: the two do not have the same number of rounds.
    """
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def milliseconds(function: Callable[[], object], repeats: int = 1) -> list[float]:
    """Time of each of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def interleaved(
    jobs: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 2
) -> dict[str, list[float]]:
    """Time the jobs in turn, A B A B, ``rounds`` times after ``warm_up`` calls of each."""
    for job in jobs.values():
        milliseconds(job, warm_up)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            times[name] += milliseconds(job)
    return times


def rss_mb() -> float:
    """Resident memory of this process now."""
    resident = resident_mb()
    if resident is None:  # not on Linux
        import psutil

        return float(psutil.Process().memory_info().rss) / 1e6
    return resident


def peak_rss_mb() -> float:
    """The most resident memory that this process had.

    Raises:
        BenchmarkError: this system does not report it.
    """
    peak = peak_resident_mb()
    if peak is None:
        raise BenchmarkError("this system does not report the peak memory of a process")
    return peak
