"""Measure how well a preset finds faces and landmarks, and whose faces.

Average precision follows the protocol of WIDER FACE, for easy, medium and hard faces. The landmark
error is the mean distance over the five points divided by the distance between the annotated eyes;
an error above 10 % is a failure. The portraits of ``people`` are shown in the light and darkened;
the share of each group of age and origin that is found is given at a score of 0.5 and at the
threshold that lets 1 image in 400 of ``nonface`` through, with its 95 % interval.

With --conditions, the faces of ``landmarks`` are shown dark, backlit, blurred, tilted, masked and
so on, and the share that is found is given, of all finds and from a score of 0.5 and 0.9 on;
``nonface`` is shown dark too. The half of the images that the score was fitted to is left out there
and in ``people``.

    python -m benchmarks.accuracy --preset reference default --wider-settings
    python -m benchmarks.accuracy --preset default --conditions

Needs annotated images: a folder with ``wider/``, ``landmarks/``, ``people/`` and ``nonface/``,
named by --data.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy_conditions import condition_results, condition_table
from benchmarks.accuracy_people import people_results
from benchmarks.common.annotated import LEAST_OVERLAP, Entry, entries_of, pixels_of
from benchmarks.common.arguments import add_threads, detector_options, runtime_options
from benchmarks.common.images import DATA
from benchmarks.common.program import BenchmarkError, script, script_parser
from benchmarks.common.results import (
    Result,
    Target,
    add_output,
    document,
    save,
    table,
    target_table,
)
from edge_mtcnn import DetectorOptions, FaceDetector, RuntimeOptions
from edge_mtcnn.thresholds.matching import inclusive_ious
from edge_mtcnn.thresholds.precision import average_precision
from edge_mtcnn.types import Faces, FloatArray

LEVELS = ("easy", "medium", "hard")
SETS = ["wider", "landmarks", "people"]
WIDER_SETTINGS: dict[str, Any] = {
    "min_face_size": 10,
    "scale_factor": 0.79,
    "thresholds": (0.5, 0.5, 0.3),
}
"""Settings of the authors of MTCNN for this benchmark."""
WIDER_TARGETS = {"easy": 0.85, "medium": 0.83, "hard": 0.62}
MOST_LOSS = 0.003
FAILURE = 0.10


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    options = _parser().parse_args(arguments)
    results: list[Result] = []
    conditions: list[Result] = []
    presets = {
        preset: detector_options(preset, ["confidence=0", *options.changes])
        for preset in options.preset
    }
    for preset, chosen in presets.items():
        if "wider" in options.sets:
            wider = replace(chosen, **WIDER_SETTINGS) if options.wider_settings else chosen
            results += wider_results(preset, wider, options)
        if "landmarks" in options.sets:
            results += landmark_results(preset, chosen, options)
        given = preset, chosen, _runtime(options), options.data, options.limit
        if "people" in options.sets:
            results += people_results(*given)
        if "conditions" in options.sets:
            conditions += condition_results(*given)
    if results:
        print(_table(results))
    if conditions:
        print(condition_table(conditions))
    # The targets are for the whole set, with the settings of the authors.
    whole = options.wider_settings and "wider" in options.sets and options.limit is None
    targets = _targets({r.name: r.value for r in results}) if whole else []
    if targets:
        print("\n" + target_table(targets))
    settings = {
        "presets": {preset: chosen.to_dict() for preset, chosen in presets.items()},
        "changes": options.changes,
        "wider_settings": WIDER_SETTINGS if options.wider_settings else None,
        "sets": options.sets,
        "limit": options.limit,
        "models": None if options.models is None else options.models.name,
    }
    save(
        document("accuracy", results + conditions, settings=settings, targets=targets),
        options.output,
    )
    return 0


def wider_results(
    preset: str, chosen: DetectorOptions, options: argparse.Namespace
) -> list[Result]:
    """Average precision of one preset on the annotated images of WIDER FACE."""
    images = entries_of(options.data / "wider", "boxes_xywh", *LEVELS)[: options.limit]
    start = time.perf_counter()
    found = _detect(images, options.data / "wider" / "images", chosen, _runtime(options))
    seconds = round(time.perf_counter() - start)
    detections = [(faces.boxes, faces.scores) for faces in found]
    truth = [corners(image["boxes_xywh"]) for image in images]
    return [
        Result(
            name=f"accuracy/{preset}/wider/{level}",
            unit="AP",
            value=average_precision(detections, truth, [image[level] for image in images]),
            better="higher",
            detail={
                "images": len(images),
                "detections": sum(len(faces) for faces in found),
                "options": chosen.to_dict(),
                "seconds": seconds,
            },
        )
        for level in LEVELS
    ]


def landmark_results(
    preset: str, chosen: DetectorOptions, options: argparse.Namespace
) -> list[Result]:
    """Landmark error of one preset, over the annotated faces that it finds."""
    images = entries_of(options.data / "landmarks", "box_xyxy", "points")[: options.limit]
    start = time.perf_counter()
    found = _detect(images, options.data / "landmarks", chosen, _runtime(options))
    seconds = round(time.perf_counter() - start)
    errors = [
        landmark_error(faces, np.array(image["box_xyxy"]), np.array(image["points"]))
        for faces, image in zip(found, images, strict=True)
    ]
    known = np.array([error for error in errors if error is not None])
    if not len(known):
        raise BenchmarkError("no annotated face was found; there is no landmark error")
    detail = {"images": len(images), "options": chosen.to_dict(), "seconds": seconds}
    figures = {
        "landmark error": (100 * known.mean(), "%"),
        "landmark failures": (100 * (known > FAILURE).mean(), "%"),
        "faces missed": (100 * (1 - len(known) / len(errors)), "%"),
    }
    return [
        Result(name=f"accuracy/{preset}/{name}", unit=unit, value=float(value), detail=detail)
        for name, (value, unit) in figures.items()
    ]


def landmark_error(faces: Faces, box: FloatArray, points: FloatArray) -> float | None:
    """Mean distance of the five points / distance between the eyes; ``None`` for a missed face.

    The face is the one that overlaps the annotated box most; others may be in the photo.
    """
    if not len(faces):
        return None
    shared = inclusive_ious(faces.boxes, box[None])[:, 0]
    best = int(shared.argmax())
    if shared[best] < LEAST_OVERLAP:
        return None
    distances = np.linalg.norm(faces.landmarks[best] - points, axis=1)
    return float(distances.mean() / np.linalg.norm(points[0] - points[1]))


def corners(boxes: Sequence[Sequence[float]]) -> FloatArray:
    """``x, y, width, height`` to ``x1, y1, x2, y2``; WIDER counts ``x2 = x + width``."""
    given = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return np.concatenate([given[:, :2], given[:, :2] + given[:, 2:]], axis=1)


def _parser() -> argparse.ArgumentParser:
    parser = script_parser("benchmarks.accuracy", __doc__)
    parser.add_argument("--preset", nargs="+", default=["reference", "default"], help="presets")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="changes",
        help="change an option of every preset, as in min_face_size=10; repeatable; without"
        " confidence=NUMBER, all finds count",
    )  # fmt: skip
    parser.add_argument(
        "--wider-settings", action="store_true",
        help="the authors' settings for WIDER FACE: min face 10, factor 0.79, 0.5/0.5/0.3",
    )  # fmt: skip
    parser.add_argument(
        "--sets", nargs="+", choices=SETS, default=SETS,
        help="what to measure (all)",
    )  # fmt: skip
    parser.add_argument(
        "--conditions", action="store_const", const=["conditions"], dest="sets",
        help="measure under dark, backlit, blurred, tilted and other conditions instead",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the sets")
    parser.add_argument("--limit", type=int, help="only so many images of each set")
    parser.add_argument(
        "--models", type=Path, metavar="DIR",
        help="other models, such as those of 'python -m export quantise' (those of the package)",
    )  # fmt: skip
    add_threads(parser)
    add_output(parser)
    return parser


def _detect(
    images: Sequence[Entry], folder: Path, chosen: DetectorOptions, runtime: RuntimeOptions
) -> list[Faces]:
    files = [folder / image["image"] for image in images]
    with FaceDetector(chosen, runtime) as detector:
        return [detector.detect(pixels) for pixels in pixels_of(files, folder.name)]


def _runtime(options: argparse.Namespace) -> RuntimeOptions:
    return replace(runtime_options(options.threads), models=options.models)


def _table(results: Sequence[Result]) -> str:
    return table(
        (
            (r.name, r.value, _interval(r), r.unit, r.detail["images"], r.detail.get("seconds"))
            for r in results
        ),
        ("figure", "value", "95 % interval", "", "images", "s"),
    )


def _interval(result: Result) -> str:
    return "{:.3f} to {:.3f}".format(*result.interval) if result.interval else ""


def _targets(values: dict[str, float]) -> list[Target]:
    """The targets of preset ``default`` with the authors' settings."""
    targets = []
    for level, limit in WIDER_TARGETS.items():
        value = values.get(f"accuracy/default/wider/{level}")
        exact = values.get(f"accuracy/reference/wider/{level}")
        name = f"default: WIDER AP {level}"
        targets.append(Target(name=name, limit=limit, at_least=True, value=value))
        gain = None if value is None or exact is None else value - exact
        name = f"default - reference: WIDER AP {level}"
        targets.append(Target(name=name, limit=-MOST_LOSS, at_least=True, value=gain))
    return targets


if __name__ == "__main__":
    sys.exit(main())
