"""``Turn``: an image turned about its centre, and the way back for what is found in it.

Angles are degrees clockwise. Boxes are as in ``boxes``: 1-based and inclusive.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_mtcnn.cascade.boxes import nms
from edge_mtcnn.errors import ImageError
from edge_mtcnn.types import Faces, FloatArray, ImageArray

__all__ = ["Turn", "merged"]

_QUARTER_TURNS: dict[float, int] = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_WARP_LIMIT = 32_767
"""OpenCV warps no image with a side of this length, pixels."""
_MOST_GROWTH, _SMALL = 8, 1_000_000
"""Largest canvas, in areas of the image, if it is not small, pixels: a long strip on a slant takes
many times its memory."""


class Turn:
    """An image turned clockwise about its centre, on a canvas that holds all of it.

    Args:
        angle: degrees, not a multiple of 360. Quarter turns keep every pixel; others interpolate,
            and the corners of the canvas are black.
        size: height and width of the image, pixels.

    Attributes:
        angle: as given.
        upright_size: ``size`` as given.
        size: height and width of the canvas, pixels.
    """

    def __init__(self, angle: float, size: tuple[int, int]) -> None:
        self.angle = angle
        direction = np.exp(1j * np.radians(angle))
        # Rounded, so that quarter turns consist of 0 and 1.
        cosine, sine = round(direction.real, 12), round(direction.imag, 12)
        self._rotation = np.array([[cosine, -sine], [sine, cosine]])
        source = np.array(size[::-1])
        canvas = np.ceil(np.abs(self._rotation) @ source - 1e-6).astype(int)
        self.size = (int(canvas[1]), int(canvas[0]))
        self.upright_size = size
        self._centre, self._turned_centre = source / 2, canvas / 2

    def image(self, image: ImageArray) -> ImageArray:
        """The image turned: (H, W, 3) uint8 to a canvas of ``size``.

        Raises:
            ImageError: the canvas would be too large.
        """
        quarter = _QUARTER_TURNS.get(self.angle % 360)
        if quarter is not None:
            turned: ImageArray = cv2.rotate(image, quarter)
            return turned
        (height, width), (rows, columns) = self.upright_size, self.size
        if max(height, width, rows, columns) >= _WARP_LIMIT or rows * columns > max(
            _MOST_GROWTH * height * width, _SMALL
        ):
            raise ImageError(
                f"the image of {width}x{height} pixels cannot be turned by {self.angle:g} degrees:"
                f" it would take {columns}x{rows} pixels; use angles of 90, 180 and 270, or a"
                " smaller or less narrow image"
            )
        # OpenCV counts from the centre of the first pixel.
        shift = self._turned_centre - 0.5 - self._rotation @ (self._centre - 0.5)
        matrix = np.hstack([self._rotation, shift[:, None]])
        warped: ImageArray = cv2.warpAffine(image, matrix, (columns, rows), flags=cv2.INTER_LINEAR)
        return warped

    def boxes_there(self, boxes: FloatArray) -> FloatArray:
        """(N, 4) boxes of the image as upright boxes of the canvas, see ``boxes_back``."""
        return _boxes(boxes, self._rotation, self._centre, self._turned_centre)

    def boxes_back(self, boxes: FloatArray) -> FloatArray:
        """(N, 4) boxes of the canvas as upright boxes of the image.

        The box back is as tight around the ellipse that fills the turned box, which is the shape of
        a face, as a box of an upright face is.
        """
        return _boxes(boxes, self._rotation.T, self._turned_centre, self._centre)

    def points_back(self, points: FloatArray) -> FloatArray:
        """(..., 2) points ``x, y`` of the canvas as points of the image.

        The centre of the first pixel is 0, as for the landmarks of the mirror check.
        """
        back: FloatArray = (points + 0.5 - self._turned_centre) @ self._rotation
        return back + self._centre - 0.5


def _boxes(
    boxes: FloatArray, rotation: FloatArray, centre: FloatArray, goal: FloatArray
) -> FloatArray:
    """Upright boxes around the turned ellipses that fill other boxes."""
    first, last = boxes[:, :2] - 1, boxes[:, 2:]
    centres = ((first + last) / 2 - centre) @ rotation.T + goal
    halves = np.sqrt(((last - first) / 2) ** 2 @ (rotation**2).T)
    return np.hstack([centres - halves + 1, centres + halves])


def merged(looks: Sequence[Faces], overlap: float) -> Faces:
    """The faces of several looks at one image, each once, best first.

    Args:
        looks: what each look found; of equal scores, that of the first look wins.
        overlap: intersection over the smaller area, 0..1, above which the worse of two faces is
            dropped.

    Returns:
        The faces, with the size of the image and the timings of the last look.
    """
    boxes, scores, landmarks, confidences, angles, known_false = (
        np.concatenate([getattr(look, name) for look in looks])
        for name in ("boxes", "scores", "landmarks", "confidences", "angles", "known_false")
    )
    # Of equal scores, NMS keeps the later.
    kept = len(scores) - 1 - nms(boxes[::-1].astype(np.float64), scores[::-1], overlap, "min")
    return Faces(
        boxes[kept],
        scores[kept],
        landmarks[kept],
        confidences=confidences[kept],
        angles=angles[kept],
        known_false=known_false[kept],
        image_size=looks[0].image_size,
        timings=looks[-1].timings,
    )
