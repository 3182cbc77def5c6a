"""Real files that broke the readers of other projects: what each of them shows, or why not.

They lie in ``../shared/data/tricky`` and may not be copied; without them this file is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from edge_mtcnn import FaceDetector, ImageError, read_image

OPENCV = tuple(int(part) for part in cv2.__version__.split(".")[:2])

FACE, NONE = "one face", "no face"
CUT_SHORT = "the file is cut short"
CASES = {
    "exif_orientation/Landscape_0.jpg": NONE,
    "exif_orientation/Landscape_2.jpg": NONE,
    "exif_orientation/Landscape_3.jpg": NONE,
    "exif_orientation/Landscape_4.jpg": NONE,
    "exif_orientation/Landscape_5.jpg": NONE,
    "exif_orientation/Landscape_6.jpg": NONE,
    "exif_orientation/Landscape_8.jpg": NONE,
    "exif_orientation/Portrait_0.jpg": NONE,
    "exif_orientation/Portrait_1.jpg": NONE,
    "exif_orientation/Portrait_2.jpg": NONE,
    "exif_orientation/Portrait_3.jpg": NONE,
    "exif_orientation/Portrait_4.jpg": NONE,
    "exif_orientation/Portrait_5.jpg": NONE,
    "exif_orientation/Portrait_7.jpg": NONE,
    "exif_orientation/Portrait_8.jpg": NONE,
    "face_recognition/32bit.png": FACE,
    "libjpeg_turbo/monkey16.pgm": NONE,
    "libjpeg_turbo/monkey16.png": NONE,
    "libjpeg_turbo/testimgari.jpg": NONE,
    "libjpeg_turbo/testimgint.jpg": NONE,
    "libjpeg_turbo/testorig.jpg": NONE,
    "libjpeg_turbo/vgl_5674_0098.png": NONE,
    "libpng/badadler.png": "cannot decode this PNG|corrupt",
    "libpng/badcrc.png": "corrupt: wrong checksum in a IDAT chunk",
    "libpng/basn2c16.png": NONE,
    "libpng/basn3p01.png": NONE,
    "libpng/basn3p08.png": NONE,
    "libpng/basn4a08.png": NONE,
    "libpng/basn6a16.png": NONE,
    "libpng/ftbbn2c16.png": NONE,
    "libpng/ftp1n3p08.png": NONE,
    "libpng/huge_IDAT.png": CUT_SHORT,
    "libpng/ibasn2c16.png": NONE,
    "libpng/ibasn6a16.png": NONE,
    "libpng/test-palette-8.png": NONE,
    "pillow/1_trns.png": NONE,
    "pillow/apng_mode_16bit.png": NONE,
    "pillow/broken_exif_dpi.jpg": NONE,
    "pillow/decompression_bomb.gif": "cannot decode this GIF|more than max_pixels",
    "pillow/exif.png": NONE,
    "pillow/exif_imagemagick_orientation.png": NONE,
    "pillow/flower.jpg": NONE,
    "pillow/hopper.Lab.tif": FACE,
    "pillow/hopper.bmp": FACE,
    "pillow/hopper.iccprofile.tif": FACE,
    "pillow/hopper.jpg": FACE,
    "pillow/hopper.png": FACE,
    "pillow/hopper.tif": FACE,
    "pillow/hopper.webp": FACE,
    "pillow/hopper_16bit.pgm": FACE,
    "pillow/hopper_8bit.pgm": FACE,
    "pillow/hopper_bad_exif.jpg": "damaged, only a part can be decoded",
    "pillow/hopper_bw_500.png": FACE,
    "pillow/hopper_g4_500.tif": FACE,
    "pillow/hopper_idat_after_image_end.png": FACE,
    "pillow/hopper_orientation_2.jpg": FACE,
    "pillow/hopper_orientation_3.jpg": FACE,
    "pillow/hopper_orientation_4.jpg": FACE,
    "pillow/hopper_orientation_5.jpg": FACE,
    "pillow/hopper_orientation_6.jpg": FACE,
    "pillow/hopper_orientation_6.webp": FACE,
    "pillow/hopper_orientation_7.jpg": FACE,
    "pillow/hopper_orientation_8.jpg": FACE,
    "pillow/hopper_orientation_8.webp": FACE,
    "pillow/hopper_rle8.bmp": FACE,
    "pillow/hopper_unknown_pixel_mode.tif": "32-bit unsigned samples are not supported",
    "pillow/icc-after-SOF.jpg": NONE,
    "pillow/icc_profile_big.jpg": NONE,
    "pillow/input_bw_one_band.png": NONE,
    "pillow/invalid-exif.jpg": NONE,
    "pillow/iss634.gif": NONE,
    "pillow/jpeg_ff00_header.jpg": NONE,
    "pillow/negative_size.ppm": "text, not an image",
    "pillow/p_16.png": NONE,
    "pillow/p_trns_single.png": NONE,
    "pillow/padded_idat.png": NONE,
    "pillow/pil123p.png": NONE,
    "pillow/pil123rgba.png": NONE,
    "pillow/pil_sample_rgb.jpg": NONE,
    "pillow/png_decompression_dos.png": NONE,
    "pillow/rgb_trns.png": NONE,
    "pillow/test-card.png": NONE,
    "pillow/tiff_adobe_deflate.tif": NONE,
    "pillow/tiff_strip_cmyk_jpeg.tif": NONE,
    "pillow/transparent.webp": NONE,
    "pillow/truncated_app14.jpg": NONE,
    "pillow/truncated_end_chunk.png": CUT_SHORT,
    "pillow/truncated_image.png": CUT_SHORT,
    "pillow/truncated_jpeg.jpg": CUT_SHORT,
    "pillow/ultrahdr.jpg": CUT_SHORT,
    "pillow/uncompressed_la.png": NONE,
    "pillow/unknown_compression_method.png": NONE,
    "pillow/xmp_test.jpg": NONE,
    "pillow/zero_width.gif": "corrupt: its size is 0x32",
    "skimage/checker_bilevel.png": NONE,
    "skimage/chessboard_GRAY_U16.tif": NONE,
    "skimage/chessboard_GRAY_U16B.tif": NONE,
    "skimage/foo3x5x4indexed.png": NONE,
    "skimage/green_palette.png": NONE,
    "skimage/multipage_rgb.tif": "64-bit floating-point samples are not supported",
    "skimage/no_time_for_that_tiny.gif": NONE,
    "skimage/palette_color.png": NONE,
    "skimage/palette_gray.png": NONE,
    "skimage/truncated.jpg": CUT_SHORT,
}
"""What a file shows, or a pattern of the reason why it cannot be read."""

CERTAIN = 0.5  # score of a face that counts; the pattern of a monkey's fur has one of 0.0003
HOPPERS = [path for path, said in CASES.items() if "/hopper" in path and said == FACE]
# Of the side of the picture. The files have 128 and 500 pixels and different colours and losses.
SAME_PLACE = 0.06


@pytest.fixture(scope="module")
def tricky(shared: Path) -> Path:
    return shared / "data" / "tricky"


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No file may make a codec write to standard error."""
    yield
    assert capfd.readouterr().err == ""


def test_the_table_has_every_tricky_file(tricky: Path) -> None:
    found = {path.relative_to(tricky).as_posix() for path in tricky.rglob("*") if path.is_file()}
    assert found == set(CASES)
    assert len(CASES) > 90


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", CASES)
def test_a_tricky_file_has_faces_or_none_or_an_error_with_its_name_and_reason(
    path: str, tricky: Path, default_detector: FaceDetector
) -> None:
    expected = CASES[path]
    file = tricky / path
    if file.suffix == ".gif" and expected in (FACE, NONE) and OPENCV < (4, 11):
        expected = "cannot decode this GIF"
    if expected in (FACE, NONE):
        faces = default_detector.detect(read_image(file))
        assert (faces.scores >= CERTAIN).sum() == (1 if expected == FACE else 0)
    else:
        with pytest.raises(ImageError, match=f": (.*)({expected})") as caught:
            read_image(file)
        assert str(caught.value).startswith(f"{file}: ")


def test_hopper_has_one_face_at_the_same_place_in_every_file(
    tricky: Path, default_detector: FaceDetector
) -> None:
    places = {}
    for path in HOPPERS:
        faces = default_detector.detect(read_image(tricky / path))
        assert len(faces) == 1, path
        height, width = faces.image_size
        places[path] = faces.boxes[0] / [width, height, width, height]
    assert len(places) == 22
    for path, place in places.items():
        assert place == pytest.approx(places["pillow/hopper.png"], abs=SAME_PLACE), path
