"""Pictures written to files, completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from edge_mtcnn.errors import ImageError, shown
from edge_mtcnn.files import write_whole
from edge_mtcnn.types import ImageArray

__all__ = ["write_image"]


def write_image(path: str | os.PathLike[str], image: ImageArray, *, quality: int = 92) -> None:
    """Write a picture in the format of its suffix, completely or not at all.

    Args:
        path: file to write; an existing one is replaced.
        image: (H, W, 3) uint8 RGB.
        quality: quality of JPEG and WebP, 1..100.

    Raises:
        ImageError: there is no encoder for the suffix, or the picture is too large for it.
        OSError: the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    flags = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }.get(suffix, [])
    try:
        done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    except cv2.error as error:
        raise ImageError(f"cannot write {os.fspath(path)}: {error.err or error}") from None
    if not done:
        raise ImageError(
            f"cannot write {os.fspath(path)}: OpenCV has no encoder for {shown(suffix)}"
        )
    write_whole(path, data.tobytes())
