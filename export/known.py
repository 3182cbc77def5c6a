"""Measure what O-Net's values are for real faces, and how well known false faces are recognised.

Mean and deviation of the values, for ``models/known.json``, come from ``landmarks/``: photos with
one annotated face each. The report uses other images:

- ``nonface/``: images without people. Each false face is taught from its image, as
  ``calibrate --add-false`` does, and looked for in changed copies of the image.
- ``people/`` and ``wider/``: real faces, counted where one is taken for such a thing.

Some photos of ``landmarks/`` are taught too, as posters: the hardest case, for they are faces.

    python -m export known DATA --write
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_mtcnn.cascade.known import BOUND, BOUND_AT_PLACE, RealFaces, vectors
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.options import PRESETS
from edge_mtcnn.runtime.models import default_folder
from edge_mtcnn.thresholds.matching import inclusive_ious
from edge_mtcnn.types import Float32Array, FloatArray, ImageArray
from export.looks import LONGEST_SIDE, framed

OPTIONS = replace(PRESETS["default"], min_face_size=40)
THING, FACE = 0.9, 0.7
"""O-Net's confidence from which a find is a false face to be taught, and a face to be spared. The
score leaves too few false faces to measure anything."""
POSTERS = 16
"""Each photo of this number is taught as a poster."""
CHANGES = 8
"""Changed copies of each image with a false face."""


def of_portraits(folder: Path, detector: FaceDetector) -> Float32Array:
    """Values of the annotated face of each photo, (N, 512)."""
    rows = []
    for entry in _annotations(folder):
        pixels, scale = _read(folder, entry["image"])
        boxes, _, values = _finds(detector, pixels)
        ious = inclusive_ious(boxes, np.array([entry["box_xyxy"]]) * scale)[:, 0]
        # The annotated box is tighter than a detector's.
        if len(ious) and ious.max() >= 0.3:
            rows.append(values[ious.argmax()])
    return np.array(rows)


def of_chips(folder: Path, detector: FaceDetector) -> Float32Array:
    """Values of the face of each chip, in a frame of its blurred mirror image, (N, 512)."""
    rows = []
    for entry in _annotations(folder):
        chip, _ = _read(folder, entry["image"])
        _, scores, values = _finds(detector, framed(chip))
        if scores.max(initial=0) >= FACE:
            rows.append(values[scores.argmax()])
    return np.array(rows)


def of_crowds(folder: Path, detector: FaceDetector) -> Float32Array:
    """Values of the annotated faces, (N, 512)."""
    rows = []
    for entry in _annotations(folder):
        pixels, _ = _read(folder, entry["image"], longest=10_000)
        boxes, scores, values = _finds(detector, pixels)
        faces = np.array(entry["boxes_xywh"], dtype=float).reshape(-1, 4)
        faces[:, 2:] += faces[:, :2]
        hit = inclusive_ious(boxes, faces).max(axis=1, initial=0) >= 0.45
        rows.extend(values[hit & (scores >= FACE)])
    return np.array(rows)


def of_things(folder: Path, detector: FaceDetector) -> Iterator[tuple[Float32Array, Float32Array]]:
    """Values of each false face as it is taught, (512,), and when seen again, (M, 512)."""
    random = np.random.default_rng(5)
    for path in sorted(folder.glob("*/*")):
        pixels, _ = _read(folder, str(path.relative_to(folder)))
        boxes, scores, _ = _finds(detector, pixels)
        for box in boxes[scores >= THING]:
            yield _thing(detector, pixels, box, random)


def of_posters(folder: Path, detector: FaceDetector) -> Iterator[tuple[Float32Array, Float32Array]]:
    """The same for the best face of some photos."""
    random = np.random.default_rng(6)
    for entry in _annotations(folder)[::POSTERS]:
        pixels, _ = _read(folder, entry["image"])
        boxes, scores, _ = _finds(detector, pixels)
        if len(boxes):
            yield _thing(detector, pixels, boxes[scores.argmax()], random)


def _thing(
    detector: FaceDetector, pixels: ImageArray, box: FloatArray, random: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    taught = detector.remember(pixels, box.tolist(), "thing", color="bgr").values()
    again = [_seen_again(detector, pixels, box, random) for _ in range(CHANGES)]
    return taught, np.array([row for row in again if row is not None]).reshape(-1, 512)


def _seen_again(
    detector: FaceDetector, pixels: ImageArray, box: FloatArray, random: np.random.Generator
) -> Float32Array | None:
    """Values of a thing in a copy of other light, scale, place, noise and compression."""
    scale, light, shift = (
        random.uniform(0.7, 1.2),
        random.uniform(0.6, 1.3),
        random.uniform(-15, 15, 2),
    )
    move = (1 - scale) * (box[:2] + box[2:]) / 2 + shift
    matrix = np.array([[scale, 0, move[0]], [0, scale, move[1]]])
    copy = cv2.warpAffine(pixels, matrix, pixels.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    noisy = np.clip(copy * light + random.normal(0, 5, copy.shape), 0, 255).astype(np.uint8)
    packed = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    read = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert read is not None
    boxes, _, values = _finds(detector, read.astype(np.uint8, copy=False))
    ious = inclusive_ious(boxes, (box * scale + np.tile(move, 2))[None])[:, 0]
    return values[ious.argmax()] if ious.max(initial=0) >= 0.4 else None


def _annotations(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((folder / "annotations.json").read_text("utf-8"))
    return entries


def _read(folder: Path, name: str, longest: int = LONGEST_SIDE) -> tuple[ImageArray, float]:
    """An image of at most this side, and how much it was reduced."""
    path = folder / name if (folder / name).is_file() else folder / "images" / name
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise FileNotFoundError(f"cannot read {path}")
    scale = min(1.0, longest / max(pixels.shape[:2]))
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return pixels.astype(np.uint8, copy=False), scale


def _finds(
    detector: FaceDetector, pixels: ImageArray
) -> tuple[FloatArray, FloatArray, Float32Array]:
    """Boxes, confidences and values of all finds."""
    found, readings = detector.search(pixels, color="bgr").readings()
    return found.boxes, found.scores, vectors(readings)


def report(
    real: RealFaces,
    things: list[tuple[Float32Array, Float32Array]],
    faces: dict[str, Float32Array],
) -> dict[str, Any]:
    """How many reappearances are recognised, and how many real faces one thing costs."""
    known = real.directions(np.array([taught for taught, _ in things]))
    cosines = np.concatenate(
        [real.directions(again) @ row for row, (_, again) in zip(known, things, strict=True)]
    )
    figures: dict[str, Any] = {"things": len(things), "seen again": len(cosines)}
    for name, bound in (("anywhere", BOUND), ("at its place", BOUND_AT_PLACE)):
        figures[f"recognised {name}"] = round(float((cosines >= bound).mean()), 4)
        for kind, values in faces.items():
            taken = real.directions(values) @ known.T >= bound
            figures[f"faces of {kind} taken for one thing {name}"] = round(float(taken.mean()), 7)
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Measure, report, and write the file when asked; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m export known",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with the parts above")
    parser.add_argument("--write", action="store_true", help="write models/known.json")
    options = parser.parse_args(arguments)
    missing = [
        n for n in ("landmarks", "nonface", "people", "wider") if not (options.data / n).is_dir()
    ]
    if missing:
        sys.stderr.write(f"error: there is no folder {options.data / missing[0]}\n")
        return 2
    # Every find counts, whatever its score.
    with FaceDetector(replace(OPTIONS, confidence=0.0)) as detector:
        portraits = of_portraits(options.data / "landmarks", detector)
        real = RealFaces(portraits.mean(axis=0), portraits.std(axis=0))
        things = list(of_things(options.data / "nonface", detector))
        posters = list(of_posters(options.data / "landmarks", detector))
        faces = {
            "portraits": portraits,
            "people": of_chips(options.data / "people", detector),
            "crowds": of_crowds(options.data / "wider", detector),
        }
        content = {
            "schema_version": 1,
            **{
                name: base64.b64encode(row.astype("<f2").tobytes()).decode("ascii")
                for name, row in (
                    ("mean", portraits.mean(axis=0)),
                    ("deviation", portraits.std(axis=0)),
                )
            },
            "provenance": {
                "script": "export/known.py",
                "data": "photos with five landmarks, one annotated face each",
                "settings": {
                    "preset": "default",
                    "min_face_size": 40,
                    "longest_side": LONGEST_SIDE,
                },
                "faces": len(portraits),
                "measured": {
                    "faces": {kind: len(values) for kind, values in faces.items()},
                    "animals and things": report(real, things, faces),
                    # Not on the portraits: the posters are some of them.
                    "posters": report(
                        real, posters, {n: v for n, v in faces.items() if n != "portraits"}
                    ),
                },
            },
        }
    text = json.dumps(content, indent=2) + "\n"
    sys.stdout.write(text)
    if options.write:
        (default_folder() / "known.json").write_text(text, encoding="utf-8")
        sys.stderr.write(
            "models/known.json written; run 'make models' to enter it in the manifest\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
