"""Optical flow: it says where a face went, and never that another thing is still that face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from videos import background, panned, scene

from edge_mtcnn import FaceDetector, Faces
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video import FaceTracker
from edge_mtcnn.video.tracking.flow import FaceFlow

FPS = 30
NEAR = 0.5
"""Pixels: samples are four pixels apart, and the frames moved by whole ones."""


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    """The preset of kiosks."""
    return FaceDetector(preset="kiosk")


@pytest.fixture(scope="module")
def face(detector: FaceDetector) -> Faces:
    """The face in ``frame_at(0, 0)``."""
    found = detector.detect(frame_at(0, 0), color="bgr")
    assert len(found) == 1
    return found


def frame_at(x: int, y: int) -> ImageArray:
    """A head moved by so many pixels, with a little noise as cameras have it."""
    noise = np.random.default_rng(100 * x + y + 10_000).normal(0, 3, (240, 320, 3))
    return np.clip(scene([(80 + x, 40 + y)]) + noise, 0, 255).astype(np.uint8)


def started(faces: Faces, image: ImageArray | None = None) -> FaceFlow:
    """Flow that begins with these faces at time 0."""
    flow = FaceFlow()
    flow.start(frame_at(0, 0) if image is None else image, faces, 0.0)
    return flow


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -2), (-4, 3), (5, -3)])
def test_a_face_is_followed_to_where_it_moved(face: Faces, shift: tuple[int, int]) -> None:
    moved = started(face).follow(frame_at(*shift), 1 / FPS)
    assert moved is not None
    assert np.abs(moved.boxes - face.boxes - np.tile(shift, 2)).max() < NEAR
    assert np.abs(moved.landmarks - face.landmarks - shift).max() < NEAR
    assert moved.scores.tolist() == face.scores.tolist()
    assert moved.confidences.tolist() == face.confidences.tolist()


def test_a_steady_movement_is_followed_further_than_one_look_reaches(face: Faces) -> None:
    flow = started(face)
    for frame in range(1, 5):
        moved = flow.follow(frame_at(5 * frame, 0), frame / FPS)
        assert moved is not None
        assert abs(moved.boxes[0, 0] - face.boxes[0, 0] - 5 * frame) < NEAR


def test_gray_frames_and_frames_with_alpha_are_followed_too(face: Faces) -> None:
    for conversion in (cv2.COLOR_BGR2GRAY, cv2.COLOR_BGR2BGRA):
        first, second = (cv2.cvtColor(frame_at(x, 0), conversion) for x in (0, 3))
        moved = started(face, first).follow(second, 1 / FPS)
        assert moved is not None
        assert abs(moved.boxes[0, 0] - face.boxes[0, 0] - 3) < NEAR


def test_a_little_more_light_is_no_change(face: Faces) -> None:
    brighter = cv2.add(frame_at(2, 0), np.full((240, 320, 3), 12, dtype=np.uint8))
    assert started(face).follow(np.asarray(brighter, dtype=np.uint8), 1 / FPS) is not None


def test_another_thing_in_the_place_of_the_face_is_not_that_face(face: Faces) -> None:
    hidden = frame_at(0, 0)
    x1, y1, x2, y2 = face.boxes[0].astype(int)
    hidden[(y1 + y2) // 2 : y2, x1:x2] = 200  # a hand before the mouth
    others = {
        "nothing": background(),
        "a hidden mouth": hidden,
        "the mirror": np.ascontiguousarray(frame_at(0, 0)[::-1]),
        "far away": frame_at(40, 0),
        "black": np.zeros_like(hidden),
    }
    followed = {name: started(face).follow(image, 1 / FPS) for name, image in others.items()}
    assert followed == dict.fromkeys(others)


def test_a_lost_face_stays_lost_until_it_is_detected_again(face: Faces) -> None:
    flow = started(face)
    assert flow.follow(background(), 1 / FPS) is None
    assert flow.follow(frame_at(0, 0), 2 / FPS) is None
    flow.start(frame_at(0, 0), face, 3 / FPS)
    assert flow.follow(frame_at(0, 0), 4 / FPS) is not None


def test_a_moving_face_is_detected_again_sooner_than_a_still_one(face: Faces) -> None:
    assert started(face).follow(frame_at(6, 0), 0.15) is not None
    assert started(face).follow(frame_at(6, 0), 0.2) is None
    assert started(face).follow(frame_at(0, 0), 0.5) is not None
    assert started(face).follow(frame_at(0, 0), 0.51) is None


def test_a_frame_before_the_detection_says_nothing(face: Faces) -> None:
    assert started(face).follow(frame_at(0, 0), 0.0) is None
    assert started(face).follow(frame_at(0, 0), -1.0) is None


def test_faces_too_small_or_partly_outside_the_frame_are_left_to_the_detector(face: Faces) -> None:
    small = Faces([[50, 50, 70, 72]], [1], np.zeros((1, 5, 2)), image_size=(240, 320))
    outside = Faces([[-20, 50, 80, 160]], [1], np.zeros((1, 5, 2)), image_size=(240, 320))
    for faces in (small, outside):
        assert started(faces).follow(frame_at(0, 0), 1 / FPS) is None
    both = Faces(
        np.concatenate([face.boxes, small.boxes]),
        [1, 1],
        np.zeros((2, 5, 2)),
        image_size=(240, 320),
    )
    assert started(both).follow(frame_at(0, 0), 1 / FPS) is None


def test_a_plain_area_is_no_face_that_could_be_followed(face: Faces) -> None:
    gray = np.full((240, 320, 3), 128, dtype=np.uint8)
    assert started(face, gray).follow(gray + np.uint8(1), 1 / FPS) is None


def test_no_face_is_nothing_to_follow() -> None:
    assert FaceFlow().follow(frame_at(0, 0), 1.0) is None
    assert started(Faces.empty((240, 320))).follow(frame_at(0, 0), 1 / FPS) is None


def test_the_tracker_spares_o_net_most_frames_of_a_still_face(detector: FaceDetector) -> None:
    tracker = FaceTracker(detector)
    for index in range(60):
        (track,) = tracker.update(frame_at(0, index % 2), index / FPS)
        assert track.seen
    assert tracker.counts.flow >= 30
    assert tracker.counts.flow + tracker.counts.near >= 58


def test_the_tracker_finds_a_moving_face_where_full_detection_does(detector: FaceDetector) -> None:
    tracker = FaceTracker(detector)
    errors = []
    for index, frame in enumerate(panned(60)):
        (track,) = tracker.update(frame, index / FPS)
        (found,) = detector.detect(frame, color="bgr")
        errors.append(np.abs(np.subtract(track.face.landmarks, found.landmarks)).max())
    assert tracker.counts.flow >= 20
    size = found.box[2] - found.box[0]
    assert np.median(errors) < 0.03 * size  # landmarks of two detections differ by as much


def test_a_face_that_leaves_is_missed_at_once(detector: FaceDetector) -> None:
    tracker = FaceTracker(detector)
    for index in range(30):
        tracker.update(frame_at(0, 0), index / FPS)
    assert tracker.counts.flow > 10
    (track,) = tracker.update(background(), 1.0)
    assert not track.seen
