"""Annotated images in the data folder: reading, searching and changing them repeatably."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.images import Pixels, read_rgb
from benchmarks.common.program import BenchmarkError
from edge_mtcnn import FaceDetector

Entry = dict[str, Any]
"""One image of ``annotations.json``: ``image`` is its path, the rest depends on the set."""
LEAST_OVERLAP = 0.2
"""IoU of a correct detection. Annotated boxes only reach from brow to chin, so it may be low."""


def entries_of(folder: Path, *fields: str) -> list[Entry]:
    """The entries of a set.

    Args:
        folder: contains ``annotations.json``.
        fields: what each entry must have, besides ``image``.

    Raises:
        BenchmarkError: the folder has no annotations, or others than these.
    """
    file = folder / "annotations.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchmarkError(
            f"there is no annotated set in {folder} ({error.strerror}); name its folder with --data"
        ) from None
    except ValueError as error:
        raise BenchmarkError(f"{file} is not JSON: {error}") from None
    wanted = {"image", *fields}
    for number, entry in enumerate(content if isinstance(content, list) else [content]):
        lacking = wanted - entry.keys() if isinstance(entry, dict) else wanted
        if lacking:
            raise BenchmarkError(f"entry {number} of {file} lacks {', '.join(sorted(lacking))}")
    return list(content)


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and its folders, by name."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def pixels_of(files: Sequence[Path], name: str) -> Iterator[Pixels]:
    """The images, one after the other, as (H, W, 3) RGB; tells the progress on standard error.

    Raises:
        BenchmarkError: a file is missing or no image.
    """
    for count, file in enumerate(files, 1):
        yield read_rgb(file)
        if sys.stderr.isatty() or count % 100 == 0:
            end = "\r" if sys.stderr.isatty() else "\n"
            print(f"{name}: {count} of {len(files)}", end=end, file=sys.stderr)


def random_of(name: str) -> np.random.Generator:
    """Random numbers that are the same in every run for an image, whatever ran before."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def best_score(detector: FaceDetector, pixels: Pixels) -> float:
    """The highest score of an image, -1 if nothing is found."""
    return float(detector.detect(pixels).scores.max(initial=-1.0))
