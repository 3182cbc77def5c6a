"""The text list of WIDER FACE, ``wider_face_val_bbx_gt.txt``.

For each image there is a line with its path, one with the number of faces, and one for each face:
``x y w h blur expression illumination invalid occlusion pose``. After the number 0, the files of
the authors still have one line of zeros. Faces marked as invalid are ignored.
"""

from __future__ import annotations

from pathlib import Path

from edge_mtcnn.errors import shown
from edge_mtcnn.thresholds.labels.images import AnnotationError, LabelledImage, numbers, read_text

__all__ = ["read_wider"]

_INVALID = 7  # its index in the line of a face


def read_wider(file: Path, images: Path, category: str | None = None) -> list[LabelledImage]:
    """Read a WIDER list; it has no categories."""
    if category is not None:
        raise AnnotationError(f"{file}: a WIDER list has no categories; got {shown(category)}")
    lines = [line.strip() for line in read_text(file).splitlines()]
    found: dict[str, LabelledImage] = {}
    at = 0
    while at < len(lines):
        name = lines[at]
        at += 1
        if not name:
            continue
        if _is_box(name):
            raise AnnotationError(
                f"{file}:{at}: expected the path of an image, got {shown(name)}; the number of"
                " faces above may be too small"
            )
        if name in found:
            raise AnnotationError(f"{file}:{at}: {name} occurs twice")
        count = _count(file, at, lines)
        at += 1
        rows = [_face(file, at + row, lines) for row in range(count)]
        at += count
        if count == 0 and at < len(lines) and _is_box(lines[at]):
            at += 1  # the line of zeros
        found[name] = LabelledImage.of_boxes(
            images / name, name, [row[:4] for row in rows], [any(row[4:]) for row in rows]
        )
    return list(found.values())


def _count(file: Path, at: int, lines: list[str]) -> int:
    text = lines[at] if at < len(lines) else ""
    if not text.isascii() or not text.isdigit():
        raise AnnotationError(f"{file}:{at + 1}: expected the number of faces, got {shown(text)}")
    return int(text)


def _face(file: Path, at: int, lines: list[str]) -> list[float]:
    """``x, y, w, h`` of one face and, where the line has it, whether it is invalid."""
    where = f"{file}:{at + 1}"
    if at >= len(lines):
        raise AnnotationError(f"{where}: the file ends where the box of a face should be")
    cells = lines[at].split()
    if len(cells) not in {4, 10}:
        raise AnnotationError(
            f"{where}: a face is x y w h, alone or with six attributes; got {shown(lines[at])}"
        )
    values = numbers(where, "the values of a face", cells)
    return values[:4] + values[_INVALID : _INVALID + 1]


def _is_box(line: str) -> bool:
    cells = line.split()
    return len(cells) in {4, 10} and all(cell.lstrip("-").isdigit() for cell in cells)
