"""Image files as people have them: the upright picture, or an ``ImageError`` with file and reason.

Never a crash, a hang, a warning, a line on standard error, or half a picture that passes for "no
face". The odd files are made here; ``test_tricky_files`` reads those of other projects.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from edge_mtcnn import FaceDetector, ImageError, OptionsError, read_image
from edge_mtcnn.images import codec_errors
from edge_mtcnn.images.decoding import MAX_SCANS, decode_image
from edge_mtcnn.images.headers import read_header
from edge_mtcnn.types import ImageArray

OPENCV = tuple(int(part) for part in cv2.__version__.split(".")[:2])
NEEDS_GIF = pytest.mark.skipif(OPENCV < (4, 11), reason="OpenCV reads GIF since 4.11")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes and modes are POSIX")

JPEG_LOSS = 6.0  # mean difference of grey levels after JPEG or WebP at high quality
PALETTE_LOSS = 12.0  # 256 colours for a photo
SECONDS_FOR_A_HEADER = 5.0  # decoding what a bomb claims would take far longer or all memory


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> Image.Image:
    """The astronaut's head, 120x150: one face, and different in each of the eight orientations."""
    with Image.open(sample_path("astronaut")) as whole:
        return whole.crop((120, 30, 320, 280)).resize((120, 150)).convert("RGB")


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str]) -> Any:
    """Nothing of all this may write to standard error."""
    yield
    assert capfd.readouterr().err == ""


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def distance(first: Any, second: Any) -> float:
    return float(np.abs(np.asarray(first, float) - np.asarray(second, float)).mean())


def read(data: bytes) -> ImageArray:
    return decode_image(data, name="photo")


# Formats.


def inverted(photo: Image.Image) -> Image.Image:
    return ImageOps.invert(photo)


def deep(photo: Image.Image, suffix: str) -> bytes:
    """The photo with 16 bits a channel."""
    pixels = np.asarray(photo)[:, :, ::-1].astype(np.uint16) * 257
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return bytes(data)


SAME_PICTURE: dict[str, tuple[Callable[[Image.Image], bytes], float]] = {
    "PNG": (lambda photo: saved(photo, "PNG"), 0),
    "PNG, opaque": (lambda photo: saved(photo.convert("RGBA"), "PNG"), 0),
    "PNG, 256 colours": (lambda photo: saved(photo.quantize(256), "PNG"), PALETTE_LOSS),
    "PNG, 16 bits": (lambda photo: deep(photo, ".png"), 0),
    "animated PNG": (
        lambda photo: saved(photo, "PNG", save_all=True, append_images=[inverted(photo)]),
        0,
    ),
    "JPEG": (lambda photo: saved(photo, "JPEG", quality=95), JPEG_LOSS),
    "progressive JPEG": (
        lambda photo: saved(photo, "JPEG", quality=95, progressive=True),
        JPEG_LOSS,
    ),
    "JPEG with restart markers": (
        lambda photo: saved(photo, "JPEG", quality=95, restart_marker_blocks=3),
        JPEG_LOSS,
    ),
    "JPEG with a thumbnail and bytes at its end": (
        lambda photo: (
            saved(photo, "JPEG", quality=95, exif=thumbnail_exif(photo)) + b"\0" * 12 + b"sold to"
        ),
        JPEG_LOSS,
    ),
    "CMYK JPEG": (lambda photo: saved(photo.convert("CMYK"), "JPEG", quality=95), JPEG_LOSS),
    "WebP": (lambda photo: saved(photo, "WEBP", quality=95), JPEG_LOSS),
    "lossless WebP": (lambda photo: saved(photo, "WEBP", lossless=True), 0),
    "WebP, opaque": (
        lambda photo: saved(photo.convert("RGBA"), "WEBP", lossless=True, exact=True),
        0,
    ),
    "BMP": (lambda photo: saved(photo, "BMP"), 0),
    "TIFF": (lambda photo: saved(photo, "TIFF"), 0),
    "TIFF, LZW": (lambda photo: saved(photo, "TIFF", compression="tiff_lzw"), 0),
    "TIFF, deflate": (lambda photo: saved(photo, "TIFF", compression="tiff_adobe_deflate"), 0),
    "TIFF, 16 bits": (lambda photo: deep(photo, ".tiff"), 0),
    "TIFF of two pages": (
        lambda photo: saved(photo, "TIFF", save_all=True, append_images=[inverted(photo)]),
        0,
    ),
    "BigTIFF": (lambda photo: saved(photo, "TIFF", big_tiff=True), 0),
    "PPM": (lambda photo: saved(photo, "PPM"), 0),
    "PPM, 16 bits": (lambda photo: deep(photo, ".ppm"), 0),
}


def thumbnail_exif(photo: Image.Image) -> bytes:
    """An EXIF block with a small JPEG, whose end-of-image marker lies before the picture."""
    exif = Image.Exif()
    exif[0x010E] = saved(photo.resize((16, 20)), "JPEG").decode("latin-1")
    return exif.tobytes()


@pytest.mark.parametrize("form", SAME_PICTURE)
def test_each_form_of_a_picture_is_read_as_the_picture(form: str, photo: Image.Image) -> None:
    make, tolerance = SAME_PICTURE[form]
    image = read(make(photo))
    assert image.dtype == np.uint8
    assert image.shape == (150, 120, 3)
    assert image.flags.c_contiguous
    assert distance(image, photo) <= tolerance


GRAY: dict[str, Callable[[Image.Image], bytes]] = {
    "PNG": lambda gray: saved(gray, "PNG"),
    "PNG, alpha": lambda gray: saved(gray.convert("LA"), "PNG"),
    "PNG, 16 bits": lambda gray: saved(sixteen_bit(gray), "PNG"),
    "JPEG": lambda gray: saved(gray, "JPEG", quality=98),
    "BMP": lambda gray: saved(gray, "BMP"),
    "TIFF": lambda gray: saved(gray, "TIFF"),
    "TIFF, 16 bits": lambda gray: saved(sixteen_bit(gray), "TIFF"),
    "PGM": lambda gray: saved(gray, "PPM"),
    "PGM as text": lambda gray: pgm_as_text(np.asarray(gray), 255),
    "PGM, 16 bits": lambda gray: pgm_16(np.asarray(gray), 65535),
    "PGM, 10 bits": lambda gray: pgm_16(np.asarray(gray), 1023),
}
GRAY_LOSS = 1.5  # JPEG at quality 98, and 10 bits brought to 8


def sixteen_bit(gray: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)


def pgm_16(pixels: ImageArray, white: int) -> bytes:
    values = np.round(pixels.astype(float) * (white / 255)).astype(">u2")
    return b"P5\n# made here\n%d %d\n%d\n" % (*pixels.shape[::-1], white) + values.tobytes()


def pgm_as_text(pixels: ImageArray, white: int) -> bytes:
    rows = "\n".join(" ".join(map(str, row)) for row in pixels.tolist())
    return f"P2 {pixels.shape[1]} {pixels.shape[0]} {white}\n{rows}\n".encode()


@pytest.mark.parametrize("form", GRAY)
def test_a_gray_picture_becomes_three_equal_channels_in_full_range(
    form: str, photo: Image.Image
) -> None:
    gray = photo.convert("L")
    image = read(GRAY[form](gray))
    assert image.shape == (150, 120, 3)
    assert np.ptp(image.astype(int), axis=2).max() == 0
    assert distance(image[:, :, 0], gray) <= GRAY_LOSS


def test_black_and_white_spans_the_full_range(photo: Image.Image) -> None:
    bits = photo.convert("1")
    for kind, options in (("PNG", {}), ("TIFF", {"compression": "group4"}), ("PPM", {})):
        image = read(saved(bits, kind, **options))
        assert distance(image[:, :, 0], bits.convert("L")) == 0, kind


@NEEDS_GIF
def test_the_first_frame_of_an_animated_gif_is_taken(photo: Image.Image) -> None:
    data = saved(photo, "GIF", save_all=True, append_images=[inverted(photo)])
    assert distance(read(data), photo) <= PALETTE_LOSS


def test_an_animated_webp_is_read_as_its_first_frame_or_says_why_not(photo: Image.Image) -> None:
    data = saved(photo, "WEBP", save_all=True, append_images=[inverted(photo)], lossless=True)
    try:
        image = read(data)
    except ImageError as error:
        assert "WebP" in str(error)  # noqa: PT017 - either is right, by the version of OpenCV
    else:
        assert distance(image, photo) <= 1


def test_what_lies_under_transparent_pixels_counts(photo: Image.Image) -> None:
    transparent = photo.convert("RGBA")
    transparent.putalpha(0)
    assert distance(read(saved(transparent, "PNG")), photo) == 0


def test_32_bit_and_float_samples_are_refused_with_what_to_do(photo: Image.Image) -> None:
    for mode in ("I", "F"):
        with pytest.raises(ImageError, match=r"32-bit .* save it with 8 or 16 bits"):
            read(saved(photo.convert("L").convert(mode), "TIFF"))


# Orientation.

# What a camera stores that was held so that EXIF orientation N applies.
STORED: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(orientation: int, kind: str, photo: Image.Image) -> None:
    stored = STORED[orientation](photo)
    exif = oriented(orientation)
    options = {"quality": 98} if kind in ("JPEG", "WEBP") else {}
    data = saved(stored, kind, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as output:
        upright = ImageOps.exif_transpose(output).convert("RGB")
    image = read(data)
    assert image.shape == (150, 120, 3)
    assert image.flags.c_contiguous
    assert distance(image, photo) <= JPEG_LOSS
    assert distance(image, upright) <= 2  # two decoders


def test_orientation_turns_the_boxes_with_the_picture(
    photo: Image.Image, default_detector: FaceDetector
) -> None:
    boxes = []
    for orientation, store in STORED.items():
        data = saved(store(photo), "PNG", exif=oriented(orientation))
        (face,) = default_detector.detect(read(data))
        boxes.append(face.box)
    assert boxes == [boxes[0]] * 8


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0MM\0*",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff" * 4,
        b"Exif\0\0" + b"?" * 300,
        b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\x01\x03\0\1\0\0\0\x63\0\0\0",  # orientation 99
        b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\x01\x03\0\1\0\0\0\0\0\0\0",  # orientation 0
    ],
)
def test_broken_exif_leaves_the_picture_as_it_is_stored(exif: bytes, photo: Image.Image) -> None:
    plain = saved(photo, "JPEG", quality=95)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    assert np.array_equal(read(plain[:2] + segment + plain[2:]), read(plain))


# Files that are cut short or damaged.

CUT = {
    "JPEG": lambda photo: saved(photo, "JPEG"),
    "progressive JPEG": lambda photo: saved(photo, "JPEG", progressive=True),
    "PNG": lambda photo: saved(photo, "PNG"),
    "WebP": lambda photo: saved(photo, "WEBP"),
    "lossless WebP": lambda photo: saved(photo, "WEBP", lossless=True),
    "BMP": lambda photo: saved(photo, "BMP"),
    "TIFF": lambda photo: saved(photo, "TIFF"),
    "TIFF, LZW": lambda photo: saved(photo, "TIFF", compression="tiff_lzw"),
    "PPM": lambda photo: saved(photo, "PPM"),
    "PGM as text": lambda photo: pgm_as_text(np.asarray(photo.convert("L")), 255),
    "GIF": lambda photo: saved(photo, "GIF"),
}
CUT_AT = (0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97)


@pytest.mark.parametrize("place", [2**63 - 1, 2**63, 2**64 - 1])
def test_a_place_beyond_all_memory_in_a_header_is_an_error(place: int) -> None:
    start = b"II+\0" + struct.pack("<HH", 8, 0)
    width = struct.pack("<QHHQQ", 1, 256, 3, 5, place)  # one tag, whose values lie there
    for data in (start + struct.pack("<Q", place), start + struct.pack("<Q", 16) + width):
        with pytest.raises(ImageError, match=r"x\.tif: the file is cut short"):
            decode_image(data, name="x.tif")


@pytest.mark.parametrize("form", CUT)
def test_a_file_that_is_cut_short_is_an_error_and_never_half_a_picture(
    form: str, photo: Image.Image, tmp_path: Path
) -> None:
    data = CUT[form](photo)
    path = tmp_path / "cut.file"
    for part in CUT_AT:
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(ImageError) as caught:
            read_image(path)
        reason = str(caught.value).removeprefix(f"{path}: ")
        assert str(caught.value).startswith(f"{path}: "), part
        assert len(reason) > 10, part


@pytest.mark.parametrize("form", CUT)
def test_a_damaged_file_is_a_whole_picture_or_an_error_and_never_a_crash(
    form: str, photo: Image.Image
) -> None:
    data = CUT[form](photo)
    random = np.random.default_rng(7)
    errors = 0
    for _ in range(40):
        damaged = bytearray(data)
        at = int(random.integers(0, len(data)))
        count = int(random.integers(1, 40))
        damaged[at : at + count] = random.bytes(len(damaged[at : at + count]))
        try:
            image = decode_image(bytes(damaged), name="photo", max_pixels=1_000_000)
        except ImageError as error:
            assert str(error).startswith("photo: ")  # noqa: PT017 - either is right
            errors += 1
        else:
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
    if form == "PNG":  # each chunk has a checksum
        assert errors == 40


def test_damage_inside_a_jpeg_is_heard_also_while_other_threads_read_sound_ones(
    photo: Image.Image,
) -> None:
    sound = saved(photo, "JPEG", quality=90, restart_marker_blocks=2)
    damaged = bytearray(sound)
    middle = len(sound) // 2
    damaged[middle : middle + 60] = b"\x55" * 60
    files = [sound, bytes(damaged)] * 60

    def outcome(data: bytes) -> bool:
        try:
            read(data)
        except ImageError as error:
            assert "damaged, only a part can be decoded" in str(error)  # noqa: PT017
            return False
        return True

    assert [outcome(sound), outcome(bytes(damaged))] == [True, False]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, files)) == [True, False] * 60


# Sizes that a header only claims.


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 10_000)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int) -> bytes:
    data = saved(Image.new("RGB", (16, 16)), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def bmp_claiming(width: int, height: int) -> bytes:
    data = saved(Image.new("RGB", (16, 16)), "BMP")
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def gif_claiming(width: int, height: int) -> bytes:
    data = saved(Image.new("RGB", (16, 16)), "GIF")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def tiff_claiming(width: int, height: int) -> bytes:
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (262, 3, 1), (273, 4, 8)]
    entries += [(277, 3, 1), (278, 4, height), (279, 4, 8)]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + directory + b"\0" * 4


def webp_claiming(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + sides
    chunks += saved(Image.new("RGB", (16, 16)), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


BOMBS: dict[str, bytes] = {
    "PNG": png_claiming(2_000_000_000, 2_000_000_000),
    "PNG of one line": png_claiming(2_000_000_000, 1),
    "JPEG": jpeg_claiming(65_500, 65_500),
    "BMP": bmp_claiming(2_000_000_000, 2_000_000_000),
    "BMP, top down": bmp_claiming(100_000, -100_000),
    "GIF": gif_claiming(65_535, 65_535),
    "TIFF": tiff_claiming(4_000_000_000, 4_000_000_000),
    "WebP": webp_claiming(16_777_216, 16_777_216),
    "PPM": b"P6 999999999 999999999 255\n" + b"\0" * 99,
    "PPM as text": b"P3 999999999 999999999 255\n0 0 0\n",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_header_that_claims_a_huge_picture_is_refused_at_once(kind: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ImageError, match=r"^photo: \d+x\d+ is more than max_pixels=200000000$"):
        read(BOMBS[kind])
    assert time.perf_counter() - started < SECONDS_FOR_A_HEADER


@pytest.mark.parametrize(
    "claiming",
    [png_claiming, jpeg_claiming, bmp_claiming, tiff_claiming, webp_claiming],
)
def test_a_claim_within_the_limit_that_the_file_does_not_keep_is_an_error(
    claiming: Callable[[int, int], bytes],
) -> None:
    with pytest.raises(ImageError, match=r"^photo: "):
        read(claiming(3000, 2000))


@pytest.mark.parametrize("claiming", [png_claiming, jpeg_claiming, bmp_claiming, gif_claiming])
def test_a_picture_without_pixels_is_corrupt(claiming: Callable[[int, int], bytes]) -> None:
    with pytest.raises(ImageError, match=r"corrupt: its size is 0x7"):
        read(claiming(0, 7))


def test_the_limit_can_be_changed(photo: Image.Image) -> None:
    data = saved(photo, "PNG")
    assert decode_image(data, name="photo", max_pixels=120 * 150).shape == (150, 120, 3)
    with pytest.raises(ImageError, match=r"^photo: 120x150 is more than max_pixels=17999$"):
        decode_image(data, name="photo", max_pixels=120 * 150 - 1)
    for wrong in (0, -1, 1.5, None):
        with pytest.raises(OptionsError, match="max_pixels must be a whole number at least 1"):
            decode_image(data, name="photo", max_pixels=wrong)  # type: ignore[arg-type]


# Scans of a JPEG.

SCAN_MARKER = b"\xff\xda"


def with_scans(jpeg: bytes, count: int) -> bytes:
    """Repeat the head of the last scan, so that the scans are empty but for the last."""
    last = jpeg.rindex(SCAN_MARKER)
    (length,) = struct.unpack_from(">H", jpeg, last + 2)
    repeated = count - jpeg.count(SCAN_MARKER)
    return jpeg[:last] + repeated * jpeg[last : last + 2 + length] + jpeg[last:]


def comment(content: bytes) -> bytes:
    return b"\xff\xfe" + struct.pack(">H", len(content) + 2) + content


def test_scans_are_counted_as_libjpeg_decodes_them(photo: Image.Image) -> None:
    sequential = saved(photo, "JPEG", quality=95)
    progressive = saved(photo, "JPEG", quality=95, progressive=True)
    assert read_header(sequential).scans == 1
    assert read_header(saved(photo, "PNG")).scans == 1
    count = progressive.count(SCAN_MARKER)
    assert count > 1
    assert read_header(progressive).scans == count
    assert read_header(with_scans(progressive, 300)).scans == 300
    assert read_header(with_scans(progressive, 5000)).scans == 1000


def test_only_scans_between_the_first_and_the_end_of_the_picture_count(photo: Image.Image) -> None:
    progressive = saved(photo, "JPEG", quality=95, progressive=True)
    count = progressive.count(SCAN_MARKER)
    last = progressive.rindex(SCAN_MARKER)
    markers = SCAN_MARKER * 600
    for data in (
        progressive[:2] + comment(markers) + progressive[2:],
        progressive[:last] + comment(markers) + progressive[last:],
        progressive + markers,  # as in the film that a phone appends to its photo
    ):
        assert read_header(data).scans == count
        assert np.array_equal(read(data), read(progressive))
    # An end marker within a segment ends nothing.
    hidden = progressive[:last] + comment(b"\xff\xd9") + with_scans(progressive, 600)[last:]
    assert read_header(hidden).scans == 600


@pytest.mark.parametrize("size", [2, 3, 64, 1000])
def test_a_marker_on_the_border_of_two_pieces_counts_once(
    size: int, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    progressive = saved(photo, "JPEG", quality=95, progressive=True)
    monkeypatch.setattr("edge_mtcnn.images.headers._PIECE", size)
    assert read_header(progressive).scans == progressive.count(SCAN_MARKER)


def test_a_jpeg_of_endless_scans_is_refused_with_what_to_do(
    photo: Image.Image, tmp_path: Path
) -> None:
    progressive = saved(photo, "JPEG", quality=95, progressive=True)
    path = tmp_path / "photo.jpg"
    path.write_bytes(with_scans(progressive, MAX_SCANS + 1))
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(caught.value) == (f"{path}: more than 500 scans; save it as a baseline JPEG")


def test_compressed_text_that_grows_without_end_is_not_unpacked(photo: Image.Image) -> None:
    data = saved(photo, "PNG")
    text = b"Raw profile type exif\0\0" + zlib.compress(b"0" * 50_000_000, 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + text))
    started = time.perf_counter()
    assert np.array_equal(read(data[:33] + chunk + data[33:]), np.asarray(photo))
    assert time.perf_counter() - started < SECONDS_FOR_A_HEADER


# Paths.


def test_what_is_no_image_names_the_file_and_what_is_read(tmp_path: Path) -> None:
    for content, reason in (
        (b"", "the file is empty"),
        (b"\xffGIF", "not a JPEG, PNG, WebP, BMP, GIF, TIFF, PNM, HEIC or AVIF image"),
        (b"GIF", "text, not an image: 'GIF'"),
        (b"\0" * 5000, "it holds zeros only, so it was not copied or downloaded to its end"),
    ):
        path = tmp_path / "photo.jpg"
        path.write_bytes(content)
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: {reason}")


def test_a_path_that_cannot_be_read_names_itself_once_and_the_reason(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "gone.jpg", "no such file"),
        (tmp_path / "gone" / "photo.jpg", "no such file"),
        (tmp_path, "a folder; give the path of one image in it"),
    ):
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert str(caught.value) == f"{path}: {reason}"
    with pytest.raises(ImageError, match="null"):
        read_image("photo\0.jpg")


@POSIX
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert str(caught.value) == f"{path}: not a regular file"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.touch(mode=0)
    with pytest.raises(ImageError, match="cannot be read: Permission denied"):
        read_image(path)


def test_a_path_may_be_text_or_a_path_with_any_name(photo: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "Фото 1 (ß) %d.jpeg"
    path.write_bytes(saved(photo, "PNG"))  # the content counts, not the suffix
    for form in (path, str(path)):
        assert np.array_equal(read_image(form), np.asarray(photo))


def test_the_same_file_is_read_into_a_new_array_each_time(
    photo: Image.Image, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    photo.save(path)
    first = read_image(path)
    first[:] = 0
    assert np.array_equal(read_image(path), np.asarray(photo))


# Standard error.


def test_lines_of_others_pass_while_codecs_are_listened_to(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with codec_errors.listening(exclusive=False) as heard:
        os.write(2, b"libpng warning: iCCP: known incorrect sRGB profile\nof another\n")
        os.write(2, b"Premature end of JPEG file\n[ WARN:0@1.2] global grfmt_png.cpp\n> more\n")
    assert capfd.readouterr().err == "of another\n"
    assert heard.alone
    assert heard.complaints == [
        "libpng warning: iCCP: known incorrect sRGB profile",
        "Premature end of JPEG file",
    ]


def test_listening_to_codecs_ends_also_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), codec_errors.listening(exclusive=True):
        raise KeyError
    os.write(2, b"libpng warning: mine\n")
    assert capfd.readouterr().err == "libpng warning: mine\n"


def test_a_lone_listener_waits_for_the_others() -> None:
    inside, leave = threading.Event(), threading.Event()

    def listen() -> None:
        with codec_errors.listening(exclusive=False):
            inside.set()
            assert leave.wait(60)

    other = threading.Thread(target=listen)
    other.start()
    assert inside.wait(60)
    threading.Timer(0.05, leave.set).start()
    with codec_errors.listening(exclusive=True) as heard:
        assert leave.is_set()
    other.join(60)
    assert heard.alone
