"""The drop-in ``MTCNN`` as ``mtcnn`` 0.1.x: the program of the article with one line changed."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_mtcnn import (
    MTCNN,
    DetectorOptions,
    FaceDetector,
    ImageError,
    OptionsError,
    RuntimeOptions,
)
from edge_mtcnn.types import ImageArray, mtcnn_entry

ROOT = Path(__file__).resolve().parent.parent
POINTS = ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"]


@pytest.fixture(scope="module")
def mtcnn() -> MTCNN:
    return MTCNN()


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    image: ImageArray = cv2.cvtColor(cv2.imread(str(sample_path("astronaut"))), cv2.COLOR_BGR2RGB)
    return image


# The listing as people have it, but for the import and for the plot, which needs a screen.
LISTING = """
import sys
import cv2
from edge_mtcnn import MTCNN

pixels = cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)
detector = MTCNN()
faces = detector.detect_faces(pixels)
for face in faces:
    print(face)
for result in faces:
    x, y, width, height = result['box']
    print(x, y, width, height)
    crop = pixels[y:y + height, x:x + width]
    print(crop.shape)
    for key, value in result['keypoints'].items():
        print(key, value)
"""


def test_the_listing_runs_with_one_import_changed(sample_path: Callable[[str], Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LISTING, str(sample_path("astronaut"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, box, crop, *points = done.stdout.splitlines()
    face = eval(first)  # dictionaries print as in the article: plain numbers, nothing else
    assert list(face) == ["box", "confidence", "keypoints"]
    assert [int(value) for value in box.split()] == face["box"]
    assert crop == str((face["box"][3], face["box"][2], 3))
    assert [line.split()[0] for line in points] == POINTS


def test_the_module_path_of_the_original_has_a_counterpart() -> None:
    from edge_mtcnn.compat import MTCNN as THE_SAME

    assert THE_SAME is MTCNN


def test_the_arguments_are_those_of_mtcnn_in_their_order() -> None:
    parameters = inspect.signature(MTCNN).parameters
    positional = [
        name for name, value in parameters.items() if value.kind is value.POSITIONAL_OR_KEYWORD
    ]
    assert positional == ["weights_file", "min_face_size", "steps_threshold", "scale_factor"]
    assert parameters["weights_file"].default is None
    assert parameters["min_face_size"].default == 20
    assert parameters["steps_threshold"].default is None
    assert parameters["scale_factor"].default == 0.709
    assert list(inspect.signature(MTCNN.detect_faces).parameters)[:2] == ["self", "img"]


def test_results_are_plain_values_in_the_order_of_mtcnn(mtcnn: MTCNN, photo: ImageArray) -> None:
    faces = mtcnn.detect_faces(photo)
    assert type(faces) is list
    assert len(faces) == 1
    (face,) = faces
    assert type(face) is dict
    assert list(face) == ["box", "confidence", "keypoints"]
    assert type(face["box"]) is list
    assert [type(value) for value in face["box"]] == [int] * 4
    assert type(face["confidence"]) is float
    assert list(face["keypoints"]) == POINTS
    for point in face["keypoints"].values():
        assert type(point) is tuple
        assert [type(value) for value in point] == [int] * 2
    assert json.loads(json.dumps(faces))[0]["box"] == face["box"]


def test_results_are_those_of_preset_reference(
    mtcnn: MTCNN, photo: ImageArray, reference_detector: FaceDetector
) -> None:
    expected = [mtcnn_entry(face) for face in reference_detector.detect(photo)]
    assert mtcnn.detect_faces(photo) == expected


def test_the_confidence_is_the_raw_probability(mtcnn: MTCNN, photo: ImageArray) -> None:
    (face,) = mtcnn.detect_faces(photo)
    assert face["confidence"] == float(np.float32(face["confidence"]))
    assert face["confidence"] > 0.99


def test_no_face_is_an_empty_list(mtcnn: MTCNN) -> None:
    for size in ((1, 1), (12, 400), (200, 300)):
        assert mtcnn.detect_faces(np.zeros((*size, 3), dtype=np.uint8)) == []


def test_boxes_that_leave_the_image_start_at_zero(mtcnn: MTCNN, photo: ImageArray) -> None:
    # Heads cut by the left and by the upper border.
    for cut, axis in ((photo[:, 205:], 0), (photo[85:, :], 1)):
        raw = FaceDetector(preset="reference").detect(cut)
        outside = np.flatnonzero(raw.boxes[:, axis] < 0)
        assert len(outside) >= 1
        faces = mtcnn.detect_faces(cut)
        for row in outside.tolist():
            x1, y1, x2, y2 = raw.boxes[row].tolist()
            x, y, width, height = faces[row]["box"]
            assert faces[row]["box"][axis] == 0
            assert (x, y) == (max(0, int(x1)), max(0, int(y1)))
            # The size runs to the right and lower edge, which may lie outside.
            assert (width, height) == (int(x2 - x), int(y2 - y))


@pytest.mark.parametrize(
    "steps", [[0.6, 0.7, 0.7], (0.6, 0.7, 0.7), np.array([0.6, 0.7, 0.7]), None], ids=type
)
def test_the_default_thresholds_may_be_given(steps: Any, photo: ImageArray, mtcnn: MTCNN) -> None:
    assert MTCNN(steps_threshold=steps).detect_faces(photo) == mtcnn.detect_faces(photo)


def test_arguments_reach_the_detector(photo: ImageArray) -> None:
    drop_in = MTCNN(None, 40, [0.5, 0.6, 0.9], 0.8)
    options = dataclasses.replace(
        DetectorOptions.from_preset("reference"),
        min_face_size=40,
        thresholds=(0.5, 0.6, 0.9),
        scale_factor=0.8,
    )
    with FaceDetector(options) as detector:
        expected = [mtcnn_entry(face) for face in detector.detect(photo)]
    assert len(expected) == 1
    assert drop_in.detect_faces(photo) == expected


def test_the_smallest_face_can_be_read_and_set(photo: ImageArray) -> None:
    detector = MTCNN(min_face_size=30.0)
    assert detector.min_face_size == 30
    assert type(detector.min_face_size) is int
    detector.min_face_size = 300
    assert detector.min_face_size == 300
    assert detector.detect_faces(photo) == []
    detector.min_face_size = 20
    assert len(detector.detect_faces(photo)) == 1
    with pytest.raises(OptionsError, match="at least 10"):
        detector.min_face_size = 3
    detector.min_face_size = 40.9  # the original cuts the fraction off too
    assert detector.min_face_size == 40
    for wrong in ("forty", None, float("nan"), float("inf")):
        with pytest.raises(OptionsError, match="must be a number"):
            detector.min_face_size = wrong  # type: ignore[assignment]
    assert detector.min_face_size == 40


def test_a_weights_file_is_refused_with_what_to_do() -> None:
    with pytest.raises(OptionsError) as caught:
        MTCNN(weights_file="mtcnn_weights.npy")
    message = str(caught.value)
    assert "weights_file" in message
    assert "Omit it for the same weights as mtcnn 0.1.x" in message
    assert "RuntimeOptions(models=" in message
    assert "'mtcnn_weights.npy'" in message
    with pytest.raises(OptionsError, match="weights_file"):
        MTCNN("")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"min_face_size": 5}, "min_face_size"),
        ({"min_face_size": "20"}, "min_face_size"),
        ({"min_face_size": 20.5}, "min_face_size"),
        ({"min_face_size": float("inf")}, "min_face_size"),
        ({"steps_threshold": [0.6, 0.7]}, "thresholds"),
        ({"steps_threshold": [0.6, 0.7, 7]}, "thresholds"),
        ({"steps_threshold": 0.6}, "thresholds"),
        ({"steps_threshold": np.array(0.6)}, "thresholds"),
        ({"scale_factor": 1.0}, "scale_factor"),
        ({"scale_factor": 0}, "scale_factor"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(OptionsError, match=name):
        MTCNN(**arguments)


def test_the_runtime_can_be_chosen(photo: ImageArray, mtcnn: MTCNN) -> None:
    detector = MTCNN(runtime=RuntimeOptions(threads=1))
    assert detector.detect_faces(photo) == mtcnn.detect_faces(photo)


@pytest.mark.parametrize("wrong", [None, "photo.jpg", np.zeros((3, 40, 50), np.uint8), [1, 2]])
def test_what_is_no_image_is_an_error(wrong: Any, mtcnn: MTCNN) -> None:
    with pytest.raises(ImageError):
        mtcnn.detect_faces(wrong)


def test_images_that_crash_the_original_are_searched(mtcnn: MTCNN, photo: ImageArray) -> None:
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    alpha = cv2.cvtColor(photo, cv2.COLOR_RGB2RGBA)
    assert len(mtcnn.detect_faces(gray)) == 1
    assert mtcnn.detect_faces(alpha) == mtcnn.detect_faces(photo)
