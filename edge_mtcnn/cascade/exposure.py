"""Exposure: what is dark in an image is brightened for the networks, as if it had been lit.

Each place is brightened by what it needs, so that a dark face before a bright window is found too,
and a lamp in a dark room does not matter: each level of the pyramid by a map of its own, which is
as coarse as P-Net's window, and each window by its middle, where a face would be. The gain is never
below 1, and all channels of a pixel have the same. Too much of it loses faces, at 1.5 times the
light one in seven; half of the light loses none. So the levels that are aimed at are low.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge_mtcnn.cascade.pyramid import Sampler
from edge_mtcnn.options import MAX_GAIN
from edge_mtcnn.types import Float32Array, FloatArray, ImageArray, IntArray

__all__ = ["AutoExposed", "Brightened", "Brightness"]

WHITE = 255
BRIGHT = 120
"""Local brightness that the levels of the pyramid are raised to."""
MEAN = 85
"""Mean of the middle of a window that windows are raised to."""
DIM = 80
"""Local brightness below which faces are lost."""
LACK = {50: 0.05, DIM: 0.5}
"""Shares of an image that are darker than a level, of which one must be exceeded. Otherwise all of
it stays as it is, which costs nothing."""
NOISY = 4.5
"""Mean gain from which on noise hides faces: pixels are then averaged two by two."""
_SAMPLES = 32
"""Samples along the longer side of the image."""
_AROUND = np.ones((3, 3), dtype=np.uint8)
_GAINS = np.clip(BRIGHT / np.maximum(np.arange(256), 1), 1, MAX_GAIN).astype(np.float32)
"""Gain by local brightness."""


class Brightness:
    """How bright an image is, at a sample of its places.

    Args:
        image: (H, W, 3) uint8, in any order of the channels.

    Attributes:
        lacks_light: whether a part of the image is dark.
        gain: mean gain of the places, 1..``MAX_GAIN``; 1 for an image in the light.
    """

    def __init__(self, image: ImageArray) -> None:
        step = max(1, max(image.shape[:2]) // _SAMPLES)
        top, left = (min(step // 2, side - 1) for side in image.shape[:2])
        places = cv2.dilate(_brightest_channel(image[top::step, left::step]), _AROUND)
        self.lacks_light = any(
            np.count_nonzero(places < level) > share * places.size for level, share in LACK.items()
        )
        self.gain = float(_GAINS[places].mean()) if self.lacks_light else 1.0

    @property
    def finest_octave(self) -> int:
        """The first octave of the image to sample, see ``OctaveSampler``: 1 in the dark."""
        return int(self.gain > NOISY)


class Brightened:
    """A sampler whose pixels are multiplied by a gain, and cut off at white.

    Args:
        sampler: makes the pixels.
        gain: the factor.
    """

    def __init__(self, sampler: Sampler, gain: float) -> None:
        self._sampler = sampler
        self._gain = gain

    def level(self, scale: float) -> ImageArray:
        """See ``Sampler.level``."""
        level: ImageArray = cv2.convertScaleAbs(self._sampler.level(scale), alpha=self._gain)
        return level

    def windows(self, boxes: FloatArray, size: int) -> Float32Array:
        """See ``Sampler.windows``."""
        windows = self._sampler.windows(boxes, size)
        windows *= np.float32(self._gain)
        return np.minimum(windows, WHITE, out=windows)

    def groups(self, boxes: FloatArray, size: int) -> IntArray:
        """See ``Sampler.groups``."""
        return self._sampler.groups(boxes, size)


class AutoExposed:
    """A sampler whose pixels are brightened where they are dark.

    Args:
        sampler: makes the pixels.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def level(self, scale: float) -> ImageArray:
        """See ``Sampler.level``."""
        level = self._sampler.level(scale)
        size = level.shape[1::-1]
        half = (max(1, size[0] // 2), max(1, size[1] // 2))
        places = _brightest_channel(cv2.resize(level, half, interpolation=cv2.INTER_AREA))
        places = cv2.blur(cv2.dilate(places, _AROUND), (7, 7))
        if places.min() >= DIM:
            return level
        gains = cv2.resize(cv2.LUT(places, _GAINS), size, interpolation=cv2.INTER_LINEAR)
        brightened: ImageArray = cv2.multiply(level, cv2.merge([gains] * 3), dtype=cv2.CV_8U)
        return brightened

    def windows(self, boxes: FloatArray, size: int) -> Float32Array:
        """See ``Sampler.windows``."""
        windows = self._sampler.windows(boxes, size)
        middle = slice(size // 4, -(size // 4), size // 12)
        light = windows[:, middle, middle].mean(axis=(1, 2)).max(axis=1)
        dark = np.flatnonzero(light < MEAN)
        if len(dark):
            gains = np.minimum(MEAN / np.maximum(light[dark], 1), np.float32(MAX_GAIN))
            brightened = windows[dark] * gains[:, None, None, None]
            windows[dark] = np.minimum(brightened, WHITE)
        return windows

    def groups(self, boxes: FloatArray, size: int) -> IntArray:
        """See ``Sampler.groups``."""
        return self._sampler.groups(boxes, size)


def _brightest_channel(image: ImageArray) -> ImageArray:
    """The brightest channel of each pixel, (H, W): coloured light counts like white light."""
    first, second, third = (image[..., channel] for channel in range(3))
    return np.maximum(np.maximum(first, second), third)
