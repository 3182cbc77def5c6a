"""Times of detections on this device: the functions behind ``edge-mtcnn bench`` and ``tune``.

Times are wall time in milliseconds, for one detection after the other unless stated otherwise.
Detectors that are compared take turns, A B B A, so that a device that heats up slows all of them
alike, and none always runs after the same other one. Imports ``types`` only: a detector is passed
in.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_mtcnn.types import Faces, ImageArray, Timings

if TYPE_CHECKING:
    from edge_mtcnn.detector import FaceDetector

__all__ = ["ImageTimes", "measure", "median_interval", "percentile", "same_faces", "throughput"]

STAGES = ("pyramid", "pnet", "rnet", "onet", "mirror")
"""Stages of the cascade as ``Timings`` names them."""
FEWEST_ROUNDS = 5
FEWEST_VALUES = 16
"""Fewest values for which ``median_interval`` says something."""
_WARM_UP = 2
"""Detections before the first one that is timed."""
_SAME_PIXELS = 1.5
"""Forms of a network differ in the last bits, which can move a rounded box by one pixel."""


@dataclass(slots=True)
class ImageTimes:
    """Times of the detections in one image.

    Attributes:
        faces: result of the last detection, with its ``timings``.
        samples: time of each detection in order, milliseconds.
        stages: time of each stage in each detection, milliseconds, by name of the stage.
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
        """The 95th percentile of the times, milliseconds."""
        return percentile(self.samples, 0.95)

    @property
    def timings(self) -> Timings:
        """Levels, windows and caps of a detection; they are the same in all of them."""
        timings = self.faces.timings
        if timings is None:
            raise ValueError("the faces have no timings; detect with timings=True")
        return timings

    def add(self, faces: Faces, milliseconds: float) -> None:
        """Add one detection."""
        self.faces = faces
        self.samples.append(milliseconds)
        for stage in STAGES:
            self.stages.setdefault(stage, []).append(getattr(self.timings, f"{stage}_ms"))

    def to_dict(self) -> dict[str, Any]:
        """Median times, rate, faces and amount of work, as plain values."""
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
    enough: Callable[[list[list[ImageTimes]]], bool] | None = None,
) -> list[list[ImageTimes]]:
    """Time detections, in rounds of one detection per image and detector.

        [[times]] = measure([detector], [image], seconds=5)
        print(times.median, times.p95)

    Args:
        detectors: the detectors, which take turns.
        images: (H, W, 3) uint8 RGB each, at least one.
        seconds: no new round starts after this time.
        fewest: number of rounds that are run in any case.
        enough: called after each of the further rounds with the times so far; ``True`` ends it.

    Returns:
        For each detector a list with the times of each image.
    """
    times = [
        [ImageTimes(_warmed_up(detector, image)) for image in images] for detector in detectors
    ]
    pairs = list(zip(detectors, times, strict=True))
    for count in _rounds(seconds, fewest):
        for index, image in enumerate(images):
            for detector, of_detector in pairs:
                start = time.perf_counter()
                faces = detector.detect(image, timings=True)
                of_detector[index].add(faces, (time.perf_counter() - start) * 1e3)
        pairs.reverse()
        if count + 1 >= fewest and enough is not None and enough(times):
            break
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
    """Whether two results contain the same faces, up to rounding."""
    if len(first) != len(second):
        return False
    # Faces with nearly equal scores may be in another order, so the order is ignored.
    return all(
        bool((abs(second.boxes - box).max(axis=1) <= _SAME_PIXELS).any()) for box in first.boxes
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share 0..1 of the values lies, interpolated linearly.

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


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Two of the values, between which the true median lies with a probability of 99.7 %.

    Only the order of the values counts, so a few detections that something else on the device
    slowed down change nothing. With fewer than 16 values the interval has no ends.
    """
    ordered = sorted(values)
    cut = math.floor((len(ordered) - 3 * math.sqrt(len(ordered))) / 2)
    if len(ordered) < FEWEST_VALUES:
        return -math.inf, math.inf
    return ordered[cut - 1], ordered[-cut]


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
