"""Fit the score model, ``models/score.json``, on annotated photos and on images without people.

Half of the images, chosen by the CRC-32 of the file name, are used for the fit; the other half is
used for the report. The data folder has four parts:

- ``landmarks/``: photos with five annotated landmarks. Each has one true face, and the fit learns
  the mean error of its landmarks.
- ``nonface/``: images without people. Each detection in them is false.
- ``people/``: portraits of 200x200 with a group of age and origin. The fit sees all groups with the
  same weight, in the light and darkened; the report has the share of each group.
- ``wider/``: WIDER FACE, with true and false detections, above all of small faces. The report has
  the average precision on it, by the score and by O-Net's confidence.

    python -m export score DATA --write
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_mtcnn.cascade.candidates import Found
from edge_mtcnn.cascade.scoring import ScoreModel, evidence, sizes
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.options import PRESETS, DetectorOptions
from edge_mtcnn.runtime.models import default_folder
from edge_mtcnn.thresholds.matching import inclusive_ious
from edge_mtcnn.thresholds.precision import average_precision
from edge_mtcnn.types import FloatArray
from export.looks import (
    AS_IT_IS,
    DARK,
    DARKER,
    LONGEST_SIDE,
    Look,
    checksum,
    framed,
    group_of,
    held_out,
)

_DEFAULT = replace(PRESETS["default"], min_face_size=40, exposure="off")
OPTIONS = {
    "landmarks": _DEFAULT,
    "nonface": _DEFAULT,
    "people": _DEFAULT,
    # The authors' settings for it.
    "wider": replace(_DEFAULT, min_face_size=10, scale_factor=0.79, thresholds=(0.5, 0.5, 0.3)),
}
"""Options of the detector for each part of the data."""
LEVELS = ("easy", "medium", "hard")
TRUE_IOU, FALSE_IOU = 0.45, 0.25
"""A detection in WIDER FACE is true from the first overlap with an annotated face on, and false
below the second; between them it is left out."""

LOOKS: dict[str, tuple[Look, ...]] = {
    "landmarks": (
        AS_IT_IS,
        Look(400),
        Look(1100),
        Look(500, light=0.22, noise=4),
        Look(300, light=(0.5, 1.4), noise=3),
    ),
    "nonface": (
        AS_IT_IS,
        Look(800),
        Look(560, mirrored=True),
        Look(1100),
        Look(700, light=0.22, noise=4, mirrored=True),
        Look(640, light=(0.5, 1.4), noise=3),
    ),
    "people": (AS_IT_IS, DARK, DARKER),
    "wider": (Look(None),),
}
"""How the images of each part are shown. The report uses the first look of each, and all of
``people``. In the further looks of ``nonface`` the thresholds are those of ``wider``, because there
are few images that are taken for a face otherwise."""

WEIGHTS = {
    ("landmarks", 0): 1.0,
    ("landmarks", 1): 0.2,
    ("nonface", 0): 1.0,
    ("nonface", 1): 1.0,
    ("people", 0): 0.6,
    ("people", 1): 0.6,
    ("wider", 0): 0.1,
}
"""Weight of a detection in the fit, by part, and whether it is seen in a further look. What was
found in ``people`` at a tenth of the light has none. In crowds, nearly everything that looks like a
face is one, even where the evidence is weak: a larger weight of WIDER FACE would raise the scores
of animals, a smaller one would rank crowds worse."""
FALSE_IN_CROWDS = 3.0
"""Weight of a false detection in WIDER FACE relative to a true one."""
PENALTIES = np.repeat([5.0, 0.1], [256, 3])
"""Ridge penalties of the standardised coefficients, of the features and of the three others."""
WITHOUT_FEATURES = np.concatenate([np.zeros(256), [0.66, 0.66, 0.8943]])
WITHOUT_INTERCEPT = -8.723
"""The score of version 1.0.0 of the models: log odds of the readings and size. It ranks the small
faces of crowds better than features do."""
SIZES = (20.0, 80.0)
SHARES = (0.2, 0.7)
"""Share of the model with the features in the score of small and of large faces, the rest is the
model without them; and the sizes that are small and large, pixels."""
SLOPE, SMALL_BELOW, TAIL = 1.2, 3.2, 0.6
"""Chosen so that the score is calibrated on photos and ranks crowds no worse than before: slope of
the log odds of large faces; log odds by which small faces, which WIDER FACE often does not
annotate, are ranked below; factor of log odds below 0, because the average precision on WIDER FACE
does not rank scores below 0.001."""


@dataclass(frozen=True)
class Image:
    """What was found in one image.

    Attributes:
        part: part of the data, a key of ``OPTIONS``.
        look: index of the look in ``LOOKS``.
        fitted: whether it belongs to the half used for the fit.
        fold: 0 or 1, half of that half, for the cross-validation.
        annotation: its entry in the annotation file; empty for images without people.
        boxes: (N, 4) all detections, pixels of the image as searched.
        evidence: (N, 259) evidence of the detections, see ``scoring.evidence``.
        confidences: (N,) O-Net's probabilities.
        rows: (M,) indices of the detections with a label.
        true: (M,) 1 where such a detection is a face, else 0.
        landmarks: (K, 5, 2) mean of the further readings of the annotated face; K is 0 or 1.
        annotated: (K, 5, 2) the annotated landmarks of the same face.
        sizes: (K,) size of its box, pixels.
    """

    part: str
    look: int
    fitted: bool
    fold: int
    annotation: dict[str, Any]
    boxes: FloatArray
    evidence: FloatArray
    confidences: FloatArray
    rows: npt.NDArray[np.intp]
    true: FloatArray
    landmarks: FloatArray
    annotated: FloatArray
    sizes: FloatArray


def read(data: Path, parts: Sequence[str]) -> Iterator[Image]:
    """Search the images of the data in all looks, each part with its own options.

    Raises:
        FileNotFoundError: a part has no folder.
    """
    for part in parts:
        if not (data / part).is_dir():
            raise FileNotFoundError(f"there is no folder {data / part}")
    random = np.random.default_rng(0)
    for part in parts:
        with FaceDetector(OPTIONS[part]) as detector:
            for number, (path, annotation) in enumerate(_files(data / part)):
                pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
                if pixels is None:
                    continue
                if part == "people":
                    pixels = framed(pixels)
                if number % 100 == 0:
                    sys.stderr.write(f"{part}: {number} images\n")
                for index, look in enumerate(LOOKS[part]):
                    shown, scale = look.of(pixels, random)
                    search = detector.search(shown, options=_options(part, index), color="bgr")
                    found, readings = search.readings()
                    yield _labelled(part, index, path, annotation, scale, found, readings)


def _options(part: str, look: int) -> DetectorOptions:
    lenient = part == "nonface" and look > 0
    options = OPTIONS[part]
    return replace(options, thresholds=OPTIONS["wider"].thresholds) if lenient else options


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
    look: int,
    path: Path,
    annotation: dict[str, Any],
    scale: float,
    found: Found,
    readings: list[Found],
) -> Image:
    count = len(found.boxes)
    landmarks, annotated = np.zeros((0, 5, 2)), np.zeros((0, 5, 2))
    rows, true = np.arange(count), np.zeros(count)
    if part == "landmarks":
        ious = inclusive_ious(found.boxes, np.array([annotation["box_xyxy"]]) * scale)[:, 0]
        # The annotated box is tighter than a detector's, so a modest overlap is the face.
        rows = np.flatnonzero((ious == ious.max(initial=0)) & (ious >= 0.3))[:1]
        true = np.ones(len(rows))
        average = np.mean([reading.landmarks for reading in readings], axis=0)
        landmarks = average[rows]
        annotated = np.repeat(np.array([annotation["points"]]) * scale, len(rows), axis=0)
    elif part == "people":
        centre = np.array([160.0, 160.0])
        around = (found.boxes[:, :2] < centre).all(axis=1) & (found.boxes[:, 2:] > centre).all(1)
        rows = np.flatnonzero(around & (sizes(found.boxes) > 80))[:1]
        true = np.ones(len(rows))
    elif part == "wider":
        best = inclusive_ious(found.boxes, _annotated_boxes(annotation)).max(axis=1, initial=0)
        rows = np.flatnonzero((best >= TRUE_IOU) | (best < FALSE_IOU))
        true = (best[rows] >= TRUE_IOU).astype(float)
    return Image(
        part=part,
        look=look,
        fitted=not held_out(path),
        fold=checksum(path) // 2 % 2,
        annotation=annotation,
        boxes=found.boxes,
        evidence=evidence(found, readings),
        confidences=found.scores,
        rows=rows,
        true=true,
        landmarks=landmarks,
        annotated=annotated,
        sizes=sizes(found.boxes[rows]) if part == "landmarks" else np.zeros(0),
    )


def _annotated_boxes(annotation: dict[str, Any]) -> FloatArray:
    """(M, 4) ``x1, y1, x2, y2``; the protocol of WIDER FACE has ``x2 = x + width``."""
    boxes = np.array(annotation["boxes_xywh"], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def fit(images: list[Image]) -> ScoreModel:
    """Fit the score model to labelled detections.

    The landmark offsets are the medians of the landmark errors. The intercept for large faces makes
    the score calibrated: it is fitted to scores that were cross-validated, because a model is too
    sure of what it was fitted to.
    """
    crossed = [_mixed([i for i in images if i.fold == fold]) for fold in (0, 1)]
    plain = [i for i in images if i.part != "wider" and i.look == 0]
    odds = np.concatenate([_log_odds(i, *crossed[1 - i.fold]) for i in plain])
    weights = np.concatenate([np.full(len(i.rows), WEIGHTS[i.part, 0]) for i in plain])
    true = np.concatenate([i.true for i in plain])
    intercept = _intercept(SLOPE * odds, true, weights)

    coefficients, intercepts = _mixed(images)
    slopes = np.array([1.0, SLOPE])
    photos = [i for i in images if i.part == "landmarks" and i.look == 0]
    lacking = [(i.annotated - i.landmarks) / i.sizes[:, None, None] for i in photos]
    return ScoreModel(
        coefficients=np.round(slopes[:, None] * coefficients, 6),
        intercepts=np.round(slopes * intercepts + (-SMALL_BELOW, intercept), 6),
        sizes=SIZES,
        tail=TAIL,
        landmark_offsets=np.round(np.median(np.concatenate(lacking), axis=0), 5),
    )


def _mixed(images: list[Image]) -> tuple[FloatArray, FloatArray]:
    """Coefficients (2, 259) and intercepts (2,) for small and large faces, not yet calibrated."""
    columns = np.concatenate([image.evidence[image.rows] for image in images])
    true = np.concatenate([image.true for image in images])
    weights = np.concatenate(_weights(images))
    with_features = _logistic(columns, true, weights, PENALTIES)

    shares = np.array(SHARES)
    coefficients = np.outer(1 - shares, WITHOUT_FEATURES) + np.outer(shares, with_features[0])
    intercepts = (1 - shares) * WITHOUT_INTERCEPT + shares * with_features[1]
    return coefficients, intercepts


def _weights(images: list[Image]) -> list[FloatArray]:
    """Weight of each labelled detection."""
    people = [i for i in images if i.part == "people" and len(i.rows)]
    counts = Counter(i.annotation["group"] + i.annotation["age_group"] for i in people)
    average = sum(counts.values()) / max(len(counts), 1)
    weights = []
    for image in images:
        weight = np.full(len(image.rows), WEIGHTS[image.part, min(image.look, 1)])
        if image.part == "people":
            group = image.annotation["group"] + image.annotation["age_group"]
            weight *= average / counts[group] if image.look < 2 and len(image.rows) else 0.0
        elif image.part == "wider":
            weight = np.where(image.true > 0, weight, FALSE_IN_CROWDS * weight)
        weights.append(weight)
    return weights


def _logistic(
    columns: FloatArray, true: FloatArray, weights: FloatArray, penalties: FloatArray
) -> tuple[FloatArray, float]:
    """Logistic regression with a ridge penalty, by Newton's method: coefficients, intercept."""
    used = weights > 0
    columns, true, weights = columns[used], true[used], weights[used]
    mean = np.average(columns, axis=0, weights=weights)
    deviation = np.sqrt(np.average((columns - mean) ** 2, axis=0, weights=weights)) + 1e-9
    standard = np.hstack([(columns - mean) / deviation, np.ones((len(true), 1))])
    penalty = np.diag([*penalties, 0.0])
    fitted = np.zeros(standard.shape[1])
    for _ in range(100):
        probability = 1 / (1 + np.exp(-np.clip(standard @ fitted, -40, 40)))
        gradient = standard.T @ (weights * (true - probability)) - penalty @ fitted
        spread = weights * probability * (1 - probability) + 1e-9
        step = np.linalg.solve((standard.T * spread) @ standard + penalty, gradient)
        fitted = fitted + step * min(1.0, 5 / float(np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    coefficients = fitted[:-1] / deviation
    return coefficients, float(fitted[-1] - coefficients @ mean)


def _intercept(odds: FloatArray, true: FloatArray, weights: FloatArray) -> float:
    """What to add to log odds so that as many are true as they say."""
    added = 0.0
    for _ in range(50):
        probability = 1 / (1 + np.exp(-(odds + added)))
        curvature = (weights * probability * (1 - probability)).sum() + 1e-9
        added += float((weights * (true - probability)).sum() / curvature)
    return added


def _log_odds(image: Image, coefficients: FloatArray, intercepts: FloatArray) -> FloatArray:
    """Log odds of the labelled detections."""
    model = ScoreModel(coefficients, intercepts, SIZES, 1.0, np.zeros((5, 2)))
    return model.log_odds(image.evidence[image.rows], sizes(image.boxes[image.rows]))


def report(images: list[Image], model: ScoreModel) -> dict[str, Any]:
    """Measure the model, and O-Net's confidence alone for comparison.

    Returns:
        Values by the names that ``score.json`` has for them.
    """
    people = [image for image in images if image.part == "people"]
    images = [image for image in images if image.look == 0 and image.part != "people"]
    figures: dict[str, Any] = {"images": len(images)}
    for name in ("score", "confidence"):
        values = [_values(image, model, name) for image in images]
        best = np.array([v[i.rows].max(initial=0) for v, i in zip(values, images, strict=True)])
        clean = np.array([image.part == "nonface" for image in images])
        faces = np.array([image.part == "landmarks" for image in images])
        false = np.sort(best[clean])[::-1]
        thresholds = {"0.5": 0.5}
        for share in (400, 100):
            threshold = false[int(len(false) / share)]
            thresholds[f"1 false image in {share}"] = threshold
            figures[f"{name}: faces kept at 1 false image in {share}"] = round(
                float((best[faces] > threshold).mean()), 4
            )
            figures[f"{name}: that threshold (1 in {share})"] = round(float(threshold), 5)
        figures[f"{name}: faces kept from 0.5 on"] = round(float((best[faces] >= 0.5).mean()), 4)
        figures[f"{name}: false images from 0.5 on"] = round(float((best[clean] >= 0.5).mean()), 4)
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
        if people:
            figures[f"{name}: share of people found, by group"] = {
                light: {at: _by_group(people, look, name, model, t) for at, t in thresholds.items()}
                for look, light in enumerate(("light", "x 0.22", "x 0.10"))
            }
    photos = [image for image in images if image.part == "landmarks"]
    errors = np.concatenate(
        [
            _landmark_errors(
                image.landmarks + model.landmark_offsets * image.sizes[:, None, None],
                image.annotated,
            )
            for image in photos
        ]
    )
    figures["landmark error / inter-eye distance"] = round(float(errors.mean()), 4)
    figures["landmark errors above 10 %"] = round(float((errors > 0.1).mean()), 4)
    return figures


def _values(image: Image, model: ScoreModel, name: str) -> FloatArray:
    if name == "confidence":
        return image.confidences
    odds = model.log_odds(image.evidence, sizes(image.boxes))
    values: FloatArray = 1 / (1 + np.exp(-odds))
    return values


def _by_group(
    people: list[Image], look: int, name: str, model: ScoreModel, threshold: float
) -> dict[str, float]:
    """Share of the portraits of each group whose face is found from a threshold on."""
    found: dict[str, list[bool]] = {}
    for image in (image for image in people if image.look == look):
        best = _values(image, model, name)[image.rows].max(initial=0)
        found.setdefault(group_of(image.annotation), []).append(bool(best >= threshold))
    shares = {group: round(float(np.mean(hits)), 3) for group, hits in sorted(found.items())}
    return {"all": round(float(np.mean(np.concatenate([*found.values()]))), 3), **shares}


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


def _short(text: str) -> str:
    """JSON with the numbers of a list on one line."""
    return re.sub(r"\[\s*(-?[\d.e-]+(?:,\s*-?[\d.e-]+)*)\s*\]", _on_one_line, text)


def _on_one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r"\s+", " ", match[1]) + "]"


def main(arguments: list[str] | None = None) -> int:
    """Fit, report, and write the model when asked; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m export score",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="folder with landmarks/, nonface/, people/, wider/"
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
        "schema_version": 2,
        "evidence": "256 features of O-Net averaged over three readings, log odds of the first"
        " reading, mean log odds of the further two, log of the size limited to 40..150 pixels",
        "sizes": list(model.sizes),
        "tail": model.tail,
        "coefficients": model.coefficients.tolist(),
        "intercepts": model.intercepts.tolist(),
        "landmark_offsets": model.landmark_offsets.tolist(),
        "provenance": {
            "script": "export/score.py",
            "data": "photos with five landmarks, images without people, portraits of twelve groups,"
            " an eighth of WIDER FACE validation",
            "settings": {
                "preset": "default",
                "min_face_size": {part: OPTIONS[part].min_face_size for part in options.parts},
                "longest_side": LONGEST_SIDE,
                "wider": "size as it is, scale factor 0.79, thresholds 0.5/0.5/0.3",
            },
            "fitted_on": sum(image.fitted and image.look == 0 for image in images),
            "measured_on_the_other_half": figures,
        },
    }
    text = _short(json.dumps(content, indent=2)) + "\n"
    sys.stdout.write(text)
    if options.write:
        (default_folder() / "score.json").write_text(text, encoding="utf-8")
        sys.stderr.write(
            "models/score.json written; run 'make models' to enter it in the manifest\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
