"""Arrays as images: the caller's array in, (H, W, 3) uint8 RGB out, or a clear ``ImageError``.

An image that cannot be searched is an error here, so that it never becomes "no face" later. Inputs
are never modified. ``inputs`` makes arrays of everything else.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_mtcnn.errors import ImageError
from edge_mtcnn.options.checks import check_choice
from edge_mtcnn.types import ImageArray

__all__ = ["as_rgb", "checked_array"]


def as_rgb(image: npt.NDArray[Any], color: str = "rgb") -> ImageArray:
    """The image as an RGB array; not copied when it already is one.

    Args:
        image: (H, W, 3) color, (H, W) or (H, W, 1) gray, or (H, W, 4) color and alpha, uint8, any
            strides. Alpha is dropped, as OpenCV and PIL do: the color of a transparent pixel
            counts.
        color: order of the channels, ``"rgb"`` or ``"bgr"`` (the order of OpenCV); alpha is last.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous; ``image`` itself if possible.

    Raises:
        ImageError: it is not such an image; the message says how to convert it.
        OptionsError: ``color`` is neither.
    """
    check_choice("color", color, ("rgb", "bgr"))
    pixels = checked_array(image)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return _converted(pixels.reshape(pixels.shape[:2]), cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == 4:
        code = cv2.COLOR_RGBA2RGB if color == "rgb" else cv2.COLOR_BGRA2RGB
        return _converted(pixels, code)
    if color == "bgr":
        return _converted(pixels, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(pixels)


def checked_array(image: npt.NDArray[Any], code: str = "image") -> ImageArray:
    """The array, not copied, if its shape and type are those of an image that ``as_rgb`` takes.

    Args:
        image: the array.
        code: the expression that gave it, for messages.

    Raises:
        ImageError: not such an image; the message says how to convert it.
    """
    if type(image) is not np.ndarray:
        if hasattr(image, "filled"):  # what its mask hides is often not part of the picture
            raise ImageError(f"a masked array: use {code}.filled(0), which is black where it hides")
        image = np.asarray(image)
    shape = image.shape
    wanted = f"an image must be (height, width, 3); got the shape {shape}"
    if image.ndim == 4:
        alone = f", or for this one {code}[0]" if shape[0] == 1 else ""
        raise ImageError(
            f"{wanted}, a batch: pass its images one by one, or as a list to detect_batch{alone}"
        )
    if image.ndim == 1 and image.dtype == np.uint8:
        raise ImageError(f"{wanted}: if these are the bytes of a file, use {code}.tobytes()")
    if image.ndim not in {2, 3}:
        raise ImageError(wanted)
    if image.size == 0 and shape[2:] != (0,):
        raise ImageError(f"the image is empty; got the shape {shape}")
    if image.ndim == 3 and shape[2] not in {1, 3, 4}:
        if shape[0] in {1, 3, 4}:
            code = f"{code}.transpose(1, 2, 0)"
            what = f"{wanted}, channels first"
            if image.dtype != np.uint8:
                raise ImageError(f"{what}, and {image.dtype}: {_conversion(image, code)}")
            raise ImageError(f"{what}: use {code}")
        raise ImageError(
            f"an image must have 1, 3 or 4 channels, last; got {shape[2]} in the shape {shape}"
        )
    if image.dtype != np.uint8:
        raise ImageError(f"an image must be uint8; got {image.dtype}: {_conversion(image, code)}")
    return image


def _converted(pixels: ImageArray, code: int) -> ImageArray:
    converted: ImageArray = cv2.cvtColor(np.ascontiguousarray(pixels), code)
    return converted


def _conversion(pixels: npt.NDArray[Any], code: str) -> str:
    """How to convert pixels of another type to uint8.

    Args:
        pixels: the pixels.
        code: the expression that gives them.
    """
    kind = pixels.dtype.kind
    if kind == "f":
        if np.isnan(pixels).any():
            return "it also holds NaN; replace those with np.nan_to_num first"
        if pixels.min() < 0:
            if pixels.min() >= -1 and pixels.max() <= 1:
                return f"convert values in -1..1 with (({code} + 1) * 127.5).astype(np.uint8)"
            return "its values below 0 look like those for a network; pass the image before that"
        if pixels.max() <= 1:
            return f"convert values in 0..1 with ({code} * 255).round().astype(np.uint8)"
        return f"convert values in 0..255 with {code}.round().clip(0, 255).astype(np.uint8)"
    if pixels.dtype == np.uint16 or (kind in "iu" and 255 < pixels.max() <= 65535):
        return f"convert 16-bit values with ({code} // 257).astype(np.uint8)"
    if kind in "iu":
        return f"convert values in 0..255 with {code}.clip(0, 255).astype(np.uint8)"
    if kind == "b":
        return f"convert a mask with {code}.astype(np.uint8) * 255"
    return "images hold whole numbers 0..255"
