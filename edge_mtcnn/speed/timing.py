"""How fast a detector is on this device: the functions behind ``edge-mtcnn bench`` and ``tune``.

Times are wall time in milliseconds, one detection after the other unless said. Detections of what
is compared are taken in turn, A B A B, so that a device that warms up slows all of them alike.
Imports the detector from outside.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.types import Faces, ImageArray, Timings

__all__ = ["ImageTimes", "measure", "percentile", "same_faces", "throughput"]

STAGES = ("pyramid", "pnet", "rnet", "onet", "mirror")
"""Stages of the cascade as ``Timings`` names them."""
FEWEST_ROUNDS = 5
_WARM_UP = 2
"""Detections before the first that counts."""
_SAME_PIXELS = 1.5
"""Forms of a network differ in the last bits; a box of whole numbers may then move by one pixel."""


@dataclass(slots=True)
class ImageTimes:
    """Detections of one image.

    Attributes:
        faces: what the last one found, with its ``timings``.
        samples: time of each, milliseconds, in the order they were taken.
        stages: time of each stage in each of them, milliseconds, by name of the stage.
    """

    faces: Faces
    samples: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The median time, milliseconds."""
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        """The time that 95 of 100 detections stay below, milliseconds."""
        return percentile(self.samples, 0.95)

    @property
    def timings(self) -> Timings:
        """Levels, windows and caps of one detection; they are the same in each."""
        timings = self.faces.timings
        if timings is None:
            raise ValueError("the faces carry no timings; detect with timings=True")
        return timings

    def add(self, faces: Faces, milliseconds: float) -> None:
        """One more detection."""
        self.faces = faces
        self.samples.append(milliseconds)
        for stage in STAGES:
            self.stages.setdefault(stage, []).append(getattr(self.timings, f"{stage}_ms"))

    def to_dict(self) -> dict[str, Any]:
        """Median times, rate, faces and work of this image as plain values."""
        timings = self.timings
        return {
            "faces": len(self.faces),
            "p95_ms": self.p95,
            "images_per_second": 1000 / statistics.fmean(self.samples),
            "stages_ms": {name: statistics.median(times) for name, times in self.stages.items()},
            "levels": len(timings.levels),
            "rnet_windows": timings.rnet_windows,
            "onet_windows": timings.onet_windows,
            "capped": list(timings.capped),
        }


def measure(
    detectors: Sequence[FaceDetector],
    images: Sequence[ImageArray],
    seconds: float,
    *,
    fewest: int = FEWEST_ROUNDS,
) -> list[list[ImageTimes]]:
    """Detect in the images again and again.

    Args:
        detectors: take turns.
        images: (H, W, 3) uint8 RGB each, at least one.
        seconds: after which no new round begins, when there have been enough.
        fewest: rounds at least, each one detection of every image by every detector.

    Returns:
        One list per detector, with the times of each image.
    """
    times = [
        [ImageTimes(_warmed_up(detector, image)) for image in images] for detector in detectors
    ]
    for _ in _rounds(seconds, fewest):
        for index, image in enumerate(images):
            for detector, of_detector in zip(detectors, times, strict=True):
                start = time.perf_counter()
                faces = detector.detect(image, timings=True)
                of_detector[index].add(faces, (time.perf_counter() - start) * 1e3)
    return times


def throughput(detector: FaceDetector, images: Sequence[ImageArray], seconds: float) -> float:
    """Images per second of ``detect_batch``, which works on one image per thread."""
    threads = detector.info()["threads"]
    batch = list(images) * math.ceil(2 * threads / len(images))
    done = 0
    start = time.perf_counter()
    for _ in _rounds(seconds, 1):
        done += len(detector.detect_batch(batch))
    return done / (time.perf_counter() - start)


def same_faces(first: Faces, second: Faces) -> bool:
    """Whether two results show the same faces, but for rounding."""
    if len(first) != len(second):
        return False
    # Nearly equal scores may change places, so each face looks for its own.
    return all(
        bool((abs(second.boxes - box).max(axis=1) <= _SAME_PIXELS).any()) for box in first.boxes
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share 0..1 of the values lies, linear between neighbours.

    Raises:
        ValueError: there are no values, or the share is outside 0..1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError(f"need values and a share 0..1; got {len(values)} values, share {share}")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _warmed_up(detector: FaceDetector, image: ImageArray) -> Faces:
    for _ in range(_WARM_UP):
        faces = detector.detect(image, timings=True)
    return faces


def _rounds(seconds: float, fewest: int) -> Iterator[int]:
    end = time.perf_counter() + seconds
    count = 0
    while count < fewest or time.perf_counter() < end:
        yield count
        count += 1
