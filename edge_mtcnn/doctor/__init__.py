"""Checks the installation: versions, packages, machine, cameras, model files and one detection.

``examine`` collects everything in one ``Report``, whatever is broken: the detection runs in a new
process.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_mtcnn._version import __version__
from edge_mtcnn.board.camera_stack import read_camera_stack
from edge_mtcnn.board.cameras import Camera, read_cameras
from edge_mtcnn.board.identity import Machine, read_machine
from edge_mtcnn.board.sensors import Readings, read_device, read_throttling
from edge_mtcnn.doctor.boards import camera_stack_findings, install_lines, power_findings
from edge_mtcnn.doctor.packages import Package, providers_of
from edge_mtcnn.doctor.rules import Finding, camera_findings, findings, self_test_findings
from edge_mtcnn.doctor.selftest import SelfTest, run_self_test
from edge_mtcnn.errors import ModelFileError
from edge_mtcnn.options import RuntimeOptions
from edge_mtcnn.runtime.models import default_folder, load_manifest

__all__ = ["Camera", "Finding", "Machine", "ModelCheck", "Package", "Report", "SelfTest", "examine"]


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """One model file, compared with the manifest.

    Attributes:
        file: its name.
        state: ``ok``, ``missing`` or ``altered``, which includes truncated and unreadable.
        reason: what is wrong; empty when nothing is.
    """

    file: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that ``edge-mtcnn doctor`` reports.

    Attributes:
        versions: versions of edge-mtcnn, Python, NumPy, OpenCV and ONNX Runtime; ``None`` for one
            that cannot be loaded.
        runtimes: installed distributions of ONNX Runtime.
        opencvs: installed distributions of OpenCV.
        machine: the machine it runs on.
        install: the commands that install edge-mtcnn on this board; none for other machines.
        readings: temperatures, clock and throttling of the machine.
        cameras: the cameras of the machine; only Linux lists them.
        picamera2: whether the package picamera2 is installed, which reads a Raspberry Pi's camera
            module.
        model_folder: folder of the models.
        model_version: their version; ``None`` when the manifest cannot be read.
        models: a check of each model file.
        self_test: one detection in the sample photo.
        findings: problems and warnings.
    """

    versions: dict[str, str | None]
    runtimes: tuple[Package, ...]
    opencvs: tuple[Package, ...]
    machine: Machine
    install: tuple[str, ...]
    readings: Readings
    cameras: tuple[Camera, ...]
    picamera2: bool
    model_folder: str
    model_version: str | None
    models: tuple[ModelCheck, ...]
    self_test: SelfTest
    findings: tuple[Finding, ...]

    @property
    def well(self) -> bool:
        """Whether there is no problem; warnings do not count."""
        return not any(finding.level == "problem" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, including ``well``."""
        return {"well": self.well, **asdict(self)}


def examine(
    photo: Path, runtime: RuntimeOptions | None = None, *, root: Path = Path("/")
) -> Report:
    """Check everything.

        for finding in examine(photo).findings:
            print(finding.level, finding.what, finding.advice)

    Args:
        photo: the sample photo of the package.
        runtime: how to run the self-test, with the models to check.
        root: folder that contains ``proc``, ``sys``, ``etc``, ``dev``, ``usr`` and ``var``.
    """
    runtime = RuntimeOptions() if runtime is None else runtime
    machine = read_machine(root)
    runtimes, opencvs = providers_of("onnxruntime"), providers_of("cv2")
    cameras, stack = read_cameras(root), read_camera_stack(root)
    readings = read_device(root)
    throttling = read_throttling(root) if machine.is_raspberry_pi else None
    found = [
        *findings(machine, runtimes, opencvs),
        *power_findings(machine, readings, throttling),
        *camera_findings(cameras),
    ]
    folder = default_folder() if runtime.models is None else Path(runtime.models)
    model_version, models, model_findings = _check_models(folder)
    test = run_self_test(photo, runtime)
    # A problem that was found above is not reported again by the test that fails because of it.
    known = {"MissingRuntimeError": not runtimes, "ModelFileError": bool(model_findings)}
    if not known.get(test.told.get("error_type", ""), False):
        found += self_test_findings(test)
    found += camera_stack_findings(cameras, stack, gstreamer=test.told.get("gstreamer"))
    return Report(
        versions={
            "edge-mtcnn": __version__,
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            "OpenCV": test.told.get("opencv"),
            "ONNX Runtime": test.told.get("onnxruntime"),
        },
        runtimes=runtimes,
        opencvs=opencvs,
        machine=machine,
        install=install_lines(machine, cameras),
        readings=readings,
        cameras=cameras,
        picamera2=stack.picamera2,
        model_folder=str(folder),
        model_version=model_version,
        models=models,
        self_test=test,
        findings=(*found, *model_findings),
    )


def _check_models(folder: Path) -> tuple[str | None, tuple[ModelCheck, ...], list[Finding]]:
    advice = "pip install --force-reinstall --no-deps edge-mtcnn, or restore the models folder"
    try:
        manifest = load_manifest(folder)
    except ModelFileError as error:
        return None, (), [Finding("problem", str(error), advice)]
    checks = []
    for file in manifest.files():
        try:
            file.read()
            check = ModelCheck(file.path.name, "ok")
        except ModelFileError as error:
            state = "altered" if file.path.exists() else "missing"
            check = ModelCheck(file.path.name, state, str(error))
        checks.append(check)
    wrong = [Finding("problem", check.reason, advice) for check in checks if check.reason]
    return manifest.version, tuple(checks), wrong
