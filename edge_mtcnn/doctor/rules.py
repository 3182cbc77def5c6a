"""Combinations of packages, machine and settings that are known to fail, with advice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from edge_mtcnn.board.cameras import Camera
from edge_mtcnn.board.identity import Machine
from edge_mtcnn.doctor.packages import Package
from edge_mtcnn.doctor.selftest import SelfTest

__all__ = ["Finding", "camera_findings", "findings", "self_test_findings"]

_INSTALL_ONE = (
    "install exactly one: pip install 'edge-mtcnn[cpu]' (processors), pip install"
    " 'edge-mtcnn[gpu]' (NVIDIA cards), or on a Jetson the onnxruntime-gpu wheel for its JetPack"
)

# Patterns in the error of a self-test, and the advice for each.
_SIGNS = (
    ("SIGILL", "install another version of ONNX Runtime; this one was built for newer processors"),
    (r"libGL|libgthread", "pip uninstall -y opencv-python; pip install opencv-python-headless"),
    (r"numpy.*(1\.x|multiarray|_ARRAY_API)", "pip install 'numpy<2', or a newer ONNX Runtime"),
    ("did not start|available", "check driver and device, or use --device auto"),
    (
        "DefaultLogger",
        "mount /proc, or install ONNX Runtime 1.26 or newer, which starts without it",
    ),
    ("no answer", "stop other programs and try again with --threads 1"),
)

_SOCS_OF_32_BITS = frozenset(
    {"brcm,bcm2835", "brcm,bcm2836"}
)  # Raspberry Pi 1, Zero and the first 2


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem or a warning.

    Attributes:
        level: ``problem`` for what does not work or will fail; ``warning`` for what works now but
            may fail later.
        what: what is wrong.
        advice: what to do.
    """

    level: Literal["problem", "warning"]
    what: str
    advice: str


def findings(
    machine: Machine, runtimes: Sequence[Package], opencvs: Sequence[Package]
) -> list[Finding]:
    """What is wrong with this combination; the packages are not loaded."""
    return [*_architecture(machine), *_runtimes(machine, runtimes), *_opencvs(opencvs)]


def camera_findings(cameras: Sequence[Camera]) -> list[Finding]:
    """The cameras that cannot be read now."""
    return [
        Finding("warning", f"{camera.name}: {camera.problem}", camera.advice)
        for camera in cameras
        if camera.problem is not None
    ]


def self_test_findings(test: SelfTest) -> list[Finding]:
    """What is wrong according to the self-test."""
    if test.passed:
        if (provider := test.told.get("not_started")) is None:
            return []
        what = f"ONNX Runtime has a provider that does not start: {provider}"
        return [Finding("problem", what, str(test.told["not_started_advice"]))]
    if test.error is None:
        count = len(test.told.get("faces", ()))
        return [
            Finding(
                "problem",
                f"the self-test found {count} face(s) instead of the one face in the sample photo",
                "try --device cpu; if that does not help, report it with the output of doctor"
                " --json",
            )
        ]
    fitting = (advice for sign, advice in _SIGNS if re.search(sign, test.error, re.IGNORECASE))
    advice = next(fitting, "fix what the message says")
    return [Finding("problem", f"the self-test failed: {test.error}", advice)]


def _architecture(machine: Machine) -> Iterator[Finding]:
    if machine.is_arm and machine.python_bits == 32:
        yield Finding(
            "problem",
            "this Python is a 32-bit Arm program, for which there are no ONNX Runtime wheels",
            "this board has no 64-bit processor; use a Raspberry Pi 3, Zero 2 W or newer"
            if _SOCS_OF_32_BITS.intersection(machine.compatible)
            else "install a 64-bit system (on a Raspberry Pi 3 or newer: Raspberry Pi OS, 64-bit);"
            " a 64-bit kernel alone is not enough",
        )
    if machine.jetpack_major == 4:
        yield Finding(
            "problem",
            "JetPack 4 is too old: its glibc 2.27 cannot load the wheels of ONNX Runtime",
            "install JetPack 5 or newer; there is none for Jetson Nano, TX1 and TX2",
        )


def _runtimes(machine: Machine, runtimes: Sequence[Package]) -> Iterator[Finding]:
    if not runtimes:
        yield Finding("problem", "no ONNX Runtime is installed", _INSTALL_ONE)
    if len(runtimes) > 1:
        yield _two_runtimes(machine, [package.name for package in runtimes])
    for package in runtimes:
        version = _numbers(package.version)
        if version == (1, 21, 0) and "Raspberry Pi 4" in (machine.board or ""):
            yield Finding(
                "problem",
                f"{package} crashes with an illegal instruction on a Raspberry Pi 4",
                f"pip install --upgrade '{package.name}!=1.21.0'",
            )
        if package.name == "onnxruntime-gpu" and machine.is_jetson and package.from_index:
            yield Finding(
                "problem",
                f"{package} from the package index is not built for a Jetson's GPU",
                "pip uninstall -y onnxruntime-gpu, then install NVIDIA's wheel for this JetPack, or"
                " 'edge-mtcnn[cpu]', which can be faster for networks this small",
            )
        if machine.is_arm and "sme" in machine.features and version < (1, 27):
            yield Finding(
                "warning",
                f"{package} leaks memory in convolutions on Arm processors with SME",
                "edge-mtcnn switches those kernels off in its own sessions; for other programs:"
                f" pip install --upgrade '{package.name}>=1.27'",
            )


def _two_runtimes(machine: Machine, names: list[str]) -> Finding:
    gpu = [name for name in names if name not in ("onnxruntime", "ort-nightly")]
    kept = gpu[0] if gpu and not (machine.is_arm and not machine.is_jetson) else names[0]
    return Finding(
        "problem",
        f"{len(names)} distributions of ONNX Runtime overwrite each other's files:"
        f" {', '.join(names)}",
        # Removing one also removes files of the other, so the one to keep is installed again.
        f"keep one, for example: pip uninstall -y {' '.join(names)}; then pip install {kept}",
    )


def _opencvs(opencvs: Sequence[Package]) -> Iterator[Finding]:
    if len(opencvs) > 1:
        names = [package.name for package in opencvs]
        yield Finding(
            "warning",
            f"{len(names)} distributions of OpenCV overwrite each other's files:"
            f" {', '.join(names)}",
            "keep the one you need (opencv-python shows windows, opencv-python-headless cannot):"
            f" pip uninstall -y {' '.join(names)}; then install that one",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])
