"""Annotated sets in three common formats: WIDER text list, COCO JSON, YOLO text.

Each reader returns one ``LabelledImage`` per image, with all its faces. Imports the readers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_mtcnn.errors import shown
from edge_mtcnn.options.checks import check_path, check_type
from edge_mtcnn.thresholds.labels.coco import read_coco
from edge_mtcnn.thresholds.labels.images import AnnotationError, LabelledImage
from edge_mtcnn.thresholds.labels.wider import read_wider
from edge_mtcnn.thresholds.labels.yolo import read_yolo

__all__ = ["FORMATS", "guess_format", "read_annotations"]

FORMATS: Mapping[str, Callable[[Path, Path, str | None], list[LabelledImage]]] = {
    "wider": read_wider,
    "coco": read_coco,
    "yolo": read_yolo,
}
"""The reader of each format; it takes annotations, folder of images and category."""


def guess_format(annotations: str | os.PathLike[str]) -> str:
    """The format of a file or folder, by its name.

    Raises:
        AnnotationError: the name fits none of the three.
    """
    path = Path(annotations)
    if path.is_dir():
        return "yolo"
    known = {".json": "coco", ".txt": "wider"}
    if path.suffix.lower() not in known:
        raise AnnotationError(
            f"cannot tell the format of {path}: a folder is read as yolo, .json as coco and .txt"
            f" as wider; choose one of {', '.join(FORMATS)}"
        )
    return known[path.suffix.lower()]


def read_annotations(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    form: str | None = None,
    category: str | None = None,
) -> list[LabelledImage]:
    """Read an annotated set.

    Args:
        annotations: file with the WIDER list or COCO JSON, or folder of YOLO files.
        images: folder that the paths of the images are relative to.
        form: ``"wider"``, ``"coco"`` or ``"yolo"``; by default according to the name of
            ``annotations``.
        category: COCO category or YOLO class of the faces; needed if there are several.

    Raises:
        AnnotationError: the set cannot be read; the message names file and line.
    """
    annotations, images = check_path("annotations", annotations), check_path("images", images)
    if category is not None:
        check_type("category", category, str)
    form = guess_format(annotations) if form is None else form
    if not isinstance(form, str) or form not in FORMATS:
        raise AnnotationError(f"format must be one of {', '.join(FORMATS)}; got {shown(form)}")
    if not Path(images).is_dir():
        raise AnnotationError(f"there is no folder of images {os.fspath(images)}")
    found = FORMATS[form](Path(annotations), Path(images), category)
    if not found:
        raise AnnotationError(f"{os.fspath(annotations)} has no images")
    return found
