"""Fit the score model, ``models/score.json``, on annotated photos and on images without people.

One half of the images (by the CRC-32 of the file's name) is fitted, the other half reports. Photos
with landmarks give one true face each and say what the landmarks lack; images without people give
what is no face; WIDER FACE gives both, small faces above all. How faces are ranked there is told
as average precision, beside that of O-Net's confidence.

    python -m export.score DATA --write
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

from edge_mtcnn.cascade.boxes import overlap_of
from edge_mtcnn.cascade.candidates import Found
from edge_mtcnn.cascade.onet import finish, look_again
from edge_mtcnn.cascade.pnet import propose
from edge_mtcnn.cascade.pyramid import OctaveSampler, pyramid_scales
from edge_mtcnn.cascade.rnet import refine
from edge_mtcnn.cascade.scoring import FEATURES, ScoreModel, evidence
from edge_mtcnn.options import PRESETS, DetectorOptions
from edge_mtcnn.runtime.models import default_folder, load_manifest
from edge_mtcnn.runtime.sessions import open_networks, preferred_form
from edge_mtcnn.runtime.workers import Workers, available_threads
from edge_mtcnn.thresholds.precision import average_precision
from edge_mtcnn.types import FloatArray

PENALTY = 0.15
"""Ridge penalty of the standardised coefficients. Cross-validated in the half that is fitted, the
log loss is flat from 0.1 to 0.2 and rises beyond; the calibration error rises with the penalty."""
LONGEST_SIDE = 800
"""Larger photos are made smaller, but for those of WIDER FACE."""
_DEFAULT = PRESETS["default"]
OPTIONS = {
    "landmarks": replace(_DEFAULT, min_face_size=40),
    "nonface": replace(_DEFAULT, min_face_size=40),
    # The authors' settings for it.
    "wider": replace(_DEFAULT, min_face_size=10, scale_factor=0.79, thresholds=(0.5, 0.5, 0.3)),
}
"""How each part of the data is searched."""
WEIGHTS = {"landmarks": 1.0, "nonface": 1.0, "wider": 0.002}
"""Of one detection in the fit. In crowds nearly all that looks like a face is one, even the weak;
more weight of WIDER FACE would raise what animals get, less leaves small faces without a say."""
LEVELS = ("easy", "medium", "hard")
TRUE_IOU, FALSE_IOU = 0.45, 0.25
"""A detection in WIDER between these overlaps with the nearest annotation counts neither way."""


@dataclass(frozen=True)
class Image:
    """What was found in one image.

    Attributes:
        part: part of the data, a key of ``OPTIONS``.
        fitted: whether it is in the half that is fitted.
        annotation: its entry in the annotations, boxes in pixels of the image as searched.
        boxes: (N, 4) all detections.
        evidence: (N, F) of them.
        confidences: (N,) O-Net's probabilities of them.
        rows: (M,) those that are labelled.
        true: (M,) whether these are faces.
        landmarks: (K, 5, 2) mean of the further readings of the annotated face; K is 0 or 1.
        annotated: (K, 5, 2) its annotation.
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


class Cascade:
    """The cascade up to the readings that the score is made of."""

    def __init__(self) -> None:
        manifest = load_manifest()
        form = preferred_form(manifest.forms, "cpu")
        self._networks = open_networks(manifest.models(form), "cpu")
        self._run = Workers(available_threads()).map

    def __call__(self, image: Any, options: DetectorOptions) -> tuple[Found, list[Found]]:
        """Found faces and their further readings in an (H, W, 3) uint8 RGB image."""
        height, width = image.shape[:2]
        scales = pyramid_scales(height, width, options.min_face_size, options.scale_factor, None)
        sampler = OctaveSampler(image, scales[-1] if scales else 1.0)
        levels = [sampler.level(scale) for scale in scales]
        rules = list(zip(options.thresholds, options.nms, strict=True))
        networks, run = self._networks, self._run
        windows = propose(levels, scales, networks.pnet, *rules[0], run)
        candidates = refine(windows, sampler, networks.rnet, *rules[1], run)
        found = finish(candidates, sampler, networks.onet, *rules[2], run)
        return found, look_again(found, sampler, networks.onet, run)


def read(data: Path, parts: list[str]) -> Iterator[Image]:
    """Run the cascade over the data."""
    cascade = Cascade()
    for part in parts:
        for number, (path, annotation) in enumerate(_files(data / part)):
            pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if pixels is None:
                continue
            scale = 1.0 if part == "wider" else min(1.0, LONGEST_SIDE / max(pixels.shape[:2]))
            if scale < 1:
                pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            found, readings = cascade(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), OPTIONS[part])
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
        ious = _ious(found.boxes, np.array([annotation["box_xyxy"]]) * scale)[:, 0]
        # The annotated box is tighter than a detector's, so a modest overlap is the face.
        rows = np.flatnonzero((ious == ious.max(initial=0)) & (ious >= 0.3))[:1]
        true = np.ones(len(rows))
        average = np.mean([reading.landmarks for reading in readings], axis=0)
        landmarks = average[rows]
        annotated = np.repeat(np.array([annotation["points"]]) * scale, len(rows), axis=0)
        sizes = (found.boxes[rows, 2:] - found.boxes[rows, :2]).mean(axis=1)
    elif part == "wider":
        best = _ious(found.boxes, _annotated_boxes(annotation)).max(axis=1, initial=0)
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
    """(M, 4) ``x1, y1, x2, y2``; WIDER FACE counts ``x2 = x + width``."""
    boxes = np.array(annotation["boxes_xywh"], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _ious(a: FloatArray, b: FloatArray) -> FloatArray:
    pairs = overlap_of(np.repeat(a, len(b), axis=0), np.tile(b, (len(a), 1)))
    return pairs.reshape(len(a), len(b))


def fit(images: list[Image]) -> ScoreModel:
    """Logistic regression with a ridge penalty, by Newton's method; median landmark offsets."""
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
    """What the model does on images; ``confidence`` beside it is O-Net's number alone."""
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
    """Fit, report, and write the model when asked."""
    parser = argparse.ArgumentParser(prog="python -m export.score", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with landmarks/, nonface/ and wider/")
    parser.add_argument("--parts", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    parser.add_argument("--write", action="store_true", help="write models/score.json")
    options = parser.parse_args(arguments)
    images = list(read(options.data, options.parts))
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
