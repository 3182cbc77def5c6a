"""Headers of image files: size, EXIF orientation, depth and scans, read before decoding.

OpenCV's versions treat files that are cut short, huge or rotated differently, and some report
nothing. So the file is checked here: it must be complete and have a plausible size.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from edge_mtcnn.errors import ImageError
from edge_mtcnn.images.heif import heif_format, heif_size
from edge_mtcnn.images.others import RAW, UnsupportedFormat, other_content, other_format

__all__ = ["ImageHeader", "read_header"]

_CUT_SHORT = "the file is cut short"
_MOST_SCANS_COUNTED = 1000
"""Enough to refuse a file. Counting to the end of a hostile one would take a second."""
_PIECE = 250_000
"""Bytes searched in one call, which holds the interpreter's lock for less than 1 ms."""
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker between or after scans. Within a scan, 0 or a restart marker follows each 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What is known about an image before any pixel is decoded.

    Attributes:
        format: ``JPEG``, ``PNG``, ``WebP``, ``BMP``, ``GIF``, ``TIFF``, ``PNM``, ``HEIC``,
            ``HEIF`` or ``AVIF``.
        width, height: pixels as stored, before the orientation is applied.
        full_scale: value of white in OpenCV's result.
        orientation: EXIF orientation, 1..8, not yet applied.
        scans: passes over the picture that decoding takes, counted up to 1000; above 1 for
            progressive JPEGs only.
        data: the bytes to decode.
    """

    format: str
    width: int
    height: int
    data: bytes
    full_scale: int = 255
    orientation: int = 1
    scans: int = 1


def read_header(data: bytes) -> ImageHeader:
    """Read the header of an image file and check that the file is complete.

    Raises:
        UnsupportedFormat: it is a file of another kind, or HEIC or AVIF without the extra.
        ImageError: the file is damaged, cut short or not an image; the message is the reason
            alone, without a name of the file.
    """
    if not data:
        raise ImageError("the file is empty")
    reader = next((read for magic, read in _READERS if magic.match(data)), None)
    if reader is None:
        if heif_format(data):
            return _heif(data)
        what = other_format(data)
        if what is not None:
            raise UnsupportedFormat(what)
        raise ImageError(
            other_content(data) or "not a JPEG, PNG, WebP, BMP, GIF, TIFF, PNM, HEIC or AVIF image"
        )
    try:
        header = reader(data)
    except (struct.error, IndexError, OverflowError):  # 64-bit offsets overflow
        raise ImageError(_CUT_SHORT) from None
    if header.width <= 0 or header.height <= 0:
        raise ImageError(f"corrupt: its size is {header.width}x{header.height}")
    return header


def _jpeg(data: bytes) -> ImageHeader:
    size = None
    components = -1
    orientation = 1
    at = 2
    while True:
        # Bytes between segments are skipped, as libjpeg does.
        at = data.find(b"\xff", at)
        if at < 0:
            raise ImageError(_CUT_SHORT)
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker <= 0x01 or 0xD0 <= marker <= 0xD8:  # no segment follows
            continue
        if marker == 0xD9:
            raise ImageError("corrupt: the JPEG ends before its picture")
        (length,) = struct.unpack_from(">H", data, at)
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            size = struct.unpack_from(">HH", data, at + 3)
            # libjpeg accepts no second scan if the first of a sequential JPEG has all components.
            components = data[at + 7] if marker <= 0xC1 else -1
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", at + 2):
            orientation = _exif_orientation(data[at + 2 : at + length])
        if marker == 0xDA:
            scans = 1 if data[at + 2] == components else _count_scans(data, at + length)
            break
        at += length
    if size is None:
        raise ImageError("corrupt: the JPEG has no frame header")
    # OpenCV 4 fills in what is missing, OpenCV 5 refuses. The search starts at the scan, as
    # thumbnails before it have an end marker of their own. A file that lacks only its last two
    # bytes looks like one that lacks more, so it is refused too.
    if data.rfind(b"\xff\xd9", at) < 0:  # backwards: a complete file has it at the end
        raise ImageError(_CUT_SHORT)
    height, width = size
    return ImageHeader(
        format="JPEG",
        width=width,
        height=height,
        orientation=orientation,
        scans=scans,
        data=data,
    )


def _count_scans(data: bytes, at: int) -> int:
    """Count the scans that libjpeg would decode.

    Only markers outside segments count, up to the end marker. A metadata segment, or a film that a
    phone appends to its photo, may contain the two bytes of a scan's marker by chance.

    Args:
        data: a JPEG.
        at: where the pixels of its first scan start.
    """
    scans = 1
    while scans < _MOST_SCANS_COUNTED and at < len(data):
        found = _JPEG_MARKER.search(data, at, at + _PIECE)
        if found is None:
            at += _PIECE - 1  # the next piece starts with the last byte of this one
            continue
        at = found.end()
        marker = data[at - 1]
        if marker == 0xD9:
            break
        scans += marker == 0xDA
        if marker not in {0x01, 0xD8}:  # no segment follows these
            at += max(int.from_bytes(data[at : at + 2], "big"), 2)
    return scans


def _png(data: bytes) -> ImageHeader:
    view = memoryview(data)
    kept = [view[:8]]
    orientation = 1
    at = 8
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ImageError(_CUT_SHORT)
        content = view[at + 8 : end - 4]
        if not kind[0] & 0x20:  # a critical chunk
            if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
                raise ImageError(f"corrupt: wrong checksum in a {kind.decode('latin-1')} chunk")
            kept.append(view[at:end])
        elif kind == b"eXIf":
            orientation = _exif_orientation(bytes(content))
        elif kind == b"zTXt" or kind == b"tEXt":
            orientation = _png_text_orientation(bytes(content)) or orientation
        at = end
    if data[12:16] != b"IHDR":
        raise ImageError("corrupt: the PNG does not start with its header")
    width, height, depth = struct.unpack_from(">IIB", data, 16)
    return ImageHeader(
        format="PNG",
        width=width,
        height=height,
        full_scale=65535 if depth == 16 else 255,
        orientation=orientation,
        # Ancillary chunks change no colour here. libpng writes warnings about them to standard
        # error, and OpenCV 5 would composite the frames of an animation.
        data=data if sum(map(len, kept)) == len(data) else b"".join(kept),
    )


def _png_text_orientation(content: bytes) -> int:
    """EXIF orientation from the hexadecimal text of older ImageMagick; 0 for any other text."""
    keyword, _, text = content.partition(b"\0")
    if keyword != b"Raw profile type exif":
        return 0
    try:
        if text[:1] == b"\0":  # a zTXt chunk; limited, as it may be a zip bomb
            text = zlib.decompressobj().decompress(text[1:], 1 << 18)
        return _exif_orientation(bytes.fromhex(b"".join(text.split()[2:]).decode("latin-1")))
    except (zlib.error, ValueError):
        return 0


def _webp(data: bytes) -> ImageHeader:
    (riff_size,) = struct.unpack_from("<I", data, 4)
    if riff_size + 8 > len(data):
        raise ImageError(_CUT_SHORT)
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    orientation = 1
    at = 12
    while at + 8 <= riff_size + 8:
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            orientation = _exif_orientation(data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    return ImageHeader(
        format="WebP", width=width, height=height, orientation=orientation, data=data
    )


def _bmp(data: bytes) -> ImageHeader:
    old = struct.unpack_from("<I", data, 14) == (12,)
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return ImageHeader(format="BMP", width=width, height=abs(height), data=data)


def _gif(data: bytes) -> ImageHeader:
    width, height = struct.unpack_from("<HH", data, 6)
    return ImageHeader(format="GIF", width=width, height=height, data=data)


def _heif(data: bytes) -> ImageHeader:
    form = heif_format(data) or ""
    width, height, orientation = heif_size(data, form)
    return ImageHeader(format=form, width=width, height=height, orientation=orientation, data=data)


def _tiff(data: bytes) -> ImageHeader:
    tags = _first_directory(data)
    preview = tags.get(254, 0) & 1 and 330 in tags  # the picture itself is in another directory
    sensor = tags.get(262) in {32803, 34892}  # one color for each pixel
    if preview or sensor or 50706 in tags or data[8:10] == b"CR":  # 50706 is the version of DNG
        raise UnsupportedFormat(RAW)
    bits, sample_format = tags.get(258, 1), tags.get(339, 1)
    if bits > 16 or sample_format != 1:
        kind = {2: "signed", 3: "floating-point"}.get(sample_format, "unsigned")
        raise ImageError(f"{bits}-bit {kind} samples are not supported; save it with 8 or 16 bits")
    width, height = tags.get(256, 0), tags.get(257, 0)
    scale = 65535 if bits == 16 else 255
    return ImageHeader(format="TIFF", width=width, height=height, full_scale=scale, data=data)


def _pnm(data: bytes) -> ImageHeader:
    space = rb"(?:\s|#[^\n]*\n)+"
    number = space + rb"(\d{1,9})"
    match = re.match(rb"P[14]" + number * 2 + rb"()|P[2356]" + number * 3, data)
    if match is None:
        raise ImageError("corrupt: the PNM header has no valid size")
    width, height, *white = (int(group) for group in match.groups() if group)
    # OpenCV scales small values that are written as text, and no others.
    small = not white or (white[0] < 256 and data[:2] in (b"P2", b"P3"))
    scale = 255 if small else max(1, white[0])
    return ImageHeader(format="PNM", width=width, height=height, full_scale=scale, data=data)


_READERS: tuple[tuple[re.Pattern[bytes], Callable[[bytes], ImageHeader]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    (re.compile(rb"BM"), _bmp),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    (re.compile(rb"P[1-6][\s#]"), _pnm),
)


def _exif_orientation(exif: bytes) -> int:
    """Orientation in an EXIF block; 1 if it has none or an invalid one."""
    try:
        value = _first_directory(exif.removeprefix(b"Exif\0\0")).get(274, 1)
    except (struct.error, KeyError, OverflowError):  # cameras and editors write broken EXIF
        return 1
    return value if 1 <= value <= 8 else 1


def _first_directory(data: bytes) -> dict[int, int]:
    """The first value of each integer tag in the first directory of a TIFF or EXIF block."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = struct.unpack_from(order + "H", data, 2) == (43,)  # BigTIFF
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    tags = {}
    for tag, kind, values, inline in (
        entry.unpack_from(data, at + i * entry.size) for i in range(count)
    ):
        code = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}.get(kind)
        if code is None or not values:
            continue
        source, offset = inline, 0
        if values * struct.calcsize(code) > len(inline):
            source, offset = data, struct.unpack(order + ("Q" if big else "I"), inline)[0]
        tags[tag] = struct.unpack_from(order + code, source, offset)[0]
    return tags
