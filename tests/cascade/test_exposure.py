"""The gain of dark images: how it is chosen, and what the detector makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edge_mtcnn import DetectorOptions, FaceDetector
from edge_mtcnn.cascade.exposure import Brightened, automatic_gain
from edge_mtcnn.options import MAX_GAIN
from edge_mtcnn.types import Float32Array, ImageArray

# Pixels of a darkened image are rounded to whole levels, of which few are left.
SAME_FACE_PIXELS = 6


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    image: ImageArray = cv2.cvtColor(cv2.imread(str(sample_path("astronaut"))), cv2.COLOR_BGR2RGB)
    return image


def darkened(image: ImageArray, light: float, noise: float = 0.0) -> ImageArray:
    changed = image * light + np.random.default_rng(0).normal(0, noise, image.shape)
    dark: ImageArray = changed.clip(0, 255).round().astype(np.uint8)
    return dark


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3000, 3), (480, 640, 3), (480, 640), (33, 47, 3)])
@pytest.mark.parametrize(("level", "least", "most"), [(0, 8, 8), (1, 8, 8), (255, 1, 1)])
def test_the_gain_is_within_its_limits_whatever_the_image_is(
    shape: tuple[int, ...], level: int, least: float, most: float
) -> None:
    assert least <= automatic_gain(np.full(shape, level, dtype=np.uint8)) <= most


def test_the_gain_undoes_a_loss_of_light(photo: ImageArray) -> None:
    assert automatic_gain(photo) == 1
    for light in (0.5, 0.22):
        assert automatic_gain(darkened(photo, light)) * light == pytest.approx(0.65, abs=0.05)
    assert automatic_gain(darkened(photo, 0.05)) == MAX_GAIN


def test_small_lights_and_channels_without_light_do_not_decide(photo: ImageArray) -> None:
    dark = darkened(photo, 0.15)
    lamp = dark.copy()
    lamp[10:30, 10:30] = 255  # 0.15 % of the picture
    assert automatic_gain(lamp) == pytest.approx(automatic_gain(dark), rel=0.1)
    red = dark.copy()
    red[..., 1:] = 0
    assert automatic_gain(red) == pytest.approx(automatic_gain(dark), rel=0.3)


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


def test_without_exposure_the_same_face_is_lost(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    dark, off = darkened(photo, 0.05), replace(DetectorOptions(), exposure="off")
    assert len(default_detector.detect(dark)) == 1
    assert len(default_detector.detect(dark, options=off)) == 0


def test_a_fixed_gain_is_that_gain(photo: ImageArray, default_detector: FaceDetector) -> None:
    dark = darkened(photo, 0.22)
    gains = {}
    for exposure in ("auto", "off", 2.5):
        options = replace(DetectorOptions(), exposure=exposure)
        timings = default_detector.detect(dark, options=options, timings=True).timings
        assert timings is not None
        gains[exposure] = timings.gain
    assert gains["off"] == 1
    assert gains[2.5] == 2.5
    assert gains["auto"] == automatic_gain(dark) > 2.5


def test_every_network_sees_brightened_pixels_and_none_above_white() -> None:
    seen: dict[str, float] = {}

    def network(name: str) -> Callable[[Float32Array], Float32Array]:
        def look(pixels: Float32Array) -> Float32Array:
            seen[name] = float(pixels.max())
            return pixels

        return look

    names = ("pnet", "rnet", "onet", "onet_features")
    bright = Brightened(SimpleNamespace(**{name: network(name) for name in names}), 2.5)
    for value, expected in ((40, 100), (200, 255)):
        pixels = np.full((1, 1, 12, 36), value, dtype=np.float32)
        for name in names:
            getattr(bright, name)(pixels)
        assert seen == dict.fromkeys(names, expected)
        assert (pixels == value).all()  # the caller's pixels stay


def test_a_dark_image_is_not_changed(photo: ImageArray, default_detector: FaceDetector) -> None:
    dark = darkened(photo, 0.1)
    before = dark.copy()
    default_detector.detect(dark)
    np.testing.assert_array_equal(dark, before)


def test_in_the_light_nothing_changes(photo: ImageArray, default_detector: FaceDetector) -> None:
    off = replace(DetectorOptions(), exposure="off")
    assert default_detector.detect(photo) == default_detector.detect(photo, options=off)
