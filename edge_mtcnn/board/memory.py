"""Memory of this process, as the system counts it."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["peak_resident_mb", "resident_mb"]


def resident_mb() -> float | None:
    """Resident memory of this process now; ``None`` where the system does not tell."""
    return _status("VmRSS:")


def peak_resident_mb() -> float | None:
    """The most resident memory that this process has had; ``None`` where it is not told."""
    peak = _status("VmHWM:")  # ru_maxrss is inherited from the process that started this one
    if peak is None and sys.platform == "darwin":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return peak


def _status(name: str) -> float | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:  # not on macOS and Windows
        return None
    for line in status.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e6
    return None
