"""Scales, levels and windows, against what the rules say when written out pixel by pixel."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_mtcnn.cascade import pyramid
from edge_mtcnn.cascade.pyramid import AreaSampler, OctaveSampler, Sampler, pyramid_scales
from edge_mtcnn.types import FloatArray, ImageArray

# OpenCV adds in float32 and in another order; values reach 255.
GREY_LEVELS = 1e-2
# uint8 results are rounded, and a sum that ends near .5 may go either way.
ROUNDING = 1
# cv2.remap interpolates in steps of 1/32 pixel: up to 1/64 pixel off in x and in y, on noise that
# may change by 255 from one pixel to the next, and then rounds.
REMAP_STEP = 255 / 64 * 2 + 1

SIZES = [(12, 12), (13, 57), (20, 21), (101, 64), (240, 321), (427, 640)]


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    image: ImageArray = cv2.cvtColor(cv2.imread(str(sample_path("rocket"))), cv2.COLOR_BGR2RGB)
    return image


def noise(height: int, width: int, seed: int = 0) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def samplers(image: ImageArray) -> Sequence[Sampler]:
    return AreaSampler(image), OctaveSampler(image, 12 / max(12, min(image.shape[:2])))


def reference_scales(height: int, width: int, min_face: int, factor: float) -> list[float]:
    """The loop of the reference, its own way of adding up."""
    m = 12 / min_face
    side = min(height, width) * m
    scales: list[float] = []
    while side >= 12:
        scales.append(m * np.power(factor, len(scales)))
        side = side * factor
    return scales


def area_weights(source: int, target: int) -> FloatArray:
    """(target, source) shares of the source pixels in each target pixel, averaging by area."""
    edges = np.arange(target + 1) * source / target
    starts = np.arange(source)
    low = np.maximum(edges[:-1, None], starts)
    high = np.minimum(edges[1:, None], starts + 1)
    weights: FloatArray = np.maximum(high - low, 0) * target / source
    return weights


def cut(image: ImageArray, box: Sequence[float]) -> npt.NDArray[np.float64]:
    """Pixels of an inclusive, 1-based box, black outside the image."""
    x1, y1, x2, y2 = (int(value) for value in box)
    pixels = np.zeros((y2 - y1 + 1, x2 - x1 + 1, 3))
    for y in range(max(y1, 1), min(y2, image.shape[0]) + 1):
        for x in range(max(x1, 1), min(x2, image.shape[1]) + 1):
            pixels[y - y1, x - x1] = image[y - 1, x - 1]
    return pixels


def area_resized(pixels: npt.NDArray[Any], height: int, width: int) -> FloatArray:
    rows, columns = area_weights(pixels.shape[0], height), area_weights(pixels.shape[1], width)
    resized: FloatArray = np.einsum("rh,hwc,kw->rkc", rows, pixels, columns, optimize=True)
    return resized


def bilinear_window(image: ImageArray, box: Sequence[float], size: int) -> FloatArray:
    """Bilinear samples of the window's pixel centres, black outside the image."""
    x1, y1, x2, y2 = box
    padded = np.pad(image.astype(float), ((200, 200), (200, 200), (0, 0)))
    steps = (np.arange(size) + 0.5) / size
    xs = x1 - 1 + (x2 - x1 + 1) * steps - 0.5 + 200
    ys = y1 - 1 + (y2 - y1 + 1) * steps - 0.5 + 200
    left, top = np.floor(xs).astype(int), np.floor(ys).astype(int)
    right, below = (xs - left)[None, :, None], (ys - top)[:, None, None]
    upper = padded[top][:, left] * (1 - right) + padded[top][:, left + 1] * right
    lower = padded[top + 1][:, left] * (1 - right) + padded[top + 1][:, left + 1] * right
    window: FloatArray = upper * (1 - below) + lower * below
    return window


@pytest.mark.parametrize("min_face", [10, 12, 20, 37, 80])
@pytest.mark.parametrize("factor", [0.5, 0.709, 0.79, 0.95])
def test_scales_are_those_of_the_reference(min_face: int, factor: float) -> None:
    sizes = [(480, 640), (561, 561), (1588, 2280), (100, 3000), (81, 80)]
    for height, width in sizes:
        scales = pyramid_scales(height, width, min_face, factor, None)
        assert scales
        assert scales == pytest.approx(reference_scales(height, width, min_face, factor), rel=1e-12)


def test_the_largest_level_maps_the_smallest_face_to_the_window_of_pnet() -> None:
    assert pyramid_scales(480, 640, 24, 0.709, None)[0] == 0.5


@pytest.mark.parametrize("size", [(19, 500), (500, 19), (1, 1), (1, 5000)])
def test_an_image_smaller_than_the_smallest_face_has_no_levels(size: tuple[int, int]) -> None:
    assert pyramid_scales(*size, 20, 0.709, None) == []


def test_an_image_as_large_as_the_smallest_face_has_one_level() -> None:
    assert pyramid_scales(20, 300, 20, 0.709, None) == [0.6]


def test_max_face_size_ends_the_pyramid_at_the_first_window_that_large() -> None:
    every = pyramid_scales(480, 640, 20, 0.709, None)
    scales = pyramid_scales(480, 640, 20, 0.709, 100)
    windows = [12 / scale for scale in scales]
    assert scales == every[: len(scales)]
    assert 0 < len(scales) < len(every)
    assert windows[-1] >= 100
    assert max(windows[:-1]) < 100


def test_max_face_size_above_the_image_changes_nothing() -> None:
    every = pyramid_scales(480, 640, 20, 0.709, None)
    assert pyramid_scales(480, 640, 20, 0.709, 5000) == every


def test_max_face_size_equal_to_the_smallest_leaves_one_level() -> None:
    assert len(pyramid_scales(480, 640, 20, 0.709, 20)) == 1


@pytest.mark.parametrize("size", SIZES)
def test_levels_have_sides_rounded_up(size: tuple[int, int]) -> None:
    scales = pyramid_scales(*size, 12, 0.709, None)
    assert scales
    area, octaves = samplers(noise(*size))
    for scale in scales:
        sides = math.ceil(size[0] * scale), math.ceil(size[1] * scale)
        assert min(sides) >= 12
        exact = area.level(scale)
        assert exact.dtype == np.uint8
        assert exact.shape == (*sides, 3)
        even = octaves.level(scale)
        assert even.dtype == np.uint8
        assert even.shape == (*(side + side % 2 for side in sides), 3)
        # What makes a side even repeats its end.
        np.testing.assert_array_equal(even[-1], even[sides[0] - 1])
        np.testing.assert_array_equal(even[:, -1], even[:, sides[1] - 1])


@pytest.mark.parametrize("min_face", [10, 11])
def test_levels_may_be_larger_than_the_image(min_face: int) -> None:
    scales = pyramid_scales(30, 41, min_face, 0.709, None)
    assert scales[0] > 1
    for sampler in samplers(noise(30, 41)):
        for side, level_side in zip((30, 41), sampler.level(scales[0]).shape, strict=False):
            assert level_side - math.ceil(side * scales[0]) in (0, 1)


@pytest.mark.parametrize("size", [(60, 61), (101, 64), (240, 321)])
def test_area_levels_average_the_full_image(size: tuple[int, int]) -> None:
    image = noise(*size)
    sampler = AreaSampler(image)
    for scale in (0.6, 0.31, 0.2):
        level = sampler.level(scale)
        plain = area_resized(image.astype(float), *level.shape[:2])
        np.testing.assert_allclose(level, plain, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("kind", [AreaSampler, OctaveSampler])
def test_a_sampler_of_a_bgr_image_samples_the_same_pixels_in_rgb(
    kind: Any, photo: ImageArray
) -> None:
    smallest = () if kind is AreaSampler else (0.05,)
    rgb = kind(photo, *smallest)
    bgr = kind(np.ascontiguousarray(photo[:, :, ::-1]), *smallest, bgr=True)
    boxes = np.array([[20.0, 30, 120, 130], [-40, -40, 9, 9], [5, 5, 420, 420]])
    for scale in (1.2, 0.6, 0.11):
        np.testing.assert_array_equal(bgr.level(scale), rgb.level(scale))
    for size in (24, 48):
        np.testing.assert_array_equal(bgr.windows(boxes, size), rgb.windows(boxes, size))
    assert bgr.windows(np.zeros((0, 4)), 24).shape == (0, 24, 24, 3)


def test_octave_levels_look_like_area_levels(photo: ImageArray) -> None:
    area, octaves = samplers(photo)
    for scale in (0.6, 0.5, 0.43, 0.25, 0.15, 0.05):
        exact = area.level(scale)
        rows, columns = exact.shape[:2]
        difference = cv2.absdiff(exact, octaves.level(scale)[:rows, :columns].copy())
        # A few grey levels on average: bilinear steps blur and alias a little, no more.
        assert difference.mean() < 4


def test_octave_levels_of_a_flat_image_are_flat_up_to_the_border() -> None:
    flat = np.full((237, 331, 3), (10, 128, 250), dtype=np.uint8)
    _, octaves = samplers(flat)
    for scale in (0.6, 0.3, 0.11, 0.06):
        assert (octaves.level(scale) == flat[0, 0]).all()


BOXES = {
    "inside": (21, 31, 70, 80),
    "a pixel less wide than high": (21, 31, 69, 80),
    "the size of the window": (40, 11, 63, 34),
    "enlarged": (51, 52, 60, 61),
    "a single pixel": (50, 60, 50, 60),
    "over the left and the top": (-14, -9, 35, 40),
    "over the right and the bottom": (90, 120, 139, 169),
    "larger than the image": (-40, -20, 159, 179),
    "touching the first pixel": (-48, -48, 1, 1),
    "touching the last pixel": (110, 140, 159, 189),
}
# Only these are averaged: OpenCV's area interpolation enlarges by linear steps.
REDUCED = [
    (name, size)
    for name, (x1, _, x2, _) in BOXES.items()
    for size in (24, 48)
    if x2 - x1 + 1 >= size
]


@pytest.mark.parametrize(("name", "size"), REDUCED)
def test_area_windows_agree_with_a_plain_average(name: str, size: int) -> None:
    image = noise(140, 110)
    box = BOXES[name]
    window = AreaSampler(image).windows(np.array([box], dtype=float), size)[0]
    plain = area_resized(cut(image, box), size, size)
    np.testing.assert_allclose(window, plain, rtol=0, atol=GREY_LEVELS)


@pytest.mark.parametrize("name", BOXES)
def test_large_windows_are_averaged_strip_by_strip_with_the_same_result(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = np.array([BOXES[name]], dtype=float)
    sampler = AreaSampler(noise(140, 110))
    at_once = sampler.windows(box, 24)
    monkeypatch.setattr(pyramid, "LARGE_WINDOW", 24)
    by_strips = sampler.windows(box, 24)
    np.testing.assert_allclose(by_strips, at_once, rtol=0, atol=GREY_LEVELS)


def test_a_window_far_larger_than_the_image_takes_little_memory() -> None:
    box = np.array([[-9_000.0, -9_000, 11_000, 11_000]])  # 4.8 GB of float pixels
    sampler = AreaSampler(noise(1500, 2000))
    tracemalloc.start()
    try:
        window = sampler.windows(box, 24)[0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60e6
    assert window[:10].max() == 0
    assert 0 < window[10:14, 10:14].max() < 256


@pytest.mark.parametrize("size", [24, 48])
def test_area_windows_enlarge_without_leaving_the_range_of_their_pixels(size: int) -> None:
    image = noise(140, 110)
    box = BOXES["enlarged"]
    window = AreaSampler(image).windows(np.array([box], dtype=float), size)[0]
    pixels = cut(image, box)
    assert window.min() >= pixels.min()
    assert window.max() <= pixels.max()
    assert np.abs(window.mean() - pixels.mean()) < 5


@pytest.mark.parametrize("size", [24, 48])
def test_area_windows_keep_fractions_of_grey_levels(size: int) -> None:
    # Rounding them to whole grey levels moves weak faces; the reference does not.
    window = AreaSampler(noise(140, 110)).windows(np.array([[21.0, 31, 90, 100]]), size)
    assert (np.abs(window - np.round(window)) > 0.1).mean() > 0.5


@pytest.mark.parametrize("size", [24, 48])
@pytest.mark.parametrize("name", ["inside", "the size of the window", "enlarged"])
def test_octave_windows_agree_with_plain_bilinear_samples(name: str, size: int) -> None:
    # Windows smaller than two network windows come from the full image.
    image = noise(140, 110)
    box = np.array([BOXES[name]], dtype=float)
    if box[0, 2] - box[0, 0] + 1 >= 2 * size:
        box[0, 2:] = box[0, :2] + 2 * size - 2
    window = OctaveSampler(image, 0.1).windows(box, size)[0]
    plain = bilinear_window(image, box[0].tolist(), size)
    np.testing.assert_allclose(window, plain, rtol=0, atol=REMAP_STEP)


def test_octave_windows_look_like_area_windows(photo: ImageArray) -> None:
    area, octaves = samplers(photo)
    rng = np.random.default_rng(8)
    corners = rng.integers(-20, 400, (60, 2))
    boxes = np.hstack([corners, corners + rng.integers(11, 250, (60, 1))]).astype(float)
    difference = np.abs(area.windows(boxes, 24) - octaves.windows(boxes, 24))
    # Measured mean on real windows: about 2 grey levels.
    assert difference.mean() < 4


@pytest.mark.parametrize("kind", [0, 1], ids=["area", "octaves"])
def test_windows_over_the_border_are_black_outside(kind: int) -> None:
    white = np.full((96, 96, 3), 255, dtype=np.uint8)
    sampler = samplers(white)[kind]
    # Half of each window is outside: left, top, right, bottom.
    boxes = np.array([[-23, 25, 24, 72], [25, -23, 72, 24], [73, 25, 120, 72], [25, 73, 72, 120]])
    left, top, right, bottom = sampler.windows(boxes.astype(float), 24)
    for outside, inside in (
        (left[:, :11], left[:, 13:]),
        (top[:11], top[13:]),
        (right[:, 13:], right[:, :11]),
        (bottom[13:], bottom[:11]),
    ):
        assert (outside == 0).all()
        assert (inside == 255).all()


@pytest.mark.parametrize("kind", [0, 1], ids=["area", "octaves"])
def test_windows_beside_the_image_are_black(kind: int) -> None:
    sampler = samplers(np.full((96, 80, 3), 255, dtype=np.uint8))[kind]
    corners = np.array([[-200, 10], [200, 10], [10, -200], [10, 200], [-200, -200], [83, 99]])
    boxes = np.hstack([corners, corners + 39]).astype(float)
    assert (sampler.windows(boxes, 24) == 0).all()


@pytest.mark.parametrize("kind", [0, 1], ids=["area", "octaves"])
def test_windows_come_in_the_order_of_the_boxes(kind: int) -> None:
    image = noise(200, 260)
    sampler = samplers(image)[kind]
    rng = np.random.default_rng(9)
    corners = rng.integers(-30, 200, (40, 2))
    boxes = np.hstack([corners, corners + rng.integers(5, 180, (40, 1))]).astype(float)
    together = sampler.windows(boxes, 24)
    assert together.shape == (40, 24, 24, 3)
    assert together.dtype == np.float32
    for window, box in zip(together, boxes, strict=True):
        assert (window == sampler.windows(box[None], 24)[0]).all()


@pytest.mark.parametrize("kind", [0, 1], ids=["area", "octaves"])
def test_no_boxes_give_no_windows(kind: int) -> None:
    sampler = samplers(noise(40, 50))[kind]
    assert sampler.windows(np.zeros((0, 4)), 48).shape == (0, 48, 48, 3)
    assert sampler.groups(np.zeros((0, 4)), 48).shape == (0,)


@pytest.mark.parametrize("kind", [0, 1], ids=["area", "octaves"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (13, 12)])
def test_windows_of_tiny_images_exist(kind: int, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 200, dtype=np.uint8)
    windows = samplers(image)[kind].windows(np.array([[1.0, 1, 30, 30]]), 24)
    assert windows.shape == (1, 24, 24, 3)
    assert windows.max() <= 200


def test_octave_windows_of_a_very_long_image_are_those_of_its_part() -> None:
    # cv2.remap takes no side above 32,766 pixels; panoramas and scans have them.
    part = noise(60, 300)
    long = np.zeros((60, 40_000, 3), dtype=np.uint8)
    long[:, 39_000:39_300] = part
    boxes = np.array([[20.0, 5, 60, 45], [100, -10, 180, 70], [130, 30, 141, 41]])
    shifted = boxes + np.array([39_000, 0, 39_000, 0])
    windows = OctaveSampler(long, 0.2).windows(shifted, 24)
    expected = OctaveSampler(part, 0.2).windows(boxes, 24)
    # At 39,000 a float32 coordinate has steps of 1/256 pixel, four of them may add up.
    np.testing.assert_allclose(windows, expected, rtol=0, atol=REMAP_STEP)
    assert (expected > 0).any()


@pytest.mark.parametrize("kind", [0, 1], ids=["area", "octaves"])
def test_the_image_is_never_written_into(kind: int) -> None:
    image = noise(63, 77)
    before = image.copy()
    image.flags.writeable = False
    sampler = samplers(image)[kind]
    sampler.level(0.6)[:] = 0
    sampler.windows(np.array([[1.0, 1, 24, 24]]), 24)[:] = 0
    assert (image == before).all()


def outside_and_inside(boxes: npt.NDArray[np.float64], size: int, height: int, width: int) -> Any:
    """Pixels of the windows that lie well outside of an image, and well inside."""
    centres = (np.arange(size) + 0.5) / size
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    x = (boxes[:, :1] - 1 + sides[:, :1] * centres)[:, None, :]
    y = (boxes[:, 1:2] - 1 + sides[:, 1:] * centres)[:, :, None]
    step = 2 * sides.max(axis=1)[:, None, None] / size
    outside = (x < -step) | (y < -step) | (x > width + step) | (y > height + step)
    inside = (x > step) & (y > step) & (x < width - step) & (y < height - step)
    return outside, inside


@pytest.mark.parametrize("made", [False, True], ids=["parts", "whole octaves"])
def test_windows_of_all_octaves_are_black_outside_the_image(made: bool) -> None:
    height, width = 301, 402
    sampler = OctaveSampler(np.full((height, width, 3), 200, dtype=np.uint8), 0.04)
    if made:
        sampler.level(0.04)
    boxes = np.array(
        [
            (-19.0, -30, 10, -1),
            (-90, -80, 109, 119),
            (380, 280, 451, 351),
            (300, -100, 599, 199),
            (-300, -300, 699, 699),
            (150, 150, 179, 179),
        ]
    )
    windows = sampler.windows(boxes, 24)
    outside, inside = outside_and_inside(boxes, 24, height, width)
    assert outside.sum() > 500
    assert inside.sum() > 500
    assert (windows[outside] == 0).all()
    assert (windows[inside] == 200).all()


@pytest.mark.parametrize(
    "box",
    [(100, 90, 250, 240), (-30, 200, 90, 320), (900, 600, 1100, 800), (501, 333, 599, 430)],
)
@pytest.mark.parametrize("finest", [0, 1, 2])
def test_windows_of_a_part_are_those_of_the_whole_image(
    finest: int, box: tuple[int, int, int, int], photo: ImageArray
) -> None:
    large = cv2.resize(photo, (1001, 703))
    moved = np.add(box, (7, 3, 12, 8))
    boxes = np.array([box, moved], dtype=float)
    part, whole = (OctaveSampler(large, 0.05, finest=finest) for _ in range(2))
    whole.level(0.05)
    for size in (24, 48):
        np.testing.assert_array_equal(part.windows(boxes, size), whole.windows(boxes, size))
    # The whole image was not halved for them.
    assert len(part._octaves) == 1
