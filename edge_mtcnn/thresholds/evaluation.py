"""Evaluation of a detector on an annotated set: precision, recall, landmarks.

The attributes say what each figure means. Imports ``detections``, ``matching`` and ``precision``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options.checks import check_number, check_share
from edge_mtcnn.thresholds.detections import (
    Listener,
    Measured,
    Measurements,
    check_measuring,
    measure,
)
from edge_mtcnn.thresholds.labels.images import AnnotationError, LabelledImage
from edge_mtcnn.thresholds.matching import BoolArray, match
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
FAILURE = 0.10  # a common bound, beyond which the landmarks of a face are of no use
_AS_VIEWED = (1, 0, 2, 4, 3)  # exchanges left and right


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The figures at one threshold.

    Attributes:
        threshold: lowest score reported; ``None`` if no threshold keeps the bound.
        recall: share of the counted faces that are found.
        precision: share of the reported detections that are faces; 0 without any.
        false_positives_per_image: mean over the images.
    """

    threshold: float | None
    recall: float
    precision: float
    false_positives_per_image: float


@dataclass(frozen=True, slots=True)
class LandmarkError:
    """Distance of the five landmarks from the annotated ones, over the inter-eye distance.

    Attributes:
        faces: number of found faces with annotated landmarks.
        mean: mean over the faces; the error of a face is the mean over its five points.
        median: median over the faces.
        failures: share of the faces with an error above 10 %.
        exchanged: whether the annotation uses the person's left and right, so that they were
            exchanged to be the viewer's.
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
        faces: number of annotated faces that count, in the images that could be read.
        ignored: number of annotated faces that do not count.
        iou: smallest overlap of a hit, 0..1.
        average_precision: as WIDER FACE's own evaluation computes it, 0..1.
        at_false_positives: by a number of false positives per image, the point with the best recall
            that keeps it.
        at_threshold: the figures at the threshold of the call.
        landmarks: error of the landmarks; ``None`` if no found face has annotated ones.
        verdicts: all detections as hits and false positives, for curves.
        measurements: the detections, failures and provenance.
        subsets: by the name of a subset, the average precision if only its faces count.
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
        """Everything except the curves, as plain values for JSON."""
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

        images = read_annotations("faces.json", "photos")
        result = evaluate(FaceDetector(), images, threshold=0.8)
        print(result.average_precision, result.at_threshold.recall)

    Args:
        detector: finds the faces. Every find counts, whatever its option ``confidence`` is.
        images: result of ``read_annotations``, with all faces of each image.
        threshold: lowest score to report, for ``at_threshold``.
        iou: smallest overlap of a hit, 0..1.
        subsets: by name, the faces of each image that count, as masks or indices, such as WIDER
            FACE's easy, medium and hard.
        journal: file that keeps the detections; a second run detects only in the images it lacks.
        listener: called after each image.
        notify: called with a sentence on what the journal already has.

    Raises:
        AnnotationError: no image could be read, or no face counts.
        OptionsError: the detector leaves faces out, or ``iou`` is out of range.
    """
    check_share("iou", iou)
    check_measuring(detector, images, journal, listener, notify)
    check_number("threshold", threshold, 0, 1)
    if subsets is not None and not isinstance(subsets, Mapping):
        raise OptionsError(f"subsets must be masks or indices by name; got {shown(subsets)}")
    if not any(image.boxes is not None and image.counted.any() for image in images):
        raise AnnotationError("no annotated face counts, so recall is undefined")
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
    """The error of the landmarks over found faces with annotated ones; ``None`` without any."""
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
