"""Memory of this process as the system reports it, MB of 10**6 bytes.

Each function returns ``None`` on systems that do not report its value.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["anonymous_mb", "peak_resident_mb", "resident_mb"]


def resident_mb() -> float | None:
    """Resident memory of this process now."""
    return _status("VmRSS:")


def anonymous_mb() -> float | None:
    """The part of the resident memory that belongs to this process alone.

    The rest are pages of files such as libraries. The kernel maps more or fewer of them at a time,
    depending on what is in its cache.
    """
    return _status("RssAnon:")


def peak_resident_mb() -> float | None:
    """Highest resident memory of this process since its start."""
    peak = _status("VmHWM:")  # not ru_maxrss: a process inherits that from its parent
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
