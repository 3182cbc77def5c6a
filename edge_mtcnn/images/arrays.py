"""Images as arrays: the caller's array in, (H, W, 3) uint8 RGB out, or a clear ``ImageError``.

An image that cannot be searched is an error here, so that it never becomes "no face" later. Inputs
are never modified.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_mtcnn.errors import ImageError, shown
from edge_mtcnn.options import check_choice
from edge_mtcnn.types import ImageArray

__all__ = ["as_rgb", "checked_array"]


def as_rgb(image: Any, color: str = "rgb") -> ImageArray:
    """The image as an RGB array; not copied when it already is one.

    Args:
        image: (H, W, 3) color, (H, W) or (H, W, 1) gray, or (H, W, 4) color and alpha, uint8, any
            strides; or an object that converts to such an array, such as a PIL image. Alpha is
            dropped, as OpenCV and PIL do: the color of a transparent pixel counts.
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


def checked_array(image: Any) -> ImageArray:
    """The image as an array of a shape and type that ``as_rgb`` takes, not copied.

    Raises:
        ImageError: not such an image; the message says how to convert it.
    """
    return _checked(_as_array(image))


def _converted(pixels: ImageArray, code: int) -> ImageArray:
    converted: ImageArray = cv2.cvtColor(np.ascontiguousarray(pixels), code)
    return converted


def _as_array(image: Any) -> npt.NDArray[Any]:
    """``image`` as an array; lists and other objects that are not images are refused."""
    if isinstance(image, np.ndarray):
        return np.asarray(image)  # before `mode` below, which a memory-mapped array has too
    if image is None:
        raise ImageError(
            "the image is None, which is what cv2.imread returns for a file that it cannot read"
        )
    if not (hasattr(image, "__array__") or hasattr(image, "__array_interface__")):
        hint = "read the file with edge_mtcnn.read_image" if isinstance(image, str) else ""
        hint = hint or "convert it with np.asarray(image, dtype=np.uint8)"
        raise ImageError(f"an image must be a NumPy array; got {type(image).__name__}: {hint}")
    # A palette or CMYK image of PIL would convert to an array that looks like gray or alpha.
    mode = getattr(image, "mode", None)
    if isinstance(mode, str) and mode not in {"L", "RGB", "RGBA"}:
        raise ImageError(f"PIL image of mode {shown(mode)}: convert it with image.convert('RGB')")
    try:
        return np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ImageError(f"{type(image).__name__} does not convert to an array: {error}") from None


def _checked(pixels: npt.NDArray[Any]) -> ImageArray:
    """Check that the array is uint8 and has the shape of one image."""
    shape = pixels.shape
    if pixels.ndim == 4:
        raise ImageError(
            f"an image must be (height, width, 3); got the shape {shape}, a batch:"
            " pass its images one by one, or as a list to detect_batch"
        )
    if pixels.ndim not in {2, 3}:
        raise ImageError(f"an image must be (height, width, 3); got the shape {shape}")
    if pixels.ndim == 3 and shape[2] not in {1, 3, 4}:
        if shape[0] in {1, 3, 4}:
            raise ImageError(
                f"an image must be (height, width, 3); got the shape {shape}, channels first:"
                " use image.transpose(1, 2, 0)"
            )
        raise ImageError(
            f"an image must have 1, 3 or 4 channels, last; got {shape[2]} in the shape {shape}"
        )
    if pixels.size == 0:
        raise ImageError(f"the image is empty; got the shape {shape}")
    if pixels.dtype != np.uint8:
        raise ImageError(f"an image must be uint8; got {pixels.dtype}: {_conversion(pixels)}")
    return pixels


def _conversion(pixels: npt.NDArray[Any]) -> str:
    """How to convert pixels of another type to uint8."""
    kind = pixels.dtype.kind
    if kind == "f":
        if np.isnan(pixels).any():
            return "it also holds NaN; replace those with np.nan_to_num first"
        if pixels.max() <= 1:
            return "convert values in 0..1 with (image * 255).round().astype(np.uint8)"
        return "convert values in 0..255 with image.round().clip(0, 255).astype(np.uint8)"
    if pixels.dtype == np.uint16:
        return "convert 16-bit values with (image // 257).astype(np.uint8)"
    if kind in "iu":
        return "convert values in 0..255 with image.clip(0, 255).astype(np.uint8)"
    if kind == "b":
        return "convert a mask with image.astype(np.uint8) * 255"
    return "images hold whole numbers 0..255"
