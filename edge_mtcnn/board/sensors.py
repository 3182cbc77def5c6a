"""Sensors of the device: temperature, clock and throttling.

Read from files of Linux; what a system does not report is ``None`` or empty. Only
``read_throttling`` starts a program, as a Raspberry Pi 5 has no file for that. Imports nothing of
this package.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Readings", "Throttling", "read_device", "read_throttling", "slowed_down"]

# Bits of the Raspberry Pi's get_throttled for the state now. The bits 16 places above report what
# has occurred since the board started.
_PI_BITS = {
    0: "under-voltage",
    1: "clock capped",
    2: "throttled",
    3: "soft temperature limit",
}
_PI_FILE = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
# Types of cooling devices that slow the processor or the GPU down; a fan does not.
_SLOWING = ("processor", "cpu", "thermal-cpufreq", "devfreq", "gpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The sensors at one moment.

    Attributes:
        temperatures: degrees Celsius by name of the thermal zone.
        clock_mhz: mean clock of the processor's cores.
        max_clock_mhz: highest clock of the fastest core.
        limits: what slows the processor down now, for people; empty when nothing is known.
        throttle_events: how often heat or power has slowed it down since the board started;
            ``None`` where the board does not count that.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    clock_mhz: float | None = None
    max_clock_mhz: float | None = None
    limits: tuple[str, ...] = ()
    throttle_events: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """All readings as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Throttling:
    """What power and heat do to a Raspberry Pi, for people; empty for nothing.

    Attributes:
        now: what slows it down now.
        since_start: what has slowed it down since it started, also now.
    """

    now: tuple[str, ...] = ()
    since_start: tuple[str, ...] = ()


def read_device(root: Path = Path("/")) -> Readings:
    """Read the sensors now.

        before = read_device()
        ...  # work
        print(slowed_down(before, read_device()))

    Args:
        root: folder that contains ``sys``.
    """
    return Readings(
        temperatures=_temperatures(root),
        clock_mhz=_clock(root, "scaling_cur_freq", mean=True),
        max_clock_mhz=_clock(root, "cpuinfo_max_freq", mean=False),
        limits=tuple(dict.fromkeys((*_pi_limits(root), *_cooling(root)))),
        throttle_events=_events(root),
    )


def slowed_down(before: Readings, after: Readings) -> tuple[str, ...]:
    """What slowed the device down between two readings, for people; empty for nothing known."""
    reasons = list(dict.fromkeys((*before.limits, *after.limits)))
    if before.throttle_events is not None and after.throttle_events is not None:
        events = after.throttle_events - before.throttle_events
        if events > 0:
            reasons.append(f"throttled {events} times")
    return tuple(reasons)


def read_throttling(root: Path = Path("/")) -> Throttling | None:
    """What slows a Raspberry Pi down, by its firmware; ``None`` where it does not tell.

    A Raspberry Pi 5 has no file for this, so its command ``vcgencmd`` is asked.

    Args:
        root: folder that contains ``sys``.
    """
    flags = _pi_flags(root)
    if flags is None:
        flags = _firmware_flags()
    if flags is None:
        return None
    return Throttling(_meanings(flags), _meanings(flags | flags >> 16))


def _temperatures(root: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in _folders(root / "sys/class/thermal", "thermal_zone*"):
        degrees = _number(zone / "temp")
        # Zones that are switched off report impossible values, or cannot be read.
        if degrees is not None and -40_000 < degrees < 200_000:
            name = _text(zone / "type") or zone.name
            found[name if name not in found else f"{name} ({zone.name})"] = degrees / 1000
    return found


def _clock(root: Path, name: str, *, mean: bool) -> float | None:
    policies = _folders(root / "sys/devices/system/cpu/cpufreq", "policy*")
    clocks = [value for policy in policies if (value := _number(policy / name)) is not None]
    if not clocks:
        return None
    return (sum(clocks) / len(clocks) if mean else max(clocks)) / 1000


def _pi_limits(root: Path) -> Iterator[str]:
    flags = _pi_flags(root)
    if flags is not None:
        yield from _meanings(flags)
        return
    for monitor in _folders(root / "sys/class/hwmon", "hwmon*"):
        if _text(monitor / "name") == "rpi_volt" and _number(monitor / "in0_lcrit_alarm"):
            yield _PI_BITS[0]


def _pi_flags(root: Path) -> int | None:
    """The bits of ``get_throttled`` where the kernel has a file for them."""
    for file in _folders(root, _PI_FILE):
        with suppress(ValueError):
            return int(_text(file), 16)
    return None


def _firmware_flags() -> int | None:
    """The same bits from the command of Raspberry Pi OS, which answers ``throttled=0x50000``."""
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    try:
        done = subprocess.run(
            [command, "get_throttled"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"throttled=0x([0-9a-fA-F]+)", done.stdout)
    return int(found[1], 16) if found else None


def _meanings(flags: int) -> tuple[str, ...]:
    return tuple(meaning for bit, meaning in _PI_BITS.items() if flags >> bit & 1)


def _cooling(root: Path) -> Iterator[str]:
    for device in _folders(root / "sys/class/thermal", "cooling_device*"):
        kind = _text(device / "type")
        state = _number(device / "cur_state")
        if state and kind.lower().startswith(_SLOWING):
            yield f"{kind} at {state:g} of {_number(device / 'max_state') or 0:g} to cool down"


def _events(root: Path) -> int | None:
    """Sum of the counters of x86 cores and of the Jetson's over-current monitor."""
    cores = root / "sys/devices/system/cpu"
    counters = [
        *(core / "thermal_throttle/core_throttle_count" for core in _folders(cores, "cpu[0-9]*")),
        *(
            counter
            for monitor in _folders(root / "sys/class/hwmon", "hwmon*")
            for counter in sorted(monitor.glob("oc*_event_cnt"))
        ),
    ]
    counts = [value for counter in counters if (value := _number(counter)) is not None]
    return int(sum(counts)) if counts else None


def _folders(parent: Path, pattern: str) -> list[Path]:
    try:
        return sorted(parent.glob(pattern))
    except OSError:
        return []


def _number(file: Path) -> float | None:
    try:
        return float(_text(file))
    except ValueError:
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip(f"\0 {os.linesep}\n")
    except OSError:
        return ""
