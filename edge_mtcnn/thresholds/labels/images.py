"""An image whose faces are known, and the helpers that all readers of labels share.

Boxes are ``x1, y1, x2, y2`` in pixels of the upright image. Errors name the file and the line.
Imports ``errors``, ``images.mounting``, ``matching`` and ``types``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_mtcnn.errors import EdgeMTCNNError, shown
from edge_mtcnn.images.mounting import Mounting
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
    """One image and its known faces.

    Attributes:
        path: path of the image file.
        name: the path as the labels have it, for reports.
        boxes: (M, 4) annotated faces; ``None`` if the image is only known to show a face somewhere.
        counted: (M,) whether finding the face counts; otherwise it is ignored.
        landmarks: (M, 5, 2) landmarks of each face, NaN where they are not annotated.
        complete: whether ``boxes`` are all faces of the image; any other detection is then false.
        relative: whether coordinates are fractions of the image's width and height.
        size: height and width that the annotation states; ``None`` if it does not.
        mounting: how the image is turned after it was read. Boxes, landmarks and ``size`` are those
            of the image before that.
    """

    path: Path
    name: str
    boxes: FloatArray | None
    counted: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    landmarks: FloatArray = field(default_factory=lambda: np.zeros((0, 5, 2)))
    complete: bool = True
    relative: bool = False
    size: tuple[int, int] | None = None
    mounting: Mounting = field(default_factory=Mounting)

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
        """An image with its faces as ``x, y, width, height``.

            LabelledImage.of_boxes(Path("a.jpg"), "a.jpg", [[30, 40, 60, 70]])

        Args:
            path: path of the image file.
            name: the path as the labels have it.
            xywh: (M, 4) boxes; a face without width or height is ignored.
            ignored: (M,) whether a face is ignored; missing values are ``False``.
            landmarks: (M, 5, 2) landmarks, NaN where they are not annotated.
            complete: see the attribute.
            relative: see the attribute.
            size: see the attribute.
        """
        corners = np.asarray(xywh, dtype=np.float64).reshape(-1, 4)
        boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
        mask = np.zeros(len(boxes), dtype=bool)
        mask[: len(ignored)] = ignored
        points = np.full((len(boxes), 5, 2), np.nan) if landmarks is None else landmarks
        counted = ~mask & (corners[:, 2:] > 0).all(axis=1)
        return cls(path, name, boxes, counted, points, complete, relative, size)

    def in_pixels(self, height: int, width: int) -> LabelledImage:
        """This image with its coordinates in pixels, for an image of this size."""
        if not self.relative or self.boxes is None:
            return self
        return replace(
            self,
            boxes=self.boxes * [width, height, width, height],
            landmarks=self.landmarks * [width, height],
            relative=False,
        )


def with_face(path: Path, name: str) -> LabelledImage:
    """An image that shows at least one face, at an unknown place."""
    return LabelledImage(path, name, None, complete=False)


def without_faces(path: Path, name: str) -> LabelledImage:
    """An image that shows no face."""
    return LabelledImage.of_boxes(path, name, [])


def read_text(file: Path) -> str:
    """The text of an annotation file, with or without a byte order mark."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{file} is not UTF-8 text: {error}") from None


def numbers(where: str, what: str, values: Iterable[object]) -> list[float]:
    """Convert texts or JSON values to finite numbers; ``where`` is file and line, for the error."""
    made = []
    for value in values:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or isinstance(value, bool):
            raise AnnotationError(f"{where}: {what} must be numbers; got {shown(value)}")
        made.append(number)
    return made
