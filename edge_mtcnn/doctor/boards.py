"""Rules for Raspberry Pi and Jetson: how to install, power and heat, and the camera stack.

Each rule is a function of facts that were read before. Imports ``board`` and ``rules``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_mtcnn.board.camera_stack import CameraStack
from edge_mtcnn.board.cameras import Camera
from edge_mtcnn.board.identity import Machine
from edge_mtcnn.board.sensors import Readings, Throttling
from edge_mtcnn.doctor.rules import Finding

__all__ = ["camera_stack_findings", "install_lines", "power_findings"]

_HOT = 80.0
"""Degrees Celsius from which a Raspberry Pi reduces its clock."""
_PIP = ".venv/bin/pip install"
_SAME_NUMPY = "\"numpy==$(/usr/bin/python3 -c 'import numpy; print(numpy.__version__)')\""
_WITH_SYSTEM = "make it again with /usr/bin/python3 -m venv --system-site-packages FOLDER"


def install_lines(machine: Machine, cameras: Sequence[Camera] = ()) -> tuple[str, ...]:
    """The commands that install edge-mtcnn on this board; none for other machines.

    A line that starts with ``#`` is a remark.
    """
    if machine.python_bits == 32:
        return ()
    if machine.is_raspberry_pi:
        if any(camera.source == "picamera2" for camera in cameras):
            return (
                "sudo apt install python3-venv python3-picamera2",
                "/usr/bin/python3 -m venv --system-site-packages .venv",
                f"{_PIP} 'edge-mtcnn[cpu]' {_SAME_NUMPY}",
            )
        return ("python3 -m venv .venv", f"{_PIP} 'edge-mtcnn[cpu]'")
    if not machine.is_jetson or machine.jetpack_major == 4:
        return ()
    if machine.jetpack_major == 5:
        return (
            "# JetPack 5 has Python 3.8, which is too old; install 3.10 or newer beside it",
            "python3.10 -m venv .venv",
            f"{_PIP} 'edge-mtcnn[cpu]'",
        )
    gpu = {
        6: (
            f"# for the GPU instead: {_PIP} edge-mtcnn, and onnxruntime-gpu for JetPack 6,"
            " CUDA 12.6 and Python 3.10 from the Jetson AI Lab (jp6/cu126)"
        )
    }.get(
        machine.jetpack_major or 0,
        "# no wheel of onnxruntime-gpu is known for the GPU of this JetPack",
    )
    return ("python3 -m venv .venv", f"{_PIP} 'edge-mtcnn[cpu]'", gpu)


def power_findings(
    machine: Machine, readings: Readings, throttling: Throttling | None
) -> list[Finding]:
    """Power and heat that slow a board down; they also corrupt memory cards and hang cameras."""
    return list(_power(machine, readings, throttling))


def _power(
    machine: Machine, readings: Readings, throttling: Throttling | None
) -> Iterator[Finding]:
    if not machine.is_arm:
        return
    now = throttling.now if throttling is not None else ()
    limits = tuple(dict.fromkeys((*now, *readings.limits)))
    past = throttling.since_start if throttling is not None else ()
    if limits:
        yield Finding(
            "warning", f"the board is slowed down now: {', '.join(limits)}", _cure(limits)
        )
    if earlier := tuple(limit for limit in past if limit not in limits):
        what = f"the board was slowed down since it started: {', '.join(earlier)}"
        yield Finding("warning", what, _cure(earlier))
    if machine.is_jetson and readings.throttle_events:
        yield Finding(
            "warning",
            f"the board drew too much current {readings.throttle_events} times since it started,"
            " and reduced its clock",
            "choose a power mode that its power supply can feed: sudo nvpmodel -q shows it",
        )
    hottest = max(readings.temperatures.values(), default=0.0)
    if machine.is_raspberry_pi and hottest >= _HOT and not limits:
        what = f"the processor has {hottest:.0f} °C; from {_HOT:.0f} °C on it reduces its clock"
        yield Finding("warning", what, _cure(()))


def _cure(limits: Sequence[str]) -> str:
    if "under-voltage" in limits:
        return (
            "use the power supply made for this board, with its own short cable; a hub or a phone's"
            " charger is too weak"
        )
    return "give it a heat sink and a fan, or a case that lets air through"


def camera_stack_findings(
    cameras: Sequence[Camera], stack: CameraStack, *, gstreamer: bool | None
) -> list[Finding]:
    """What is missing to read the bare sensors that are there.

    Args:
        cameras: the cameras of the machine.
        stack: what is there to read them.
        gstreamer: whether this OpenCV reads GStreamer's pipelines; ``None`` when unknown.
    """
    sources = " ".join(camera.source for camera in cameras)
    found = [*_libcamera(stack)] if "picamera2" in sources else []
    if "nvarguscamerasrc" in sources:
        found += _argus(stack, gstreamer)
    return found


def _libcamera(stack: CameraStack) -> Iterator[Finding]:
    if stack.picamera2 and not stack.libcamera:
        yield Finding(
            "warning",
            "picamera2 is installed without libcamera, which only Raspberry Pi OS has",
            "pip uninstall -y picamera2; sudo apt install python3-picamera2; if this environment"
            f" does not see it then, {_WITH_SYSTEM}",
        )
    elif not stack.picamera2 and stack.system_picamera2:
        yield Finding(
            "warning",
            "this environment does not see the system's picamera2, which reads the camera module",
            _WITH_SYSTEM,
        )
    elif not stack.picamera2:
        yield Finding(
            "warning",
            "picamera2 is not installed, which reads the camera module",
            "sudo apt install python3-picamera2; if this environment does not see it then,"
            f" {_WITH_SYSTEM}",
        )


def _argus(stack: CameraStack, gstreamer: bool | None) -> Iterator[Finding]:
    if not stack.argus_plugin:
        yield Finding(
            "warning",
            "GStreamer's plugin nvarguscamerasrc is not installed, which reads the CSI camera",
            "sudo apt install nvidia-l4t-gstreamer",
        )
    if not stack.argus_daemon:
        yield Finding(
            "warning",
            "the camera daemon is not running: there is no /tmp/argus_socket",
            "sudo systemctl restart nvargus-daemon; if this is a container, start it with --volume"
            " /tmp/argus_socket:/tmp/argus_socket",
        )
    if gstreamer is False:
        yield Finding(
            "warning",
            "this OpenCV cannot read GStreamer's pipelines, which a CSI camera needs",
            "use the OpenCV of JetPack: pip uninstall -y opencv-python-headless; if this"
            f" environment has no OpenCV then, {_WITH_SYSTEM}",
        )
