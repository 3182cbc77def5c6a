"""How measured photos are shown to the detector, and how their people are grouped.

Used by ``score``, ``known`` and ``benchmarks.accuracy``, so that all measure the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

LONGEST_SIDE = 800
"""Larger photos are scaled down to it, pixels, except those of WIDER FACE."""
BABY = 2
"""Oldest age of a baby, years. The shares of babies and of older children differ."""
_BORDER = 60


@dataclass(frozen=True)
class Look:
    """One way in which an image is shown to the detector.

    Attributes:
        longest: longest side, pixels; ``None`` for the size as it is.
        light: factor of the pixels' values, or the range of a random one.
        noise: standard deviation of the noise, levels of 256.
        mirrored: whether it is mirrored.
    """

    longest: int | None = LONGEST_SIDE
    light: float | tuple[float, float] = 1.0
    noise: float = 0.0
    mirrored: bool = False

    def of(self, pixels: Pixels, random: np.random.Generator) -> tuple[Pixels, float]:
        """The image, and its size relative to the original."""
        scale = min(1.0, (self.longest or np.inf) / max(pixels.shape[:2]))
        if scale < 1:
            size = {"fx": scale, "fy": scale, "interpolation": cv2.INTER_AREA}
            pixels = cv2.resize(pixels, None, **size)
        if self.mirrored:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        if self.light != 1.0 or self.noise:
            light = self.light if isinstance(self.light, float) else random.uniform(*self.light)
            changed = pixels * light + random.normal(0, self.noise, pixels.shape)
            pixels = np.clip(changed, 0, 255).round().astype(np.uint8)
        return pixels, scale


AS_IT_IS = Look()
DARK = Look(light=0.22, noise=4)
DARKER = Look(light=0.10, noise=4)


def framed(portrait: Pixels) -> Pixels:
    """A portrait that fills its picture, within a blurred border, so that it can be found."""
    framed: Pixels = cv2.GaussianBlur(
        cv2.copyMakeBorder(portrait, *(_BORDER,) * 4, cv2.BORDER_REFLECT), (0, 0), 8
    )
    framed[_BORDER:-_BORDER, _BORDER:-_BORDER] = portrait
    return framed


def checksum(path: Path | str) -> int:
    """The CRC-32 of the name of a file, by which images are divided."""
    return zlib.crc32(Path(path).name.encode())


def held_out(path: Path | str) -> bool:
    """Whether the image is in the half that the fit of the score does not use."""
    return checksum(path) % 2 == 1


def group_of(entry: Mapping[str, Any]) -> str:
    """Origin and age of an entry of ``people``, babies apart from children."""
    age = entry["age_group"]
    if age == "child" and entry["age"] <= BABY:
        age = "baby"
    return f"{entry['group']} {age}"
