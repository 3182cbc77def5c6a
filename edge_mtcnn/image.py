"""Images as they come: arrays and files in, (H, W, 3) uint8 RGB out, or a clear ``ImageError``.

An image that cannot be searched is an error here, so that it never becomes "no face" later.
OpenCV decodes; what its versions (4.8 to 5) do differently or silently is settled before, from the
headers, and after, from what the decoders say. Inputs are never written to. Imports NumPy, OpenCV
and ``errors``, ``checks``, ``types``, ``codec_messages``, ``image_headers``.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_mtcnn import codec_messages
from edge_mtcnn.checks import check_choice, check_int
from edge_mtcnn.errors import ImageError
from edge_mtcnn.image_headers import ImageHeader, read_header
from edge_mtcnn.types import ImageArray

__all__ = ["MAX_PIXELS", "as_rgb", "checked_array", "decode_image", "read_image"]

MAX_PIXELS = 200_000_000
"""Most pixels of a file that is decoded unless told otherwise: 600 MB as RGB. Twice the largest
camera sensors; a file of a few bytes can claim far more."""

_STRIP_ROWS = 64


def as_rgb(image: Any, color: str = "rgb") -> ImageArray:
    """The image as an RGB array, not copied when it is one already.

    Args:
        image: (H, W, 3) color, (H, W) or (H, W, 1) gray, or (H, W, 4) color and alpha, uint8, any
            strides; or an object that turns into such an array, as a PIL image does. Alpha is
            dropped, as OpenCV and PIL do: what lies under a transparent pixel counts.
        color: order of the channels, ``"rgb"`` or ``"bgr"`` (what OpenCV reads); alpha comes last.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous; ``image`` itself when it is that.

    Raises:
        ImageError: not such an image; the message says how to convert it.
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
    """``image`` as an array; lists and other objects that are no images are refused."""
    if isinstance(image, np.ndarray):
        return np.asarray(image)  # a memory-mapped array has a `mode` too, see below
    if image is None:
        raise ImageError(
            "the image is None, which is what cv2.imread returns for a file that it cannot read"
        )
    if not (hasattr(image, "__array__") or hasattr(image, "__array_interface__")):
        hint = "read the file with edge_mtcnn.read_image" if isinstance(image, str) else ""
        hint = hint or "convert it with np.asarray(image, dtype=np.uint8)"
        raise ImageError(f"an image must be a NumPy array; got {type(image).__name__}: {hint}")
    # A palette or CMYK image of PIL turns into an array that looks like gray or alpha.
    mode = getattr(image, "mode", None)
    if isinstance(mode, str) and mode not in {"L", "RGB", "RGBA"}:
        raise ImageError(f"PIL image of mode {mode!r}: convert it with image.convert('RGB')")
    try:
        return np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ImageError(f"{type(image).__name__} does not turn into an array: {error}") from None


def _checked(pixels: npt.NDArray[Any]) -> ImageArray:
    """Require uint8 and the shape of one image."""
    shape = pixels.shape
    if pixels.ndim == 4:
        raise ImageError(
            f"an image must be (height, width, 3); got the shape {shape}, a batch:"
            " pass its images one by one or as a list to detect_batch"
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
    """How to turn pixels of another type into uint8."""
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


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> ImageArray:
    """The picture in a file, upright.

    JPEG, PNG, WebP, BMP, GIF (first frame; OpenCV 4.11 or newer), TIFF (first page) and PNM.
    EXIF orientation is applied, 16-bit values are scaled to 8 bits, alpha is dropped.

    Args:
        path: the file.
        max_pixels: most pixels that the file's header may claim, at least 1.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous.

    Raises:
        ImageError: there is no such file, or it is no image, damaged, cut short, too large or of
            an unsupported kind; the message names the file and the reason.
    """
    name = os.fsdecode(path)
    try:
        # A pipe or a device could block or never end.
        regular = stat.S_ISREG(Path(name).stat().st_mode)
        data = Path(name).read_bytes() if regular else b""
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a null character in the path
        raise ImageError(f"{name!r}: {error}") from None
    if not regular:
        kind = "a folder" if Path(name).is_dir() else "not a regular file"
        raise ImageError(f"{name}: {kind}")
    return decode_image(data, name=name, max_pixels=max_pixels)


def decode_image(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> ImageArray:
    """The picture in the bytes of an image file, as ``read_image`` reads it.

    Args:
        data: the whole file.
        name: what messages call it, such as its path.
        max_pixels: most pixels that the header may claim, at least 1.

    Raises:
        ImageError: as for ``read_image``.
    """
    check_int("max_pixels", max_pixels, 1, None)
    try:
        header = read_header(data)
        size = f"{header.width}x{header.height}"
        if header.width * header.height > max_pixels:
            raise ImageError(f"{size} is more than max_pixels={max_pixels}")
        pixels = _decoded(header)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except MemoryError:
        raise ImageError(f"{name}: not enough memory for {size} pixels") from None
    if header.full_scale != np.iinfo(pixels.dtype).max or pixels.dtype != np.uint8:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / header.full_scale)
    for top in range(0, len(pixels), _STRIP_ROWS):  # OpenCV copies what it converts in place
        strip = pixels[top : top + _STRIP_ROWS]
        cv2.cvtColor(strip, cv2.COLOR_BGR2RGB, dst=strip)
    return _UPRIGHT[header.orientation](pixels)


def _decoded(header: ImageHeader) -> npt.NDArray[Any]:
    """Pixels as stored, (H, W, 3) BGR, uint8 or uint16."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    if header.format != "TIFF":  # OpenCV turns TIFF upright itself whatever the flags say
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    data = np.frombuffer(header.data, np.uint8)
    failed = f"OpenCV {cv2.__version__} cannot decode this {header.format}"
    # A complaint that another thread's file may have caused is looked into alone.
    for exclusive in (False, True):
        try:
            with codec_messages.listening(exclusive=exclusive) as heard:
                pixels: npt.NDArray[Any] | None = cv2.imdecode(data, flags)
        except cv2.error as error:
            raise ImageError(f"{failed}: {error.err}") from None
        if heard.alone or not heard.complaints:
            break
    if pixels is None:
        raise ImageError(f"{failed}: it is corrupt, cut short or of an unsupported kind")
    for complaint in heard.complaints:
        if _tells_damage(complaint, data.size):
            raise ImageError(f"damaged, only a part can be decoded: {complaint}")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{pixels.dtype} samples are not supported; save it with 8 or 16 bits")
    return pixels


def _tells_damage(complaint: str, size: int) -> bool:
    """Whether libjpeg speaks of a picture that lacks parts, not of harmless bytes beside it."""
    extra = re.match(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0x(..)", complaint)
    if extra is None:
        return complaint.startswith(("Corrupt JPEG data", "Premature end of JPEG file"))
    count, marker = int(extra[1]), int(extra[2], 16)
    # Before a restart marker, blocks were lost. Some cameras pad before the end of the file.
    return 0xD0 <= marker <= 0xD7 or (marker == 0xD9 and count * 16 > size)


_UPRIGHT: dict[int, Callable[[ImageArray], ImageArray]] = {
    1: lambda image: image,
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""What turns a stored image upright, by EXIF orientation."""
