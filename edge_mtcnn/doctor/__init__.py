"""Is this installation well? Versions, packages, machine, model files and one detection.

``examine`` gathers everything in one ``Report``; nothing that is broken ends it. A feature: it
uses the detector from outside, in a process of its own.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_mtcnn._version import __version__
from edge_mtcnn.board.identity import Machine, read_machine
from edge_mtcnn.doctor.packages import Package, providers_of
from edge_mtcnn.doctor.rules import Finding, findings, self_test_findings
from edge_mtcnn.doctor.selftest import SelfTest, run_self_test
from edge_mtcnn.errors import ModelFileError
from edge_mtcnn.options import RuntimeOptions
from edge_mtcnn.runtime.models import default_folder, load_manifest

__all__ = ["Finding", "Machine", "ModelCheck", "Package", "Report", "SelfTest", "examine"]


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """One file of the models against the manifest.

    Attributes:
        file: its name.
        state: ``ok``, ``missing`` or ``altered`` (truncated and unreadable included).
        reason: what is wrong, empty when nothing is.
    """

    file: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that ``edge-mtcnn doctor`` tells.

    Attributes:
        versions: of edge-mtcnn, Python, NumPy, OpenCV, ONNX Runtime; ``None`` where it cannot be
            loaded.
        runtimes: distributions that bring ONNX Runtime.
        opencvs: distributions that bring OpenCV.
        machine: what it runs on.
        model_folder: where the models are.
        model_version: their version, ``None`` when the manifest cannot be read.
        models: each file of the models.
        self_test: one detection in the sample photo.
        findings: what is wrong.
    """

    versions: dict[str, str | None]
    runtimes: tuple[Package, ...]
    opencvs: tuple[Package, ...]
    machine: Machine
    model_folder: str
    model_version: str | None
    models: tuple[ModelCheck, ...]
    self_test: SelfTest
    findings: tuple[Finding, ...]

    @property
    def well(self) -> bool:
        """Whether no problem was found; warnings do not count."""
        return not any(finding.level == "problem" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ``well`` included."""
        return {"well": self.well, **asdict(self)}


def examine(photo: Path, runtime: RuntimeOptions | None = None) -> Report:
    """Look at everything.

    Args:
        photo: the sample photo of the package.
        runtime: how to run the self-test, and whose models to check.
    """
    runtime = RuntimeOptions() if runtime is None else runtime
    machine = read_machine()
    runtimes, opencvs = providers_of("onnxruntime"), providers_of("cv2")
    found = findings(machine, runtimes, opencvs)
    folder = default_folder() if runtime.models is None else Path(runtime.models)
    model_version, models, model_findings = _check_models(folder)
    test = run_self_test(photo, runtime)
    # What was found above is not told twice in the words of the test that fails for it.
    known = {"MissingRuntimeError": not runtimes, "ModelFileError": bool(model_findings)}
    if not known.get(test.told.get("error_type", ""), False):
        found += self_test_findings(test)
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
            file.check()
            check = ModelCheck(file.path.name, "ok")
        except ModelFileError as error:
            state = "altered" if file.path.exists() else "missing"
            check = ModelCheck(file.path.name, state, str(error))
        checks.append(check)
    wrong = [Finding("problem", check.reason, advice) for check in checks if check.reason]
    return manifest.version, tuple(checks), wrong
