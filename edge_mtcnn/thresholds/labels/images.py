"""Images whose faces are known: from two folders, or from a CSV file of labels.

Boxes are ``x1, y1, x2, y2`` in pixels of the upright image. Errors name the file and the line.
Imports ``errors``, ``files`` and ``types``.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_mtcnn.errors import EdgeMTCNNError
from edge_mtcnn.files import find_images
from edge_mtcnn.thresholds.matching import BoolArray
from edge_mtcnn.types import FloatArray

__all__ = [
    "AnnotationError",
    "LabelledImage",
    "from_csv",
    "from_folders",
    "numbers",
    "read_text",
    "with_face",
    "without_faces",
]

_FACE = frozenset({"face", "1", "true", "yes"})
_NONFACE = frozenset({"nonface", "non-face", "noface", "no face", "0", "false", "no"})
_BOX_COLUMNS = ("x", "y", "w", "h")


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


def from_folders(
    faces: str | os.PathLike[str], nonfaces: str | os.PathLike[str]
) -> list[LabelledImage]:
    """The images of two folders and the folders in them: with faces, and without.

    Raises:
        AnnotationError: a folder is missing or has no images, or an image is in both.
    """
    first, second = _images(faces), _images(nonfaces)
    places = {os.path.realpath(path): path for path in first}
    for path in second:
        twin = places.get(os.path.realpath(path))
        if twin is not None:
            raise AnnotationError(
                f"{twin} is in both folders, {faces} and {nonfaces}: an image either shows a face"
                " or does not; name two folders that share no image"
            )
    return [
        *(with_face(path, _below(faces, path)) for path in first),
        *(without_faces(path, _below(nonfaces, path)) for path in second),
    ]


def from_csv(labels: str | os.PathLike[str], images: str | os.PathLike[str]) -> list[LabelledImage]:
    """The images of a CSV file with the columns ``path,label`` and, for one face, ``x,y,w,h``.

    A label is ``face`` or ``nonface``; a path is relative to ``images``. An image with several
    boxes has a line for each; other faces may be in it.

    Raises:
        AnnotationError: the file cannot be read, or a line is wrong.
    """
    file = Path(labels)
    faces: dict[str, list[list[float]]] = {}
    first_lines: dict[str, tuple[int, bool, bool]] = {}
    for line, name, is_face, box in _csv_rows(file):
        known = first_lines.setdefault(name, (line, is_face, box is None))
        if known[1] != is_face:
            raise AnnotationError(
                f"{file}:{line}: {name} is labelled as face and as nonface, see line {known[0]}"
            )
        if line != known[0] and (box is None or known[2]):
            raise AnnotationError(
                f"{file}:{line}: {name} is there twice, see line {known[0]}; only several"
                " boxes of one image take several lines"
            )
        faces.setdefault(name, []).extend([] if box is None else [box])
    if not faces:
        raise AnnotationError(f"{file} has no line below its header")
    made = []
    for name, boxes in faces.items():
        path = Path(images) / name
        if boxes:
            made.append(LabelledImage.of_boxes(path, name, boxes, complete=False))
        else:
            made.append((with_face if first_lines[name][1] else without_faces)(path, name))
    return made


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


def _images(folder: str | os.PathLike[str]) -> list[Path]:
    if not Path(folder).is_dir():
        raise AnnotationError(f"there is no folder {os.fspath(folder)}")
    found = find_images([os.fspath(folder)], recursive=True)
    if not found:
        raise AnnotationError(f"the folder {os.fspath(folder)} has no images")
    return found


def _below(folder: str | os.PathLike[str], path: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _csv_rows(file: Path) -> Iterator[tuple[int, str, bool, list[float] | None]]:
    """Line, path, whether it is a face, and the box of each row."""
    text = read_text(file)
    header = text.partition("\n")[0]
    # What spreadsheets write where the comma is the decimal sign.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=";" if ";" in header else ",", strict=True
    )
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        if "path" not in columns or "label" not in columns:
            raise AnnotationError(
                f"{file}:1: the first line must name the columns path,label or"
                f" path,label,x,y,w,h; got {header.strip()[:80]!r}"
            )
        boxed = [name for name in _BOX_COLUMNS if name in columns]
        if 0 < len(boxed) < len(_BOX_COLUMNS):
            raise AnnotationError(
                f"{file}:1: a box takes the four columns x,y,w,h; got only {','.join(boxed)}"
            )
        for cells in reader:
            if any(cell.strip() for cell in cells):
                where = f"{file}:{reader.line_num}"
                yield reader.line_num, *_csv_row(where, columns, boxed, cells)
    except csv.Error as error:
        raise AnnotationError(f"{file}:{reader.line_num}: not valid CSV: {error}") from None


def _csv_row(
    where: str, columns: Sequence[str], boxed: Sequence[str], cells: Sequence[str]
) -> tuple[str, bool, list[float] | None]:
    if len(cells) != len(columns):
        raise AnnotationError(f"{where}: needs {len(columns)} columns; got {len(cells)}")
    row = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
    label = row["label"].lower()
    if label not in _FACE | _NONFACE:
        raise AnnotationError(f"{where}: the label must be face or nonface; got {row['label']!r}")
    if not row["path"]:
        raise AnnotationError(f"{where}: the path is empty")
    texts = [row[name] for name in boxed]
    if not any(texts):
        return row["path"], label in _FACE, None
    if label not in _FACE:
        raise AnnotationError(f"{where}: a nonface has no box; leave x,y,w,h empty")
    box = numbers(where, "x,y,w,h", texts)
    if min(box[2:]) <= 0:
        raise AnnotationError(f"{where}: w and h must be above 0; got {box[2]:g} and {box[3]:g}")
    return row["path"], True, box
