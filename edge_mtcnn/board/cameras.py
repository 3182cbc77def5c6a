"""Cameras of this machine: their names, what they deliver, and whether this user may read them.

Read from Linux's ``/sys`` and, where the rights allow it, from the drivers (Video4Linux). Other
systems list nothing. Imports nothing of this package.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Camera", "Mode", "read_cameras"]

_LONGEST_ANSWER = 2.0
"""Seconds that a driver may take to describe its camera."""
_MOST = 64
"""Formats, sizes and rates that are asked for, each."""

# Of linux/videodev2.h.
_QUERYCAP = 0x80685600
_ENUM_FMT = 0xC0405602
_ENUM_FRAMESIZES = 0xC02C564A
_ENUM_FRAMEINTERVALS = 0xC034564B
_HAS_DEVICE_CAPS = 0x80000000
_CAPTURES = {0x00000001: 1, 0x00001000: 9}
"""Capability of a capturing device, and the type of its buffers."""
_CONVERTS = 0x00008000 | 0x00004000
_DISCRETE = 1

# Parts of a board that convert pictures and have device files like those of cameras.
_CONVERTERS = re.compile(r"codec|isp|pispbe|hevc|-dec|-enc|jpeg|scaler", re.IGNORECASE)
# Drivers of bare sensors, whose raw data only these sources can read.
_SENSORS = {
    "unicam": "picamera2",
    "rp1-cfe": "picamera2",
    "tegra-video": "nvarguscamerasrc, a GStreamer pipeline",
    "tegra-camrtc-capture-vi": "nvarguscamerasrc, a GStreamer pipeline",
}


@dataclass(frozen=True, slots=True)
class Mode:
    """One way in which a camera delivers frames.

    Attributes:
        pixels: four-letter code of the pixel format, such as ``MJPG``.
        width, height: size, pixels; the largest where any size can be chosen.
        fps: highest frame rate of this size, if the driver reports it.
    """

    pixels: str
    width: int
    height: int
    fps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """One camera.

    Attributes:
        device: path, such as ``/dev/video0``.
        name: as its driver reports it.
        source: what to give as the source of a video: ``"0"`` for ``/dev/video0``, ``"picamera2"``.
        modes: formats and sizes; empty where the driver does not report them.
        problem: why it cannot be read now; ``None`` when nothing is known.
        advice: what to do then.
    """

    device: str
    name: str
    source: str
    modes: tuple[Mode, ...] = ()
    problem: str | None = None
    advice: str = ""


def read_cameras(root: Path = Path("/")) -> tuple[Camera, ...]:
    """The cameras of this machine, by number; takes a few seconds at most.

    Args:
        root: folder that contains ``sys``, ``dev`` and ``proc``.
    """
    try:
        folders = sorted((root / "sys/class/video4linux").glob("video*"), key=_number)
    except OSError:
        return ()
    return tuple(camera for folder in folders if (camera := _camera(folder, root)) is not None)


def _number(folder: Path) -> int:
    return int(re.sub(r"\D", "", folder.name) or -1)


def _camera(folder: Path, root: Path) -> Camera | None:
    """The camera of an entry in ``/sys``; ``None`` for what is none."""
    name = _text(folder / "name") or folder.name
    driver = (folder / "device/driver").resolve().name
    first = _text(folder / "index") in ("", "0")
    if _CONVERTERS.search(name) or _CONVERTERS.search(driver):
        return None
    device = f"/dev/{folder.name}"
    sensor = next((_SENSORS[key] for key in (driver, name) if key in _SENSORS), None)
    if sensor is not None:
        if not first:  # such a driver has several devices for each sensor
            return None
        problem, advice = _barred(root, device)
        return Camera(device=device, name=name, source=sensor, problem=problem, advice=advice)
    number = str(_number(folder))
    try:
        modes = _within(_LONGEST_ANSWER, lambda: _modes(root / device[1:]))
    except OSError as error:
        # The further devices of a camera, as for its metadata, are told apart by their drivers
        # only.
        problem, advice = _trouble(root, device, error)
        return (
            Camera(device=device, name=name, source=number, problem=problem, advice=advice)
            if first
            else None
        )
    if modes is None:
        return None
    users = _users(root, device)
    return Camera(
        device=device,
        name=name,
        source=number,
        modes=modes,
        problem=f"it is in use by {users}" if users else None,
        advice="end that program, or choose another camera" if users else "",
    )


def _barred(root: Path, device: str) -> tuple[str | None, str]:
    """Why this user cannot open a bare sensor, and what to do; it is not opened for that."""
    file = root / device[1:]
    if not file.exists():
        return _trouble(root, device, FileNotFoundError())
    if not os.access(file, os.R_OK | os.W_OK):
        return _trouble(root, device, PermissionError())
    return None, ""


def _trouble(root: Path, device: str, error: OSError) -> tuple[str, str]:
    """What is wrong with a device that cannot be opened, and what to do."""
    if isinstance(error, PermissionError):
        group = _group(root / device[1:])
        return (
            f"this user may not read {device}",
            f"run 'sudo usermod -aG {group} $USER', then log out and in again",
        )
    if isinstance(error, FileNotFoundError):
        return (
            f"the system knows it, but there is no {device}",
            f"if this is a container, start it with --device {device}",
        )
    if isinstance(error, TimeoutError):
        return "its driver does not answer", "unplug it and plug it in again"
    if error.errno == errno.EBUSY:
        user = _users(root, device) or "another program"
        return f"it is in use by {user}", "end that program, or choose another camera"
    return f"it cannot be opened ({error.strerror})", "unplug it and plug it in again"


def _group(device: Path) -> str:
    """The group that may read a device, ``video`` on most systems."""
    import grp  # not on Windows

    try:
        return grp.getgrgid(device.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "video"


def _users(root: Path, device: str) -> str:
    """The other programs that have the device open; only those that this user may see."""
    users = []
    for folder in (root / "proc").glob("[0-9]*"):
        if folder.name != str(os.getpid()):
            try:
                opened = any(str(link.readlink()) == device for link in (folder / "fd").iterdir())
            except OSError:  # it belongs to someone else, or has ended
                continue
            if opened:
                users.append(f"{_text(folder / 'comm') or 'a program'} (process {folder.name})")
    return ", ".join(users[:3])


def _within(seconds: float, call: Callable[[], tuple[Mode, ...] | None]) -> tuple[Mode, ...] | None:
    """The result of a call that may hang; then a ``TimeoutError``, and its thread is left alone."""
    results: list[tuple[Mode, ...] | None] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            results.append(call())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="edge-mtcnn-camera", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(errno.ETIMEDOUT, "no answer")
    return results[0]


def _modes(device: Path) -> tuple[Mode, ...] | None:
    """What a device delivers; ``None`` if it does not capture pictures.

    Raises:
        OSError: it cannot be opened.
    """
    opened = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = _ask(opened, _QUERYCAP, bytearray(104))
        if answer is None:
            return None
        all_devices, this_device = struct.unpack_from("=II", answer, 84)
        able = this_device if all_devices & _HAS_DEVICE_CAPS else all_devices
        kind = next((_CAPTURES[bit] for bit in _CAPTURES if able & bit), None)
        if kind is None or able & _CONVERTS:
            return None
        return tuple(
            mode for pixels in _formats(opened, kind) for mode in _modes_of(opened, pixels)
        )
    finally:
        os.close(opened)


def _formats(opened: int, kind: int) -> Iterator[bytes]:
    for index in range(_MOST):
        question = bytearray(64)
        struct.pack_into("=II", question, 0, index, kind)
        answer = _ask(opened, _ENUM_FMT, question)
        if answer is None:
            return
        yield bytes(answer[44:48])


def _modes_of(opened: int, pixels: bytes) -> Iterator[Mode]:
    name = pixels.decode("ascii", "replace").strip()
    for index in range(_MOST):
        question = bytearray(44)
        struct.pack_into("=I4s", question, 0, index, pixels)
        answer = _ask(opened, _ENUM_FRAMESIZES, question)
        if answer is None:
            return
        sizing, width, height = struct.unpack_from("=III", answer, 8)
        if sizing != _DISCRETE:  # smallest, largest and step of both sides
            width, height = struct.unpack_from("=4xI8xI", answer, 12)
        yield Mode(name, width, height, _fps(opened, pixels, width, height))
        if sizing != _DISCRETE:
            return


def _fps(opened: int, pixels: bytes, width: int, height: int) -> float | None:
    """The highest frame rate of a size."""
    rates = []
    for index in range(_MOST):
        question = bytearray(52)
        struct.pack_into("=I4sII", question, 0, index, pixels, width, height)
        answer = _ask(opened, _ENUM_FRAMEINTERVALS, question)
        if answer is None:
            break
        sort, numerator, denominator = struct.unpack_from("=III", answer, 16)
        if numerator:
            rates.append(round(denominator / numerator, 2))
        if sort != _DISCRETE:  # the shortest interval comes first
            break
    return max(rates, default=None)


def _ask(opened: int, request: int, question: bytearray) -> bytearray | None:
    """The driver's answer, in the question's place; ``None`` if there is none, or no more."""
    import fcntl  # not on Windows

    try:
        fcntl.ioctl(opened, request, question, True)
    except OSError:
        return None
    return question


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""
