"""Dark images, dark places in bright ones, and what no gain can help."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_mtcnn import DetectorOptions, FaceDetector
from edge_mtcnn.cascade.exposure import AutoExposed, Brightened, Brightness
from edge_mtcnn.cascade.pyramid import AreaSampler, OctaveSampler
from edge_mtcnn.options import MAX_GAIN
from edge_mtcnn.types import ImageArray

# O-Net's box of the same face depends on the light by about a tenth of the face.
SAME_FACE_PIXELS = 12
OFF = replace(DetectorOptions(), exposure="off")


def read(path: Path) -> ImageArray:
    image: ImageArray = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return image


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    return read(sample_path("astronaut"))


def darkened(image: ImageArray, light: float, noise: float = 0.0) -> ImageArray:
    changed = image * light + np.random.default_rng(0).normal(0, noise, image.shape)
    dark: ImageArray = changed.clip(0, 255).round().astype(np.uint8)
    return dark


def before_a_window(image: ImageArray) -> ImageArray:
    """In the dark recess of a white picture."""
    white = (255, 255, 255)
    framed: ImageArray = cv2.copyMakeBorder(
        darkened(image, 0.06), *(100,) * 4, cv2.BORDER_CONSTANT, value=white
    )
    return framed


def stripes(width: int) -> ImageArray:
    rows = np.arange(480) // width % 2 * 255
    return np.repeat(rows.astype(np.uint8), 640 * 3).reshape(480, 640, 3)


def black() -> ImageArray:
    return np.zeros((480, 640, 3), dtype=np.uint8)


def one_bright_pixel() -> ImageArray:
    image = black()
    image[240, 320] = 255
    return image


def noise(deviation: float) -> ImageArray:
    values = np.random.default_rng(1).normal(0, deviation, (480, 640, 3))
    return values.clip(0, 255).round().astype(np.uint8)


BAD = {
    "black": black(),
    "white": black() + 255,
    "one bright pixel": one_bright_pixel(),
    "one level above black": black() + 1,
    "noise in the dark": noise(4),
    "noise": noise(60),
    **{f"stripes of {width}": stripes(width) for width in (1, 3, 8, 40)},
    **{f"stripes of {width}, turned": stripes(width).swapaxes(0, 1) for width in (1, 3, 8, 40)},
    "dark stripes": stripes(8) // 20,
}


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3000, 3), (3000, 1, 3), (480, 640, 3)])
@pytest.mark.parametrize(("level", "gain"), [(0, MAX_GAIN), (1, MAX_GAIN), (30, 4.0), (255, 1.0)])
def test_the_gain_of_any_shape_is_within_its_limits(
    shape: tuple[int, ...], level: int, gain: float
) -> None:
    assert Brightness(np.full(shape, level, dtype=np.uint8)).gain == pytest.approx(gain)


def test_less_light_needs_more_gain(photo: ImageArray) -> None:
    gains = [Brightness(darkened(photo, light)).gain for light in (1.0, 0.5, 0.22, 0.1, 0.03)]
    assert gains == sorted(gains)
    assert gains[0] < 1.6 < 6 < gains[-1] <= MAX_GAIN


def test_a_lamp_and_channels_without_light_do_not_decide(photo: ImageArray) -> None:
    dark = darkened(photo, 0.15)
    lamp = dark.copy()
    lamp[10:60, 10:60] = 255
    red = dark.copy()
    red[..., 1:] = 0
    for image in (lamp, red):
        assert Brightness(image).gain == pytest.approx(Brightness(dark).gain, rel=0.1)


@pytest.mark.parametrize("make", [OctaveSampler, AreaSampler])
def test_levels_and_windows_are_brightened_up_to_white(
    make: Callable[..., OctaveSampler | AreaSampler], photo: ImageArray
) -> None:
    dark = darkened(photo, 0.15)
    dark[100:140, 200:240] = 250
    plain = make(dark, 0.1) if make is OctaveSampler else make(dark)
    boxes = np.array([[150.0, 50, 269, 169], [400, 20, 499, 119]])
    for sampler in (Brightened(plain, 4.0), AutoExposed(plain)):
        level, before = sampler.level(0.5), plain.level(0.5)
        assert level.dtype == np.uint8
        assert level.shape == before.shape
        assert level.mean() > 2 * before.mean()
        assert level.max() == 255
        assert (level >= before).all()
        windows, before_windows = sampler.windows(boxes, 24), plain.windows(boxes, 24)
        assert windows.dtype == np.float32
        assert windows.max() <= 255
        assert (windows[1] > 2 * before_windows[1]).mean() > 0.9
    fixed = Brightened(plain, 4.0)
    np.testing.assert_array_equal(fixed.level(0.5), np.minimum(plain.level(0.5) * 4.0, 255))
    np.testing.assert_array_equal(fixed.groups(boxes, 24), plain.groups(boxes, 24))


@pytest.mark.parametrize("light", [0.22, 0.10, 0.05])
@pytest.mark.parametrize("preset", ["default", "kiosk"])
def test_a_face_in_the_dark_is_found_where_it_is_in_the_light(
    preset: str, light: float, photo: ImageArray, default_detector: FaceDetector
) -> None:
    options = replace(DetectorOptions.from_preset(preset), min_face_size=60)
    (face,) = default_detector.detect(photo, options=options)
    (dark,) = default_detector.detect(darkened(photo, light, noise=1), options=options)
    assert np.abs(np.subtract(dark.box, face.box)).max() < SAME_FACE_PIXELS
    assert dark.score > 0.9


def test_without_exposure_faces_in_the_dark_are_lost(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    for image in (darkened(photo, 0.05), before_a_window(photo)):
        assert len(default_detector.detect(image)) == 1
        assert len(default_detector.detect(image, options=OFF)) == 0


def test_a_turned_photo_is_as_dark_as_before(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    options = replace(DetectorOptions(), angles=(90,))
    lying = np.rot90(darkened(photo, 0.08))
    assert len(default_detector.detect(lying)) == 0
    (face,) = default_detector.detect(lying, options=options)
    assert face.angle == 90


def test_timings_tell_the_gain(photo: ImageArray, default_detector: FaceDetector) -> None:
    dark, gains = darkened(photo, 0.1), {}
    for exposure in ("auto", "off", 2.5):
        options = replace(DetectorOptions(), exposure=exposure)
        timings = default_detector.detect(dark, options=options, timings=True).timings
        assert timings is not None
        gains[exposure] = timings.gain
    assert gains == {"auto": Brightness(dark).gain, "off": 1, 2.5: 2.5}


def test_a_dark_image_is_not_changed(photo: ImageArray, default_detector: FaceDetector) -> None:
    dark = darkened(photo, 0.1)
    before = dark.copy()
    default_detector.detect(dark)
    np.testing.assert_array_equal(dark, before)


def test_in_the_light_nothing_changes(
    sample_path: Callable[[str], Path], default_detector: FaceDetector
) -> None:
    lit = np.maximum(read(sample_path("coffee")), 60)
    options = replace(DetectorOptions(), confidence=0.0)
    ours = default_detector.detect(lit, options=options)
    assert ours == default_detector.detect(lit, options=replace(options, exposure="off"))


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("exposure", ["auto", MAX_GAIN])
def test_what_shows_nothing_shows_no_face(
    name: str, exposure: float | str, default_detector: FaceDetector
) -> None:
    options = replace(DetectorOptions(), exposure=exposure)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        faces = default_detector.detect(BAD[name], options=options, timings=True)
    assert len(faces) == 0
    assert faces.timings is not None
    assert 1 <= faces.timings.gain <= MAX_GAIN


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "hubble_deep_field"])
@pytest.mark.parametrize("light", [0.1, 0.01])
def test_a_dark_picture_without_a_face_shows_none(
    name: str, light: float, sample_path: Callable[[str], Path], default_detector: FaceDetector
) -> None:
    dark = darkened(read(sample_path(name)), light, noise=4)
    assert len(default_detector.detect(dark)) == 0
