"""HEIC, HEIF and AVIF, as phones make them, with the extra ``heif``.

pillow-heif (libheif) decodes HEVC; Pillow itself (libavif) decodes AV1, which pillow-heif no longer
does. Both are imported when the first such file is read. The rotation and mirroring of the
container count; the orientation in its EXIF block repeats them and is not applied.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_mtcnn.errors import ImageError, brief
from edge_mtcnn.images.av1 import largest_frame
from edge_mtcnn.images.others import UnsupportedFormat

__all__ = ["FORMATS", "decode_heif", "heif_format", "heif_size"]

FORMATS = ("HEIC", "HEIF", "AVIF")

_ORIENTATION = 0x0112  # the tag of EXIF
_SMALL_FRAME = 1_000_000
"""Pixels of a frame that takes no memory worth a check."""
_BRANDS = {
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"},
    "AVIF": {b"avif", b"avis"},
    "HEIF": {b"mif1", b"mif2", b"msf1", b"miaf"},
}
"""Formats by the brands of the file type box, the most exact first."""

_FAILURES = (OSError, RuntimeError, SyntaxError, ValueError, EOFError, IndexError)
"""What the decoders raise for files that they cannot read."""


def heif_format(data: bytes) -> str | None:
    """``HEIC``, ``AVIF`` or ``HEIF`` by the file's brands; ``None`` for any other file."""
    if data[4:8] != b"ftyp":
        return None
    size = min(int.from_bytes(data[:4], "big"), 1024)
    major, *compatible = (data[at : at + 4] for at in range(8, max(size, 12), 4))
    if major not in set().union(*_BRANDS.values()):
        return None  # such as a film, which may name brands of pictures too
    brands = {major, *compatible}
    return next(name for name, own in _BRANDS.items() if brands & own)


def heif_size(data: bytes, form: str) -> tuple[int, int, int]:
    """Read the header without decoding any pixel.

    Returns:
        Width and height, pixels as decoded, and the EXIF orientation that is still to be applied.

    Raises:
        ImageError: the file is damaged, or the extra is not installed.
    """
    opened = _opener(form)
    try:
        image = opened(data)
        # Pillow states the rotation and mirroring of an AVIF as an orientation; libheif applies it.
        orientation = image.getexif().get(_ORIENTATION, 1) if form == "AVIF" else 1
    except _FAILURES as error:
        raise ImageError(_failure(form, error)) from None
    width, height = image.size
    if form == "AVIF":
        _check_frames(data, width * height)
    return width, height, orientation


def _check_frames(data: bytes, claimed: int) -> None:
    """Refuse an AVIF with frames far above the size that its header claims, in pixels.

    libheif does this for HEIC. A tile may be larger than the picture that it belongs to.
    """
    try:
        largest = largest_frame(data)
    except (ValueError, IndexError, struct.error):
        raise ImageError("this AVIF is damaged or cut short") from None
    if largest > 4 * claimed + _SMALL_FRAME:
        raise ImageError(f"corrupt: it holds {largest} pixels, but its header says {claimed}")


def decode_heif(data: bytes, form: str) -> npt.NDArray[np.uint8]:
    """Decode the primary image, or the first of a sequence.

    Returns:
        (H, W, 3) or (H, W, 4) uint8 RGB or RGBA, or (H, W) gray; HEIC is upright.

    Raises:
        ImageError: the file is damaged, cut short or of an unsupported kind.
    """
    opened = _opener(form)
    try:
        pixels = np.array(opened(data), dtype=np.uint8)
    except _FAILURES as error:
        raise ImageError(_failure(form, error)) from None
    return pixels[:, :, 0] if pixels.shape[2:] == (2,) else pixels  # gray with alpha


def _opener(form: str) -> Callable[[bytes], Any]:
    """A function that gives the primary image, not yet decoded."""
    try:
        if form == "AVIF":
            from PIL.AvifImagePlugin import AvifImageFile

            # Not `Image.open`, which has a limit of pixels of its own and warns at half of it.
            return lambda data: AvifImageFile(io.BytesIO(data))
        from pillow_heif import open_heif
    except ImportError:
        raise UnsupportedFormat(
            f"{'an' if form == 'AVIF' else 'a'} {form} image, which needs the extra heif:"
            " pip install 'edge-mtcnn[heif]'"
        ) from None

    def primary(data: bytes) -> Any:
        file = open_heif(data, convert_hdr_to_8bit=True)
        return file[file.primary_index]

    return primary


def _failure(form: str, error: Exception) -> str:
    reason = brief(" ".join(str(error).split()), 200)
    return f"this {form} is damaged, cut short or of an unsupported kind: {reason}"
