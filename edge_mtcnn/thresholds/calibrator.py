"""Threshold calibration: from labelled images to a threshold, its intervals, and the file of both.

"Calibration" here is the statistics of confidence, never the box calibration of the cascade. The
file is read by ``edge_mtcnn.calibration``. Equal detections produce equal bytes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_mtcnn.calibration import SCHEMA, SCHEMA_VERSION, Calibration
from edge_mtcnn.files import write_whole
from edge_mtcnn.known_false import KnownFalse
from edge_mtcnn.options.checks import check_share, check_type
from edge_mtcnn.thresholds.choice import Choice, Target, choose
from edge_mtcnn.thresholds.detections import (
    Listener,
    Measured,
    Measurements,
    check_measuring,
    measure,
)
from edge_mtcnn.thresholds.intervals import Rate, check_level
from edge_mtcnn.thresholds.labels.images import AnnotationError, LabelledImage
from edge_mtcnn.thresholds.matching import match
from edge_mtcnn.thresholds.scores import ScoreSet, curve, reliability, summary
from edge_mtcnn.types import FloatArray

if TYPE_CHECKING:
    from edge_mtcnn.detector import FaceDetector

__all__ = ["CalibrationResult", "Evidence", "calibrate", "evidence_of"]

_MOST_MISTAKES = 10
_POINTS_IN_FILE = 200


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One score and where it comes from.

    There is one for each face and one for each image, so further false detections in an image add
    none.

    Attributes:
        image: the labelled image.
        score: score of the detection; NaN without a detection.
        box: (4,) ``x1, y1, x2, y2`` of the detection; ``None`` without one.
        annotated: (4,) box of the annotated face; ``None`` where the image as a whole is labelled.
    """

    image: LabelledImage
    score: float
    box: FloatArray | None
    annotated: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationResult:
    """A threshold for one detector on a set of labelled images, with the evidence for it.

    Attributes:
        target: the target that was asked for.
        choice: the threshold and its intervals.
        faces, nonfaces: all scores of both classes, in the order of the images.
        measurements: the detections, failures and provenance.
        iou: smallest overlap, 0..1, at which a detection counts as an annotated face.
        date: date that the caller gave; ``None`` leaves it out, so that equal images give equal
            files.
        command: arguments of ``edge-mtcnn calibrate`` that repeat this with another detector.
        known_false: known false faces to write into the file. The threshold was chosen without
            them.
        remembered: the mistakes of these images that are among them.
    """

    target: Target
    choice: Choice
    faces: tuple[Evidence, ...]
    nonfaces: tuple[Evidence, ...]
    measurements: Measurements
    iou: float
    date: str | None = None
    command: tuple[str, ...] = ()
    known_false: tuple[KnownFalse, ...] = ()
    remembered: tuple[Evidence, ...] = ()

    @property
    def threshold(self) -> float:
        """Lowest ``Face.score`` to report."""
        return self.choice.threshold

    @property
    def scores(self) -> ScoreSet:
        """The scores of both classes."""
        return _score_set(self.faces, self.nonfaces)

    @property
    def lowest_faces(self) -> list[Evidence]:
        """The ten faces with the lowest scores, those without a detection first."""
        return sorted(self.faces, key=lambda found: _rank(found.score))[:_MOST_MISTAKES]

    @property
    def highest_nonfaces(self) -> list[Evidence]:
        """The detections among the ten highest non-faces, highest first."""
        ranked = sorted(self.nonfaces, key=lambda found: -_rank(found.score))[:_MOST_MISTAKES]
        return [found for found in ranked if found.box is not None]

    @property
    def mistakes(self) -> list[Evidence]:
        """The non-faces that are taken for a face at the threshold, highest score first."""
        taken = [found for found in self.nonfaces if _rank(found.score) >= self.threshold]
        return sorted((f for f in taken if f.box is not None), key=lambda found: -found.score)

    @property
    def calibration(self) -> Calibration:
        """The part that a detector needs."""
        return Calibration(
            threshold=self.threshold,
            model_version=self.measurements.provenance["model_version"],
            options=self.measurements.provenance["detector_options"],
            known_false=self.known_false,
            warnings=self.choice.warnings,
            command=self.command,
        )

    def to_dict(self) -> dict[str, Any]:
        """The content of the file, as plain values."""
        scores = self.scores
        curves = curve(scores)
        score_reliability = reliability(scores)
        optional = {"date": self.date, "command": list(self.command) or None}
        given = {name: value for name, value in optional.items() if value is not None}
        content = {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "threshold": self.threshold,
            "target": asdict(self.target),
            "warnings": list(self.choice.warnings),
            "at_threshold": {
                "false_positive_rate": _rate_entry(self.choice.false_positive_rate),
                "recall": _rate_entry(self.choice.recall),
            },
            "provenance": {**given, **self.measurements.provenance, "iou": self.iou},
            "counts": {
                "images": len(self.measurements.done),
                "failed": len(self.measurements.failures),
                "faces": len(self.faces),
                "nonfaces": len(self.nonfaces),
            },
            "statistics": {
                "faces": asdict(summary(scores.faces)),
                "nonfaces": asdict(summary(scores.nonfaces)),
            },
            "lowest_faces": [_entry(found) for found in self.lowest_faces],
            "highest_nonfaces": [_entry(found) for found in self.highest_nonfaces],
            "roc_auc": curves.area,
            "average_precision": curves.average_precision,
            "curve": _thin_out(asdict(curves)),
            "reliability": {
                "brier": score_reliability.brier,
                "ece": score_reliability.ece,
                "bins": [asdict(part) for part in score_reliability.bins],
            },
        }
        if self.known_false:
            content["known_false"] = [entry.to_dict() for entry in self.known_false]
        plain: dict[str, Any] = _without_nan(content)
        return plain

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file that ``FaceDetector`` and the commands read.

        The file is never seen half written.
        """
        text = json.dumps(self.to_dict(), indent=2) + "\n"
        write_whole(Path(path), text.encode("ascii"))


def calibrate(
    detector: FaceDetector,
    images: Sequence[LabelledImage],
    target: Target | None = None,
    *,
    iou: float = 0.5,
    confidence: float = 0.95,
    journal: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
    notify: Callable[[str], None] | None = None,
    date: str | None = None,
) -> CalibrationResult:
    """Find the threshold for a place from labelled images of that place.

    For an image that only shows a face somewhere, the best score counts. For an annotated face, the
    score of the detection on it counts. For an image without faces, or with all of its faces
    annotated, the best detection that is not a face counts; the false-positive rate is therefore a
    rate per image.

        images = from_folders("faces", "others")
        result = calibrate(FaceDetector(), images, Target("fpr", 0.01), journal="journal.jsonl")
        print(result.threshold, result.choice.recall)

    Args:
        detector: a detector with the options that will be used later. Every find counts, whatever
            its option ``confidence`` is.
        images: result of ``from_folders``, ``from_csv`` or ``read_annotations``.
        target: what to reach; by default a false-positive rate of 0.01.
        iou: smallest overlap, 0..1, at which a detection counts as an annotated face.
        confidence: confidence level of the intervals, 0..1.
        journal: file that keeps the detections; a second run detects only in the images it lacks.
        listener: called after each image.
        notify: called with a sentence on what the journal already has.
        date: date to record in the file.

    Raises:
        AnnotationError: a class has no image, or none that can be read.
        OptionsError: no threshold reaches the target, or the detector leaves faces out.
    """
    target = Target("fpr", 0.01) if target is None else check_type("target", target, Target)
    check_level(confidence)
    check_share("iou", iou)
    check_measuring(detector, images, journal, listener, notify)
    if date is not None:
        check_type("date", date, str)
    _require_both(images)
    found = measure(detector, images, journal=journal, listener=listener, notify=notify)
    if found.failures:
        _require_both([measured.image for measured in found.done], "that can be read")
    faces: list[Evidence] = []
    nonfaces: list[Evidence] = []
    for measured in found.done:
        kept, shown = evidence_of(measured, iou)
        faces.extend(kept)
        nonfaces.extend(shown)
    choice = choose(_score_set(faces, nonfaces), target, confidence)
    return CalibrationResult(target, choice, tuple(faces), tuple(nonfaces), found, iou, date)


def evidence_of(measured: Measured, iou: float = 0.5) -> tuple[list[Evidence], list[Evidence]]:
    """The evidence of one image: its faces, and its non-face if all faces are known."""
    image, found = measured.image, measured.faces
    if image.boxes is None:
        return [_best(image, measured, np.ones(len(found), dtype=bool))], []
    matched = match(found.boxes, found.scores, image.boxes, image.counted, iou)
    hits = np.flatnonzero(matched.hit)
    # At most one hit belongs to a face.
    hit_of = dict(zip(matched.face[hits].tolist(), hits.tolist(), strict=True))
    faces = []
    for index in np.flatnonzero(image.counted).tolist():
        hit = hit_of.get(index)
        box = None if hit is None else found.boxes[hit]
        score = math.nan if hit is None else float(found.scores[hit])
        faces.append(Evidence(image, score, box, image.boxes[index]))
    return faces, [_best(image, measured, matched.false)] if image.complete else []


def _best(image: LabelledImage, measured: Measured, among: np.ndarray[Any, Any]) -> Evidence:
    """The best detection among those of a mask."""
    rows = np.flatnonzero(among)
    if not len(rows):
        return Evidence(image, math.nan, None)
    best = rows[np.argmax(measured.faces.scores[rows])]
    return Evidence(image, float(measured.faces.scores[best]), measured.faces.boxes[best])


def _require_both(images: Sequence[LabelledImage], which: str = "") -> None:
    """Require at least one image of each class."""
    faces = any(image.boxes is None or image.counted.any() for image in images)
    nonfaces = any(image.complete for image in images)
    for given, what in ((faces, "with a face"), (nonfaces, "without a face")):
        if not given:
            raise AnnotationError(
                f"there is no image {what}{' ' * bool(which)}{which}: a threshold separates"
                " two classes, so images of both are needed"
            )


def _score_set(faces: Sequence[Evidence], nonfaces: Sequence[Evidence]) -> ScoreSet:
    return ScoreSet(
        np.array([found.score for found in faces], dtype=np.float32),
        np.array([found.score for found in nonfaces], dtype=np.float32),
    )


def _rank(score: float) -> float:
    return -1.0 if math.isnan(score) else score


def _rate_entry(rate: Rate) -> dict[str, Any]:
    low, high = rate.interval
    return {**asdict(rate), "value": rate.value, "low": low, "high": high}


def _entry(found: Evidence) -> dict[str, Any]:
    box = None if found.box is None else [round(float(edge), 1) for edge in found.box]
    return {"path": found.image.name, "score": found.score, "box_xyxy": box}


def _thin_out(columns: dict[str, Any]) -> dict[str, list[float]]:
    """Reduce a long curve to the points that a plot needs, including both ends."""
    length = len(columns["thresholds"])
    rows = np.unique(np.linspace(0, length - 1, min(length, _POINTS_IN_FILE)).round().astype(int))
    return {name: [float(value) for value in values[rows]] for name, values in columns.items()}


def _without_nan(value: Any) -> Any:
    """Replace each NaN by ``None``, because JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
