"""Drawn faces: what is drawn where, that the input stays as it is, and that it can be read."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_mtcnn import FaceDetector, ImageError, OptionsError, draw_faces, read_image
from edge_mtcnn.cli.detect import _faces_text
from edge_mtcnn.images import drawing
from edge_mtcnn.images.drawing import GRAY, GREEN, LANDMARK_COLOR, _labels
from edge_mtcnn.types import Faces, ImageArray

Box = tuple[float, float, float, float]

READABLE = 6  # rows of pixels that a digit needs at the least; 8 are asked for, minus smoothing
SEEN_AT = 1000  # pixels of the side at which a large picture is looked at
SIZES = [(64, 64), (64, 200), (240, 320), (512, 512), (4000, 6000)]


def faces_at(*boxes: Box, size: tuple[int, int], scores: list[float] | None = None) -> Faces:
    """Faces with landmarks in the usual places of their boxes."""
    rows = np.array(boxes, dtype=float).reshape(-1, 4)
    inside = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])
    sides = rows[:, 2:] - rows[:, :2]
    points = rows[:, None, :2] + sides[:, None] * inside
    return Faces(rows, scores or [0.99] * len(rows), points, image_size=size)


def gray(size: tuple[int, int]) -> ImageArray:
    return np.full((*size, 3), 128, dtype=np.uint8)


def centred(size: tuple[int, int], part: float) -> Box:
    """A box in the middle, ``part`` of the shorter side wide."""
    height, width = size
    half = part * min(size) / 2
    return (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)


def is_color(picture: ImageArray, color: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    low, high = (np.clip(np.array(color) + by, 0, 255) for by in (-60, 60))
    return np.asarray(cv2.inRange(picture, low, high)) > 0


def test_the_image_is_left_alone_and_the_picture_is_new(
    sample_path: Callable[[str], Path], default_detector: FaceDetector
) -> None:
    image = read_image(sample_path("astronaut"))
    before = image.copy()
    image.flags.writeable = False
    faces = default_detector.detect(image)
    picture = draw_faces(image, faces)
    assert np.array_equal(image, before)
    assert not np.shares_memory(picture, image)
    assert picture.flags.writeable
    assert picture.shape == image.shape
    assert picture.dtype == np.uint8
    # Only around the face was anything drawn.
    ((x1, y1, x2, y2),) = faces.boxes.astype(int)
    changed = (picture != image).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert y1 - 40 < rows.min() < rows.max() < y2 + 10
    assert x1 - 10 < columns.min() < columns.max() < x2 + 10


def test_no_faces_give_an_equal_copy() -> None:
    image = gray((50, 60))
    picture = draw_faces(image, Faces.empty((50, 60)))
    assert np.array_equal(picture, image)
    assert picture is not image


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("part", [0.2, 0.9])
def test_box_and_landmarks_are_seen_where_they_are(size: tuple[int, int], part: float) -> None:
    box = centred(size, part)
    faces = faces_at(box, size=size)
    picture = draw_faces(gray(size), faces, scores=False)
    x1, y1, x2, y2 = (round(value) for value in box)
    edges = is_color(picture, GREEN)
    for row, column in (
        (y1, (x1 + x2) // 2),
        (y2, (x1 + x2) // 2),
        ((y1 + y2) // 2, x1),
        ((y1 + y2) // 2, x2),
    ):
        assert edges[row, column]
    points = is_color(picture, LANDMARK_COLOR)
    for x, y in faces.landmarks[0]:
        assert points[round(float(y)), round(float(x))]


@pytest.mark.parametrize("size", SIZES)
def test_landmarks_are_large_enough_to_be_seen_and_small_enough_to_see_the_face(
    size: tuple[int, int],
) -> None:
    for part in (0.3, 0.9):
        picture = draw_faces(gray(size), faces_at(centred(size, part), size=size), scores=False)
        side = part * min(size)
        changed = (picture != 128).any(axis=2).sum()
        assert changed < 0.3 * side**2 + 20
        points = is_color(picture, LANDMARK_COLOR).sum() / 5
        seen_side = min(side, side * SEEN_AT / max(size))
        assert points >= 1
        if seen_side > 100:  # then a point of a single pixel would be lost
            assert np.sqrt(points) * min(1, SEEN_AT / max(size)) >= 2


@pytest.mark.parametrize("size", SIZES)
def test_the_score_can_be_read(size: tuple[int, int]) -> None:
    box = centred(size, 0.4)
    faces = faces_at(box, size=size)
    without, picture = (draw_faces(gray(size), faces, scores=s) for s in (False, True))
    label = (picture != without).any(axis=2)
    rows, columns = (np.flatnonzero(label.any(axis=axis)) for axis in (1, 0))
    assert len(rows) > 0
    field = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert field.shape[1] > field.shape[0]  # a line of text, whole within the picture
    assert rows[0] > 0 or size == (64, 64)
    ink = np.asarray((field < 90).all(axis=2))  # black letters on a bright field
    letter_rows = np.flatnonzero(ink.any(axis=1))
    height = letter_rows[-1] - letter_rows[0] + 1
    assert height >= READABLE
    assert height * min(1, SEEN_AT / max(size)) >= READABLE
    assert 0.02 < ink.mean() < 0.5
    # All of the text is inside its field.
    assert not ink[0].any()
    assert not ink[-1].any()
    assert not ink[:, 0].any()
    assert not ink[:, -1].any()


@pytest.mark.parametrize("size", [(1, 1), (12, 12), (24, 24), (300, 20)])
def test_a_picture_too_small_for_letters_has_none(size: tuple[int, int]) -> None:
    faces = faces_at(centred(size, 0.6), size=size)
    assert np.array_equal(
        draw_faces(gray(size), faces), draw_faces(gray(size), faces, scores=False)
    )


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (0.99999994, "0.9999"),  # the largest float32 below 1
        (1.0, "1.0000"),
        (0.0, "0.0000"),
        (0.50009, "0.5000"),
        (0.75, "0.7500"),
        (0.29, "0.2899"),  # a little less as float32
    ],
)
def test_scores_are_rounded_down_as_in_the_text_of_the_command(score: float, text: str) -> None:
    size = (300, 300)
    faces = faces_at((100, 100, 200, 200), size=size, scores=[score])
    assert [label.text for label in _labels(gray(size), faces, GREEN)] == [text]
    assert _faces_text(faces).endswith(f" {text}")
    assert f"best score {text}" in repr(faces)


EDGES: list[Box] = [
    (-30, -30, 60, 60),
    (340, -20, 420, 90),
    (-20, 230, 70, 330),
    (350, 250, 450, 340),
    (-50, -50, 450, 350),
    (150, 0, 250, 100),
]


@pytest.mark.parametrize("box", EDGES)
def test_a_label_is_whole_inside_the_picture_also_at_its_edges(box: Box) -> None:
    size = (300, 400)
    (label,) = _labels(gray(size), faces_at(box, size=size), GREEN)
    assert label.left >= 0
    assert label.top >= 0
    assert label.left + label.width <= 400
    assert label.top + label.height <= 300
    assert draw_faces(gray(size), faces_at(box, size=size)).shape == (300, 400, 3)


@pytest.mark.parametrize("box", [(500, 500, 600, 600), (-300, 10, -200, 110), (10, 10, 10, 10)])
def test_boxes_beside_the_image_or_without_size_do_no_harm(box: Box) -> None:
    size = (300, 400)
    assert draw_faces(gray(size), faces_at(box, size=size)).shape == (300, 400, 3)


def test_labels_of_faces_side_by_side_do_not_cover_each_other_or_a_face() -> None:
    size = (400, 600)
    boxes: list[Box] = [(x, y, x + 30, y + 34) for y in (100, 200, 300) for x in range(50, 550, 70)]
    labels = _labels(gray(size), faces_at(*boxes, size=size), GREEN)
    assert len(labels) == len(boxes)

    def shared(first: Box, second: Box) -> float:
        width = min(first[2], second[2]) - max(first[0], second[0])
        height = min(first[3], second[3]) - max(first[1], second[1])
        return max(0.0, width) * max(0.0, height)

    fields: list[Box] = [
        (label.left, label.top, label.left + label.width, label.top + label.height)
        for label in labels
    ]
    assert not [pair for pair in itertools.combinations(fields, 2) if shared(*pair)]
    assert not [pair for pair in itertools.product(fields, boxes) if shared(*pair)]


def test_the_best_face_is_drawn_on_top() -> None:
    size = (300, 300)
    box: Box = (50, 50, 200, 200)
    first, second = faces_at(box, size=size), faces_at((60, 60, 210, 210), size=size)
    both = Faces(
        np.vstack([first.boxes, second.boxes]),
        [0.9, 0.8],
        np.vstack([first.landmarks, second.landmarks]),
        image_size=size,
    )
    alone = draw_faces(gray(size), first, scores=False)
    picture = draw_faces(gray(size), both, scores=False)
    drawn = (alone == GREEN).all(axis=2) | (alone == LANDMARK_COLOR).all(axis=2)
    assert np.array_equal(picture[drawn], alone[drawn])


def test_a_box_is_seen_on_a_ground_of_its_own_colour() -> None:
    size = (600, 600)
    ground = np.full((*size, 3), GREEN, dtype=np.uint8)
    picture = draw_faces(ground, faces_at((150, 150, 450, 450), size=size), scores=False)
    assert (picture[300, 140:160] != GREEN).any()


@pytest.mark.parametrize(("color", "ink"), [((255, 240, 0), 0), ((90, 0, 60), 255)])
def test_the_colour_can_be_chosen_and_letters_stand_out_from_it(
    color: tuple[int, int, int], ink: int
) -> None:
    size = (600, 600)
    faces = faces_at((150, 150, 450, 450), size=size)
    without, picture = (draw_faces(gray(size), faces, color=color, scores=s) for s in (False, True))
    assert tuple(picture[300, 150]) == color
    label = picture[(picture != without).any(axis=2)]
    assert (np.abs(label.astype(int) - ink) < 60).all(axis=1).any()  # smoothed
    assert (label == color).all(axis=1).any()


def test_gray_and_alpha_images_become_rgb() -> None:
    faces = faces_at((10, 10, 50, 50), size=(60, 60))
    for shape in ((60, 60), (60, 60, 1), (60, 60, 4)):
        picture = draw_faces(np.full(shape, 128, dtype=np.uint8), faces, scores=False)
        assert np.array_equal(picture, draw_faces(gray((60, 60)), faces, scores=False))


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError, match="uint8"):
        draw_faces(np.zeros((5, 5, 3)), Faces.empty((5, 5)))


@pytest.mark.parametrize(
    "color", [(1, 2), (1, 2, 3, 4), (0.5, 0, 0), (0, 0, 256), (-1, 0, 0), "red", None, 7]
)
def test_what_is_no_colour_is_refused(color: Any) -> None:
    with pytest.raises(OptionsError, match=r"color must be .*0\.\.255"):
        draw_faces(gray((60, 60)), Faces.empty((60, 60)), color=color)


def test_hundreds_of_faces_are_drawn_in_short_time() -> None:
    size = (1000, 1500)
    boxes: list[Box] = [
        (x, y, x + 20, y + 22) for y in range(20, 980, 48) for x in range(5, 1480, 60)
    ]
    assert len(boxes) == 500
    picture = draw_faces(gray(size), faces_at(*boxes, size=size))
    assert is_color(picture, GREEN).sum() > 500 * 60


def test_scores_of_many_faces_lie_where_comparing_each_with_all_puts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = (600, 800)
    random = np.random.default_rng(0)
    corners, sides = random.uniform(-20, 780, (200, 2)), random.uniform(10, 300, (200, 1))
    boxes: list[Box] = [tuple(box) for box in np.hstack([corners, corners + sides]).tolist()]
    faces = faces_at(*boxes, size=size)
    labels = _labels(gray(size), faces, GREEN)
    assert len(labels) == 200
    monkeypatch.setattr(drawing, "_meeting", lambda _, others: others)
    assert _labels(gray(size), faces, GREEN) == labels


def test_a_known_false_face_is_drawn_gray() -> None:
    box: Box = (100, 100, 200, 200)
    faces = faces_at(box, size=(300, 300))
    known = Faces(
        faces.boxes, faces.scores, faces.landmarks, known_false=["poster"], image_size=(300, 300)
    )
    black = np.zeros((300, 300, 3), np.uint8)
    drawn = [draw_faces(black, each) for each in (faces, known)]
    assert is_color(drawn[0], GREEN).any()
    assert not is_color(drawn[1], GREEN).any()
    assert (is_color(drawn[1], GRAY) & (drawn[0] != drawn[1]).any(axis=2)).any()


def test_a_box_however_far_outside_is_drawn_as_far_as_it_can_be_seen() -> None:
    wild = faces_at((50, -1e12, 1e12, 1e12), size=(100, 100))
    far = faces_at((50, -1e5, 1e5, 1e5), size=(100, 100))
    picture = draw_faces(gray((100, 100)), wild, scores=False)
    assert is_color(picture, GREEN).any()
    assert np.array_equal(picture, draw_faces(gray((100, 100)), far, scores=False))
