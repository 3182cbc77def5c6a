"""``Mounting``: how pictures are turned whose camera is not mounted upright.

Angles are degrees clockwise. Boxes are ``x1, y1, x2, y2``, pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import cv2
import numpy as np

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.images.arrays import checked_array
from edge_mtcnn.options.checks import check_choice
from edge_mtcnn.types import FloatArray, ImageArray

__all__ = ["FLIPS", "ROTATIONS", "Flip", "Mounting", "Rotation"]

Rotation = Literal[0, 90, 180, 270]
Flip = Literal["horizontal", "vertical"]
ROTATIONS: tuple[Rotation, ...] = (0, 90, 180, 270)
FLIPS: tuple[Flip, ...] = ("horizontal", "vertical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounting:
    """How pictures are turned, before they are searched, so that people in them are upright.

        sideways = Mounting(rotate=90)
        faces = detector.detect(sideways.applied(read_image("door.jpg")))

    Attributes:
        rotate: degrees by which pictures are turned clockwise: 0, 90, 180 or 270.
        flip: what is mirrored after that: ``"horizontal"`` exchanges left and right, ``"vertical"``
            exchanges top and bottom; ``None`` for nothing.

    Raises:
        OptionsError: a value is none of these.
    """

    rotate: Rotation = 0
    flip: Flip | None = None

    def __post_init__(self) -> None:
        if isinstance(self.rotate, str) and self.rotate == "auto":
            raise OptionsError(
                "rotate must be 0, 90, 180 or 270 for photos; got 'auto', which watches the people"
                " before a camera or in a video for a while: to find turned faces in photos, use"
                " the option angles of the detector (--angles fallback)"
            )
        whole = isinstance(self.rotate, Integral) and not isinstance(self.rotate, bool)
        if not whole or self.rotate not in ROTATIONS:
            raise OptionsError(
                "rotate must be 0, 90, 180 or 270, degrees clockwise, or 'auto' for a camera or"
                f" video; got {shown(self.rotate)}"
            )
        object.__setattr__(self, "rotate", int(self.rotate))
        if self.flip is not None:
            check_choice("flip", self.flip, FLIPS)

    def __bool__(self) -> bool:
        """Whether pictures are changed at all."""
        return self.rotate != 0 or self.flip is not None

    def applied(self, image: ImageArray) -> ImageArray:
        """The picture turned.

        Args:
            image: (H, W) or (H, W, C) uint8; not changed.

        Returns:
            A new array; ``image`` itself if nothing is to be done.

        Raises:
            ImageError: ``image`` is not an image.
        """
        if not self:
            return image
        image = checked_array(image)
        if self.rotate:
            # OpenCV numbers its three rotations 0, 1 and 2, clockwise.
            image = cv2.rotate(image, self.rotate // 90 - 1)
        if self.flip is not None:
            image = cv2.flip(image, 1 if self.flip == "horizontal" else 0)
        return image

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a turned picture from those of the picture, and the way back."""
        return (size[1], size[0]) if self.rotate in (90, 270) else size

    def boxes(self, boxes: FloatArray, size: tuple[int, int]) -> FloatArray:
        """Boxes in the turned picture.

        Args:
            boxes: (N, 4) boxes in the picture.
            size: height and width of the picture.
        """
        corners = self._points(boxes.reshape(-1, 2, 2), size)
        return np.hstack([corners.min(axis=1), corners.max(axis=1)])

    def landmarks(self, landmarks: FloatArray, size: tuple[int, int]) -> FloatArray:
        """Landmarks in the turned picture; the centre of the first pixel is 0.

        Args:
            landmarks: (N, 5, 2) points in the picture, left eye first.
            size: height and width of the picture.
        """
        turned = self._points(landmarks + 0.5, size) - 0.5
        # In a mirrored face, the left eye is where the right one was.
        return turned if self.flip is None else turned[:, [1, 0, 2, 4, 3]]

    def _points(self, points: FloatArray, size: tuple[int, int]) -> FloatArray:
        """(..., 2) points ``x, y`` in the turned picture; the corner of the first pixel is 0."""
        height, width = size
        for _ in range(self.rotate // 90):
            points = np.stack([height - points[..., 1], points[..., 0]], axis=-1)
            height, width = width, height
        if self.flip == "horizontal":
            points = points * [-1, 1] + [width, 0]
        elif self.flip == "vertical":
            points = points * [1, -1] + [0, height]
        return points
