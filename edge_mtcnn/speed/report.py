"""The measurement behind ``edge-mtcnn bench``, as a document of the schema of the benchmarks.

The schema is that of ``benchmarks/common/results.py``, so a file of ``bench --json`` from any board
can be compared with another one.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from edge_mtcnn._version import __version__
from edge_mtcnn.board.identity import Machine, read_machine
from edge_mtcnn.board.memory import peak_resident_mb, resident_mb
from edge_mtcnn.board.sensors import Readings, read_device
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.speed.timing import ImageTimes, measure, throughput
from edge_mtcnn.types import ImageArray

__all__ = ["NamedImage", "SpeedReport", "measure_device"]

SCHEMA_VERSION = 1
_BATCH_SHARE = 0.2
"""Share of the measuring time that ``detect_batch`` takes."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedImage:
    """An image, (H, W, 3) uint8 RGB, and its name in the report."""

    name: str
    pixels: ImageArray


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedReport:
    """Everything that was measured.

    Attributes:
        images: the images measured.
        times: times of each image, in the same order.
        info: ``FaceDetector.info()``: what was measured.
        machine: the machine it was measured on.
        load_ms: time to load the detector, milliseconds.
        first_ms: time of the first detection, milliseconds.
        batch_rate: images per second of ``detect_batch``.
        memory_mb: resident memory of the process at the ``start`` (after loading), at the ``end``
            and at its ``peak``, MB of 10**6 bytes; ``None`` where the system does not report it.
        before: sensors of the device before the measurement.
        after: sensors of the device after it.
        seconds: measuring time asked for.
    """

    images: Sequence[NamedImage]
    times: Sequence[ImageTimes]
    info: dict[str, Any]
    machine: Machine
    load_ms: float
    first_ms: float
    batch_rate: float
    memory_mb: dict[str, float | None]
    before: Readings
    after: Readings
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The document, as plain values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "benchmark": "device",
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": self.machine.summary(),
            "versions": _versions(self.info),
            "commit": None,
            "settings": {**self.info, "seconds": self.seconds},
            "images": [
                {"name": i.name, "width": i.pixels.shape[1], "height": i.pixels.shape[0]}
                for i in self.images
            ],
            "results": list(self._results()),
            "targets": [],
            "sensors": {"before": self.before.to_dict(), "after": self.after.to_dict()},
        }

    def _results(self) -> Iterator[dict[str, Any]]:
        for image, times in zip(self.images, self.times, strict=True):
            samples = [round(sample, 3) for sample in times.samples]
            yield _result(
                f"latency/{image.name}", "ms", times.median, samples=samples, detail=times.to_dict()
            )
        yield _result("detect_batch", "images/s", self.batch_rate, better="higher")
        yield _result("start/load", "ms", self.load_ms)
        yield _result("start/first detection", "ms", self.first_ms)
        for name, value in self.memory_mb.items():
            if value is not None:
                yield _result(f"memory/{name}", "MB", value)


def measure_device(
    detector: FaceDetector,
    images: Sequence[NamedImage],
    seconds: float,
    *,
    load_ms: float,
    start_mb: float | None,
) -> SpeedReport:
    """Measure a detector that has not detected anything yet.

    Args:
        detector: the detector.
        images: at least one.
        seconds: measuring time; longer where the fewest rounds of ``timing.measure`` take longer.
        load_ms: time that loading the detector took, for the report.
        start_mb: resident memory after loading it, for the report.
    """
    pixels = [image.pixels for image in images]
    start = time.perf_counter()
    detector.detect(pixels[0])
    first_ms = (time.perf_counter() - start) * 1e3
    before = read_device()
    times = measure([detector], pixels, seconds * (1 - _BATCH_SHARE))[0]
    batch_rate = throughput(detector, pixels, seconds * _BATCH_SHARE)
    after = read_device()
    return SpeedReport(
        images=images,
        times=times,
        info=detector.info(),
        machine=read_machine(),
        load_ms=load_ms,
        first_ms=first_ms,
        batch_rate=batch_rate,
        memory_mb={"start": start_mb, "end": resident_mb(), "peak": peak_resident_mb()},
        before=before,
        after=after,
        seconds=seconds,
    )


def _result(name: str, unit: str, value: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "unit": unit, "value": value, "samples": [], "relative": None,
        "better": "lower", "detail": {}, **more,
    }  # fmt: skip


def _versions(info: dict[str, Any]) -> dict[str, str]:
    import cv2
    import numpy as np

    return {
        "python": platform.python_version(),
        "edge-mtcnn": __version__,
        "models": info["model_version"],
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "onnxruntime": info["onnxruntime"],
    }
