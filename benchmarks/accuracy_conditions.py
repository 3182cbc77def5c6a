"""Shares of faces that are found under each condition, and of images that wrongly show one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common.annotated import (
    LEAST_OVERLAP,
    best_score,
    entries_of,
    files_below,
    pixels_of,
    random_of,
)
from benchmarks.common.program import BenchmarkError
from benchmarks.common.results import Result, share, table
from benchmarks.conditions import CONDITIONS, Photo, seen
from edge_mtcnn import DetectorOptions, FaceDetector, RuntimeOptions
from edge_mtcnn.thresholds.matching import inclusive_ious
from edge_mtcnn.types import Faces, FloatArray
from export.looks import AS_IT_IS, DARK, DARKER, held_out

LEVELS = {"found": 0.0, "0.5": 0.5, "0.9": 0.9}
"""Scores from which on a face counts."""
WITHOUT_PEOPLE = {"clean": AS_IT_IS, "dark": DARK, "darker": DARKER}
"""How images without people are shown."""


def condition_results(
    preset: str, chosen: DetectorOptions, runtime: RuntimeOptions, data: Path, limit: int | None
) -> list[Result]:
    """Shares of the faces of ``landmarks`` that are found under each condition, from each level on.

    Images without people, in the dark too, are those of ``nonface``: the share that shows a face.
    Only images that the fit of the score does not use are counted.

    Raises:
        BenchmarkError: there are no annotated faces, or no images without people, of that half.
    """
    start = time.perf_counter()
    annotated = entries_of(data / "landmarks", "box_xyxy", "points")
    entries = [entry for entry in annotated if held_out(entry["image"])][:limit]
    files = [data / "landmarks" / entry["image"] for entry in entries]
    others = [path for path in files_below(data / "nonface") if held_out(path)][:limit]
    if not files or not others:
        raise BenchmarkError(
            f"landmarks/ and nonface/ in {data} must have images that the score was not fitted to;"
            f" found {len(files)} and {len(others)}; see --data"
        )
    scores: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    false: dict[str, list[float]] = {name: [] for name in WITHOUT_PEOPLE}
    with FaceDetector(chosen, runtime) as detector:
        for entry, pixels in zip(entries, pixels_of(files, "landmarks"), strict=True):
            box, points = np.array(entry["box_xyxy"]), np.array(entry["points"])
            random = random_of(entry["image"])
            photo = seen(AS_IT_IS, Photo(pixels, box, points), random)
            for name, condition in CONDITIONS.items():
                shown = condition(photo, random_of(f"{name}/{entry['image']}"))
                scores[name].append(score_at(detector.detect(shown.pixels), shown.box))
        for file, pixels in zip(others, pixels_of(others, "nonface"), strict=True):
            for name, look in WITHOUT_PEOPLE.items():
                shown_pixels, _ = look.of(pixels, random_of(f"{name}/{file.name}"))
                false[name].append(best_score(detector, shown_pixels))
    detail = {"seconds": round(time.perf_counter() - start)}
    results = [
        share(f"accuracy/{preset}/{name}/{level}", _count(values, least), len(values),
              better="higher", detail=detail)
        for name, values in scores.items()
        for level, least in LEVELS.items()
    ]  # fmt: skip
    results += [
        share(f"accuracy/{preset}/{name}, without people/{level}", _count(values, LEVELS[level]),
              len(values), better="lower", detail=detail)
        for name, values in false.items()
        for level in ("0.5", "0.9")
    ]  # fmt: skip
    return results


def score_at(faces: Faces, box: FloatArray) -> float:
    """The highest score of the faces that overlap an annotated box; -1 if none does."""
    if not len(faces):
        return -1.0
    overlapping = inclusive_ious(faces.boxes, box[None])[:, 0] >= LEAST_OVERLAP
    return float(faces.scores[overlapping].max(initial=-1.0))


def condition_table(results: Sequence[Result]) -> str:
    """The shares in per cent, one line for each condition."""
    lines: dict[str, dict[str, str]] = {}
    for result in results:
        name, level = result.name.removeprefix("accuracy/").rsplit("/", 1)
        line = lines.setdefault(name, {"images": str(result.detail["images"])})
        line[level] = f"{100 * result.value:.1f} %"
    columns = ("images", *LEVELS)
    rows = [(name, *(line.get(column) for column in columns)) for name, line in lines.items()]
    return table(rows, ("condition", *columns))


def _count(scores: Sequence[float], least: float) -> int:
    return sum(score >= least for score in scores)
