"""The machine: board, processor and its features, memory, limits of the container.

Read from files of Linux; what a system does not report is ``None`` or empty. Imports
``runtime.workers`` only.
"""

from __future__ import annotations

import os
import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_mtcnn.runtime.workers import available_threads

__all__ = ["Machine", "read_machine"]

# Features that convolution kernels use, by their names in /proc/cpuinfo; x86-64, then Arm.
# fmt: off
_FEATURES = (
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni",
    "avx512_bf16", "amx_tile",
    "neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme", "sme2",
)
# fmt: on
_JETPACK_OF_L4T = {"32": 4, "34": 5, "35": 5, "36": 6, "38": 7, "39": 7}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine.

    Attributes:
        system: operating system and its release.
        architecture: as the kernel names it, such as ``x86_64`` or ``aarch64``.
        python_bits: 32 or 64; a 32-bit Python also runs under a 64-bit Arm kernel.
        board: name of the board, such as ``Raspberry Pi 4 Model B Rev 1.4``.
        compatible: names of board and processor in the device tree, such as
            ``raspberrypi,4-model-b`` and ``brcm,bcm2711``.
        distribution: the Linux distribution, such as ``Debian GNU/Linux 12 (bookworm)``.
        jetson_release: first line of the Jetson's L4T release file.
        jetpack: version of the installed package nvidia-jetpack; ``None`` also on a Jetson without
            it.
        processor: name of the processor.
        features: instruction sets of the processor that matter to convolutions.
        cores: logical processors of the machine.
        threads: how many of them this process may use, by affinity and container.
        memory: memory in bytes, at most the limit of the container.
        memory_available: memory that can be used without swapping, bytes.
    """

    system: str
    architecture: str
    python_bits: int
    board: str | None
    jetson_release: str | None
    processor: str | None
    features: tuple[str, ...]
    cores: int
    threads: int
    memory: int | None
    memory_available: int | None
    compatible: tuple[str, ...] = ()
    distribution: str | None = None
    jetpack: str | None = None

    @property
    def is_arm(self) -> bool:
        """Whether this is an Arm processor, 32 or 64 bits."""
        return self.architecture.lower().startswith(("arm", "aarch64"))

    @property
    def is_jetson(self) -> bool:
        """Whether the board is an NVIDIA Jetson."""
        return self.jetson_release is not None or "jetson" in (self.board or "").lower()

    @property
    def is_raspberry_pi(self) -> bool:
        """Whether the board is a Raspberry Pi."""
        return any(name.startswith("raspberrypi,") for name in self.compatible) or (
            self.board or ""
        ).startswith("Raspberry Pi")

    @property
    def l4t(self) -> str | None:
        """Version of a Jetson's Linux, such as ``36.4.3``."""
        found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", self.jetson_release or "")
        return f"{found[1]}.{found[2]}" if found else None

    @property
    def jetpack_major(self) -> int | None:
        """Major version of a Jetson's JetPack, from its package or else from its Linux."""
        text = self.jetpack or ""
        if number := re.match(r"\d+", text):
            return int(number[0])
        return _JETPACK_OF_L4T.get((self.l4t or "").partition(".")[0])

    def summary(self) -> dict[str, Any]:
        """What decides about speed, as plain values: the ``machine`` of results of benchmarks."""
        return {
            "system": self.system,
            "architecture": self.architecture,
            "board": self.board,
            "cpu": self.processor or self.architecture,
            "features": list(self.features),
            "cores": self.cores,
            "threads": self.threads,
            "memory_mb": None if self.memory is None else round(self.memory / 1e6),
        }


def read_machine(root: Path = Path("/")) -> Machine:
    """Read the facts of this machine.

    Args:
        root: folder that contains ``proc``, ``sys``, ``etc`` and ``var``.
    """
    info = _text(root / "proc/cpuinfo") or ""
    memory, available = _memory(root)
    release = _text(root / "etc/nv_tegra_release")
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        python_bits=8 * struct.calcsize("P"),
        board=_board(root),
        jetson_release=release.splitlines()[0].lstrip("# ") if release else None,
        processor=_field(info, "model name") or platform.processor() or None,
        features=_features(info),
        cores=os.cpu_count() or 1,
        threads=available_threads(),
        memory=memory,
        memory_available=available,
        compatible=_compatible(root),
        distribution=_distribution(root),
        jetpack=_package_version(root, "nvidia-jetpack") if release else None,
    )


def _board(root: Path) -> str | None:
    for file in ("proc/device-tree/model", "sys/devices/virtual/dmi/id/product_name"):
        name = (_text(root / file) or "").strip("\0 \n")
        if name:
            return name
    return None


def _compatible(root: Path) -> tuple[str, ...]:
    names = (_text(root / "proc/device-tree/compatible") or "").split("\0")
    return tuple(filter(None, (name.strip() for name in names)))


def _distribution(root: Path) -> str | None:
    for line in (_text(root / "etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'") or None
    return None


def _package_version(root: Path, name: str) -> str | None:
    """Version of a Debian package, if it is installed."""
    for entry in (_text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        if entry.startswith(f"Package: {name}\n") and "\nStatus: install ok installed\n" in entry:
            return _field(entry, "Version")
    return None


def _features(info: str) -> tuple[str, ...]:
    present = (_field(info, "flags") or _field(info, "Features") or "").split()
    return tuple(name for name in _FEATURES if name in present)


def _memory(root: Path) -> tuple[int | None, int | None]:
    info = _text(root / "proc/meminfo") or ""
    total, available = (_kilobytes(_field(info, name)) for name in ("MemTotal", "MemAvailable"))
    limits = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
    for file in limits:
        limit = (_text(root / file) or "").strip()
        if total is not None and limit.isdigit():  # else "max"
            total = min(total, int(limit))
    if total is not None and available is not None:
        available = min(total, available)
    return total, available


def _kilobytes(value: str | None) -> int | None:
    return int(value.split()[0]) * 1024 if value else None


def _field(text: str, name: str) -> str | None:
    """Value of the first line ``name : value``."""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            return value.strip()
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
