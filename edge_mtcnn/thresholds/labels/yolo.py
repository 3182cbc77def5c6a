"""YOLO text: for each image a file with lines ``class cx cy w h``, fractions of the image's size.

The folder of the labels has the structure of the folder of the images: ``a/1.txt`` belongs to
``a/1.jpg``. An image without a file has no face. Five landmarks may follow the box, as ``x y`` or
``x y visibility``; a landmark at ``0 0`` or ``-1 -1`` is not annotated.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edge_mtcnn.errors import shown
from edge_mtcnn.files import find_images
from edge_mtcnn.thresholds.labels.images import AnnotationError, LabelledImage, numbers, read_text
from edge_mtcnn.types import FloatArray

__all__ = ["read_yolo"]

_BOX, _POINTS, _VISIBLE_POINTS = 5, 5 + 2 * 5, 5 + 3 * 5
# Files that annotation programs write beside the labels: names of classes, lists of images.
_NO_LABELS = frozenset({"classes", "train", "val", "valid", "test"})
_ROUNDING = 0.001  # fraction of the image by which rounding may move a box across its edge


def read_yolo(folder: Path, images: Path, category: str | None = None) -> list[LabelledImage]:
    """Read YOLO labels of one class: the only one, or ``category``.

    A label file without its image counts as an image that is missing, where it should be.
    """
    if not folder.is_dir():
        raise AnnotationError(f"YOLO annotations are a folder of .txt files; got {folder}")
    places = {_stem(images, path): path for path in find_images([str(images)], recursive=True)}
    labels = {
        stem: path
        for path in sorted(folder.rglob("*.txt"))
        if (stem := _stem(folder, path)) in places or not _is_about_labels(path)
    }
    if not labels:
        raise AnnotationError(f"the folder {folder} has no .txt files of labels")
    missing = {stem: images / f"{stem}.jpg" for stem in labels if stem not in places}
    lines = {stem: _lines(file) for stem, file in labels.items()}
    if category is None:
        classes = sorted({cells[0] for found in lines.values() for cells in found})
        if len(classes) > 1:
            names = ", ".join(f"{value:g}" for value in classes)
            raise AnnotationError(f"{folder}: which class are the faces? choose one of {names}")
    return [
        _image(path, stem, lines.get(stem, []), category)
        for stem, path in sorted((places | missing).items())
    ]


def _image(path: Path, stem: str, lines: list[list[float]], category: str | None) -> LabelledImage:
    rows = [cells for cells in lines if category is None or f"{cells[0]:g}" == category]
    boxes = [[cx - w / 2, cy - h / 2, w, h] for _, cx, cy, w, h, *_ in rows]
    name = f"{stem}{path.suffix}"
    points = np.array([_points(row) for row in rows]).reshape(-1, 5, 2)
    return LabelledImage.of_boxes(path, name, boxes, landmarks=points, relative=True)


def _points(row: list[float]) -> FloatArray:
    """(5, 2) landmarks; NaN unless all five are there and visible."""
    if len(row) == _BOX:
        return np.full((5, 2), np.nan)
    values = np.array(row[_BOX:]).reshape(5, -1)
    points: FloatArray = values[:, :2]
    annotated = (points > 0).any(axis=1)
    if len(row) == _VISIBLE_POINTS:
        annotated &= values[:, 2] > 0
    return points if annotated.all() else np.full((5, 2), np.nan)


def _lines(file: Path) -> list[list[float]]:
    found = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        cells, where = line.split(), f"{file}:{number}"
        if not cells:
            continue
        if len(cells) not in {_BOX, _POINTS, _VISIBLE_POINTS}:
            raise AnnotationError(
                f"{where}: a face is class cx cy w h, alone or with five points x y or"
                f" x y visibility; got {len(cells)} values"
            )
        values = numbers(where, "the values of a face", cells)
        if not values[0].is_integer() or values[0] < 0:
            raise AnnotationError(
                f"{where}: the class must be a whole number; got {shown(cells[0])}"
            )
        if not all(-_ROUNDING <= value <= 1 + _ROUNDING for value in values[1:_BOX]):
            raise AnnotationError(
                f"{where}: cx cy w h are fractions of the image's size, 0..1; got"
                f" {' '.join(cells[1:_BOX])}"
            )
        found.append(values)
    return found


def _is_about_labels(path: Path) -> bool:
    name = path.stem.lower()
    return name in _NO_LABELS or name.partition(".")[0] == "readme"


def _stem(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path, folder)).with_suffix("").as_posix()
