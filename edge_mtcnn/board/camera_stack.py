"""What reads the bare sensors of a board: picamera2 with libcamera, or Argus with GStreamer.

Looked up in files and in the import path; nothing is loaded. Imports nothing of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

__all__ = ["CameraStack", "read_camera_stack"]

_PACKAGES = "usr/lib/python3/dist-packages"
_PLUGIN = "usr/lib/aarch64-linux-gnu/gstreamer-1.0/libgstnvarguscamerasrc.so"
_SOCKET = "tmp/argus_socket"


@dataclass(frozen=True, slots=True)
class CameraStack:
    """What is there to read bare sensors.

    Attributes:
        picamera2, libcamera: whether this Python finds the packages of Raspberry Pi OS.
        system_picamera2: whether the system's own Python has picamera2.
        argus_plugin: whether GStreamer's plugin nvarguscamerasrc of a Jetson is installed.
        argus_daemon: whether the Jetson's camera daemon has opened its socket.
    """

    picamera2: bool = False
    libcamera: bool = False
    system_picamera2: bool = False
    argus_plugin: bool = False
    argus_daemon: bool = False


def _found(module: str) -> bool:
    return find_spec(module) is not None


def read_camera_stack(root: Path = Path("/"), found: Callable[[str], bool] = _found) -> CameraStack:
    """Look for it.

    Args:
        root: folder that contains ``usr`` and ``tmp``.
        found: whether this Python finds a module.
    """
    return CameraStack(
        picamera2=found("picamera2"),
        libcamera=found("libcamera"),
        system_picamera2=(root / _PACKAGES / "picamera2").is_dir(),
        argus_plugin=(root / _PLUGIN).exists(),
        argus_daemon=(root / _SOCKET).exists(),
    )
