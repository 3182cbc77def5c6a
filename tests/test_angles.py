"""Further looks at turned images: what they find, where it is, and what they leave as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_mtcnn import (
    DetectionTimeout,
    DetectorOptions,
    FaceDetector,
    Faces,
    ImageError,
    OptionsError,
    align_faces,
    read_image,
)
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video import FaceTracker

QUARTERS = DetectorOptions(angles=(90, 180, 270))
FALLBACK = DetectorOptions(angles="fallback")
BACK = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
"""How a photo is turned whose faces are upright again at an angle."""
SAME_PLACE = 0.01
"""Pixels by which a place may differ after it was turned back: float32 has 24 bits."""
SLANTED = 0.06
"""The same for a photo on a slant, as a share of the face: its pixels are interpolated."""


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    return read_image(sample_path("grace_hopper"))[:500, :487]  # not square, odd


@pytest.fixture(scope="module")
def upright(default_detector: FaceDetector, photo: ImageArray) -> Faces:
    faces = default_detector.detect(photo)
    assert len(faces) == 1
    return faces


def slanted(image: ImageArray, degrees: float) -> tuple[ImageArray, Any]:
    """A photo turned clockwise about its centre, and the function that turns points with it."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    return cv2.warpAffine(
        image, matrix, (width, height)
    ), lambda p: p @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize("angle", BACK)
def test_a_turned_photo_has_the_faces_of_the_upright_one_turned(
    angle: int, photo: ImageArray, upright: Faces, default_detector: FaceDetector
) -> None:
    height, width = photo.shape[:2]
    turned = cv2.rotate(photo, BACK[angle])
    faces = default_detector.detect(turned, options=QUARTERS)
    assert faces.image_size == turned.shape[:2]
    assert faces.angles.tolist() == [angle] == [face.angle for face in faces]
    assert faces.scores.tolist() == upright.scores.tolist()
    assert faces.confidences.tolist() == upright.confidences.tolist()
    x, y = upright.landmarks[0].T
    right, bottom = width - 1, height - 1
    expected = {90: (y, right - x), 180: (right - x, bottom - y), 270: (bottom - y, x)}[angle]
    np.testing.assert_allclose(faces.landmarks[0].T, expected, atol=SAME_PLACE)
    # Boxes count from 1, and both edges are inside.
    x1, y1, x2, y2 = upright.boxes[0]
    right, bottom = width + 1, height + 1
    box = {
        90: (y1, right - x2, y2, right - x1),
        180: (right - x2, bottom - y2, right - x1, bottom - y1),
        270: (bottom - y2, x1, bottom - y1, x2),
    }[angle]
    np.testing.assert_allclose(faces.boxes[0], box, atol=SAME_PLACE)


@pytest.mark.parametrize("angle", [45, 60, 120, 200.5, 315])
def test_a_face_on_a_slant_is_found_with_its_landmarks(
    angle: float, photo: ImageArray, upright: Faces, default_detector: FaceDetector
) -> None:
    turned, moved = slanted(photo, -angle)
    options = DetectorOptions(angles=(angle,))
    face = default_detector.detect(turned, options=options).best()
    assert face is not None
    assert face.angle == angle
    assert face.score > 0.99
    size = upright[0].width
    places = np.array(face.landmarks) - moved(upright.landmarks[0])
    assert np.abs(places).max() < SLANTED * size
    # The box is around the face: about as large as that of the upright face, at its place.
    x1, y1, x2, y2 = upright.boxes[0]
    centre = moved(np.array([(x1 + x2) / 2, (y1 + y2) / 2]))
    assert np.abs((np.array(face.box[:2]) + face.box[2:]) / 2 - centre).max() < SLANTED * size
    assert x2 - x1 - 2 * SLANTED * size < face.width < y2 - y1 + 2 * SLANTED * size


def test_each_face_of_a_mixed_photo_is_found_once_at_its_angle(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    head = photo[:400, 40:440]
    scene = np.hstack([head, *(cv2.rotate(head, code) for code in BACK.values())])
    faces = default_detector.detect(scene, options=QUARTERS)
    places = sorted(
        ((box[0] + box[2]) // 800, angle)
        for box, angle in zip(faces.boxes, faces.angles, strict=True)
    )
    assert places == [(0, 0), (1, 90), (2, 180), (3, 270)]
    assert faces.scores.tolist() == sorted(faces.scores, reverse=True)


def test_without_angles_nothing_changes_and_with_them_an_upright_face_stays(
    photo: ImageArray, upright: Faces, default_detector: FaceDetector
) -> None:
    assert default_detector.detect(photo, options=DetectorOptions(angles=())) == upright
    assert upright.angles.tolist() == [0.0]
    for options in (QUARTERS, DetectorOptions(angles=(45, 90, 135, 180, 225, 270, 315)), FALLBACK):
        assert default_detector.detect(photo, options=options) == upright


def test_of_two_readings_of_one_face_the_better_is_kept(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    turned, _ = slanted(photo, 65)
    scores = {}
    for angles in ((), (300,), (270,), (270, 300)):
        (face,) = default_detector.detect(turned, options=DetectorOptions(angles=angles))
        scores[angles] = face.score
    assert scores[()] < scores[(300,)]
    assert scores[(270, 300)] == max(scores[(270,)], scores[(300,)])


def test_the_fallback_looks_further_only_where_nothing_is_found(
    photo: ImageArray, upright: Faces, default_detector: FaceDetector
) -> None:
    def looks(image: ImageArray, options: DetectorOptions) -> float:
        faces = default_detector.detect(image, options=options, timings=True)
        none = default_detector.detect(image, timings=True)
        assert faces.timings is not None
        assert none.timings is not None
        return len(faces.timings.levels) / len(none.timings.levels)

    turned = cv2.rotate(photo, cv2.ROTATE_180)
    assert default_detector.detect(turned, options=FALLBACK) == default_detector.detect(
        turned, options=QUARTERS
    )
    assert looks(photo, FALLBACK) == 1
    assert looks(turned, FALLBACK) == looks(photo, QUARTERS) == 4
    # Nothing means: nothing from the confidence on.
    assert upright.scores[0] < 1
    assert looks(photo, DetectorOptions(angles="fallback", confidence=1.0)) == 4


def test_timings_are_those_of_all_looks(photo: ImageArray, default_detector: FaceDetector) -> None:
    one = default_detector.detect(photo, timings=True).timings
    timings = default_detector.detect(photo, options=QUARTERS, timings=True).timings
    assert one is not None
    assert timings is not None
    assert timings.levels[: len(one.levels)] == one.levels
    assert timings.levels[len(one.levels)] == one.levels[0][::-1]
    assert timings.rnet_windows > one.rnet_windows
    assert timings.onet_windows > one.onet_windows
    stages = ("pyramid_ms", "pnet_ms", "rnet_ms", "onet_ms", "mirror_ms")
    assert sum(getattr(timings, name) for name in stages) <= timings.total_ms


@pytest.mark.parametrize("preset", ["default", "reference"])
@pytest.mark.parametrize("form", ["bgr", "gray", "alpha", "view"])
def test_any_image_may_be_turned(
    form: str, preset: str, photo: ImageArray, request: pytest.FixtureRequest
) -> None:
    detector: FaceDetector = request.getfixturevalue(f"{preset}_detector")
    turned = cv2.rotate(photo, cv2.ROTATE_180)
    image = {
        "bgr": turned[:, :, ::-1],
        "gray": cv2.cvtColor(turned, cv2.COLOR_RGB2GRAY),
        "alpha": np.dstack([turned, np.zeros(turned.shape[:2], np.uint8)]),
        "view": photo[::-1, ::-1],
    }[form]
    before = image.copy()
    options = DetectorOptions.from_dict({**detector.options.to_dict(), "angles": (180,)})
    color: Any = "bgr" if form == "bgr" else "rgb"
    faces = detector.detect(image, options=options, color=color)
    assert faces.angles[0] == 180
    assert np.array_equal(image, before)
    if form != "gray":
        assert faces == detector.detect(turned, options=options)
    assert detector.detect_batch([image, image], options=options, color=color) == [faces, faces]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (20, 20), (21, 20), (19, 200)])
@pytest.mark.parametrize("angles", [(90,), (45, 133.7), "fallback"])
def test_tiny_images_have_no_face_at_any_angle(
    size: tuple[int, int], angles: Any, default_detector: FaceDetector
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    faces = default_detector.detect(noise, options=DetectorOptions(angles=angles))
    assert len(faces) == 0
    assert faces.image_size == size


def test_a_strip_on_a_slant_is_refused_and_quarter_turns_of_it_are_not(
    default_detector: FaceDetector,
) -> None:
    strip = np.zeros((30, 40_000, 3), np.uint8)
    assert len(default_detector.detect(strip, options=QUARTERS)) == 0
    for image in (strip, strip[:, :2000], strip.transpose(1, 0, 2)):
        with pytest.raises(ImageError, match=r"cannot be turned by 45 degrees.* 90, 180 and 270"):
            default_detector.detect(image, options=DetectorOptions(angles=(90, 45)))


def test_a_timeout_is_for_all_looks_together(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    options = DetectorOptions(angles=tuple(range(15, 360, 15)), min_face_size=10)
    with pytest.raises(DetectionTimeout):
        default_detector.detect(photo, options=options, timeout=0.05)


@pytest.mark.parametrize("at_place", [False, True])
def test_a_thing_that_is_taken_for_a_face_on_its_side_can_be_remembered(
    at_place: bool, sample_path: Callable[[str], Path], default_detector: FaceDetector
) -> None:
    photo = read_image(sample_path("astronaut"))
    turned = np.pad(cv2.rotate(photo, BACK[90]), ((0, 0), (0, 300), (0, 0)))
    with FaceDetector(QUARTERS) as detector:
        (found,) = detector.detect(turned)
        thing = detector.remember(turned, found.box, "poster", at_place=at_place)
    with FaceDetector(QUARTERS, known_false=[thing]) as knowing:
        faces = knowing.detect(turned, timings=True)
        assert len(faces) == 0
        assert faces.timings is not None
        assert faces.timings.known_false == 1
        assert len(knowing.detect(turned, include_known_false=True)) == 1
        # Elsewhere in the frame it is recognised only if it is tied to no place.
        moved = np.roll(turned, 256, axis=1)
        assert len(default_detector.detect(moved, options=QUARTERS)) == 1
        assert len(knowing.detect(moved)) == (1 if at_place else 0)


def test_aligned_crops_of_turned_faces_show_them_upright(
    photo: ImageArray, upright: Faces, default_detector: FaceDetector
) -> None:
    (expected,) = align_faces(photo, upright)
    for angle, code in BACK.items():
        turned = cv2.rotate(photo, code)
        (crop,) = align_faces(turned, default_detector.detect(turned, options=QUARTERS))
        difference = np.abs(crop.astype(int) - expected)
        assert difference.mean() < 6, angle  # up to half a pixel


def test_near_and_quick_do_not_turn_the_image(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    turned = cv2.rotate(photo, cv2.ROTATE_180)
    (face,) = default_detector.detect(turned, options=QUARTERS)
    search = default_detector.search(turned, options=QUARTERS)
    assert not search.near([face.box]).angles.any()
    assert not search.quick([face.box]).angles.any()
    assert search.everywhere([face.box]).angles.tolist() == [180]


def test_a_tracker_refuses_a_detector_with_angles() -> None:
    for options in (QUARTERS, FALLBACK):
        with (
            FaceDetector(options) as detector,
            pytest.raises(OptionsError, match=r"angles are for photos.*angles=\(\)"),
        ):
            FaceTracker(detector)
