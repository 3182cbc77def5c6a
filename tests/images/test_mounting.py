"""Pictures turned and mirrored, and what is annotated in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtcnn import FaceDetector, OptionsError, read_image
from edge_mtcnn.images.mounting import FLIPS, ROTATIONS, Mounting
from edge_mtcnn.types import ImageArray

MOUNTINGS = [Mounting(rotate=r, flip=f) for r in ROTATIONS for f in (None, *FLIPS)]


@pytest.fixture
def spots() -> tuple[ImageArray, list[tuple[int, int]]]:
    """Five pixels of their own grey level, and their places ``x, y``."""
    places = [(3, 2), (9, 2), (5, 4), (3, 6), (10, 6)]
    image = np.zeros((8, 13), np.uint8)
    for level, (x, y) in enumerate(places, start=1):
        image[y, x] = level
    return image, places


@pytest.mark.parametrize("mounting", MOUNTINGS, ids=str)
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_a_picture_is_rotated_clockwise_and_then_flipped(
    spots: tuple[ImageArray, list[tuple[int, int]]], mounting: Mounting, channels: int
) -> None:
    image = np.dstack([spots[0]] * channels) if channels else spots[0]
    if channels == 1:
        image = image.reshape(8, 13, 1)
    expected = np.rot90(image, -mounting.rotate // 90)
    if mounting.flip is not None:
        expected = expected[:, ::-1] if mounting.flip == "horizontal" else expected[::-1]
    before = image.copy()
    turned = mounting.applied(image)
    assert np.array_equal(turned.squeeze(), expected.squeeze())
    assert np.array_equal(image, before)
    assert mounting.size((8, 13)) == turned.shape[:2]
    assert mounting.size(turned.shape[:2]) == (8, 13)
    assert turned.flags.c_contiguous


def test_what_is_upright_is_not_copied(spots: tuple[ImageArray, Any]) -> None:
    assert Mounting().applied(spots[0]) is spots[0]
    assert [bool(mounting) for mounting in MOUNTINGS].count(False) == 1


@pytest.mark.parametrize("mounting", MOUNTINGS, ids=str)
def test_boxes_and_landmarks_stay_on_their_pixels(
    spots: tuple[ImageArray, list[tuple[int, int]]], mounting: Mounting
) -> None:
    image, places = spots
    turned = mounting.applied(image)
    (points,) = mounting.landmarks(np.array([places], float), (8, 13))
    levels = [turned[round(y), round(x)] for x, y in points]
    # A mirrored face has its left eye where the right one was.
    assert levels == ([1, 2, 3, 4, 5] if mounting.flip is None else [2, 1, 3, 5, 4])
    ((x1, y1, x2, y2),) = mounting.boxes(np.array([[3.0, 2, 11, 7]]), (8, 13)).astype(int)
    assert sorted(turned[y1:y2, x1:x2][turned[y1:y2, x1:x2] > 0]) == [1, 2, 3, 4, 5]
    assert (x2 - x1) * (y2 - y1) == 40
    assert mounting.boxes(np.zeros((0, 4)), (8, 13)).shape == (0, 4)
    assert mounting.landmarks(np.zeros((0, 5, 2)), (8, 13)).shape == (0, 5, 2)


@pytest.mark.parametrize("rotate", [90, 180, 270])
def test_a_face_on_its_side_is_found_in_the_turned_picture(
    default_detector: FaceDetector, sample_path: Callable[[str], Path], rotate: Any
) -> None:
    photo = read_image(sample_path("astronaut"))
    sideways = Mounting(rotate=360 - rotate).applied(photo)
    upright = Mounting(rotate=rotate).applied(sideways)
    assert np.array_equal(
        default_detector.detect(upright).boxes, default_detector.detect(photo).boxes
    )


@pytest.mark.parametrize("rotate", [45, -90, 360, 90.0, "90", True, None, [90], "left"])
def test_another_angle_is_refused(rotate: Any) -> None:
    with pytest.raises(OptionsError, match=r"rotate must be 0, 90, 180 or 270, degrees clockwise"):
        Mounting(rotate=rotate)


@pytest.mark.parametrize("flip", ["diagonal", True, 1, ["horizontal"]])
def test_another_flip_is_refused(flip: Any) -> None:
    with pytest.raises(OptionsError, match="flip must be one of horizontal, vertical"):
        Mounting(flip=flip)


def test_auto_is_refused_for_photos_with_what_to_do() -> None:
    with pytest.raises(OptionsError, match=r"for photos; got 'auto'.*--angles fallback"):
        Mounting(rotate="auto")  # type: ignore[arg-type]
    assert Mounting(rotate=np.int64(90)) == Mounting(rotate=90)  # type: ignore[arg-type]
