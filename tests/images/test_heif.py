"""HEIC, HEIF and AVIF: upright, within the limits of pixels, and named where they are not read."""

from __future__ import annotations

import io
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from edge_mtcnn import FaceDetector, ImageError, read_image
from edge_mtcnn.images.av1 import largest_frame
from edge_mtcnn.images.headers import read_header
from edge_mtcnn.images.heif import heif_format

pillow_heif = pytest.importorskip("pillow_heif")
pytest.importorskip("PIL.AvifImagePlugin")

LOSS = 8.0  # mean difference of grey levels after a codec with loss
PLACE = 3.0  # pixels that a corner of a box moves by that
SECONDS = 2.0  # decoding what is hidden would take as long, and all memory
FORMATS = ("HEIC", "AVIF")


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> Image.Image:
    """The astronaut's head, 120x150: one face, and different in each of the eight orientations."""
    with Image.open(sample_path("astronaut")) as whole:
        return whole.crop((120, 30, 320, 280)).resize((120, 150)).convert("RGB")


def saved(
    image: Image.Image, form: str, orientation: int = 1, more: Sequence[Image.Image] = ()
) -> bytes:
    """The image as a phone stores it: turned by the container, and by EXIF in the same words."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    if form == "AVIF":
        options: dict[str, Any] = {"save_all": True, "append_images": more} if more else {}
        image.save(stream, "AVIF", exif=exif, quality=90, **options)
    else:
        file = pillow_heif.from_pillow(image)
        file[0].info["exif"] = exif.tobytes()
        for other in more:
            file.add_from_pillow(other)
        file.save(stream, quality=90)
    return stream.getvalue()


def distance(first: Any, second: Any) -> float:
    return float(np.abs(np.asarray(first, float) - np.asarray(second, float)).mean())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_upright_and_turned_once(
    form: str, orientation: int, photo: Image.Image
) -> None:
    data = saved(photo, form, orientation)
    assert (b"irot" in data or b"imir" in data) == (orientation > 1)
    stored = photo.copy()
    stored.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(stored)
    image = read_image(data)
    assert image.shape == np.asarray(upright).shape
    assert distance(image, upright) < LOSS
    assert image.flags.c_contiguous
    assert image.flags.writeable


@pytest.mark.parametrize("form", FORMATS)
def test_the_face_is_where_it_is_in_the_jpeg(
    form: str, sample_path: Callable[[str], Path], tmp_path: Path, default_detector: FaceDetector
) -> None:
    expected = default_detector.detect(sample_path("astronaut"))
    with Image.open(sample_path("astronaut")) as whole:
        path = tmp_path / f"photo.{form.lower()}"
        path.write_bytes(saved(whole.convert("RGB"), form))
    faces = default_detector.detect(path)
    assert len(faces) == len(expected) == 1
    assert np.abs(faces.boxes - expected.boxes).max() < PLACE
    assert np.abs(faces.landmarks - expected.landmarks).max() < PLACE


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_gray_becomes_rgb_and_alpha_is_dropped(form: str, mode: str, photo: Image.Image) -> None:
    image = read_image(saved(photo.convert(mode), form))
    assert image.shape == (150, 120, 3)
    assert distance(image, photo.convert(mode).convert("RGB")) < LOSS


def test_ten_bits_are_scaled_to_eight(photo: Image.Image) -> None:
    deep = np.asarray(photo).astype(np.uint16) * 257
    file = pillow_heif.from_bytes("RGB;16", photo.size, deep.tobytes())
    stream = io.BytesIO()
    file.save(stream, quality=90)
    opened = pillow_heif.open_heif(stream.getvalue(), convert_hdr_to_8bit=False)
    assert opened.info["bit_depth"] == 10
    image = read_image(stream.getvalue())
    assert image.dtype == np.uint8
    assert distance(image, photo) < LOSS


@pytest.mark.parametrize("form", FORMATS)
def test_the_first_of_several_images_is_read(form: str, photo: Image.Image) -> None:
    data = saved(photo, form, more=[photo.rotate(180), photo.rotate(180)])
    assert distance(read_image(data), photo) < LOSS


def test_the_primary_image_of_several_is_read(photo: Image.Image) -> None:
    file = pillow_heif.from_pillow(photo.rotate(180))
    file.add_from_pillow(photo)
    stream = io.BytesIO()
    file.save(stream, quality=90, primary_index=1)
    assert distance(read_image(stream.getvalue()), photo) < LOSS


@pytest.mark.parametrize("form", FORMATS)
def test_the_limit_of_pixels_holds_before_decoding(form: str, photo: Image.Image) -> None:
    data = saved(photo, form, orientation=6)
    assert read_image(data, max_pixels=120 * 150).shape == (120, 150, 3)
    with pytest.raises(ImageError, match="is more than max_pixels=17999"):
        read_image(data, max_pixels=120 * 150 - 1)
    header = read_header(data)
    assert header.format == form
    assert {header.width, header.height} == {120, 150}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("frames", [1, 2])
def test_pixels_that_the_header_hides_are_not_decoded(form: str, frames: int) -> None:
    picture = Image.new("RGB", (2304, 2304), (90, 60, 30))
    data = saved(picture, form, more=[picture] * (frames - 1))
    assert read_image(data).shape == (2304, 2304, 3)
    for claim in ((64, 64), (20_000, 20_000)):
        changed = data.replace(struct.pack(">II", 2304, 2304), struct.pack(">II", *claim))
        # The header of a track has its size in 65536ths.
        track = struct.pack(">II", 2304 << 16, 2304 << 16)
        changed = changed.replace(track, struct.pack(">II", *(side << 16 for side in claim)))
        assert changed != data
        started = time.perf_counter()
        with pytest.raises(ImageError, match=r"max_pixels|damaged|corrupt"):
            read_image(changed)
        assert time.perf_counter() - started < SECONDS


def test_the_frames_of_an_avif_are_measured_in_its_streams(photo: Image.Image) -> None:
    assert largest_frame(saved(photo, "AVIF")) == 120 * 150
    assert largest_frame(saved(photo.convert("RGBA"), "AVIF")) == 120 * 150
    moving = saved(photo, "AVIF", more=[photo.rotate(180)])
    assert b"moov" in moving
    assert largest_frame(moving) == 120 * 150
    assert largest_frame(b"") == 0


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_cut_anywhere_is_an_error(
    form: str, photo: Image.Image, capfd: pytest.CaptureFixture[str]
) -> None:
    data = saved(photo, form)
    for length in {12, 20, 100, 300, *range(400, len(data), 97), len(data) - 1}:
        with pytest.raises(ImageError, match=r"^the image: "):
            read_image(data[:length])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_bytes_never_raise_anything_else(form: str, photo: Image.Image) -> None:
    data = saved(photo, form)
    random = np.random.default_rng(5)
    errors = 0
    for _ in range(150):
        damaged = bytearray(data)
        for place in random.integers(0, min(len(data), 700), 4):
            damaged[place] = random.integers(0, 256)
        try:
            image = read_image(damaged, max_pixels=1_000_000)
        except ImageError:
            errors += 1
        else:
            assert image.ndim == 3
            assert image.dtype == np.uint8
    assert errors > 20


@pytest.mark.parametrize("form", FORMATS)
def test_without_the_extra_the_error_names_format_and_extra(
    form: str, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(saved(photo, form))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "PIL.AvifImagePlugin", None)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    expected = f"{path}: a {form} image, which needs the extra heif: pip install 'edge-mtcnn[heif]'"
    assert str(caught.value) == expected.replace("a AVIF", "an AVIF")


@pytest.mark.parametrize(
    ("start", "form"),
    [
        (b"\0\0\0\x14ftypheic\0\0\0\0mif1", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x14ftypavis\0\0\0\0msf1", "AVIF"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1", "HEIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp41avif", None),
        (b"\0\0\0\x14ftypcrx \0\0\0\1crx ", None),
        (b"\0\0\0\0ftyp", None),
        (b"ftyp", None),
        (b"\xff\xd8\xff\xe0", None),
    ],
)
def test_the_format_is_known_by_its_brands(start: bytes, form: str | None) -> None:
    assert heif_format(start + bytes(40)) == form
