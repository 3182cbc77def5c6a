"""Images as they come: arrays and files in, (H, W, 3) uint8 RGB out, or a clear ``ImageError``.

An image that cannot be searched is an error here, so that it never becomes "no face" later.
OpenCV decodes; what its versions (4.8 to 5) do differently or silently is settled before, from the
headers: size limit, orientation, depth, and files cut short, which some versions fill with gray.
Inputs are never written to. Imports NumPy, OpenCV and ``errors``, ``checks``, ``types``.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_mtcnn.checks import check_choice, check_int
from edge_mtcnn.errors import ImageError
from edge_mtcnn.types import ImageArray

__all__ = ["MAX_PIXELS", "as_rgb", "decode_image", "read_image"]

MAX_PIXELS = 200_000_000
"""Most pixels of a file that is decoded unless told otherwise: 600 MB as RGB. Twice the largest
camera sensors; a file of a few bytes can claim far more."""


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
    pixels = _checked(_as_array(image))
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return _converted(pixels.reshape(pixels.shape[:2]), cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == 4:
        code = cv2.COLOR_RGBA2RGB if color == "rgb" else cv2.COLOR_BGRA2RGB
        return _converted(pixels, code)
    if color == "bgr":
        return _converted(pixels, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(pixels)


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
        if not stat.S_ISREG(Path(name).stat().st_mode):
            kind = "a folder" if Path(name).is_dir() else "not a regular file"
            raise ImageError(f"{name}: {kind}")
        data = Path(name).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a null character in the path
        raise ImageError(f"{name!r}: {error}") from None
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
        header = _read_header(data)
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
    cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return _UPRIGHT[header.orientation](pixels)


def _decoded(header: _Header) -> npt.NDArray[Any]:
    """Pixels as stored, (H, W, 3) BGR, uint8 or uint16."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    if header.format != "TIFF":  # OpenCV turns TIFF upright itself whatever the flags say
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    data = np.frombuffer(header.data, np.uint8)
    failed = f"OpenCV {cv2.__version__} cannot decode this {header.format}"
    # A complaint that another thread's file may have caused is looked into alone.
    for exclusive in (False, True):
        try:
            with _codecs.listening(exclusive=exclusive) as heard:
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


@dataclass(slots=True)
class _Heard:
    """What the codecs wrote during one decoding; ``alone`` when no other ran meanwhile."""

    complaints: list[str]
    alone: bool


class _CodecMessages:
    """Listens to standard error while pictures are decoded.

    libjpeg and libpng write there directly, past OpenCV's log, and nowhere else does libjpeg tell
    that a picture is damaged. Their lines and OpenCV's are kept; lines of others are passed on as
    soon as any decoding ends. Where that cannot be done (standard error closed, Windows), pictures
    are decoded all the same.
    """

    _OPENCV = re.compile(rb"\[ *[A-Z]+:\d+@|imdecode_\(")
    _CODEC = re.compile(
        rb"libpng (warning|error): |Corrupt JPEG data: |Premature end of JPEG file"
        rb"|Inconsistent progression |Unknown Adobe color |Warning: unknown JFIF |Invalid SOS "
    )

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._exclusive = False
        self._active = 0
        self._entries = 0
        self._stderr = self._file = -1
        self._read = 0
        self._complaints: list[str] = []

    @contextmanager
    def listening(self, *, exclusive: bool) -> Iterator[_Heard]:
        """Collect what is written inside; ``exclusive`` waits until no other decoding runs."""
        heard = _Heard([], alone=False)
        with self._changed:
            self._changed.wait_for(lambda: not self._exclusive)
            self._exclusive = exclusive
            if exclusive:
                try:
                    self._changed.wait_for(lambda: self._active == 0)
                except BaseException:
                    self._exclusive = False
                    raise
            if self._active == 0:
                self._complaints = []
                self._redirect()
            alone = self._active == 0
            self._active += 1
            self._entries += 1
            entry = self._entries
        try:
            yield heard
        finally:
            with self._changed:
                self._pass_on()
                heard.complaints = list(self._complaints)
                heard.alone = alone and self._entries == entry
                self._active -= 1
                if exclusive:
                    self._exclusive = False
                if self._active == 0:
                    self.restore()
                self._changed.notify_all()

    def restore(self) -> None:
        """Give standard error back."""
        if self._stderr >= 0:
            os.dup2(self._stderr, 2)
            os.close(self._stderr)
            os.close(self._file)
            self._stderr = self._file = -1

    def _redirect(self) -> None:
        if not hasattr(os, "pread"):
            return
        try:
            stderr = os.dup(2)
        except OSError:
            return
        try:
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())
            self._read = 0
            os.dup2(self._file, 2)
        except OSError:
            os.close(stderr)
            return
        self._stderr = stderr

    def _pass_on(self) -> None:
        """Sort what was written since the last time."""
        if self._stderr < 0:
            return
        written = os.pread(self._file, os.fstat(self._file).st_size - self._read, self._read)
        self._read += len(written)
        of_opencv = False
        foreign = []
        for line in written.splitlines(keepends=True):
            # A message of OpenCV may go on over lines that are empty or start with ">".
            of_opencv = bool(
                self._OPENCV.match(line) or (of_opencv and (line[:1] == b">" or not line.strip()))
            )
            if self._CODEC.match(line):
                self._complaints.append(line.decode("latin-1").strip())
            elif not of_opencv:
                foreign.append(line)
        if foreign:
            os.write(self._stderr, b"".join(foreign))


_codecs = _CodecMessages()


def _start_afresh() -> None:
    """In a forked child: no other thread lives that could end what it began."""
    global _codecs
    _codecs.restore()
    _codecs = _CodecMessages()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


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

_CUT_SHORT = "the file is cut short"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """What the bytes say before any pixel is decoded.

    Attributes:
        width, height: as stored, before orientation, pixels.
        full_scale: the value of white in what OpenCV decodes.
        orientation: EXIF orientation, 1..8, still to be applied.
        data: what to decode.
    """

    format: str
    width: int
    height: int
    data: bytes
    full_scale: int = 255
    orientation: int = 1


def _read_header(data: bytes) -> _Header:
    """The header of a whole, plausible image file; else an ``ImageError`` with the reason."""
    if not data:
        raise ImageError("the file is empty")
    reader = next((read for magic, read in _READERS if magic.match(data)), None)
    if reader is None:
        raise ImageError("not a JPEG, PNG, WebP, BMP, GIF, TIFF or PNM image")
    try:
        header = reader(data)
    except (struct.error, IndexError):
        raise ImageError(_CUT_SHORT) from None
    if header.width <= 0 or header.height <= 0:
        raise ImageError(f"corrupt: its size is {header.width}x{header.height}")
    return header


def _jpeg(data: bytes) -> _Header:
    size = None
    orientation = 1
    at = 2
    while True:
        # What lies between segments is skipped, as libjpeg does.
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
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", at + 2):
            orientation = _exif_orientation(data[at + 2 : at + length])
        at += length
        if marker == 0xDA:
            break
    if size is None:
        raise ImageError("corrupt: the JPEG has no frame header")
    # OpenCV 4 fills what is missing, OpenCV 5 refuses; thumbnails with an end of their own lie
    # before the scan. A file that lacks its last two bytes only cannot be told from one that
    # lacks more, so it is refused too.
    if data.find(b"\xff\xd9", at) < 0:
        raise ImageError(_CUT_SHORT)
    height, width = size
    return _Header(format="JPEG", width=width, height=height, orientation=orientation, data=data)


def _png(data: bytes) -> _Header:
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
    return _Header(
        format="PNG",
        width=width,
        height=height,
        full_scale=65535 if depth == 16 else 255,
        orientation=orientation,
        # Ancillary chunks change no colour here; libpng writes complaints about them to standard
        # error, and OpenCV 5 would composite the frames of an animation.
        data=b"".join(kept),
    )


def _png_text_orientation(content: bytes) -> int:
    """Orientation in the hexadecimal EXIF text of older ImageMagick; 0 in any other text."""
    keyword, _, text = content.partition(b"\0")
    if keyword != b"Raw profile type exif":
        return 0
    try:
        if text[:1] == b"\0":  # a zTXt chunk, deflated; bounded, as it may be a bomb
            text = zlib.decompressobj().decompress(text[1:], 1 << 18)
        return _exif_orientation(bytes.fromhex(b"".join(text.split()[2:]).decode("latin-1")))
    except (zlib.error, ValueError):
        return 0


def _webp(data: bytes) -> _Header:
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
    return _Header(format="WebP", width=width, height=height, orientation=orientation, data=data)


def _bmp(data: bytes) -> _Header:
    old = struct.unpack_from("<I", data, 14) == (12,)
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return _Header(format="BMP", width=width, height=abs(height), data=data)


def _gif(data: bytes) -> _Header:
    width, height = struct.unpack_from("<HH", data, 6)
    return _Header(format="GIF", width=width, height=height, data=data)


def _tiff(data: bytes) -> _Header:
    tags = _first_directory(data)
    bits, sample_format = tags.get(258, 1), tags.get(339, 1)
    if bits > 16 or sample_format != 1:
        kind = {2: "signed", 3: "floating-point"}.get(sample_format, "unsigned")
        raise ImageError(f"{bits}-bit {kind} samples are not supported; save it with 8 or 16 bits")
    width, height = tags.get(256, 0), tags.get(257, 0)
    scale = 65535 if bits == 16 else 255
    return _Header(format="TIFF", width=width, height=height, full_scale=scale, data=data)


def _pnm(data: bytes) -> _Header:
    space = rb"(?:\s|#[^\n]*\n)+"
    number = space + rb"(\d{1,9})"
    match = re.match(rb"P[14]" + number * 2 + rb"()|P[2356]" + number * 3, data)
    if match is None:
        raise ImageError("corrupt: the PNM header has no valid size")
    width, height, *white = (int(group) for group in match.groups() if group)
    # OpenCV scales small values written as text, and no others.
    small = not white or (white[0] < 256 and data[:2] in (b"P2", b"P3"))
    scale = 255 if small else max(1, white[0])
    return _Header(format="PNM", width=width, height=height, full_scale=scale, data=data)


_READERS: tuple[tuple[re.Pattern[bytes], Callable[[bytes], _Header]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    (re.compile(rb"BM"), _bmp),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    (re.compile(rb"P[1-6][\s#]"), _pnm),
)


def _exif_orientation(exif: bytes) -> int:
    """Orientation in an EXIF block, 1 where it has none or makes no sense."""
    try:
        value = _first_directory(exif.removeprefix(b"Exif\0\0")).get(274, 1)
    except (struct.error, KeyError):  # cameras and editors leave broken EXIF behind
        return 1
    return value if value in _UPRIGHT else 1


def _first_directory(data: bytes) -> dict[int, int]:
    """Tags of the first directory of a TIFF or EXIF block that hold whole numbers, first values."""
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
        code = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind)
        if code is None or not values:
            continue
        source, offset = inline, 0
        if values * struct.calcsize(code) > len(inline):
            source, offset = data, struct.unpack(order + ("Q" if big else "I"), inline)[0]
        tags[tag] = struct.unpack_from(order + code, source, offset)[0]
    return tags
