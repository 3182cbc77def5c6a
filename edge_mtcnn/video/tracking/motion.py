"""A small gray thumbnail of a frame, and whether the scene changed since it was last searched.

The thumbnail samples the green channel on a grid and averages neighbours. That takes a fraction of
the time of resizing the whole frame, and is enough to see movement or a covered lens.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge_mtcnn.types import ImageArray

__all__ = ["MotionGate", "thumbnail"]

_LEAST_DIFFERENCE = 4
"""Grey levels by which a pixel must differ in any light: noise in the dark stays below."""
_SAMPLES = 160
"""Samples along the longer side of the frame; two by two are averaged."""


def thumbnail(image: ImageArray) -> ImageArray:
    """Make a gray thumbnail of an (H, W, C) or (H, W) uint8 frame, at most 80 pixels long."""
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
    """Detects whether a scene has changed since the last mark.

    The frame that was last searched is compared, not the previous frame, so slow movements are
    noticed too.

    Args:
        threshold: grey levels by which a pixel of the thumbnail must differ, in the light.
        area: share of the thumbnail that must differ, 0..1.
    """

    def __init__(self, threshold: int = 14, area: float = 0.004) -> None:
        self._threshold = threshold
        self._area = area
        self._mark: ImageArray | None = None

    def mark(self, small: ImageArray) -> None:
        """Compare the following thumbnails with this one."""
        self._mark = small

    def changed(self, small: ImageArray, gain: float = 1.0) -> bool:
        """Whether the thumbnail differs from the mark; true if there is no mark of this size.

        Args:
            small: the thumbnail, not brightened, so that a change of the gain is no movement.
            gain: mean gain of the frame. In the dark smaller differences count, without noise.
        """
        mark = self._mark
        if mark is None or mark.shape != small.shape:
            return True
        if gain > 1:
            small, mark = (cv2.blur(pixels, (3, 3)).astype(np.uint8) for pixels in (small, mark))
        threshold = max(self._threshold / gain, min(_LEAST_DIFFERENCE, self._threshold))
        differs = cv2.absdiff(small, mark) > threshold
        return bool(np.count_nonzero(differs) > self._area * differs.size)
