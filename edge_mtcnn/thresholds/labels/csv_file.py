"""Labels in a CSV file: a line for each image, or for each box of an image.

The columns are ``path,label`` or ``path,label,x,y,w,h``, separated by commas or semicolons.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_mtcnn.errors import shown
from edge_mtcnn.options.checks import check_path
from edge_mtcnn.thresholds.labels.images import (
    AnnotationError,
    LabelledImage,
    numbers,
    read_text,
    with_face,
    without_faces,
)

__all__ = ["from_csv"]

_FACE = frozenset({"face", "1", "true", "yes"})
_NONFACE = frozenset({"nonface", "non-face", "noface", "no face", "0", "false", "no"})
_BOX_COLUMNS = ("x", "y", "w", "h")


def from_csv(labels: str | os.PathLike[str], images: str | os.PathLike[str]) -> list[LabelledImage]:
    """Read labels from a CSV file with the columns ``path,label`` or ``path,label,x,y,w,h``.

        path,label,x,y,w,h
        door/1.jpg,face,120,80,64,80
        door/2.jpg,nonface,,,,

    The image may show further faces beside its boxes.

    Args:
        labels: the file. A label is ``face`` or ``nonface``. An image with several boxes has a
            line for each.
        images: folder that the paths are relative to.

    Raises:
        AnnotationError: the file cannot be read, or a line is wrong.
    """
    file, folder = check_path("labels", labels), check_path("images", images)
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
                f"{file}:{line}: {name} occurs twice, see line {known[0]}; only an image with"
                " several boxes has several lines"
            )
        faces.setdefault(name, []).extend([] if box is None else [box])
    if not faces:
        raise AnnotationError(f"{file} has no line below its header")
    made = []
    for name, boxes in faces.items():
        path = folder / name
        if boxes:
            made.append(LabelledImage.of_boxes(path, name, boxes, complete=False))
        else:
            made.append((with_face if first_lines[name][1] else without_faces)(path, name))
    return made


def _csv_rows(file: Path) -> Iterator[tuple[int, str, bool, list[float] | None]]:
    """Line, path, whether it shows a face, and box of each row."""
    text = read_text(file)
    header = text.partition("\n")[0]
    # Spreadsheets write semicolons where the comma is the decimal sign.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=";" if ";" in header else ",", strict=True
    )
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        if "path" not in columns or "label" not in columns:
            raise AnnotationError(
                f"{file}:1: the first line must name the columns path,label or"
                f" path,label,x,y,w,h; got {shown(header.strip())}"
            )
        boxed = [name for name in _BOX_COLUMNS if name in columns]
        if 0 < len(boxed) < len(_BOX_COLUMNS):
            raise AnnotationError(
                f"{file}:1: a box needs the four columns x,y,w,h; got only {','.join(boxed)}"
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
        raise AnnotationError(
            f"{where}: the label must be face or nonface; got {shown(row['label'])}"
        )
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
