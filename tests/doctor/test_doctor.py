"""The doctor: facts of a machine, distributions, known-bad combinations, and the whole report.

Boards are folders with the files that the board's Linux has; environments are folders with the
metadata that pip leaves. The self-test is the real one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_mtcnn import RuntimeOptions
from edge_mtcnn.board.cameras import Camera, Mode
from edge_mtcnn.board.identity import Machine, read_machine
from edge_mtcnn.cli import main
from edge_mtcnn.cli.arguments import sample_photo
from edge_mtcnn.doctor import examine
from edge_mtcnn.doctor.packages import Package, providers_of
from edge_mtcnn.doctor.rules import findings, self_test_findings
from edge_mtcnn.doctor.selftest import SelfTest, run_self_test
from edge_mtcnn.runtime.models import default_folder

PC = Machine(
    system="Linux 6.1.0",
    architecture="x86_64",
    python_bits=64,
    board=None,
    jetson_release=None,
    processor="a processor",
    features=("avx2", "fma"),
    cores=4,
    threads=4,
    memory=8 << 30,
    memory_available=4 << 30,
)
PI_4 = replace(PC, architecture="aarch64", board="Raspberry Pi 4 Model B Rev 1.4")
JETSON = replace(PC, architecture="aarch64", jetson_release="R36 (release), REVISION: 4.3")
CPU = Package("onnxruntime", "1.32.0", from_index=True)
GPU = Package("onnxruntime-gpu", "1.20.0", from_index=True)
HEADLESS = Package("opencv-python-headless", "5.0.0.93")

PI_FILES = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp crc32\nModel\t\t: Pi\n",
    "proc/meminfo": "MemTotal:  8245248 kB\nMemFree:  100 kB\nMemAvailable:  6000000 kB\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def installed(folder: Path, name: str, version: str, module: str, tag: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: {tag}\n")
    (info / "top_level.txt").write_text(f"{module}\n")


def test_a_raspberry_pi_is_named_with_its_features_and_memory(tmp_path: Path) -> None:
    machine = read_machine(tree(tmp_path, PI_FILES))
    assert machine.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.features == ("asimd", "asimdhp", "asimddp")
    assert machine.memory == 8245248 * 1024
    assert machine.memory_available == 6000000 * 1024
    assert not machine.is_jetson


def test_a_jetson_is_known_by_its_release_file(tmp_path: Path) -> None:
    release = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n# more\n"
    machine = read_machine(tree(tmp_path, {"etc/nv_tegra_release": release}))
    assert machine.jetson_release == "R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic"
    assert machine.is_jetson


def test_the_memory_limit_of_a_container_counts(tmp_path: Path) -> None:
    files = {**PI_FILES, "sys/fs/cgroup/memory.max": f"{512 << 20}\n"}
    machine = read_machine(tree(tmp_path, files))
    assert machine.memory == machine.memory_available == 512 << 20


def test_facts_that_a_system_does_not_report_are_none(tmp_path: Path) -> None:
    machine = read_machine(tmp_path)
    assert machine.board is None
    assert machine.memory is None
    assert machine.features == ()
    assert machine.cores >= machine.threads >= 1


def test_distributions_are_found_by_what_they_install(tmp_path: Path) -> None:
    portable, own = "cp310-cp310-manylinux_2_28_aarch64", "cp310-cp310-linux_aarch64"
    installed(tmp_path, "onnxruntime", "1.32.0", "onnxruntime", portable)
    installed(tmp_path, "onnxruntime-gpu", "1.18.0", "onnxruntime", own)
    installed(tmp_path, "onnxruntime-genai", "0.5.0", "onnxruntime_genai", portable)
    (tmp_path / "broken-1.0.dist-info").mkdir()
    assert providers_of("onnxruntime", [str(tmp_path)]) == (
        Package("onnxruntime", "1.32.0", from_index=True),
        Package("onnxruntime-gpu", "1.18.0", from_index=False),
    )


def test_the_first_of_two_versions_on_the_path_is_the_one_that_counts(tmp_path: Path) -> None:
    for folder, version in (("venv", "1.32.0"), ("system", "1.16.0")):
        installed(tmp_path / folder, "onnxruntime", version, "onnxruntime", "any")
    (found,) = providers_of("onnxruntime", [str(tmp_path / "venv"), str(tmp_path / "system")])
    assert found.version == "1.32.0"


@pytest.mark.parametrize("machine", [PC, PI_4, JETSON])
def test_one_runtime_and_one_opencv_are_fine_everywhere(machine: Machine) -> None:
    assert findings(machine, [CPU], [HEADLESS]) == []


BAD = [
    (PC, [], "problem", "no ONNX Runtime", "edge-mtcnn[cpu]"),
    (PC, [CPU, GPU], "problem", "onnxruntime, onnxruntime-gpu", "pip uninstall"),
    (PI_4, [replace(CPU, version="1.21.0")], "problem", "illegal instruction", "!=1.21.0"),
    (JETSON, [GPU], "problem", "not built for a Jetson", "JetPack"),
    (replace(PI_4, python_bits=32), [CPU], "problem", "32-bit", "64-bit system"),
    (
        replace(PI_4, features=("asimd", "sme")),
        [replace(CPU, version="1.26.1")],
        "warning",
        "leaks memory",
        ">=1.27",
    ),
]


@pytest.mark.parametrize(("machine", "runtimes", "level", "what", "advice"), BAD)
def test_a_known_bad_combination_is_reported_with_advice(
    machine: Machine, runtimes: list[Package], level: str, what: str, advice: str
) -> None:
    (finding,) = findings(machine, runtimes, [HEADLESS])
    assert finding.level == level
    assert what in finding.what
    assert advice in finding.advice


GOOD = [
    (PC, [replace(CPU, version="1.21.0")]),
    (PI_4, [replace(CPU, version="1.21.1")]),
    (JETSON, [replace(GPU, from_index=False)]),
    (replace(PI_4, features=("sme",)), [replace(CPU, version="1.27.0")]),
    (replace(PI_4, features=("sme",)), [replace(CPU, version="1.27.0.dev20261101+cpu")]),
]


@pytest.mark.parametrize(("machine", "runtimes"), GOOD)
def test_what_is_near_a_known_bad_combination_is_not_accused(
    machine: Machine, runtimes: list[Package]
) -> None:
    assert findings(machine, runtimes, [HEADLESS]) == []


def test_two_distributions_of_opencv_are_a_warning() -> None:
    (finding,) = findings(PC, [CPU], [Package("opencv-python", "5.0.0.93"), HEADLESS])
    assert finding.level == "warning"
    assert "opencv-python-headless" in finding.what


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("the process was ended by SIGILL", "another version"),
        ("libGL.so.1: cannot open shared object file", "opencv-python-headless"),
        ("A module that was compiled using NumPy 1.x cannot be run in NumPy 2", "numpy<2"),
        ("CUDAExecutionProvider did not start", "--device auto"),
        ("something else", "message"),
    ],
)
def test_a_failed_self_test_is_reported_with_advice(error: str, advice: str) -> None:
    (finding,) = self_test_findings(SelfTest(error=error))
    assert error in finding.what
    assert advice in finding.advice


def test_the_self_test_finds_the_face_of_the_sample_and_reports_its_time() -> None:
    test = run_self_test(sample_photo(), RuntimeOptions(threads=1))
    assert test.error is None
    assert test.passed
    assert 0 < test.told["median_ms"] < 60_000
    assert "CPUExecutionProvider" in test.told["providers"]


def test_a_provider_that_does_not_start_is_a_problem_though_the_processor_works() -> None:
    told = run_self_test(sample_photo(), RuntimeOptions(threads=1)).told
    missing = "CUDAExecutionProvider: libcublasLt.so.13: cannot open shared object file"
    told = {**told, "not_started": missing, "not_started_advice": "pip install it"}
    (finding,) = self_test_findings(SelfTest(told=told))
    assert finding.level == "problem"
    assert missing in finding.what
    assert finding.advice == "pip install it"


def test_the_self_test_is_not_passed_by_a_photo_without_that_face(project_root: Path) -> None:
    test = run_self_test(project_root / "samples" / "chelsea.jpg", RuntimeOptions())
    assert test.error is None
    assert not test.passed
    (finding,) = self_test_findings(test)
    assert "0 face(s)" in finding.what


@pytest.mark.skipif(sys.platform == "win32", reason="signals by number are POSIX")
def test_a_process_that_a_signal_ends_is_reported_by_the_name_of_the_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dying = "import os, signal; os.kill(os.getpid(), signal.SIGILL)  # {path!r}{arguments!r}"
    monkeypatch.setattr("edge_mtcnn.board.new_process._PROGRAM", dying)
    test = run_self_test(sample_photo(), RuntimeOptions())
    assert test.error == "the process was ended by SIGILL"


def test_each_altered_or_missing_model_file_is_reported(tmp_path: Path) -> None:
    models = shutil.copytree(default_folder(), tmp_path / "models")
    (models / "onet.weights").unlink()
    blocked = models / "pnet.blocked.onnx"
    blocked.write_bytes(b"\0" + blocked.read_bytes()[1:])
    report = examine(sample_photo(), RuntimeOptions(models=models))
    states = {check.file: check.state for check in report.models}
    assert states.pop("onet.weights") == "missing"
    assert states.pop("pnet.blocked.onnx") == "altered"
    assert set(states.values()) == {"ok"}
    assert len(report.findings) == 2
    assert not report.well


def test_a_folder_without_a_manifest_is_one_problem(tmp_path: Path) -> None:
    report = examine(sample_photo(), RuntimeOptions(models=tmp_path))
    assert report.models == ()
    (finding,) = report.findings
    assert "manifest" in finding.what


def test_the_json_report_is_one_object_and_the_exit_code_says_whether_there_is_a_problem(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["doctor", "--json"])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["well"] is (code == 0)
    assert {check["state"] for check in report["models"]} == {"ok"}
    assert report["self_test"]["error"] is None
    assert report["self_test"]["told"]["expected_face"] is True
    assert all(report["versions"].values())


def test_the_report_for_people_names_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--threads", "1"])
    output = capsys.readouterr()
    for title in ("packages", "machine", "models 1.", "self-test", "as expected", "found"):
        assert title in output.out
    assert output.err == ""


def test_a_device_that_is_not_there_is_a_problem_with_what_is_available() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_mtcnn", "doctor", "--device", "NoSuchProvider"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "NoSuchProvider" in done.stdout
    assert "CPUExecutionProvider" in done.stdout
    assert done.stderr == ""


def test_cameras_are_listed_with_sizes_and_what_is_wrong_with_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    modes = (Mode("MJPG", 1280, 720, 30.0), Mode("MJPG", 640, 480, None), Mode("YUYV", 640, 480, 5))
    good = Camera(device="/dev/video0", name="HD \x1b[31mWebcam", source="0", modes=modes)
    bad = Camera(device="/dev/video2", name="Doc", source="2", problem="no rights", advice="join")
    monkeypatch.setattr("edge_mtcnn.doctor.read_cameras", lambda _: (good, bad))
    assert main(["doctor"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    start = lines.index("cameras")
    assert [line.split(None, 1) for line in lines[start + 1 : start + 5]] == [
        ["/dev/video0", r"HD \x1b[31mWebcam: SOURCE 0"],
        ["MJPG", "1280x720@30 640x480"],
        ["YUYV", "640x480@5"],
        ["/dev/video2", "Doc: SOURCE 2"],
    ]
    assert "warning: Doc: no rights" in lines
    assert "join" in lines
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["cameras"][0]["modes"][0] == {
        "pixels": "MJPG", "width": 1280, "height": 720, "fps": 30.0,
    }  # fmt: skip
    assert report["picamera2"] is False
