"""What the doctor says on Raspberry Pi and Jetson, from their files and outputs of commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import BOARDS, Board, unpacked

from edge_mtcnn import RuntimeOptions
from edge_mtcnn.board.camera_stack import CameraStack, read_camera_stack
from edge_mtcnn.board.cameras import Camera, read_cameras
from edge_mtcnn.board.sensors import Readings, Throttling, read_device, read_throttling
from edge_mtcnn.cli import main
from edge_mtcnn.cli.arguments import sample_photo
from edge_mtcnn.doctor import examine
from edge_mtcnn.doctor.boards import camera_stack_findings, install_lines, power_findings
from edge_mtcnn.doctor.packages import Package
from edge_mtcnn.doctor.rules import Finding, findings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="boards run Linux")

CPU = Package("onnxruntime", "1.32.0", from_index=True)
HEADLESS = Package("opencv-python-headless", "5.0.0.93")
CSI = Camera(device="/dev/video0", name="vi-output, imx219", source="nvarguscamerasrc, a pipeline")
MODULE = Camera(device="/dev/video0", name="unicam-image", source="picamera2")
WHOLE = CameraStack(
    picamera2=True, libcamera=True, system_picamera2=True, argus_plugin=True, argus_daemon=True
)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Board]:
    return lambda name: unpacked(name, tmp_path, monkeypatch)


def told(found: list[Finding]) -> list[str]:
    return [finding.what for finding in found]


NAMES: dict[str, tuple[str, str | None, str | None, int | None]] = {
    "raspberry-pi-5": ("Raspberry Pi 5 Model B Rev 1.0", None, None, None),
    "raspberry-pi-4": ("Raspberry Pi 4 Model B Rev 1.4", None, None, None),
    "raspberry-pi-4-32-bit": ("Raspberry Pi 4 Model B Rev 1.4", None, None, None),
    "raspberry-pi-zero-w": ("Raspberry Pi Zero W Rev 1.1", None, None, None),
    "jetson-orin-nano-jetpack-6": (
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "36.4.7",
        "6.2.1+b38",
        6,
    ),
    "jetson-orin-nano-jetpack-7": (
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "39.2.1",
        None,
        7,
    ),
    "jetson-agx-orin-jetpack-5": ("Jetson AGX Orin Developer Kit", "35.4.1", None, 5),
    "jetson-agx-thor-jetpack-7": ("NVIDIA Jetson AGX Thor Developer Kit", "38.2.0", None, 7),
    "jetson-nano-jetpack-4": ("NVIDIA Jetson Nano Developer Kit", "32.7.1", None, 4),
}


def test_every_board_is_tested() -> None:
    assert sorted(NAMES) == BOARDS


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_is_known_by_its_device_tree_and_its_release(
    name: str, board: Callable[[str], Board]
) -> None:
    machine = board(name).machine()
    model, l4t, jetpack, major = NAMES[name]
    assert (machine.board, machine.l4t, machine.jetpack) == (model, l4t, jetpack)
    assert machine.jetpack_major == major
    assert machine.is_raspberry_pi is name.startswith("raspberry-pi")
    assert machine.is_jetson is name.startswith("jetson")
    assert machine.compatible[-1].startswith(("brcm,bcm", "nvidia,tegra"))
    assert machine.distribution
    assert machine.is_arm
    assert machine.memory
    assert machine.memory > 4e8


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("raspberry-pi-4-32-bit", "install a 64-bit system"),
        ("raspberry-pi-zero-w", "this board has no 64-bit processor"),
    ],
)
def test_a_32_bit_system_is_a_clear_no(
    name: str, advice: str, board: Callable[[str], Board]
) -> None:
    machine = board(name).machine()
    (finding,) = findings(machine, [CPU], [HEADLESS])
    assert finding.level == "problem"
    assert "32-bit" in finding.what
    assert advice in finding.advice
    assert install_lines(machine) == ()


def test_jetpack_4_is_a_clear_no(board: Callable[[str], Board]) -> None:
    machine = board("jetson-nano-jetpack-4").machine()
    (finding,) = findings(machine, [CPU], [HEADLESS])
    assert finding.level == "problem"
    assert "JetPack 4" in finding.what
    assert install_lines(machine) == ()


@pytest.mark.parametrize("name", [name for name in BOARDS if name[-4:] not in ("-bit", "ro-w")])
def test_nothing_else_is_wrong_with_a_board_of_64_bits(
    name: str, board: Callable[[str], Board]
) -> None:
    wrong = told(findings(board(name).machine(), [CPU], [HEADLESS]))
    assert wrong == [] or name == "jetson-nano-jetpack-4"


def test_the_install_lines_are_those_of_the_board(board: Callable[[str], Board]) -> None:
    pi = board("raspberry-pi-5")
    with_module = install_lines(pi.machine(), read_cameras(pi.root))
    assert "python3-picamera2" in with_module[0]
    assert "--system-site-packages" in with_module[1]
    assert "edge-mtcnn[cpu]" in with_module[2]
    assert "numpy==" in with_module[2]
    assert install_lines(pi.machine()) == (
        "python3 -m venv .venv",
        ".venv/bin/pip install 'edge-mtcnn[cpu]'",
    )


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("jetson-agx-orin-jetpack-5", "Python 3.8"),
        ("jetson-orin-nano-jetpack-6", "jp6/cu126"),
        ("jetson-orin-nano-jetpack-7", "no wheel of onnxruntime-gpu is known"),
        ("jetson-agx-thor-jetpack-7", "no wheel of onnxruntime-gpu is known"),
    ],
)
def test_a_jetson_gets_the_line_for_its_processor_and_a_remark_on_its_gpu(
    name: str, part: str, board: Callable[[str], Board]
) -> None:
    lines = install_lines(board(name).machine())
    assert ".venv/bin/pip install 'edge-mtcnn[cpu]'" in lines
    (remark,) = [line for line in lines if line.startswith("#")]
    assert part in remark


def test_other_machines_get_no_install_lines(board: Callable[[str], Board]) -> None:
    machine = board("raspberry-pi-4").machine()
    assert install_lines(replace(machine, board="ROCK 5B", compatible=("radxa,rock-5b",))) == ()


def test_a_pi_5_is_asked_by_its_command_as_it_has_no_file(board: Callable[[str], Board]) -> None:
    pi = board("raspberry-pi-5")
    assert read_device(pi.root).limits == ("under-voltage",)  # by the monitor of the kernel
    throttling = read_throttling(pi.root)
    assert throttling == Throttling(("under-voltage",), ("under-voltage", "throttled"))
    now, earlier = power_findings(pi.machine(), read_device(pi.root), throttling)
    assert now.what == "the board is slowed down now: under-voltage"
    assert "power supply" in now.advice
    assert earlier.what == "the board was slowed down since it started: throttled"
    assert "fan" in earlier.advice


def test_a_pi_4_has_a_file_with_what_slowed_it_down(board: Callable[[str], Board]) -> None:
    pi = board("raspberry-pi-4")
    throttling = read_throttling(pi.root)
    assert throttling == Throttling((), ("clock capped", "throttled", "soft temperature limit"))
    earlier, hot = power_findings(pi.machine(), read_device(pi.root), throttling)
    assert earlier.level == hot.level == "warning"
    assert "clock capped, throttled, soft temperature limit" in earlier.what
    assert "82 °C" in hot.what


def test_a_pi_that_has_enough_power_is_not_accused(board: Callable[[str], Board]) -> None:
    pi = board("raspberry-pi-4-32-bit")
    throttling = read_throttling(pi.root)
    assert throttling == Throttling()
    assert power_findings(pi.machine(), read_device(pi.root), throttling) == []


def test_without_file_and_command_nothing_is_known_of_throttling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_throttling(tmp_path) is None
    broken = tmp_path / "vcgencmd"
    broken.write_text("#!/bin/sh\necho VCHI initialization failed >&2\nexit 255\n")
    broken.chmod(0o755)
    assert read_throttling(tmp_path) is None


def test_a_jetson_that_drew_too_much_current_says_so(board: Callable[[str], Board]) -> None:
    jetson = board("jetson-orin-nano-jetpack-6")
    readings = read_device(jetson.root)
    assert readings.temperatures == {
        "cpu-thermal": 51.437,
        "gpu-thermal": 50.218,
        "tj-thermal": 51.437,
    }
    (finding,) = power_findings(jetson.machine(), readings, None)
    assert "too much current 4 times" in finding.what
    assert "nvpmodel" in finding.advice


def test_a_server_is_not_told_to_buy_a_fan(board: Callable[[str], Board]) -> None:
    server = replace(board("raspberry-pi-4").machine(), architecture="x86_64", compatible=())
    readings = Readings(limits=("Processor at 3 of 10 to cool down",), throttle_events=7)
    assert power_findings(server, readings, None) == []


@pytest.mark.parametrize(
    ("stack", "what"),
    [
        (WHOLE, None),
        (CameraStack(picamera2=True), "without libcamera"),
        (CameraStack(system_picamera2=True), "does not see the system's picamera2"),
        (CameraStack(), "picamera2 is not installed"),
    ],
)
def test_a_camera_module_needs_picamera2_in_this_environment(
    stack: CameraStack, what: str | None
) -> None:
    found = camera_stack_findings([MODULE], stack, gstreamer=False)
    assert len(found) == (what is not None)
    for finding in found:
        assert what is not None
        assert what in finding.what
        assert "--system-site-packages" in finding.advice
    assert camera_stack_findings([], stack, gstreamer=False) == []


@pytest.mark.parametrize(
    ("stack", "gstreamer", "parts"),
    [
        (WHOLE, True, []),
        (WHOLE, None, []),
        (WHOLE, False, ["this OpenCV"]),
        (replace(WHOLE, argus_daemon=False), True, ["/tmp/argus_socket"]),
        (CameraStack(), False, ["nvarguscamerasrc", "/tmp/argus_socket", "this OpenCV"]),
    ],
)
def test_a_csi_camera_of_a_jetson_needs_argus_and_gstreamer(
    stack: CameraStack, gstreamer: bool | None, parts: list[str]
) -> None:
    found = told(camera_stack_findings([CSI], stack, gstreamer=gstreamer))
    assert len(found) == len(parts)
    assert all(part in what for part, what in zip(parts, found, strict=True))


def test_the_camera_stack_is_looked_up_in_files_and_modules(board: Callable[[str], Board]) -> None:
    jetson = board("jetson-orin-nano-jetpack-6")
    assert read_camera_stack(jetson.root, lambda _: False) == CameraStack(argus_plugin=True)
    (jetson.root / "tmp").mkdir()
    (jetson.root / "tmp/argus_socket").touch()
    (jetson.root / "usr/lib/python3/dist-packages/picamera2").mkdir(parents=True)
    expected = replace(WHOLE, libcamera=False)
    assert read_camera_stack(jetson.root, lambda name: name == "picamera2") == expected


def test_a_camera_module_that_this_user_may_not_read_is_reported(
    board: Callable[[str], Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    pi = board("raspberry-pi-5")
    (camera,) = read_cameras(pi.root)  # the converters of the board are none
    assert (camera.name, camera.source, camera.problem) == ("rp1-cfe-csi2_ch0", "picamera2", None)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    (camera,) = read_cameras(pi.root)
    assert camera.problem == "this user may not read /dev/video0"
    assert "usermod -aG" in camera.advice
    (pi.root / "dev/video0").unlink()
    (camera,) = read_cameras(pi.root)
    assert "--device /dev/video0" in camera.advice


def test_the_whole_report_of_a_board(
    board: Callable[[str], Board],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pi = board("raspberry-pi-5")
    monkeypatch.setattr("edge_mtcnn.doctor.read_machine", lambda _: pi.machine())
    examined = examine(sample_photo(), RuntimeOptions(threads=1), root=pi.root)
    monkeypatch.setattr("edge_mtcnn.doctor.examine", lambda *_: examined)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for line in (
        "  board           Raspberry Pi 5 Model B Rev 1.0",
        "  distribution    Debian GNU/Linux 13 (trixie)",
        "  temperature     cpu-thermal 67 °C",
        "  install         sudo apt install python3-venv python3-picamera2",
        "                  /usr/bin/python3 -m venv --system-site-packages .venv",
        "  /dev/video0     rp1-cfe-csi2_ch0: SOURCE picamera2",
        "warning: the board is slowed down now: under-voltage",
        "warning: picamera2 is not installed, which reads the camera module",
        "no problem found, 3 warnings",
    ):
        assert line in text.splitlines()
    assert main(["doctor", "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["install"][0].startswith("sudo apt install")
    assert report["readings"]["temperatures"] == {"cpu-thermal": 67.2}
    assert report["machine"]["compatible"] == ["raspberrypi,5-model-b", "brcm,bcm2712"]
    assert len(report["findings"]) == 3
