"""Drawing a snapshot into its frame."""

from __future__ import annotations

import cv2
import numpy as np
from videos import Image, background

from edge_mtcnn.types import Face, Landmarks
from edge_mtcnn.video import Person, Snapshot, Track, draw_snapshot

GREEN = (90, 220, 40)
POINTS = Landmarks((130, 90), (170, 90), (150, 110), (135, 130), (165, 130))
FACE = Face(box=(110.0, 60.0, 190.0, 150.0), score=0.99, landmarks=POINTS, confidence=0.99)


def snapshot(*, confirmed: bool = True, seen: bool = True, selected: bool = True) -> Snapshot:
    track = Track(
        id=7, face=FACE, confirmed=confirmed, seen=seen, first_seen=0, last_seen=4, hits=9,
        mean_score=0.99,
    )  # fmt: skip
    person = Person(
        id=1, track=7, face=FACE, since=0, last_seen=4, seen=seen, selected=selected
    )  # fmt: skip
    return Snapshot(state="watching", tracks=(track,), persons=(person,))


def has(picture: Image, color: tuple[int, int, int]) -> bool:
    return bool((picture == color).all(axis=2).any())


def test_the_selected_person_is_marked_in_a_copy() -> None:
    frame = background()
    before = frame.copy()
    picture = draw_snapshot(frame, snapshot())
    assert np.array_equal(frame, before)
    assert has(picture, GREEN)
    rows, columns = np.nonzero((picture != frame).any(axis=2))
    assert 30 < rows.min() < 60  # the label above the box
    assert rows.max() <= 153
    assert columns.min() >= 105
    assert columns.max() <= 195


def test_others_and_faces_that_are_not_seen_have_other_colours() -> None:
    assert not has(draw_snapshot(background(), snapshot(selected=False)), GREEN)
    assert not has(draw_snapshot(background(), snapshot(seen=False)), GREEN)


def test_a_track_that_is_not_confirmed_is_not_drawn() -> None:
    frame = background()
    assert np.array_equal(draw_snapshot(frame, snapshot(confirmed=False)), frame)


def test_gray_frames_become_coloured_and_a_blind_camera_is_labelled() -> None:
    gray = cv2.cvtColor(background(), cv2.COLOR_BGR2GRAY)
    picture = draw_snapshot(np.asarray(gray, np.uint8), snapshot())
    assert picture.shape == (240, 320, 3)
    blind = draw_snapshot(background(), Snapshot(state="blind", blind_reason="dark"))
    assert has(blind, (255, 255, 255))
