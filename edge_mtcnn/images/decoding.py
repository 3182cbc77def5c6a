"""Decodes images: a path, bytes or a file in, (H, W, 3) uint8 RGB out, or a clear ``ImageError``.

An image that cannot be searched is an error here, so that it is never reported as "no face".
OpenCV decodes, except what ``heif`` does. Its versions (4.8 to 5) treat odd files differently, some
of them silently, so files are checked before decoding, by their headers, and after it, by the
warnings of the decoders.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_mtcnn.errors import ImageError
from edge_mtcnn.images import codec_errors, heif
from edge_mtcnn.images.arrays import as_rgb
from edge_mtcnn.images.headers import ImageHeader, read_header
from edge_mtcnn.images.sources import read_source
from edge_mtcnn.options.checks import check_int, check_type
from edge_mtcnn.types import ImageArray

__all__ = ["MAX_PIXELS", "MAX_SCANS", "decode", "decode_image", "read_image"]

MAX_PIXELS = 200_000_000
"""Default limit of the pixels of a file: 600 MB as RGB, twice the largest camera sensors. A file of
a few bytes can claim far more."""
MAX_SCANS = 500
"""Limit of the scans of a JPEG. Encoders write about ten, mozjpeg fewer than 64, but a hostile file
of 100 kB can have thousands, and each takes as long as decoding a picture once."""

_STRIP_ROWS = 64


def read_image(source: Any, *, max_pixels: int = MAX_PIXELS) -> ImageArray:
    """Read an image: a file by its path, its bytes, or an open binary file. It is upright.

        faces = detector.detect(read_image("team.jpg"))

    JPEG, PNG, WebP, BMP, GIF (first frame; OpenCV 4.11 or newer), TIFF (first page) and PNM; HEIC,
    HEIF and AVIF with the extra ``heif``. The orientation is applied, 16-bit values are scaled to
    8 bits, alpha is dropped.

    Args:
        source: a path (``str`` or ``PathLike``); the bytes of a file (``bytes``, ``bytearray`` or
            a one-dimensional ``memoryview``); or a binary file, which is read from where it stands
            to its end and not closed.
        max_pixels: most pixels that the file's header may claim, at least 1.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous.

    Raises:
        ImageError: the file does not exist, is not an image, or is damaged, cut short, too large
            or of an unsupported kind. The message contains the path and the reason.
    """
    name, data = read_source(source)
    return decode_image(data, name=name, max_pixels=max_pixels)


def decode_image(
    data: bytes | bytearray | memoryview, *, name: str = "the image", max_pixels: int = MAX_PIXELS
) -> ImageArray:
    """Decode the bytes of an image file, as ``read_image`` does, with a name for messages.

    Args:
        data: the whole file; a path is refused here.
        name: name of the image in messages, such as its path.
        max_pixels: most pixels that the header may claim, at least 1.

    Raises:
        ImageError: as for ``read_image``.
    """
    check_type("name", name, str)
    check_int("max_pixels", max_pixels, 1, None)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ImageError(
            f"{name}: decode_image takes the bytes of a file; got {type(data).__name__}, for which"
            " read_image or detect may be right"
        )
    try:
        header = read_header(bytes(data))
        if header.width * header.height > max_pixels:
            raise ImageError(f"{header.width}x{header.height} is more than max_pixels={max_pixels}")
        if header.scans > MAX_SCANS:
            raise ImageError(f"more than {MAX_SCANS} scans; save it as a baseline JPEG")
        return decode(header)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None


def decode(header: ImageHeader) -> ImageArray:
    """Decode the image that a header belongs to, without any limit.

    For callers that have limits of their own: they read the header, check it, and decode.

    Returns:
        (H, W, 3) uint8 RGB, upright, C-contiguous.

    Raises:
        ImageError: the image is damaged, unsupported or too large for the memory; the message is
            the reason alone, without a name of the image.
    """
    try:
        if header.format in heif.FORMATS:
            return _UPRIGHT[header.orientation](_decode_heif(header))
        pixels = _decode_stored(header)
    except MemoryError:
        raise ImageError(f"not enough memory for {header.width}x{header.height} pixels") from None
    if header.full_scale != np.iinfo(pixels.dtype).max or pixels.dtype != np.uint8:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / header.full_scale)
    for top in range(0, len(pixels), _STRIP_ROWS):  # in one piece, OpenCV would copy the image
        strip = pixels[top : top + _STRIP_ROWS]
        cv2.cvtColor(strip, cv2.COLOR_BGR2RGB, dst=strip)
    return _UPRIGHT[header.orientation](pixels)


def _decode_heif(header: ImageHeader) -> ImageArray:
    """Decode a HEIC, HEIF or AVIF image, (H, W, 3) uint8 RGB."""
    pixels = as_rgb(heif.decode_heif(header.data, header.format))
    if pixels.shape[:2] != (header.height, header.width):
        raise ImageError(
            f"corrupt: its header says {header.width}x{header.height}, but it holds"
            f" {pixels.shape[1]}x{pixels.shape[0]} pixels"
        )
    return pixels


def _decode_stored(header: ImageHeader) -> npt.NDArray[Any]:
    """Decode the pixels as stored, (H, W, 3) BGR, uint8 or uint16."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    if header.format != "TIFF":  # OpenCV turns TIFF upright itself, whatever the flags are
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    data = np.frombuffer(header.data, np.uint8)
    failed = f"OpenCV {cv2.__version__} cannot decode this {header.format}"
    # A warning may belong to the file of another thread. If so, decode again while no other does.
    for exclusive in (False, True):
        try:
            with codec_errors.listening(exclusive=exclusive) as heard:
                pixels: npt.NDArray[Any] | None = cv2.imdecode(data, flags)
        except cv2.error as error:
            raise ImageError(f"{failed}: {error.err}") from None
        if heard.alone or not heard.complaints:
            break
    if pixels is None:
        raise ImageError(f"{failed}: it is corrupt, cut short or of an unsupported kind")
    for complaint in heard.complaints:
        if _is_damage(complaint, data.size):
            raise ImageError(f"damaged, only a part can be decoded: {complaint}")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{pixels.dtype} samples are not supported; save it with 8 or 16 bits")
    return pixels


def _is_damage(complaint: str, size: int) -> bool:
    """Whether libjpeg reports missing parts of the picture, not just extra bytes beside it."""
    extra = re.match(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0x(..)", complaint)
    if extra is None:
        return complaint.startswith(("Corrupt JPEG data", "Premature end of JPEG file"))
    count, marker = int(extra[1]), int(extra[2], 16)
    # Bytes before a restart marker mean lost blocks. Some cameras pad the end of the file.
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
"""Functions that turn a stored image upright, by EXIF orientation."""
