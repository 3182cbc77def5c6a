"""The images that benchmarks run on: photos in the data folder, else the project's samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.common.program import BenchmarkError
from benchmarks.common.results import ROOT

DATA = ROOT.parent / "shared" / "data"
SAMPLES = ROOT / "samples"
TARGET_PHOTOS = ("ivan", "multiface", "kp_test1", "selfie-many-people", "img10")
"""The photos for which the project has targets."""

Pixels = npt.NDArray[np.uint8]
_SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True, slots=True, eq=False)
class BenchmarkImage:
    """An upright RGB image and its name in the results."""

    name: str
    pixels: Pixels

    def described(self) -> dict[str, Any]:
        """Name and size, for the results."""
        height, width = self.pixels.shape[:2]
        return {"name": self.name, "width": width, "height": height}


def read_rgb(path: Path) -> Pixels:
    """The image upright, (H, W, 3) RGB.

    Raises:
        BenchmarkError: the file is missing or no image.
    """
    pixels: Pixels | None = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise BenchmarkError(f"cannot read the image {path}")
    rgb: Pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return rgb


def choose(paths: Sequence[Path]) -> list[BenchmarkImage]:
    """The named images; by default the photos of the targets, or the samples if these are missing.

    Args:
        paths: files, or bare names of photos or samples, such as ``multiface``.
    """
    return [BenchmarkImage(file.stem, read_rgb(file)) for file in map(find, paths)] or defaults()


def defaults() -> list[BenchmarkImage]:
    """The photos of the targets, or the project's samples if these are missing."""
    photos = [DATA / "photos" / f"{name}.jpg" for name in TARGET_PHOTOS]
    files = photos if all(photo.is_file() for photo in photos) else image_files(SAMPLES)
    return [BenchmarkImage(file.stem, read_rgb(file)) for file in files]


def find(path: Path) -> Path:
    """The file of a path or of a bare name.

    Raises:
        BenchmarkError: there is none.
    """
    if path.is_file():
        return path
    for folder in (DATA / "photos", SAMPLES):
        for suffix in sorted(_SUFFIXES):
            file = folder / f"{path}{suffix}"
            if file.is_file():
                return file
    raise BenchmarkError(f"there is no image {path}, and no photo or sample of that name")


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)


def photo_pool() -> list[Path]:
    """Photos from which images of any size are cut."""
    photos = DATA / "photos"
    return image_files(photos if photos.is_dir() else SAMPLES)


def cut(photo: Pixels, width: int, height: int, rng: np.random.Generator) -> Pixels:
    """A random part of a photo, resized to the wanted size: real content in any size."""
    tall, wide = photo.shape[:2]
    largest = min(wide / width, tall / height)
    scale = largest * rng.uniform(0.6, 1.0)
    part_width, part_height = max(1, int(width * scale)), max(1, int(height * scale))
    left = int(rng.integers(0, wide - part_width + 1))
    top = int(rng.integers(0, tall - part_height + 1))
    part = photo[top : top + part_height, left : left + part_width]
    shrinks = scale > 1
    resized: Pixels = cv2.resize(
        part, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return resized
