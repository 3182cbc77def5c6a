"""Fit the score model, ``models/score.json``, on annotated photos and on images without people.

Half of the images, chosen by the CRC-32 of the file name, are used for the fit; the other half is
used for the report. The data folder has three parts:

- ``landmarks/``: photos with five annotated landmarks. Each has one true face, and the fit learns
  the mean error of its landmarks.
- ``nonface/``: images without people. Each detection in them is false.
- ``wider/``: WIDER FACE, with true and false detections, above all of small faces. The report has
  the average precision on it, by the score and by O-Net's confidence.

    python -m export score DATA --write
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_mtcnn.cascade.candidates import Found
from edge_mtcnn.cascade.scoring import FEATURES, ScoreModel, evidence
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.options import PRESETS
from edge_mtcnn.runtime.models import default_folder
from edge_mtcnn.thresholds.matching import inclusive_ious
from edge_mtcnn.thresholds.precision import average_precision
from edge_mtcnn.types import FloatArray

PENALTY = 0.15
"""Ridge penalty of the standardised coefficients. Cross-validated in the half that is fitted, the
log loss is flat from 0.1 to 0.2 and rises beyond; the calibration error rises with the penalty."""
LONGEST_SIDE = 800
"""Larger photos are scaled down to it, pixels, except those of WIDER FACE."""
_DEFAULT = PRESETS["default"]
OPTIONS = {
    "landmarks": replace(_DEFAULT, min_face_size=40),
    "nonface": replace(_DEFAULT, min_face_size=40),
    # The authors' settings for it.
    "wider": replace(_DEFAULT, min_face_size=10, scale_factor=0.79, thresholds=(0.5, 0.5, 0.3)),
}
"""Options of the detector for each part of the data."""
WEIGHTS = {"landmarks": 1.0, "nonface": 1.0, "wider": 0.002}
"""Weight of one detection in the fit. In crowds, nearly everything that looks like a face is one,
even where the evidence is weak. A larger weight of WIDER FACE would raise the scores of animals; a
smaller one would leave small faces without influence."""
LEVELS = ("easy", "medium", "hard")
TRUE_IOU, FALSE_IOU = 0.45, 0.25
"""A detection in WIDER FACE is true from the first overlap with an annotated face on, and false
below the second; between them it is left out."""


@dataclass(frozen=True)
class Image:
    """What was found in one image.

    Attributes:
        part: part of the data, a key of ``OPTIONS``.
        fitted: whether it belongs to the half used for the fit.
        annotation: its entry in the annotation file; empty for images without people.
        boxes: (N, 4) all detections, pixels of the image as searched.
        evidence: (N, F) features of the detections, see ``scoring.evidence``.
        confidences: (N,) O-Net's probabilities.
        rows: (M,) indices of the detections with a label.
        true: (M,) 1 where such a detection is a face, else 0.
        landmarks: (K, 5, 2) mean of the further readings of the annotated face; K is 0 or 1.
        annotated: (K, 5, 2) the annotated landmarks of the same face.
        sizes: (K,) size of its box, pixels.
    """

    part: str
    fitted: bool
    annotation: dict[str, Any]
    boxes: FloatArray
    evidence: FloatArray
    confidences: FloatArray
    rows: npt.NDArray[np.intp]
    true: FloatArray
    landmarks: FloatArray
    annotated: FloatArray
    sizes: FloatArray


def read(data: Path, parts: list[str]) -> Iterator[Image]:
    """Search the images of the data, each part with its own options.

    Raises:
        FileNotFoundError: a part has no folder.
    """
    for part in parts:
        if not (data / part).is_dir():
            raise FileNotFoundError(f"there is no folder {data / part}")
    for part in parts:
        with FaceDetector(OPTIONS[part]) as detector:
            for number, (path, annotation) in enumerate(_files(data / part)):
                pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
                if pixels is None:
                    continue
                scale = 1.0 if part == "wider" else min(1.0, LONGEST_SIDE / max(pixels.shape[:2]))
                if scale < 1:
                    pixels = cv2.resize(
                        pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
                    )
                found, readings = detector.search(pixels, color="bgr").readings()
                if number % 100 == 0:
                    sys.stderr.write(f"{part}: {number} images\n")
                yield _labelled(part, path, annotation, scale, found, readings)


def _files(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    annotations = folder / "annotations.json"
    if not annotations.is_file():
        yield from ((path, {}) for path in sorted(folder.glob("*/*")) if path.is_file())
        return
    for entry in json.loads(annotations.read_text(encoding="utf-8")):
        path = folder / entry["image"]
        yield path if path.is_file() else folder / "images" / entry["image"], entry


def _labelled(
    part: str,
    path: Path,
    annotation: dict[str, Any],
    scale: float,
    found: Found,
    readings: list[Found],
) -> Image:
    count = len(found.boxes)
    landmarks, annotated = np.zeros((0, 5, 2)), np.zeros((0, 5, 2))
    sizes = np.zeros(0)
    rows, true = np.arange(count), np.zeros(count)
    if part == "landmarks":
        ious = inclusive_ious(found.boxes, np.array([annotation["box_xyxy"]]) * scale)[:, 0]
        # The annotated box is tighter than a detector's, so a modest overlap is the face.
        rows = np.flatnonzero((ious == ious.max(initial=0)) & (ious >= 0.3))[:1]
        true = np.ones(len(rows))
        average = np.mean([reading.landmarks for reading in readings], axis=0)
        landmarks = average[rows]
        annotated = np.repeat(np.array([annotation["points"]]) * scale, len(rows), axis=0)
        sizes = (found.boxes[rows, 2:] - found.boxes[rows, :2]).mean(axis=1)
    elif part == "wider":
        best = inclusive_ious(found.boxes, _annotated_boxes(annotation)).max(axis=1, initial=0)
        rows = np.flatnonzero((best >= TRUE_IOU) | (best < FALSE_IOU))
        true = (best[rows] >= TRUE_IOU).astype(float)
    return Image(
        part=part,
        fitted=zlib.crc32(path.name.encode()) % 2 == 0,
        annotation=annotation,
        boxes=found.boxes,
        evidence=evidence(found, readings),
        confidences=found.scores,
        rows=rows,
        true=true,
        landmarks=landmarks,
        annotated=annotated,
        sizes=sizes,
    )


def _annotated_boxes(annotation: dict[str, Any]) -> FloatArray:
    """(M, 4) ``x1, y1, x2, y2``; the protocol of WIDER FACE has ``x2 = x + width``."""
    boxes = np.array(annotation["boxes_xywh"], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def fit(images: list[Image]) -> ScoreModel:
    """Fit the score model to labelled detections.

    The score is a logistic regression with a ridge penalty, solved by Newton's method; the landmark
    offsets are the medians of the landmark errors.
    """
    features = np.concatenate([image.evidence[image.rows] for image in images])
    true = np.concatenate([image.true for image in images])
    count = np.repeat([WEIGHTS[i.part] for i in images], [len(i.true) for i in images])
    mean = np.average(features, axis=0, weights=count)
    deviation = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=count))
    columns = np.hstack([(features - mean) / deviation, np.ones((len(true), 1))])
    penalty = np.diag([*[PENALTY] * len(FEATURES), 0.0])
    weights = np.zeros(columns.shape[1])
    for _ in range(50):
        probability = 1 / (1 + np.exp(-columns @ weights))
        gradient = columns.T @ (count * (true - probability)) - penalty @ weights
        spread = count * probability * (1 - probability)
        curvature = (columns.T * spread) @ columns + penalty
        weights = weights + np.linalg.solve(curvature, gradient)
    coefficients = weights[:-1] / deviation
    lacking = [(i.annotated - i.landmarks) / i.sizes[:, None, None] for i in images]
    offsets = np.median(np.concatenate(lacking), axis=0)
    return ScoreModel(
        coefficients=tuple(np.round(coefficients, 6).tolist()),
        intercept=round(float(weights[-1] - coefficients @ mean), 6),
        landmark_offsets=tuple((x, y) for x, y in np.round(offsets, 5).tolist()),
    )


def report(images: list[Image], model: ScoreModel) -> dict[str, Any]:
    """Measure the model, and O-Net's confidence alone for comparison.

    Returns:
        Values by the names that ``score.json`` has for them.
    """
    scores = [
        1 / (1 + np.exp(-(image.evidence @ np.array(model.coefficients) + model.intercept)))
        for image in images
    ]
    confidences = [image.confidences for image in images]
    figures: dict[str, Any] = {"images": len(images)}
    for name, values in (("score", scores), ("confidence", confidences)):
        best = np.array([v[i.rows].max(initial=0) for v, i in zip(values, images, strict=True)])
        clean = np.array([image.part == "nonface" for image in images])
        faces = np.array([image.part == "landmarks" for image in images])
        false = np.sort(best[clean])[::-1]
        for share in (400, 100):
            threshold = false[int(len(false) / share)]
            figures[f"{name}: faces kept at 1 false image in {share}"] = round(
                float((best[faces] > threshold).mean()), 4
            )
            figures[f"{name}: that threshold (1 in {share})"] = round(float(threshold), 5)
        for parts in (("landmarks", "nonface"), ("wider",)):
            chosen = [i for i, image in enumerate(images) if image.part in parts]
            if chosen:
                error = _calibration_error(
                    np.concatenate([values[i][images[i].rows] for i in chosen]),
                    np.concatenate([images[i].true for i in chosen]),
                )
                figures[f"{name}: calibration error on {'+'.join(parts)}"] = round(error, 4)
        crowds = [i for i, image in enumerate(images) if image.part == "wider"]
        for level in LEVELS if crowds else ():
            precision = average_precision(
                [(images[i].boxes, values[i]) for i in crowds],
                [_annotated_boxes(images[i].annotation) for i in crowds],
                [images[i].annotation[level] for i in crowds],
            )
            figures[f"{name}: average precision on wider, {level}"] = round(precision, 4)
    errors = np.concatenate(
        [
            _landmark_errors(
                image.landmarks + np.array(model.landmark_offsets) * image.sizes[:, None, None],
                image.annotated,
            )
            for image in images
        ]
    )
    figures["landmark error / inter-eye distance"] = round(float(errors.mean()), 4)
    figures["landmark errors above 10 %"] = round(float((errors > 0.1).mean()), 4)
    return figures


def _calibration_error(scores: FloatArray, true: FloatArray, bins: int = 15) -> float:
    """Expected calibration error over bins of equal width."""
    number = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = [abs(scores[number == i].sum() - true[number == i].sum()) for i in range(bins)]
    return float(sum(gaps) / len(scores))


def _landmark_errors(landmarks: FloatArray, annotated: FloatArray) -> FloatArray:
    distances = np.linalg.norm(landmarks - annotated, axis=2).mean(axis=1)
    eyes = np.linalg.norm(annotated[:, 0] - annotated[:, 1], axis=1)
    errors: FloatArray = distances / eyes
    return errors


def main(arguments: list[str] | None = None) -> int:
    """Fit, report, and write the model when asked; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m export score",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="folder with landmarks/, nonface/ and wider/"
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        default=list(OPTIONS),
        choices=list(OPTIONS),
        help="parts of the data to use (all)",
    )
    parser.add_argument("--write", action="store_true", help="write models/score.json")
    options = parser.parse_args(arguments)
    try:
        images = list(read(options.data, options.parts))
    except FileNotFoundError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    model = fit([image for image in images if image.fitted])
    figures = report([image for image in images if not image.fitted], model)
    content = {
        "schema_version": 1,
        "features": list(FEATURES),
        "coefficients": list(model.coefficients),
        "intercept": model.intercept,
        "landmark_offsets": [list(offset) for offset in model.landmark_offsets],
        "provenance": {
            "script": "export/score.py",
            "data": "photos with five landmarks, images without people, an eighth of WIDER FACE"
            " validation",
            "settings": {
                "preset": "default",
                "min_face_size": {part: OPTIONS[part].min_face_size for part in options.parts},
                "weights": {part: WEIGHTS[part] for part in options.parts},
                "longest_side": LONGEST_SIDE,
                "wider": "size as it is, scale factor 0.79, thresholds 0.5/0.5/0.3",
            },
            "fitted_on": sum(image.fitted for image in images),
            "measured_on_the_other_half": figures,
        },
    }
    text = json.dumps(content, indent=2) + "\n"
    sys.stdout.write(text)
    if options.write:
        (default_folder() / "score.json").write_text(text, encoding="utf-8")
        sys.stderr.write(
            "models/score.json written; run 'make models' to enter it in the manifest\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
