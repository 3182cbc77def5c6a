"""Crops: landmarks brought onto ArcFace's template, and boxes with a margin."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_mtcnn import FaceDetector, ImageError, OptionsError, align_faces, crop_faces, read_image
from edge_mtcnn.images.crops import TEMPLATE, _similarity, aligned_faces, cropped_faces
from edge_mtcnn.types import Faces, FloatArray, ImageArray

# The five points of ArcFace in 112x112, as its paper's code has them; written again on purpose.
ARCFACE = [
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
]
HALF_PIXEL = 0.5  # a dot is drawn at whole pixels and found again by its centre of mass
REFOUND = 3.0  # pixels of 112: the detector's own scatter between two sizes of one face


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    return read_image(sample_path("astronaut"))


def turned(degrees: float, scale: float, x: float, y: float) -> FloatArray:
    """The (2, 3) matrix of a rotation, a scale and a shift."""
    angle = math.radians(degrees)
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


def moved(points: Any, matrix: FloatArray) -> FloatArray:
    result: FloatArray = np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]
    return result


def faces_with(landmarks: Any, size: tuple[int, int] = (400, 400)) -> Faces:
    points = np.asarray(landmarks, dtype=float).reshape(-1, 5, 2)
    boxes = np.hstack([points.min(axis=1), points.max(axis=1)])
    return Faces(boxes, np.ones(len(points)), points, image_size=size)


def faces_at(*boxes: tuple[float, float, float, float]) -> Faces:
    count = len(boxes)
    rows = np.array(boxes).reshape(count, 4)
    return Faces(rows, np.ones(count), np.zeros((count, 5, 2)), image_size=(100, 100))


def dotted(points: FloatArray, radius: int) -> ImageArray:
    """A black picture with a white dot at each point."""
    picture = np.zeros((400, 400, 3), dtype=np.uint8)
    for x, y in points:
        cv2.circle(picture, (round(x), round(y)), radius, (255, 255, 255), -1)
    return picture


def centres(picture: ImageArray) -> FloatArray:
    """Centre of mass of each dot, from top to bottom."""
    count, _, _, found = cv2.connectedComponentsWithStats((picture[:, :, 0] > 40).astype(np.uint8))
    assert count == 6
    dots: FloatArray = found[1:]
    return dots


def test_the_template_is_that_of_arcface() -> None:
    assert TEMPLATE.tolist() == [list(point) for point in ARCFACE]


# The similarity transform.

KNOWN = [
    turned(0, 1, 0, 0),
    turned(0, 1, 13, -40),
    turned(0, 2.5, 0, 0),
    turned(90, 1, 0, 0),
    turned(180, 0.3, 5, 5),
    turned(-33, 1.7, 100, 20),
]


@pytest.mark.parametrize("matrix", KNOWN)
def test_a_known_turn_scale_and_shift_is_found_again(matrix: FloatArray) -> None:
    found = _similarity(np.array(ARCFACE), moved(ARCFACE, matrix))
    assert found == pytest.approx(matrix, abs=1e-9)


def test_points_that_do_not_fit_are_brought_closest_in_the_least_squares_sense() -> None:
    random = np.random.default_rng(5)
    points = random.uniform(0, 100, (5, 2))
    onto = moved(points, turned(20, 0.8, 3, 4)) + random.normal(0, 5, (5, 2))
    # x' = a x - b y + s, y' = b x + a y + t: four unknowns, solved by NumPy.
    ones, zeros = np.ones(5), np.zeros(5)
    x, y = points.T
    system = np.vstack(
        [np.stack([x, -y, ones, zeros], axis=1), np.stack([y, x, zeros, ones], axis=1)]
    )
    a, b, s, t = np.linalg.lstsq(system, onto.T.ravel(), rcond=None)[0]
    assert _similarity(points, onto) == pytest.approx(np.array([[a, -b, s], [b, a, t]]), abs=1e-9)


def test_a_mirrored_face_is_never_mirrored_back() -> None:
    mirrored = np.array(ARCFACE) * [-1, 1]
    matrix = _similarity(mirrored, np.array(ARCFACE))
    assert np.linalg.det(matrix[:, :2]) > 0


def test_landmarks_that_all_coincide_give_a_crop_all_the_same() -> None:
    matrix = _similarity(np.full((5, 2), 50.0), np.array(ARCFACE))
    assert matrix[:, :2] == pytest.approx(np.eye(2))
    picture = np.full((100, 100, 3), 7, dtype=np.uint8)
    (crop,) = align_faces(picture, faces_with(np.full((1, 5, 2), 50.0)))
    assert crop.max() == 7


# Aligned crops.


@pytest.mark.parametrize("size", [56, 112, 224])
@pytest.mark.parametrize(
    "placing", [turned(0, 2, 90, 60), turned(25, 1.5, 180, 40), turned(-90, 2, 60, 330)]
)
def test_landmarks_lie_on_the_template_in_the_crop(placing: FloatArray, size: int) -> None:
    points = np.round(moved(ARCFACE, placing))  # dots have whole coordinates
    (crop,) = align_faces(dotted(points, 5), faces_with(points), size)
    wanted = (np.array(ARCFACE) + 0.5) * (size / 112) - 0.5
    found = centres(crop)
    for point in wanted:
        nearest = np.linalg.norm(found - point, axis=1).min()
        # The points were rounded before, which the crop scales too.
        assert nearest < 2 * HALF_PIXEL * max(1, size / 112)


def test_a_face_in_the_template_already_stays_as_it_is(photo: ImageArray) -> None:
    part = np.ascontiguousarray(photo[60:172, 170:282])
    (crop,) = align_faces(part, faces_with([ARCFACE], (112, 112)))
    assert np.abs(crop.astype(int) - part).max() <= 1  # the landmarks are float32


@pytest.mark.parametrize("degrees", [0, 35, -20])
def test_a_real_face_is_upright_in_its_crop(
    degrees: float, photo: ImageArray, default_detector: FaceDetector
) -> None:
    matrix = cv2.getRotationMatrix2D((220, 120), degrees, 1.0)
    picture = cv2.warpAffine(photo, matrix, (512, 512))
    faces = default_detector.detect(picture)
    (crop,) = align_faces(picture, faces[:1])
    again = default_detector.detect(cv2.resize(crop, (224, 224)))
    found = again.landmarks[0] / 2
    # Where this face's landmarks go: not quite onto the template, which is an average face.
    points = faces.landmarks[0].astype(float)
    goal = moved(points, _similarity(points, np.array(ARCFACE)))
    assert np.abs(found - goal).max() < REFOUND
    assert abs(found[0, 1] - found[1, 1]) < REFOUND / 2  # the eyes are level


def test_what_lies_outside_the_image_is_black() -> None:
    white = np.full((60, 60, 3), 255, dtype=np.uint8)
    corner = np.array(ARCFACE) - 56  # the template's middle in the image's first pixel
    (crop,) = align_faces(white, faces_with([corner]))
    assert crop[:55, :].max() == 0
    assert crop[:, :55].max() == 0
    assert crop[58:, 58:].min() == 255
    (beside,) = align_faces(white, faces_with([corner + 500]))
    assert beside.max() == 0


def test_a_picture_larger_than_opencv_warps_is_aligned_all_the_same(photo: ImageArray) -> None:
    wide = np.zeros((112, 33_000, 3), dtype=np.uint8)
    wide[:, -112:] = photo[60:172, 170:282]
    (crop,) = align_faces(wide, faces_with([moved(ARCFACE, turned(0, 1, 33_000 - 112, 0))]))
    assert np.abs(crop.astype(int) - wide[:, -112:]).mean() < 1  # float32 far from the origin


def test_no_faces_give_no_crops_of_the_same_form(photo: ImageArray) -> None:
    crops = align_faces(photo, Faces.empty((512, 512)))
    assert crops.shape == (0, 112, 112, 3)
    assert crops.dtype == np.uint8
    assert align_faces(photo, Faces.empty((512, 512)), 64).shape == (0, 64, 64, 3)
    assert crop_faces(photo, Faces.empty((512, 512))) == []


def test_crops_come_in_the_order_of_the_faces() -> None:
    places = [moved(ARCFACE, turned(0, 0.5, shift, 100)) for shift in (20, 150, 300)]
    picture = np.zeros((400, 400, 3), dtype=np.uint8)
    for number, points in enumerate(places, start=1):
        low, high = points.min(axis=0).astype(int) - 40, points.max(axis=0).astype(int) + 40
        picture[max(0, low[1]) : high[1], max(0, low[0]) : high[0]] = number
    crops = align_faces(picture, faces_with(places))
    assert [int(crop[56, 56, 0]) for crop in crops] == [1, 2, 3]


@pytest.mark.parametrize("size", [7, 4097, 112.0, None, True])
def test_sizes_out_of_range_are_refused(size: Any, photo: ImageArray) -> None:
    with pytest.raises(OptionsError, match=r"size must be a whole number 8\.\.4096"):
        align_faces(photo, Faces.empty((512, 512)), size)


# Boxes with a margin.


@pytest.fixture
def numbered() -> ImageArray:
    """Red is the row of a pixel and green its column."""
    rows, columns = np.mgrid[:100, :100]
    return np.dstack([rows, columns, np.zeros_like(rows)]).astype(np.uint8)


CROPS = [
    (0.0, (10, 20, 30, 60), (20, 60, 10, 30)),
    (0.5, (10, 20, 30, 60), (0, 80, 0, 40)),
    (0.25, (40, 40, 60, 80), (30, 90, 35, 65)),
    (0.2, (-20, -10, 30, 40), (0, 50, 0, 40)),
    (1.0, (80, 80, 120, 120), (40, 100, 40, 100)),
    (10.0, (40, 40, 60, 60), (0, 100, 0, 100)),
    (0.0, (10.4, 20.6, 30.4, 60.6), (21, 61, 10, 30)),
]


@pytest.mark.parametrize(("margin", "box", "expected"), CROPS)
def test_a_box_is_cut_out_with_its_margin_as_far_as_the_image_reaches(
    margin: float, box: Any, expected: tuple[int, int, int, int], numbered: ImageArray
) -> None:
    (crop,) = crop_faces(numbered, faces_at(box), margin)
    top, bottom, left, right = expected
    assert np.array_equal(crop, numbered[top:bottom, left:right])


def test_a_box_outside_the_image_has_an_empty_crop(numbered: ImageArray) -> None:
    right, above = crop_faces(numbered, faces_at((150, 10, 170, 30), (10, -60, 30, -40)), 0.2)
    assert right.size == 0
    assert above.size == 0
    assert right.shape[2] == 3


@pytest.mark.parametrize("margin", [-0.1, 10.1, float("nan"), "wide", None, True])
def test_margins_out_of_range_are_refused(margin: Any, numbered: ImageArray) -> None:
    with pytest.raises(OptionsError, match=r"margin must be a number in 0\.0\.\.10\.0"):
        crop_faces(numbered, faces_at((1, 1, 5, 5)), margin)


# Both.


@pytest.mark.parametrize("cut", [align_faces, crop_faces])
def test_the_image_is_left_alone_and_the_crops_are_copies(
    cut: Callable[..., Any], photo: ImageArray, default_detector: FaceDetector
) -> None:
    image = photo.copy()
    image.flags.writeable = False
    for crop in cut(image, default_detector.detect(image)):
        crop[:] = 0
    assert np.array_equal(image, photo)


@pytest.mark.parametrize("cut", [align_faces, crop_faces])
def test_gray_and_alpha_images_give_rgb_crops(
    cut: Callable[..., Any], numbered: ImageArray
) -> None:
    faces = faces_at((10, 10, 50, 50))
    for image in (numbered[:, :, 0], np.dstack([numbered, numbered[:, :, 0]])):
        (crop,) = cut(image, faces)
        assert crop.shape[2] == 3
        assert crop.dtype == np.uint8


@pytest.mark.parametrize("cut", [align_faces, crop_faces])
def test_what_is_no_image_is_refused(cut: Callable[..., Any]) -> None:
    with pytest.raises(ImageError, match="None"):
        cut(None, faces_at((1, 1, 5, 5)))


def test_crops_that_would_take_gigabytes_together_are_refused_and_given_one_by_one() -> None:
    image = np.zeros((4000, 5000, 3), dtype=np.uint8)
    faces = faces_at(*[(-1e6, -1e6, 1e6, 1e6)] * 2000)
    with pytest.raises(OptionsError, match=r"the crops of 2000 faces would take 120\.0 GB, more"):
        crop_faces(image, faces)
    with pytest.raises(OptionsError, match=r"100\.7 GB, more than 2 GB; pass fewer faces"):
        align_faces(image, faces, size=4096)
    one_by_one = zip(cropped_faces(image, faces), aligned_faces(image, faces, 4096), strict=True)
    crop, aligned = next(one_by_one)
    assert crop.shape == image.shape
    assert aligned.shape == (4096, 4096, 3)
    assert len(align_faces(image, faces, size=8)) == 2000
