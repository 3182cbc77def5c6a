"""Cameras of a machine, from folders as Linux makes them and a driver that answers as V4L2 does."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import grp
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from edge_mtcnn.board import cameras
from edge_mtcnn.board.cameras import Camera, Mode, read_cameras
from edge_mtcnn.doctor.rules import camera_findings
from edge_mtcnn.video.source.advice import camera_reason

T = TypeVar("T")
JPEG, YUYV = b"MJPG", b"YUYV"
SIZES = {JPEG: [(1920, 1080, 30), (1280, 720, 60)], YUYV: [(640, 480, 30)]}


# As in linux/videodev2.h.
class Capability(ctypes.Structure):
    _fields_ = (
        ("names", ctypes.c_char * 80),
        ("version", ctypes.c_uint32),
        ("capabilities", ctypes.c_uint32),
        ("device_caps", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 3),
    )


class Format(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("description", ctypes.c_char * 32),
        ("pixels", ctypes.c_char * 4),
        ("mbus", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 3),
    )


class Size(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("pixels", ctypes.c_char * 4),
        ("type", ctypes.c_uint32),
        ("values", ctypes.c_uint32 * 6),
        ("reserved", ctypes.c_uint32 * 2),
    )


class Interval(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("pixels", ctypes.c_char * 4),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("values", ctypes.c_uint32 * 6),
        ("reserved", ctypes.c_uint32 * 2),
    )


class Driver:
    """Answers the questions about one device."""

    def __init__(self, caps: int = 0x04200001, *, stepwise: bool = False) -> None:
        self.caps = caps
        self.stepwise = stepwise

    def __call__(self, opened: int, request: int, question: bytearray, mutate: bool) -> int:
        assert mutate
        assert opened > 2
        number, size = request & 0xFF, request >> 16 & 0x3FFF
        assert (request >> 8 & 0xFF, size) == (ord("V"), len(question))
        if number == 0:
            answer = Capability.from_buffer(question)
            answer.capabilities, answer.device_caps = 0x80000000 | self.caps | 1, self.caps
        elif number == 2:
            told = Format.from_buffer(question)
            assert told.type == 1
            told.pixels = self.at(list(SIZES), told.index)
        elif number == 74:
            mode = Size.from_buffer(question)
            width, height, _ = self.at(SIZES[mode.pixels], mode.index)
            mode.type = 2 if self.stepwise else 1
            values = (16, width, 8, 16, height, 4) if self.stepwise else (width, height)
            mode.values[: len(values)] = values
        else:
            assert number == 75
            rate = Interval.from_buffer(question)
            asked = (rate.width, rate.height)
            fps = next(mode[2] for mode in SIZES[rate.pixels] if mode[:2] == asked)
            rate.type = 1
            rate.values[:2] = self.at([(1, 15), (1, fps)], rate.index)
        return 0

    @staticmethod
    def at(values: Sequence[T], index: int) -> T:
        if index >= len(values):
            raise OSError(errno.EINVAL, "no more")
        return values[index]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    monkeypatch.setattr(fcntl, "ioctl", driver)
    return driver


def add(root: Path, number: int, name: str, driver: str = "uvcvideo", index: int = 0) -> Path:
    """A device as the kernel lists it, and its file; returns the file."""
    folder = root / f"sys/class/video4linux/video{number}"
    (root / "sys/bus/drivers" / driver).mkdir(parents=True, exist_ok=True)
    (folder / "device").mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "index").write_text(f"{index}\n")
    (folder / "device/driver").symlink_to(root / "sys/bus/drivers" / driver)
    file = root / f"dev/video{number}"
    file.parent.mkdir(exist_ok=True)
    file.touch()
    return file


def refuse(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """Let opening of devices fail. Root may open everything, so rights cannot be tested as such."""
    real = os.open

    def fake(path: str | Path, flags: int, *more: int) -> int:
        if "dev/video" in str(path):
            raise error
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", fake)


def test_a_camera_is_listed_with_its_name_formats_sizes_and_rates(
    tmp_path: Path, driver: Driver
) -> None:
    add(tmp_path, 10, "Second")
    add(tmp_path, 2, "HD Webcam: HD Webcam")
    first, second = read_cameras(tmp_path)
    assert (second.device, second.name, second.source) == ("/dev/video10", "Second", "10")
    assert first == Camera(
        device="/dev/video2",
        name="HD Webcam: HD Webcam",
        source="2",
        modes=(
            Mode("MJPG", 1920, 1080, 30),
            Mode("MJPG", 1280, 720, 60),
            Mode("YUYV", 640, 480, 30),
        ),
    )
    driver.stepwise = True
    assert read_cameras(tmp_path)[0].modes[0] == Mode("MJPG", 1920, 1080, 30)


@pytest.mark.parametrize(
    ("name", "caps"),
    [
        ("HD Webcam metadata", 0x04A00000),
        ("bcm2835-codec-decode", 0x04204000),
        ("rpi-hevc-dec", 0x04204000),
        ("bcm2835-isp-capture0", 0x04200001),
        ("scaler without a telling name", 0x04208001),
    ],
)
def test_what_is_no_camera_is_not_listed(
    name: str, caps: int, tmp_path: Path, driver: Driver
) -> None:
    add(tmp_path, 0, name)
    driver.caps = caps
    assert read_cameras(tmp_path) == ()


def test_a_machine_without_cameras_lists_none(tmp_path: Path) -> None:
    assert read_cameras(tmp_path) == ()
    assert camera_reason(0, tmp_path).startswith("this machine has no camera; plug one in")


def test_a_camera_without_rights_is_listed_with_the_group_to_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, 0, "HD Webcam")
    add(tmp_path, 1, "HD Webcam", index=1)  # its metadata
    refuse(monkeypatch, PermissionError(errno.EACCES, "Permission denied"))
    (camera,) = read_cameras(tmp_path)
    group = grp.getgrgid((tmp_path / "dev/video0").stat().st_gid).gr_name
    assert camera.problem == "this user may not read /dev/video0"
    assert f"usermod -aG {group} $USER" in camera.advice
    assert camera_reason(0, tmp_path) == f"{camera.problem}; {camera.advice}"
    (finding,) = camera_findings([camera])
    assert finding.level == "warning"
    assert finding.what == "HD Webcam: this user may not read /dev/video0"
    assert "usermod" in finding.advice


def test_a_camera_that_a_container_does_not_see_is_explained(tmp_path: Path) -> None:
    add(tmp_path, 0, "HD Webcam").unlink()
    assert "start it with --device /dev/video0" in camera_reason(0, tmp_path)


def test_a_camera_in_use_names_the_program(tmp_path: Path, driver: Driver) -> None:
    add(tmp_path, 0, "HD Webcam")
    for number, target in ((812, "/dev/video0"), (813, "/dev/null")):
        folder = tmp_path / f"proc/{number}"
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text("cheese\n")
        (folder / "fd/7").symlink_to(target)
    (camera,) = read_cameras(tmp_path)
    assert camera.problem == "it is in use by cheese (process 812)"
    assert camera.modes
    assert "end that program" in camera_reason(0, tmp_path)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (OSError(errno.EBUSY, "Device or resource busy"), "it is in use by another program"),
        (OSError(errno.ENODEV, "No such device"), r"it cannot be opened (No such device)"),
    ],
)
def test_a_device_that_cannot_be_opened_is_listed_with_the_reason(
    error: OSError, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, 0, "HD Webcam")
    refuse(monkeypatch, error)
    assert [camera.problem for camera in read_cameras(tmp_path)] == [problem]


def test_a_driver_that_hangs_delays_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tmp_path, 0, "HD Webcam")
    released = threading.Event()
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: released.wait(20) and 0)
    monkeypatch.setattr(cameras, "_LONGEST_ANSWER", 0.05)
    (camera,) = read_cameras(tmp_path)
    assert camera.problem == "its driver does not answer"
    released.set()


@pytest.mark.parametrize(
    ("driver_name", "source"),
    [("unicam", "picamera2"), ("rp1-cfe", "picamera2"), ("tegra-video", "nvarguscamerasrc")],
)
def test_a_bare_sensor_is_listed_once_with_what_reads_it(
    driver_name: str, source: str, tmp_path: Path
) -> None:
    for index in range(3):
        add(tmp_path, index, f"{driver_name}-{index}", driver_name, index)
    (camera,) = read_cameras(tmp_path)
    assert camera.source.startswith(source)
    assert f"is a bare sensor; read it with {source}" in camera_reason(0, tmp_path)


def test_another_number_is_answered_with_the_cameras_that_there_are(
    tmp_path: Path, driver: Driver
) -> None:
    add(tmp_path, 2, "HD Webcam")
    assert camera_reason(0, tmp_path) == (
        "there is no such camera; cameras of this machine: 2 (HD Webcam)"
    )
    assert "HD Webcam does not start" in camera_reason(2, tmp_path)


@pytest.mark.parametrize(
    ("system", "advice"), [("darwin", "System Settings"), ("win32", "desktop apps")]
)
def test_other_systems_say_where_cameras_are_allowed(
    system: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", system)
    assert advice in camera_reason(0)
