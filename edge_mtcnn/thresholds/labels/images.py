"""An image whose faces are known, and what all readers of labels need to make one.

Boxes are ``x1, y1, x2, y2`` in pixels of the upright image. Errors name the file and the line.
Imports ``errors``, ``matching`` and ``types``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_mtcnn.errors import EdgeMTCNNError
from edge_mtcnn.thresholds.matching import BoolArray
from edge_mtcnn.types import FloatArray

__all__ = [
    "AnnotationError",
    "LabelledImage",
    "numbers",
    "read_text",
    "with_face",
    "without_faces",
]


class AnnotationError(EdgeMTCNNError, ValueError):
    """Labels or annotations cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image and what is known of its faces.

    Attributes:
        path: of the image file.
        name: the path as the labels give it, for reports.
        boxes: (M, 4) annotated faces; ``None`` when only known to show a face somewhere.
        counted: (M,) whether finding the face counts; otherwise it is ignored.
        landmarks: (M, 5, 2) the points of each face, NaN where not annotated.
        complete: whether ``boxes`` are all faces of the image, so that any other is false.
        relative: whether coordinates are fractions of the image's width and height.
        size: height and width that the annotation states; ``None`` when it does not.
    """

    path: Path
    name: str
    boxes: FloatArray | None
    counted: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    landmarks: FloatArray = field(default_factory=lambda: np.zeros((0, 5, 2)))
    complete: bool = True
    relative: bool = False
    size: tuple[int, int] | None = None

    @classmethod
    def of_boxes(
        cls,
        path: Path,
        name: str,
        xywh: Sequence[Sequence[float]],
        ignored: Sequence[bool] = (),
        landmarks: FloatArray | None = None,
        *,
        complete: bool = True,
        relative: bool = False,
        size: tuple[int, int] | None = None,
    ) -> LabelledImage:
        """An image with ``x, y, width, height`` of each face; without a size, one is ignored."""
        corners = np.asarray(xywh, dtype=np.float64).reshape(-1, 4)
        boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
        mask = np.zeros(len(boxes), dtype=bool)
        mask[: len(ignored)] = ignored
        points = np.full((len(boxes), 5, 2), np.nan) if landmarks is None else landmarks
        counted = ~mask & (corners[:, 2:] > 0).all(axis=1)
        return cls(path, name, boxes, counted, points, complete, relative, size)

    def in_pixels(self, height: int, width: int) -> LabelledImage:
        """The same with coordinates in pixels of an image of that size."""
        if not self.relative or self.boxes is None:
            return self
        return LabelledImage(
            self.path,
            self.name,
            self.boxes * [width, height, width, height],
            self.counted,
            self.landmarks * [width, height],
            self.complete,
        )


def with_face(path: Path, name: str) -> LabelledImage:
    """An image that shows a face somewhere, and maybe others."""
    return LabelledImage(path, name, None, complete=False)


def without_faces(path: Path, name: str) -> LabelledImage:
    """An image that shows no face."""
    return LabelledImage.of_boxes(path, name, [])


def read_text(file: Path) -> str:
    """The text of a file of annotations, with or without a byte order mark."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{file} is not UTF-8 text: {error}") from None


def numbers(where: str, what: str, values: Iterable[object]) -> list[float]:
    """Finite numbers from texts or JSON values; ``where`` is file and line."""
    made = []
    for value in values:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or isinstance(value, bool):
            raise AnnotationError(f"{where}: {what} must be numbers; got {value!r}")
        made.append(number)
    return made
