"""Arithmetic of measurements: percentiles, ratios pair by pair, interleaved runs, memory.

Times are milliseconds of wall time, memory is MB of 10**6 bytes. Imports the standard library only,
so that it adds nothing to what is measured.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Spread(NamedTuple):
    """Quartiles of repeated measurements."""

    low: float
    median: float
    high: float


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share 0..1 of the values lies, linear between neighbours.

    Raises:
        ValueError: there are no values, or the share is outside 0..1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError(f"need values and a share 0..1; got {len(values)} values, share {share}")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread(values: Sequence[float]) -> Spread:
    """The quartiles."""
    return Spread(percentile(values, 0.25), percentile(values, 0.5), percentile(values, 0.75))


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of ratios: that of ratio and inverse ratio are inverse too."""
    return statistics.geometric_mean(values)


def pair_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Ratio of the two measurements of each round, so that drift of the machine cancels out.

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
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:  # not on Linux
        import psutil

        return float(psutil.Process().memory_info().rss) / 1e6


def anonymous_mb() -> float | None:
    """The part of the resident memory that is the process's own; ``None`` where it is not told.

    The rest are pages of libraries, of which the kernel maps more or fewer at a time as their files
    happen to lie in its cache.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return None


def peak_rss_mb() -> float:
    """The most resident memory that this process had."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            # Not ru_maxrss: a process inherits that of the one that started it.
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
