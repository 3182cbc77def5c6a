"""The one place where what a caller passes becomes an array.

An image may be an array, an object that converts to one, or encoded: a path, bytes or a binary
file. Other objects are refused with advice that works for their type. No package is imported for
that; types are known by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_mtcnn.errors import ImageError, brief
from edge_mtcnn.images.arrays import as_rgb, checked_array
from edge_mtcnn.images.decoding import read_image
from edge_mtcnn.images.reading import PhotoFile
from edge_mtcnn.images.sources import is_source
from edge_mtcnn.types import ImageArray

__all__ = ["check_batch", "load_image", "rgb_image"]

_CODE = {
    "UMat": "image.get()",
    "GpuMat": "image.download()",
    "torch": "image.detach().cpu().numpy()",
    "cupy": "image.get()",
    "tensorflow": "image.numpy()",
    "paddle": "image.numpy()",
    "mxnet": "image.asnumpy()",
    "decord": "image.asnumpy()",
    "mediapipe": "image.numpy_view()",
    "av": "image.to_ndarray(format='rgb24')",
    "requests": "image.content",
}
"""What makes an array, or the bytes of a file, of an object: by its class or its package."""


def load_image(image: Any, color: str = "rgb") -> tuple[ImageArray, str]:
    """The image as an array that was checked, and the order of its channels.

    Args:
        image: see ``FaceDetector.detect``.
        color: order of the channels of an array, ``"rgb"`` or ``"bgr"``.

    Returns:
        An array that ``as_rgb`` takes, not copied if ``image`` is one; and ``color`` for an array,
        ``"rgb"`` for what was decoded here.

    Raises:
        ImageError: not an image; the message says how to make one of it.
    """
    if isinstance(image, np.ndarray):  # first, as this is every frame of a camera
        return checked_array(image), color
    if isinstance(image, PhotoFile):
        return image.read(), "rgb"
    if is_source(image):
        return read_image(image), "rgb"
    array, code = _array_of(image)
    return checked_array(array, code), color


def rgb_image(image: Any) -> ImageArray:
    """The image as (H, W, 3) uint8 RGB, C-contiguous; ``image`` itself if possible."""
    pixels, _ = load_image(image)
    return as_rgb(pixels)


def check_batch(images: Any, method: str) -> None:
    """Refuse one image in the place of several, whose rows or bytes would pass for images.

    Args:
        images: what should be several.
        method: name of the method that takes them, for the message.
    """
    got = None
    if is_source(images):
        got = f"one {type(images).__name__}: use detect, or [image] for a list of one"
    elif isinstance(images, Mapping):
        got = f"one {type(images).__name__}: use list(images.values()) if its values are images"
    elif getattr(images, "ndim", 4) < 4:
        got = (
            f"one {'array' if isinstance(images, np.ndarray) else type(images).__name__} of the"
            f" shape {tuple(images.shape)}: use detect for one image, list(images) for gray ones"
        )
    elif not (hasattr(images, "__iter__") or hasattr(images, "__getitem__")):
        got = f"{type(images).__name__}: use detect for one image"
    if got is not None:
        raise ImageError(f"{method} takes a sequence of images; got {got}")


def _array_of(image: Any) -> tuple[npt.NDArray[Any], str]:
    """The object as an array, and the code that makes it one; no check of shape or type."""
    kind = type(image).__name__
    code = _code(image)
    # Asked of the class, as PIL reads the whole file for the second.
    if not any(hasattr(type(image), name) for name in ("__array__", "__array_interface__")):
        if isinstance(image, memoryview):
            return np.asarray(image), code
        raise ImageError(_advice(image, kind))
    # A palette or CMYK image of PIL would convert to an array that looks like gray or alpha.
    mode = getattr(image, "mode", None)
    if isinstance(mode, str) and mode not in {"L", "RGB", "RGBA", "F", "I"} | _DEEP:
        raise ImageError(f"PIL image of mode {mode}: convert it with image.convert('RGB')")
    try:
        return np.asarray(image), code
    except (AttributeError, OSError, TypeError, ValueError, RuntimeError) as error:
        # Tensors on a device or with a gradient, and damaged files that PIL reads only now.
        how = "" if code == "np.asarray(image)" else f"; use {code}"
        raise ImageError(
            f"{kind} does not convert to an array: {brief(str(error), 300).rstrip('.')}{how}"
        ) from None


_DEEP = {"I;16", "I;16L", "I;16B", "I;16N"}
"""Modes of PIL with 16 bits, which ``convert('RGB')`` would make white."""


def _code(image: Any) -> str:
    """The code that makes an array of an object."""
    names = [
        name
        for base in type(image).__mro__
        for name in (base.__name__, base.__module__.partition(".")[0])
    ]
    code = next((_CODE[name] for name in names if name in _CODE), "np.asarray(image)")
    if "torch" in names and "bfloat16" in str(getattr(image, "dtype", "")):
        return code.replace(".cpu()", ".cpu().float()")  # NumPy has no such type
    return code


def _advice(image: Any, kind: str) -> str:
    """What to do with an object that is no image and does not convert to one."""
    if image is None:
        return "the image is None, which is what cv2.imread returns for a file that it cannot read"
    what = (
        f"an image must be a NumPy array, a path, the bytes of a file or a binary file; got {kind}"
    )
    code = _code(image)
    if code != "np.asarray(image)":
        return f"{what}: use {code}"
    if isinstance(image, Mapping):
        names = [
            name for name in ("bytes", "image", "pixels", "path") if image.get(name) is not None
        ]
        return f"{what}: use image['{names[0]}']" if names else f"{what}: pass the image in it"
    if isinstance(image, (list, tuple)):
        return f"{what}{_advice_for_list(image)}"
    if isinstance(image, (Set, Iterator)):
        return f"{what}: pass several images to detect_batch"
    if hasattr(image, "__dlpack__"):
        return f"{what}: use np.from_dlpack(image)"
    if hasattr(image, "image"):
        return f"{what}: use its attribute image"
    return what


def _advice_for_list(image: list[Any] | tuple[Any, ...]) -> str:
    if not image:
        return ", an empty one"
    if isinstance(image[0], (bool, np.bool_)):
        return " (ok, frame), as VideoCapture.read returns it: use ok, frame = capture.read()"
    first: Any = image
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(first, (int, float)):
        return ": for the rows of one image, use np.array(image, dtype=np.uint8)"
    return ": pass several images to detect_batch"
