"""Shares of portraits that are found, by group of age and origin, in the light and darkened."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.common.annotated import (
    Entry,
    best_score,
    entries_of,
    files_below,
    pixels_of,
    random_of,
)
from benchmarks.common.program import BenchmarkError
from benchmarks.common.results import Result, share
from edge_mtcnn import DetectorOptions, FaceDetector, RuntimeOptions
from export.looks import AS_IT_IS, DARK, DARKER, framed, group_of, held_out

LIGHTS = {1.0: AS_IT_IS, 0.22: DARK, 0.10: DARKER}
"""How the portraits are shown, by the factor of their light."""
ONE_IN = 400


def people_results(
    preset: str, chosen: DetectorOptions, runtime: RuntimeOptions, data: Path, limit: int | None
) -> list[Result]:
    """Shares of the portraits that are found: of all, of each group, and of the worst group.

    Only images that the fit of the score does not use are counted.

    Raises:
        BenchmarkError: there are no annotated portraits, or no images without people, of that half.
    """
    start = time.perf_counter()
    entries = entries_of(data / "people", "group", "age", "age_group")
    portraits = [entry for entry in entries if held_out(entry["image"])][:limit]
    files = [data / "people" / entry["image"] for entry in portraits]
    others = [path for path in files_below(data / "nonface") if held_out(path)]
    if not portraits or not others:
        raise BenchmarkError(
            f"people/ and nonface/ in {data} must have images that the score was not fitted to;"
            f" found {len(portraits)} and {len(others)}; see --data"
        )
    results = []
    with FaceDetector(chosen, runtime) as detector:
        false = [
            best_score(detector, AS_IT_IS.of(pixels, random_of(path.name))[0])
            for path, pixels in zip(others, pixels_of(others, "nonface"), strict=True)
        ]
        thresholds = {"0.5": 0.5, f"1 in {ONE_IN}": sorted(false)[-1 - len(false) // ONE_IN]}
        for light, look in LIGHTS.items():
            name = f"accuracy/{preset}/people x {light:g}"
            scores = np.array(
                [
                    best_score(detector, look.of(framed(pixels), random_of(file.name))[0])
                    for file, pixels in zip(files, pixels_of(files, name), strict=True)
                ]
            )
            for at, threshold in thresholds.items():
                found = scores >= threshold
                first, *rest = group_results(f"{name}/{at}", portraits, found)
                detail = {
                    **first.detail,
                    "threshold": threshold,
                    "seconds": round(time.perf_counter() - start),
                }
                results += [replace(first, detail=detail), *rest]
    return results


def group_results(
    name: str, portraits: Sequence[Entry], found: npt.NDArray[np.bool_]
) -> Iterator[Result]:
    """The share found of all portraits, of each group, and of the group with the lowest share.

    Babies form groups of their own; the worst group is given for the groups without them too, in
    which they are children.

    Args:
        name: what the names of the results begin with.
        portraits: their annotations, not empty.
        found: (N,) whether each was found.
    """
    yield _share(f"{name}/all", found)
    groups = _shares(name, [group_of(entry) for entry in portraits], found)
    yield from groups
    yield _worst(f"{name}/worst group", groups)
    together = [f"{entry['group']} {entry['age_group']}" for entry in portraits]
    yield _worst(f"{name}/worst group, babies as children", _shares(name, together, found))


def _shares(name: str, groups: Sequence[str], found: npt.NDArray[np.bool_]) -> list[Result]:
    labels = np.array(groups)
    return [_share(f"{name}/{group}", found[labels == group]) for group in sorted(set(groups))]


def _share(name: str, found: npt.NDArray[np.bool_]) -> Result:
    return share(name, int(found.sum()), len(found), better="higher")


def _worst(name: str, groups: Sequence[Result]) -> Result:
    worst = min(groups, key=lambda result: result.value)
    group = worst.name.rsplit("/", 1)[1]
    return replace(worst, name=name, detail={**worst.detail, "group": group})
