"""``Faces`` and ``Face``: rows that stay together, however they are picked, and plain exports."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import numpy as np
import pytest

from edge_mtcnn import Face, Faces
from edge_mtcnn.types import LANDMARK_NAMES, Landmarks, Timings, face_entry

# float32 holds about seven digits.
FLOAT32 = 1e-6


def some_faces(count: int = 5, seed: int = 0) -> Faces:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 200, (count, 2))
    return Faces(
        np.hstack([corners, corners + rng.uniform(20, 90, (count, 2))]),
        np.linspace(0.99, 0.71, count),
        rng.uniform(0, 300, (count, 5, 2)),
        confidences=np.linspace(0.9999, 0.8, count),
        known_false=[None if number % 2 else f"thing {number}" for number in range(count)],
        image_size=(240, 320),
    )


MILLISECONDS: dict[str, Any] = {
    field.name: 1.5 for field in dataclasses.fields(Timings) if field.name.endswith("_ms")
}
TIMINGS = Timings(**MILLISECONDS, levels=((144, 192),), rnet_windows=30, onet_windows=5)


def rows_of(faces: Faces) -> list[tuple[Any, ...]]:
    return [
        (tuple(box), float(score), float(confidence), points.tobytes(), name)
        for box, score, confidence, points, name in zip(
            faces.boxes.tolist(),
            faces.scores,
            faces.confidences,
            faces.landmarks,
            faces.known_false,
            strict=True,
        )
    ]


def test_an_integer_gives_one_face_with_its_own_row() -> None:
    faces = some_faces()
    for index in (0, 2, 4, -1, -5, np.int64(3)):
        face = faces[index]
        assert isinstance(face, Face)
        assert face.box == tuple(faces.boxes[index].tolist())
        assert face.score == faces.scores[index]
        assert face.confidence == faces.confidences[index]
        assert face.known_false == faces.known_false[index]
        assert face.landmarks.nose == tuple(faces.landmarks[index, 2].tolist())


@pytest.mark.parametrize("index", [5, -6, 100, np.int64(5)])
def test_an_integer_out_of_range_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError):
        some_faces()[index]
    with pytest.raises(IndexError):
        Faces.empty((10, 10))[0]


PICKS: dict[str, tuple[Any, list[int]]] = {
    "slice": (slice(1, 3), [1, 2]),
    "slice from the end": (slice(-2, None), [3, 4]),
    "slice backwards": (slice(None, None, -1), [4, 3, 2, 1, 0]),
    "slice beyond the end": (slice(3, 99), [3, 4]),
    "empty slice": (slice(2, 2), []),
    "mask": (np.array([True, False, True, False, True]), [0, 2, 4]),
    "list of booleans": ([False, False, False, True, False], [3]),
    "mask of none": (np.zeros(5, dtype=bool), []),
    "int array": (np.array([4, 0, 0]), [4, 0, 0]),
    "negative int array": (np.array([-1, -5]), [4, 0]),
    "unsigned array": (np.array([1, 2], dtype=np.uint8), [1, 2]),
    "list of ints": ([3, 1], [3, 1]),
    "empty list": ([], []),
    "empty int array": (np.array([], dtype=int), []),
}


@pytest.mark.parametrize(("pick", "rows"), PICKS.values(), ids=list(PICKS))
def test_rows_stay_together_when_picked(pick: Any, rows: list[int]) -> None:
    faces = some_faces()
    picked = faces[pick]
    every = rows_of(faces)
    assert isinstance(picked, Faces)
    assert rows_of(picked) == [every[row] for row in rows]
    assert picked.image_size == faces.image_size
    assert picked.boxes.shape == (len(rows), 4)
    assert picked.landmarks.shape == (len(rows), 5, 2)


def test_faces_above_a_score_are_picked_by_comparison() -> None:
    faces = some_faces()
    sure = faces[faces.scores > 0.8]
    assert 0 < len(sure) < len(faces)
    assert all(face.score > 0.8 for face in sure)


@pytest.mark.parametrize("pick", [[5], [-6], np.ones(4, dtype=bool), np.ones(6, dtype=bool)])
def test_index_arrays_out_of_range_are_an_index_error(pick: Any) -> None:
    with pytest.raises(IndexError):
        some_faces()[pick]


def test_picking_from_no_faces_gives_no_faces() -> None:
    none = Faces.empty((30, 40))
    assert none[:] == none
    assert none[[]] == none
    assert none[none.scores > 0.5] == none


def test_picking_keeps_the_timings() -> None:
    faces = Faces.empty((30, 40), TIMINGS)
    assert faces.timings is TIMINGS
    assert faces[:1].timings is TIMINGS


def test_faces_are_a_sequence() -> None:
    faces = some_faces()
    assert len(faces) == 5
    assert [face.score for face in faces] == faces.scores.tolist()
    assert [face.score for face in reversed(faces)] == faces.scores[::-1].tolist()
    assert faces[1] in faces
    assert faces.index(faces[3]) == 3
    first, *rest = faces
    assert first == faces[0]
    assert len(rest) == 4


def test_no_faces_are_falsy_and_some_are_truthy() -> None:
    assert some_faces(1)
    assert not Faces.empty((1, 1))


def test_faces_may_be_read_many_times_at_once() -> None:
    faces = some_faces()
    pairs = [(a.score, b.score) for a in faces for b in faces]
    assert len(pairs) == 25
    assert len(set(pairs)) == 25


def test_the_arrays_are_float32_copies_that_cannot_be_written() -> None:
    boxes = np.array([[1.0, 2, 30, 40]])
    faces = Faces(boxes, [0.5], np.zeros((1, 5, 2)), image_size=(50, 60))
    boxes[:] = 0
    assert faces.boxes.tolist() == [[1, 2, 30, 40]]
    for name in ("boxes", "scores", "landmarks", "confidences"):
        array = getattr(faces, name)
        assert array.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    for picked in (faces[:], faces[[0]]):
        assert not picked.boxes.flags.writeable


def test_a_face_is_frozen() -> None:
    face = some_faces()[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        face.score = 1.0  # type: ignore[misc]
    assert len({face, face}) == 1


def test_confidences_are_the_scores_when_left_out() -> None:
    faces = Faces(np.zeros((2, 4)), [0.8, 0.7], np.zeros((2, 5, 2)), image_size=(5, 5))
    assert faces.confidences.tolist() == faces.scores.tolist()


UNEQUAL: dict[str, tuple[Any, Any, Any, Any]] = {
    "boxes": (np.zeros((1, 4)), np.zeros(2), np.zeros((2, 5, 2)), None),
    "scores": (np.zeros((2, 4)), np.zeros(1), np.zeros((2, 5, 2)), None),
    "landmarks": (np.zeros((2, 4)), np.zeros(2), np.zeros((3, 5, 2)), None),
    "confidences": (np.zeros((2, 4)), np.zeros(2), np.zeros((2, 5, 2)), np.zeros(1)),
    "columns": (np.zeros((2, 5)), np.zeros(2), np.zeros((2, 5, 2)), None),
    "flat landmarks": (np.zeros((2, 4)), np.zeros(2), np.zeros((2, 10)), None),
    "a single score": (np.zeros((1, 4)), 0.5, np.zeros((1, 5, 2)), None),
    "flat boxes": (np.zeros(4), np.zeros(1), np.zeros((1, 5, 2)), None),
}


@pytest.mark.parametrize("arrays", UNEQUAL.values(), ids=list(UNEQUAL))
def test_rows_of_unequal_length_or_shape_are_refused(arrays: tuple[Any, Any, Any, Any]) -> None:
    boxes, scores, landmarks, confidences = arrays
    with pytest.raises(ValueError, match=r"expected an array of shape .* got"):
        Faces(boxes, scores, landmarks, confidences=confidences, image_size=(9, 9))


def test_empty_has_the_same_shapes_with_zero_rows() -> None:
    none = Faces.empty((48, 64))
    assert none.boxes.shape == (0, 4)
    assert none.scores.shape == none.confidences.shape == (0,)
    assert none.landmarks.shape == (0, 5, 2)
    assert none.image_size == (48, 64)
    assert none.largest() is None
    assert none.best() is None
    assert none.to_dicts() == []
    assert none.clipped_boxes().shape == (0, 4)


def test_largest_and_best_are_different_questions() -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 90, 20], [0, 0, 30, 30]]
    faces = Faces(boxes, [0.7, 0.8, 0.9], np.zeros((3, 5, 2)), image_size=(100, 100))
    assert faces.largest() == faces[1]
    assert faces.best() == faces[2]


def test_clipped_boxes_stay_inside_the_image_and_the_boxes_do_not() -> None:
    boxes = [[-10, -5, 30, 40], [300, 200, 400, 300], [10, 20, 30, 40]]
    faces = Faces(boxes, [0.9, 0.8, 0.7], np.zeros((3, 5, 2)), image_size=(240, 320))
    clipped = faces.clipped_boxes()
    assert clipped.tolist() == [[0, 0, 30, 40], [300, 200, 320, 240], [10, 20, 30, 40]]
    assert clipped.dtype == np.float32
    assert faces.boxes[0].tolist() == boxes[0]


def test_a_face_knows_its_size_and_the_distance_of_its_eyes() -> None:
    points = Landmarks((10, 10), (13, 14), (0, 0), (0, 0), (0, 0))
    face = Face(box=(5, 6, 25, 46), score=0.9, landmarks=points, confidence=0.95)
    assert (face.width, face.height, face.eye_distance) == (20, 40, 5)


def test_landmarks_are_named_in_the_order_of_the_array() -> None:
    faces = some_faces()
    assert Landmarks._fields == LANDMARK_NAMES
    for name, point in zip(LANDMARK_NAMES, faces.landmarks[0].tolist(), strict=True):
        assert getattr(faces[0].landmarks, name) == tuple(point)


def test_to_dicts_is_the_format_of_mtcnn_with_score_and_angle_in_plain_numbers() -> None:
    faces = Faces(
        [[-3.9, 4.9, 20.2, 30.9]],
        [0.5],
        [[[1.9, -1.9], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.99, 9.01]]],
        confidences=[0.75],
        angles=[90],
        image_size=(50, 50),
    )
    (found,) = faces.to_dicts()
    # Truncation, the corner not below zero, and the size from the float edge to that corner.
    assert found["box"] == [0, 4, 20, 26]
    assert list(found) == ["box", "confidence", "keypoints", "score", "angle"]
    assert (found["confidence"], found["score"], found["angle"]) == (0.75, 0.5, 90)
    assert found["keypoints"] == {
        "left_eye": (1, -1),
        "right_eye": (2, 3),
        "nose": (4, 5),
        "mouth_left": (6, 7),
        "mouth_right": (8, 9),
    }
    numbers = [*found["box"], *(value for point in found["keypoints"].values() for value in point)]
    assert {type(value) for value in numbers} == {int}
    assert type(found["confidence"]) is type(found["score"]) is type(found["angle"]) is float


def test_json_has_the_box_in_both_forms_under_names_of_their_own() -> None:
    face = Faces([[-3.9, 4.9, 20.25, 30.0006]], [0.5], np.zeros((1, 5, 2)), image_size=(50, 50))[0]
    entry = face_entry(face)
    assert entry["box_xyxy"] == [-3.9, 4.9, 20.25, 30.001]
    assert entry["box"] == face.to_dict()["box"] == [0, 4, 20, 26]
    assert "box_xyxy" not in face.to_dict(), "the format of mtcnn has no other entries"


def test_to_dicts_can_be_written_as_json() -> None:
    faces = some_faces()
    read = json.loads(json.dumps(faces.to_dicts()))
    assert len(read) == 5
    assert read[0]["box"] == faces[0].to_dict()["box"]


def test_to_supervision_gives_the_same_rows() -> None:
    supervision = pytest.importorskip("supervision")
    faces = some_faces()
    detections = faces.to_supervision()
    assert isinstance(detections, supervision.Detections)
    np.testing.assert_allclose(detections.xyxy, faces.boxes, rtol=FLOAT32)
    np.testing.assert_allclose(detections.confidence, faces.scores, rtol=FLOAT32)
    assert len(Faces.empty((5, 5)).to_supervision()) == 0


def test_faces_are_equal_by_value() -> None:
    assert some_faces() == some_faces()
    assert some_faces() != some_faces(seed=1)
    assert some_faces() != some_faces()[:4]
    assert Faces.empty((3, 4)) == Faces.empty((3, 4))
    assert Faces.empty((3, 4)) != Faces.empty((4, 3))
    assert some_faces() != rows_of(some_faces())
    faces = some_faces()
    other = Faces(
        faces.boxes, faces.scores, faces.landmarks, confidences=[0] * 5, image_size=(240, 320)
    )
    assert faces != other


def test_timings_do_not_count_for_equality() -> None:
    assert Faces.empty((3, 4)) == Faces.empty((3, 4), TIMINGS)


def test_faces_cannot_be_hashed() -> None:
    with pytest.raises(TypeError):
        hash(some_faces())


def test_repr_tells_number_size_and_best_score() -> None:
    assert repr(some_faces()) == "Faces(5 in 320x240, best score 0.9900)"
    assert repr(Faces.empty((240, 320))) == "Faces(0 in 320x240)"


def test_faces_survive_copying_and_pickling() -> None:
    faces = Faces([[1, 2, 3, 4]], [0.5], np.ones((1, 5, 2)), image_size=(9, 9), timings=TIMINGS)
    for twin in (copy.copy(faces), copy.deepcopy(faces), pickle.loads(pickle.dumps(faces))):
        assert twin == faces
        assert twin.timings == TIMINGS
        for name in ("boxes", "scores", "landmarks", "confidences"):
            assert not getattr(twin, name).flags.writeable, name


def test_timings_are_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TIMINGS.total_ms = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        Timings(1, 2, 3, 4, 5, (), 0, 0)  # type: ignore[call-arg, arg-type]
    assert TIMINGS.capped == ()
