"""Pictures written to files, completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2

from edge_mtcnn.errors import ImageError, OptionsError, brief, shown
from edge_mtcnn.files import write_whole
from edge_mtcnn.images.inputs import rgb_image
from edge_mtcnn.options.checks import check_int
from edge_mtcnn.types import ImageArray

__all__ = ["encode_image", "write_image"]


def write_image(path: str | os.PathLike[str], image: Any, *, quality: int = 92) -> None:
    """Write a picture in the format of its suffix, completely or not at all.

        write_image("marked.jpg", draw_faces(image, faces))

    Args:
        path: file to write; an existing one is replaced.
        image: (H, W, 3) uint8 RGB, as ``read_image`` and ``draw_faces`` return it. For OpenCV's
            BGR use ``cv2.imwrite``.
        quality: quality of JPEG and WebP, 1..100.

    Raises:
        ImageError: there is no encoder for the suffix, the picture is too large for it, or
            ``image`` is not an image.
        OptionsError: ``path`` or ``quality`` is of another type, or out of range.
        OSError: the file cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise OptionsError(
            "the path comes first: write_image(path, image); got"
            f" write_image({type(path).__name__}, {type(image).__name__})"
        )
    try:
        data = encode_image(rgb_image(image), Path(path).suffix.lower(), quality=quality)
    except ImageError as error:
        raise ImageError(f"cannot write {brief(os.fspath(path))}: {error}") from None
    try:
        write_whole(path, data)
    except OSError as error:  # it names a temporary file
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def encode_image(image: ImageArray, suffix: str, *, quality: int = 92) -> bytes:
    """The bytes of an RGB picture in the format of a suffix, such as ``.png``.

    Raises:
        ImageError: there is no encoder for the suffix, or the picture is too large for it.
        OptionsError: ``quality`` is out of range.
    """
    check_int("quality", quality, 1, 100)
    flags = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }.get(suffix, [])
    if not cv2.haveImageWriter(f"image{suffix}"):
        raise ImageError(f"OpenCV has no encoder for {shown(suffix)}; use one such as .jpg or .png")
    try:
        done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    except cv2.error as error:
        raise ImageError(str(error.err or error)) from None
    if not done:
        raise ImageError(f"the picture is too large for {suffix}")
    encoded: bytes = data.tobytes()
    return encoded
