"""The faces of an image in the forms in which ``mtcnn`` 1.0.0 returns them.

Boxes are ``x1, y1, x2, y2``, source pixels, until ``as_xywh``. Imports NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_mtcnn.types import LANDMARK_NAMES, Faces

__all__ = ["JUSTIFICATIONS", "ImageFaces", "in_stack", "table"]

Rows = npt.NDArray[np.float64]

BOX_COLUMNS = 5
KEYPOINTS = ("nose", "mouth_right", "right_eye", "left_eye", "mouth_left")
"""Order of the landmarks in its dictionaries."""
JUSTIFICATIONS = {
    "center": (0.5, 0.5),
    "top": (0, 0.5),
    "topleft": (0, 0),
    "topright": (0, 1),
    "bottom": (1, 0.5),
    "bottomleft": (1, 0),
    "bottomright": (1, 1),
    "left": (0.5, 0),
    "right": (0.5, 1),
}
"""Places of a small image in a large one: the shares of the padding above it and to its left."""


class ImageFaces(NamedTuple):
    """The faces of one image, best first.

    Attributes:
        rows: (N, 15) box, confidence, five x and five y of the landmarks; (N, 5) without landmarks.
        size: height and width of the image, pixels.
    """

    rows: Rows
    size: tuple[int, int]

    @classmethod
    def of(cls, faces: Faces) -> ImageFaces:
        """The faces that a detector found."""
        points = faces.landmarks.transpose(0, 2, 1).reshape(-1, 2 * len(LANDMARK_NAMES))
        columns = [faces.boxes, faces.confidences, points]
        return cls(np.column_stack(columns).astype(np.float64), faces.image_size)

    def within_image(self, *, landmarks: bool) -> ImageFaces:
        """The same with the edges of the boxes, and perhaps the landmarks, within the image."""
        bottom, right = self.size[0] - 1, self.size[1] - 1
        limits = np.full(self.rows.shape[1], np.inf)
        limits[:4] = right, bottom, right, bottom
        if landmarks:
            limits[BOX_COLUMNS:] = [right] * 5 + [bottom] * 5 if len(limits) > BOX_COLUMNS else []
        limited = limits < np.inf
        rows = self.rows.copy()
        rows[:, limited] = rows[:, limited].clip(0, limits[limited])
        return self._replace(rows=rows)

    def moved(self, down: float, right: float) -> ImageFaces:
        """The same in an image with so many more rows above and columns to the left."""
        moves = np.array([right, down] * 2 + [0] + [right] * 5 + [down] * 5)
        return self._replace(rows=self.rows + moves[: self.rows.shape[1]])

    def as_xywh(self) -> ImageFaces:
        """The same with width and height instead of the right and lower edges."""
        rows = self.rows.copy()
        rows[:, 2:4] -= rows[:, :2]
        return self._replace(rows=rows)

    def dictionaries(self) -> list[dict[str, Any]]:
        """The faces with ``box``, ``confidence`` and, if there are landmarks, ``keypoints``."""
        return [_dictionary(row) for row in self.rows]


def in_stack(images: Sequence[ImageFaces], justification: str) -> list[ImageFaces]:
    """The faces where they are if all images are padded to the largest height and width."""
    sizes = np.array([image.size for image in images]).reshape(-1, 2)
    padding = sizes.max(axis=0, initial=0) - sizes
    moves = np.trunc(padding * JUSTIFICATIONS[justification])
    return [image.moved(*move) for image, move in zip(images, moves, strict=True)]


def table(images: Sequence[ImageFaces], *, landmarks: bool) -> Rows:
    """The faces of all images in one array, with the index of the image as the first column."""
    columns = BOX_COLUMNS + (2 * len(LANDMARK_NAMES) if landmarks else 0)
    rows = [np.zeros((0, columns)), *(image.rows for image in images)]
    numbers = np.repeat(np.arange(len(images)), [len(image.rows) for image in images])
    return np.column_stack([numbers, np.concatenate(rows)])


def _dictionary(row: Rows) -> dict[str, Any]:
    whole = np.rint(row).astype(int).tolist()
    face: dict[str, Any] = {"box": whole[:4], "confidence": float(row[4])}
    if len(row) > BOX_COLUMNS:
        points = zip(whole[BOX_COLUMNS:][:5], whole[-5:], strict=True)
        by_name = dict(zip(LANDMARK_NAMES, map(list, points), strict=True))
        face["keypoints"] = {name: by_name[name] for name in KEYPOINTS}
    return face
