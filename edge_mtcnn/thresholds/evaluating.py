"""Evaluation of a detector on an annotated set: precision, recall, landmarks.

Imports ``measuring``, ``matching`` and ``precision``; what each figure means is told at its field.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_mtcnn.errors import OptionsError
from edge_mtcnn.thresholds.labels import AnnotationError, LabelledImage
from edge_mtcnn.thresholds.matching import BoolArray, match
from edge_mtcnn.thresholds.measuring import Listener, Measured, Measurements, measure
from edge_mtcnn.thresholds.precision import (
    Verdicts,
    judge,
    precision_recall,
    recall_at_false_positives,
)
from edge_mtcnn.types import FloatArray

if TYPE_CHECKING:
    from edge_mtcnn.detector import FaceDetector

__all__ = [
    "FALSE_POSITIVES_PER_IMAGE",
    "SCHEMA",
    "Evaluation",
    "LandmarkError",
    "OperatingPoint",
    "evaluate",
    "landmark_error",
]

SCHEMA = "edge-mtcnn evaluation"
SCHEMA_VERSION = 1
FALSE_POSITIVES_PER_IMAGE = (0.01, 0.1, 1.0)
FAILURE = 0.10  # error of a face whose landmarks are of no use, a common bound
_AS_VIEWED = (1, 0, 2, 4, 3)  # exchanges left and right


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What one threshold does.

    Attributes:
        threshold: lowest score reported; ``None`` when no threshold keeps the bound.
        recall: share of the counted faces that are found.
        precision: share of faces among what is reported; 0 when nothing is.
        false_positives_per_image: on average.
    """

    threshold: float | None
    recall: float
    precision: float
    false_positives_per_image: float


@dataclass(frozen=True, slots=True)
class LandmarkError:
    """Distance of the five landmarks from the annotated ones, over the inter-eye distance.

    Attributes:
        faces: found faces with annotated landmarks.
        mean: over faces, of the mean over the five points.
        median: over faces.
        failures: share of faces with an error above 10 %.
        exchanged: whether the annotations call the person's own left left, so that left and right
            were exchanged to be the viewer's.
    """

    faces: int
    mean: float
    median: float
    failures: float
    exchanged: bool


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The figures of one detector on one set.

    Attributes:
        faces: annotated faces that count, in the images that could be read.
        ignored: annotated faces that do not.
        iou: least overlap of a hit.
        average_precision: as WIDER FACE's own evaluation computes it, 0..1.
        subsets: the same, where only the faces of a subset count, by its name.
        at_false_positives: the best recall for a number of false positives per image, by that.
        at_threshold: what the detector reports with its own threshold.
        landmarks: ``None`` without annotated landmarks on a found face.
        verdicts: all detections as hits and false positives, for curves.
        measurements: the detections, failures and provenance.
    """

    faces: int
    ignored: int
    iou: float
    average_precision: float
    at_false_positives: Mapping[float, OperatingPoint]
    at_threshold: OperatingPoint
    landmarks: LandmarkError | None
    verdicts: Verdicts
    measurements: Measurements
    subsets: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the curves, as plain values for JSON."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "provenance": {**self.measurements.provenance, "iou": self.iou},
            "images": len(self.measurements.done),
            "failed": [
                {"path": failure.name, "error": failure.reason}
                for failure in self.measurements.failures
            ],
            "faces": self.faces,
            "ignored_faces": self.ignored,
            "average_precision": self.average_precision,
            "subsets": dict(self.subsets),
            "at_false_positives_per_image": [
                {"at_most": bound, **asdict(point)}
                for bound, point in self.at_false_positives.items()
            ],
            "at_threshold": asdict(self.at_threshold),
            "landmarks": None if self.landmarks is None else asdict(self.landmarks),
        }


def evaluate(
    detector: FaceDetector,
    images: Sequence[LabelledImage],
    *,
    threshold: float = 0.0,
    iou: float = 0.5,
    subsets: Mapping[str, Sequence[BoolArray | Sequence[int]]] | None = None,
    journal: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
    notify: Callable[[str], None] | None = None,
) -> Evaluation:
    """Evaluate a detector on an annotated set.

    Args:
        detector: with the option ``confidence`` 0, for every detection counts.
        images: of ``read_annotations``, with all their faces.
        threshold: lowest score to report, for the figures at a threshold.
        iou: least overlap of a hit, 0..1.
        subsets: by name, per image the faces that count, as mask or indices, such as WIDER FACE's
            easy, medium and hard.
        journal: file that keeps the detections; a second run only does what is missing.
        listener: told after each image.
        notify: told in a sentence what the journal already holds.

    Raises:
        AnnotationError: no image could be read, or no face counts.
        OptionsError: the detector hides faces, or ``iou`` is out of range.
    """
    if not 0 < iou <= 1:
        raise OptionsError(f"iou must be above 0 and at most 1; got {iou}")
    if not any(image.boxes is not None and image.counted.any() for image in images):
        raise AnnotationError("no annotated face counts, so there is no recall to tell")
    found = measure(detector, images, journal=journal, listener=listener, notify=notify)
    if not any(measured.image.counted.any() for measured in found.done):
        raise AnnotationError("no image with an annotated face could be read")
    verdicts = _verdicts(found.done, [measured.image.counted for measured in found.done], iou)
    by_subset = {}
    for name, chosen in (subsets or {}).items():
        known = {image.name: faces for image, faces in zip(images, chosen, strict=True)}
        counted = [known[measured.image.name] for measured in found.done]
        by_subset[name] = precision_recall(_verdicts(found.done, counted, iou)).average_precision
    return Evaluation(
        faces=verdicts.faces,
        ignored=sum(len(_boxes(m.image)) for m in found.done) - verdicts.faces,
        iou=iou,
        average_precision=precision_recall(verdicts).average_precision,
        at_false_positives={
            bound: _point(verdicts, recall_at_false_positives(verdicts, bound)[1])
            for bound in FALSE_POSITIVES_PER_IMAGE
        },
        at_threshold=_point(verdicts, threshold),
        landmarks=landmark_error(found.done, iou),
        verdicts=verdicts,
        measurements=found,
        subsets=by_subset,
    )


def landmark_error(measured: Sequence[Measured], iou: float = 0.5) -> LandmarkError | None:
    """The error of the landmarks on found faces that have annotated ones; ``None`` without any."""
    pairs = [pair for one in measured for pair in _landmark_pairs(one, iou)]
    if not pairs:
        return None
    given = np.array([ours for ours, _ in pairs], dtype=np.float64)
    truth = np.array([theirs for _, theirs in pairs], dtype=np.float64)
    exchanged = bool(np.median(truth[:, 1, 0] - truth[:, 0, 0]) < 0)
    if exchanged:
        truth = truth[:, _AS_VIEWED]
    distance = np.linalg.norm(truth[:, 1] - truth[:, 0], axis=1)
    usable = distance > 0
    if not usable.any():
        return None
    errors = np.linalg.norm(given - truth, axis=2).mean(axis=1)[usable] / distance[usable]
    return LandmarkError(
        len(errors),
        float(errors.mean()),
        float(np.median(errors)),
        float((errors > FAILURE).mean()),
        exchanged,
    )


def _landmark_pairs(measured: Measured, iou: float) -> list[tuple[FloatArray, FloatArray]]:
    """The landmarks of each hit and those of its face."""
    image, found = measured.image, measured.faces
    if image.boxes is None or np.isnan(image.landmarks).all():
        return []
    matched = match(found.boxes, found.scores, image.boxes, image.counted, iou)
    return [
        (found.landmarks[row], image.landmarks[matched.face[row]])
        for row in np.flatnonzero(matched.hit)
        if np.isfinite(image.landmarks[matched.face[row]]).all()
    ]


def _verdicts(
    measured: Sequence[Measured], counted: Sequence[BoolArray | Sequence[int]], iou: float
) -> Verdicts:
    detections = [(one.faces.boxes, one.faces.scores) for one in measured]
    return judge(detections, [_boxes(one.image) for one in measured], counted, iou)


def _boxes(image: LabelledImage) -> FloatArray:
    return np.zeros((0, 4)) if image.boxes is None else image.boxes


def _point(verdicts: Verdicts, threshold: float | None) -> OperatingPoint:
    if threshold is None:
        return OperatingPoint(None, 0.0, 0.0, 0.0)
    reported = verdicts.scores >= np.float32(threshold)
    hits, count = int(verdicts.hits[reported].sum()), int(reported.sum())
    return OperatingPoint(
        threshold,
        hits / max(verdicts.faces, 1),
        hits / max(count, 1),
        (count - hits) / max(verdicts.images, 1),
    )
