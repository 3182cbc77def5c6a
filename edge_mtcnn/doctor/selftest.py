"""The self-test: one detection from import to face, with each step reported as a line of JSON.

It runs in a new process, which a broken library may crash. The lines written before then show how
far it came.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_mtcnn.board.new_process import run_in_new_process
from edge_mtcnn.errors import EdgeMTCNNError
from edge_mtcnn.options import RuntimeOptions

__all__ = ["SelfTest", "print_self_test", "run_self_test"]

# The face in the sample photo as mtcnn 0.1 finds it: x1, y1, x2, y2.
_EXPECTED_BOX = (179.0, 60.0, 267.0, 174.0)
_SAME_FACE_IOU = 0.7
_RUNS = 5
_TIME_LIMIT_S = 180.0  # a slow board under load may take minutes


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The result of the self-test.

    Attributes:
        told: values reported by the steps: versions, providers, times, what runs, faces.
        error: why it did not complete; ``None`` when it did.
    """

    told: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the one face of the photo was found, in the right place."""
        return self.error is None and self.told.get("expected_face") is True


def run_self_test(photo: Path, runtime: RuntimeOptions) -> SelfTest:
    """Detect in a photo in a new process of this interpreter; if frozen, in this process."""
    arguments = str(photo), runtime.to_dict()
    if getattr(sys, "frozen", False):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            print_self_test(*arguments)
        return _self_test(output.getvalue())
    try:
        done = run_in_new_process(print_self_test, *arguments, timeout=_TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        return SelfTest(error=f"no answer within {_TIME_LIMIT_S:.0f} s")
    except OSError as error:
        return SelfTest(error=f"{sys.executable} does not start: {error}")
    failed = _error_text(done.returncode, done.stderr) if done.returncode else None
    return _self_test(done.stdout, failed)


def _self_test(output: str, failed: str | None = None) -> SelfTest:
    values: dict[str, Any] = {}
    for line in output.splitlines():
        if line.startswith("{"):
            values.update(json.loads(line))
    return SelfTest(values, values.pop("error", failed))


def _error_text(code: int, output: str) -> str:
    last = (output.strip().splitlines() or [""])[-1]
    if code > 0:
        return last or f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the process was ended by {name}" + (f": {last}" if last else "")


def print_self_test(photo: str, options: Mapping[str, Any]) -> None:
    """Detect in ``photo`` and print each step; for the new process only."""
    try:
        import cv2

        build = cv2.getBuildInformation()
        _print(opencv=cv2.__version__, gstreamer=bool(re.search(r"GStreamer:\s+YES", build)))
        from edge_mtcnn.runtime import providers

        _print(onnxruntime=providers.runtime_version(), providers=providers.available_providers())
        if (unused := providers.unused_device()) is not None:
            _print(not_started=unused[0], not_started_advice=unused[1])
        from edge_mtcnn.detector import FaceDetector
        from edge_mtcnn.images.decoding import read_image

        started = time.perf_counter()
        with FaceDetector(runtime=RuntimeOptions.from_dict(options)) as detector:
            _print(load_ms=_ms_since(started), runs=detector.info())
            image = read_image(Path(photo))
            times = []
            for _ in range(1 + _RUNS):
                started = time.perf_counter()
                faces = detector.detect(image)
                times.append(_ms_since(started))
    except (EdgeMTCNNError, ImportError) as error:
        _print(error=str(error), error_type=type(error).__name__)
        return
    best = faces.best()
    _print(
        first_ms=times[0],
        median_ms=statistics.median(times[1:]),
        width=faces.image_size[1],
        height=faces.image_size[0],
        faces=faces.to_dicts(),
        expected_face=len(faces) == 1 and best is not None and _is_expected(best.box),
    )


def _is_expected(box: tuple[float, float, float, float]) -> bool:
    width = min(box[2], _EXPECTED_BOX[2]) - max(box[0], _EXPECTED_BOX[0])
    height = min(box[3], _EXPECTED_BOX[3]) - max(box[1], _EXPECTED_BOX[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (box, _EXPECTED_BOX))
    return shared / (areas - shared) >= _SAME_FACE_IOU


def _ms_since(start: float) -> float:
    return round(1000 * (time.perf_counter() - start), 2)


def _print(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
