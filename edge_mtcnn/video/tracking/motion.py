"""A small gray look at a frame, and whether the scene has changed since it was last searched.

The thumbnail samples the green channel on a grid and averages its neighbours: a fraction of the
cost of shrinking the whole frame, and enough to see that something moved or that the lens is
covered.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge_mtcnn.types import ImageArray

__all__ = ["MotionGate", "thumbnail"]

_SAMPLES = 160
"""Samples along the longer side of the frame; two by two are averaged."""


def thumbnail(image: ImageArray) -> ImageArray:
    """A small gray picture of a frame, (H, W, C) or (H, W) uint8, at most 80 pixels long."""
    step = max(1, max(image.shape[:2]) // _SAMPLES)
    top, left = (min(step // 2, side - 1) for side in image.shape[:2])
    samples = image[top::step, left::step]
    if samples.ndim == 3:
        samples = samples[..., min(1, samples.shape[2] - 1)]
    height, width = samples.shape
    size = (max(1, width // 2), max(1, height // 2))
    small: ImageArray = cv2.resize(
        np.ascontiguousarray(samples), size, interpolation=cv2.INTER_AREA
    )
    return small


class MotionGate:
    """Tells whether a scene has changed since the last mark.

    Comparing with the frame that was last searched, and not with the frame before, also notices
    what moves slowly.

    Args:
        threshold: grey levels by which a pixel of the thumbnail must differ.
        area: share of the thumbnail that must differ, 0..1.
    """

    def __init__(self, threshold: int = 14, area: float = 0.004) -> None:
        self._threshold = threshold
        self._area = area
        self._mark: ImageArray | None = None

    def mark(self, small: ImageArray) -> None:
        """From here on, changes are counted anew."""
        self._mark = small

    def changed(self, small: ImageArray) -> bool:
        """Whether the thumbnail differs from the mark; always when there is none of this size."""
        if self._mark is None or self._mark.shape != small.shape:
            return True
        differs = cv2.absdiff(small, self._mark) > self._threshold
        return bool(np.count_nonzero(differs) > self._area * differs.size)
