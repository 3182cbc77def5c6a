"""Labels by folder: one folder of images with faces, one of images without."""

from __future__ import annotations

import os
from pathlib import Path

from edge_mtcnn.files import find_images
from edge_mtcnn.options.checks import check_path
from edge_mtcnn.thresholds.labels.images import (
    AnnotationError,
    LabelledImage,
    with_face,
    without_faces,
)

__all__ = ["from_folders"]


def from_folders(
    faces: str | os.PathLike[str], nonfaces: str | os.PathLike[str]
) -> list[LabelledImage]:
    """Label the images of two folders and their subfolders.

        images = from_folders("faces", "others")

    Args:
        faces: folder whose images show at least one face each.
        nonfaces: folder whose images show no face.

    Raises:
        AnnotationError: a folder is missing or has no images, or an image is in both.
    """
    first, second = _images(check_path("faces", faces)), _images(check_path("nonfaces", nonfaces))
    places = {os.path.realpath(path): path for path in first}
    for path in second:
        twin = places.get(os.path.realpath(path))
        if twin is not None:
            raise AnnotationError(
                f"{twin} is in both folders, {faces} and {nonfaces}: an image either shows a face"
                " or does not; choose two folders that have no image in common"
            )
    return [
        *(with_face(path, _below(faces, path)) for path in first),
        *(without_faces(path, _below(nonfaces, path)) for path in second),
    ]


def _images(folder: str | os.PathLike[str]) -> list[Path]:
    if not Path(folder).is_dir():
        raise AnnotationError(f"there is no folder {os.fspath(folder)}")
    found = find_images([os.fspath(folder)], recursive=True)
    if not found:
        raise AnnotationError(f"the folder {os.fspath(folder)} has no images")
    return found


def _below(folder: str | os.PathLike[str], path: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
