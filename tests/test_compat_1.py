"""``MTCNN`` called as ``mtcnn`` 1.0.0 is, and which form of a call selects which rules."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_mtcnn import MTCNN, FaceDetector, ImageError, OptionsError, ProviderError, RuntimeOptions
from edge_mtcnn.compat.results import JUSTIFICATIONS, ImageFaces, in_stack
from edge_mtcnn.types import LANDMARK_NAMES, Faces, ImageArray

ANSWERS = {
    "astronaut": [180, 65, 265, 172],
    "grace_hopper": [181, 113, 349, 330],
}
"""What ``mtcnn`` 1.0.0 finds in the samples, ``x1, y1, x2, y2``."""
SAME_FACE = 0.8
"""IoU with its boxes: it samples the image more coarsely, which moves edges by some pixels."""
KEYPOINTS = ["nose", "mouth_right", "right_eye", "left_eye", "mouth_left"]
SEARCH_ARGUMENTS = {
    "min_face_size": 40,
    "scale_factor": 0.8,
    "threshold_pnet": 0.5,
    "threshold_rnet": 0.9,
    "threshold_onet": 0.5,
    "nms_pnet1": 0.3,
    "nms_pnet2": 0.4,
    "nms_rnet": 0.5,
    "nms_onet": 0.6,
}


@pytest.fixture(scope="module")
def mtcnn() -> MTCNN:
    return MTCNN()


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    image: ImageArray = cv2.cvtColor(cv2.imread(str(sample_path("astronaut"))), cv2.COLOR_BGR2RGB)
    return image


@pytest.fixture(scope="module")
def cut(photo: ImageArray) -> ImageArray:
    """A head cut by the left and upper border: the box and a corner of the mouth are outside."""
    return np.ascontiguousarray(photo[85:, 215:])


@pytest.fixture(scope="module")
def empty() -> ImageArray:
    return np.zeros((120, 160, 3), dtype=np.uint8)


def options_of(detector: MTCNN, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Any:
    """The options with which a call searches."""
    seen: list[Any] = []

    def detect(self: FaceDetector, image: Any, *, options: Any) -> Faces:
        seen.append(options)
        return Faces.empty((9, 9))

    with monkeypatch.context() as patch:
        patch.setattr(FaceDetector, "detect", detect)
        detector.detect_faces(np.zeros((9, 9, 3), np.uint8), **arguments)
    (options,) = seen
    return options


def test_the_arguments_of_a_call_are_those_of_1_0_0_in_their_order() -> None:
    positional = [
        "fit_to_image",
        "limit_boundaries_landmarks",
        "box_format",
        "output_type",
        "postprocess",
        "batch_stack_justification",
    ]
    defaults = [True, False, "xywh", "json", True, "center"]
    parameters = inspect.signature(MTCNN.predict).parameters
    assert list(parameters)[:8] == ["self", "image", *positional]
    assert [parameters[name].default for name in positional] == defaults
    assert list(parameters)[8:] == ["min_face_size", "min_size", *list(SEARCH_ARGUMENTS)[1:]]
    ours = list(inspect.signature(MTCNN.detect_faces).parameters)
    assert ours == ["self", "img", *positional, "image", *list(parameters)[8:]]


@pytest.mark.parametrize("name", ANSWERS)
def test_the_faces_of_1_0_0_are_found_in_the_samples(
    name: str, mtcnn: MTCNN, sample_path: Callable[[str], Path]
) -> None:
    image = cv2.cvtColor(cv2.imread(str(sample_path(name))), cv2.COLOR_BGR2RGB)
    (face,) = mtcnn.detect_faces(image, box_format="xyxy")
    ours, theirs = np.array(face["box"]), np.array(ANSWERS[name])
    low, high = np.maximum(ours[:2], theirs[:2]), np.minimum(ours[2:], theirs[2:])
    shared = (high - low).prod()
    both = (ours[2:] - ours[:2]).prod() + (theirs[2:] - theirs[:2]).prod()
    assert shared / (both - shared) > SAME_FACE


def test_dictionaries_are_as_in_1_0_0_in_plain_values(mtcnn: MTCNN, photo: ImageArray) -> None:
    faces = mtcnn.predict(photo)
    assert type(faces) is list
    (face,) = faces
    assert list(face) == ["box", "confidence", "keypoints"]
    assert [type(value) for value in face["box"]] == [int] * 4
    assert type(face["confidence"]) is float
    assert list(face["keypoints"]) == KEYPOINTS
    for point in face["keypoints"].values():
        assert type(point) is list
        assert [type(value) for value in point] == [int] * 2
    assert json.loads(json.dumps(faces)) == faces


def test_numbers_are_rounded_and_not_cut_off(
    mtcnn: MTCNN, photo: ImageArray, reference_detector: FaceDetector
) -> None:
    (face,) = reference_detector.detect(photo)
    x1, y1, x2, y2 = face.box
    (rounded,) = mtcnn.predict(photo)
    assert rounded["box"] == [round(value) for value in (x1, y1, x2 - x1, y2 - y1)]
    assert rounded["box"] != face.to_dict()["box"]
    assert rounded["confidence"] == face.confidence
    for name, point in zip(LANDMARK_NAMES, face.landmarks, strict=True):
        assert rounded["keypoints"][name] == [round(value) for value in point]


@pytest.mark.parametrize("box_format", ["xywh", "xyxy"])
def test_an_array_has_a_row_for_each_face(
    box_format: Any, mtcnn: MTCNN, photo: ImageArray, reference_detector: FaceDetector
) -> None:
    (face,) = reference_detector.detect(photo)
    rows = mtcnn.predict(photo, box_format=box_format, output_type="numpy")
    assert rows.dtype == np.float64
    assert rows.shape == (1, 16)
    box = list(face.box)
    if box_format == "xywh":
        box[2:] = face.width, face.height
    xs, ys = zip(*face.landmarks, strict=True)
    assert rows[0].tolist() == pytest.approx([0, *box, face.confidence, *xs, *ys], abs=1e-4)


def test_a_list_gives_a_list_for_each_image(
    mtcnn: MTCNN, photo: ImageArray, empty: ImageArray
) -> None:
    alone = mtcnn.predict(photo)
    part = photo[:300, 100:]
    assert mtcnn.detect_faces([photo, empty, part]) == [alone, [], mtcnn.predict(part)]
    assert mtcnn.detect_faces([photo]) == [alone]
    assert mtcnn.detect_faces([]) == []


def test_paths_bytes_files_and_arrays_may_be_mixed(
    mtcnn: MTCNN, photo: ImageArray, sample_path: Callable[[str], Path]
) -> None:
    path = sample_path("astronaut")
    with path.open("rb") as file:
        images = [str(path), path, path.read_bytes(), file, photo]
        assert mtcnn.detect_faces(images) == [mtcnn.predict(photo)] * 5
    for image in (str(path), path.read_bytes()):
        assert mtcnn.predict(image) == mtcnn.predict(photo)
        # The kind of image does not select the rules.
        assert mtcnn.detect_faces(image) == mtcnn.detect_faces(photo)
    without_onet = MTCNN("face_detection_only")
    assert without_onet.detect_faces([path]) == [without_onet.detect_faces(photo)]


def test_an_array_of_a_list_names_the_images(
    mtcnn: MTCNN, photo: ImageArray, empty: ImageArray
) -> None:
    rows = mtcnn.detect_faces([photo, empty, photo[:300]], output_type="numpy")
    assert rows[:, 0].tolist() == [0, 2]
    assert rows.shape == (2, 16)


@pytest.mark.parametrize(
    ("stages", "columns"), [("face_and_landmarks_detection", 16), ("face_detection_only", 6)]
)
def test_no_face_gives_the_same_form_without_rows(
    stages: str, columns: int, empty: ImageArray
) -> None:
    detector = MTCNN(stages)
    assert detector.detect_faces(empty) == []
    assert detector.detect_faces([empty, empty]) == [[], []]
    for images in (empty, [empty], []):
        assert detector.detect_faces(images, output_type="numpy").shape == (0, columns)
        assert detector.detect_faces(images, postprocess=False, output_type="numpy").size == 0


def test_boxes_end_at_the_border_of_the_image(mtcnn: MTCNN, cut: ImageArray) -> None:
    (raw,) = mtcnn.detect_faces(cut, fit_to_image=False, box_format="xyxy")
    assert raw["box"][0] < 0
    assert raw["box"][1] < 0
    (fitted,) = mtcnn.predict(cut, box_format="xyxy")
    assert fitted["box"] == [0, 0, *raw["box"][2:]]
    assert fitted["keypoints"] == raw["keypoints"]
    # Cut on the other two sides.
    turned = np.ascontiguousarray(cut[::-1, ::-1])
    height, width = turned.shape[:2]
    faces = [ImageFaces(np.array([[-9.0, -8, 900, 800, 1]]), (height, width))]
    assert faces[0].within_image(landmarks=True).rows[0, :4].tolist() == [
        0,
        0,
        width - 1,
        height - 1,
    ]


def test_landmarks_end_at_the_border_on_request(mtcnn: MTCNN, cut: ImageArray) -> None:
    (free,) = mtcnn.predict(cut)
    outside = {name for name, point in free["keypoints"].items() if min(point) < 0}
    assert outside
    (limited,) = mtcnn.predict(cut, limit_boundaries_landmarks=True)
    for name, (x, y) in free["keypoints"].items():
        assert limited["keypoints"][name] == [max(x, 0), max(y, 0)]
    # As in mtcnn, nothing is limited without fit_to_image.
    (raw,) = mtcnn.predict(cut, fit_to_image=False, limit_boundaries_landmarks=True)
    assert raw["keypoints"] == free["keypoints"]


def test_without_postprocess_places_are_those_in_the_stack_of_padded_images(
    mtcnn: MTCNN, photo: ImageArray, cut: ImageArray
) -> None:
    (alone,) = mtcnn.predict(cut, fit_to_image=False)
    assert mtcnn.predict(cut, postprocess=False) == [alone]
    down, right = (photo.shape[0] - cut.shape[0]) // 2, (photo.shape[1] - cut.shape[1]) // 2
    _, (stacked,) = mtcnn.predict([photo, cut], postprocess=False)
    assert stacked["box"] == [alone["box"][0] + right, alone["box"][1] + down, *alone["box"][2:]]
    assert stacked["keypoints"]["nose"] == [
        alone["keypoints"]["nose"][0] + right,
        alone["keypoints"]["nose"][1] + down,
    ]
    assert mtcnn.predict([photo, cut])[1] == mtcnn.predict(cut)


# Rows above and columns to the left of an image that lacks 5 rows and 4 columns.
PLACES = {
    "center": (2, 2),
    "top": (0, 2),
    "topleft": (0, 0),
    "topright": (0, 4),
    "bottom": (5, 2),
    "bottomleft": (5, 0),
    "bottomright": (5, 4),
    "left": (2, 0),
    "right": (2, 4),
}


@pytest.mark.parametrize("justification", PLACES)
def test_a_small_image_is_placed_in_the_stack(justification: str) -> None:
    assert set(JUSTIFICATIONS) == set(PLACES)
    down, right = PLACES[justification]
    face = ImageFaces(np.arange(15.0)[None], (20, 30))
    large = ImageFaces(np.zeros((0, 15)), (25, 34))
    moved, other = in_stack([face, large], justification)
    moves = [right, down, right, down, 0] + [right] * 5 + [down] * 5
    assert (moved.rows - face.rows).tolist() == [moves]
    assert other.rows.shape == (0, 15)


def test_without_onet_there_are_square_boxes_and_no_landmarks(
    mtcnn: MTCNN, photo: ImageArray
) -> None:
    detector = MTCNN(stages="face_detection_only")
    faces = detector.detect_faces(photo, box_format="xyxy")
    assert all(list(face) == ["box", "confidence"] for face in faces)
    (with_landmarks,) = mtcnn.predict(photo, box_format="xyxy")
    best = faces[0]["box"]
    assert abs((best[2] - best[0]) - (best[3] - best[1])) <= 1
    assert np.abs(np.subtract(best, with_landmarks["box"])).max() < 15
    assert detector.detect_faces([photo]) == [detector.predict(photo)]
    assert detector.detect_faces(photo, limit_boundaries_landmarks=True, box_format="xyxy") == faces
    rows = detector.detect_faces(photo, output_type="numpy")
    assert rows.shape == (len(faces), 6)
    strict = detector.detect_faces(photo, threshold_rnet=0.95)
    assert 1 == len(strict) < len(faces)


# Which rules a call follows.


def test_a_plain_call_keeps_the_rules_of_0_1(
    mtcnn: MTCNN, photo: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(mtcnn.detect_faces(photo)[0]["keypoints"]) == list(LANDMARK_NAMES)
    assert options_of(mtcnn, monkeypatch).thresholds == (0.6, 0.7, 0.7)


ARGUMENTS_OF_1: dict[str, Any] = {
    "fit_to_image": True,
    "limit_boundaries_landmarks": False,
    "box_format": "xywh",
    "output_type": "json",
    "postprocess": True,
    "batch_stack_justification": "center",
    "min_size": 12,
    "min_face_size": 20,
    "scale_factor": 0.709,
    "nms_pnet1": 0.5,
    "nms_pnet2": 0.7,
    "nms_rnet": 0.7,
    "nms_onet": 0.7,
    "threshold_pnet": 0.6,
    "threshold_rnet": 0.7,
    "threshold_onet": 0.8,
}


@pytest.mark.parametrize("name", ARGUMENTS_OF_1)
def test_any_argument_of_1_0_0_selects_its_rules(
    name: str, mtcnn: MTCNN, photo: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {name: ARGUMENTS_OF_1[name]}
    assert mtcnn.detect_faces(photo, **named) == mtcnn.predict(photo)
    assert options_of(mtcnn, monkeypatch, **named).thresholds == (0.6, 0.7, 0.8)


def test_positional_arguments_of_1_0_0_select_its_rules(mtcnn: MTCNN, photo: ImageArray) -> None:
    assert mtcnn.detect_faces(photo, False) == mtcnn.predict(photo, fit_to_image=False)
    rows = mtcnn.detect_faces(photo, True, False, "xyxy", "numpy", True, "top")
    assert rows.shape == (1, 16)


def test_the_name_image_selects_the_rules_of_1_0_0(mtcnn: MTCNN, photo: ImageArray) -> None:
    assert mtcnn.detect_faces(image=photo) == mtcnn.predict(image=photo) == mtcnn.predict(photo)
    assert mtcnn.detect_faces(image=[photo]) == [mtcnn.predict(photo)]
    with pytest.raises(OptionsError, match="not both"):
        mtcnn.detect_faces(photo, image=photo)


@pytest.mark.parametrize(
    "made",
    [
        {"stages": "face_and_landmarks_detection"},
        {"device": "CPU:0"},
        {"device": "/device:cpu:1"},
        {"device": "/CPU:0"},
        {"device": "cpu"},
        {"stages": "face_and_landmarks_detection", "runtime": RuntimeOptions(threads=1)},
    ],
    ids=str,
)
def test_a_constructor_as_in_1_0_0_selects_its_rules(
    made: dict[str, Any], mtcnn: MTCNN, photo: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = MTCNN(**made)
    assert detector.detect_faces(photo) == mtcnn.predict(photo)
    assert options_of(detector, monkeypatch).thresholds == (0.6, 0.7, 0.8)


def test_stages_and_device_may_be_positional(mtcnn: MTCNN, photo: ImageArray) -> None:
    for arguments in (("face_and_landmarks_detection",), ("face_and_landmarks_detection", "CPU:0")):
        assert MTCNN(*arguments).detect_faces(photo) == mtcnn.predict(photo)
    assert "keypoints" not in MTCNN("face_detection_only", "CPU:0").detect_faces(photo)[0]


def test_arguments_of_a_call_reach_the_search(
    mtcnn: MTCNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_of(mtcnn, monkeypatch, **SEARCH_ARGUMENTS)
    assert options.min_face_size == 40
    assert options.scale_factor == 0.8
    assert options.thresholds == (0.5, 0.9, 0.5)
    assert options.level_nms == 0.3
    assert options.nms == (0.4, 0.5, 0.6)
    assert (options.resampling, options.mirror) == ("area", False)
    assert options_of(mtcnn, monkeypatch, min_face_size=40.0).min_face_size == 40


def test_the_constructor_of_0_1_gives_the_defaults_of_a_call_of_1_0_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    detector = MTCNN(min_face_size=40, scale_factor=0.8)
    options = options_of(detector, monkeypatch, threshold_rnet=0.9)
    assert (options.min_face_size, options.scale_factor) == (40, 0.8)
    assert options.thresholds == (0.6, 0.9, 0.8)
    assert options_of(detector, monkeypatch, min_face_size=20).min_face_size == 20
    detector.min_face_size = 60
    assert options_of(detector, monkeypatch, box_format="xyxy").min_face_size == 60

    strict = MTCNN(steps_threshold=[0.5, 0.6, 0.7])
    assert options_of(strict, monkeypatch, box_format="xyxy").thresholds == (0.5, 0.6, 0.7)
    assert options_of(strict, monkeypatch, threshold_onet=0.9).thresholds == (0.5, 0.6, 0.9)

    both = MTCNN(min_face_size=40, device="CPU:0")
    assert options_of(both, monkeypatch).min_face_size == 40
    assert options_of(both, monkeypatch).thresholds == (0.6, 0.7, 0.8)


def test_min_size_has_no_effect_as_in_1_0_0(mtcnn: MTCNN, photo: ImageArray) -> None:
    assert mtcnn.detect_faces(photo, min_size=24) == mtcnn.predict(photo)


def test_it_can_be_pickled(photo: ImageArray) -> None:
    detector = MTCNN("face_detection_only", "CPU:0")
    detector.min_face_size = 60
    copied = pickle.loads(pickle.dumps(detector))
    assert copied.min_face_size == 60
    assert copied.detect_faces(photo) == detector.detect_faces(photo)


# What cannot be.


class StagePNet:
    """As people pass it: a class of ``mtcnn.stages`` or of their own."""


@pytest.mark.parametrize(
    "stages",
    ["pnet", "", "FACE_DETECTION_ONLY", [StagePNet], [StagePNet()], StagePNet, (), [], 3, True],
    ids=repr,
)
def test_other_stages_are_refused_with_what_to_do(stages: Any) -> None:
    with pytest.raises(OptionsError) as caught:
        MTCNN(stages=stages)
    message = str(caught.value)
    assert "'face_and_landmarks_detection' or 'face_detection_only'; got" in message
    assert "RuntimeOptions(models=" in message


def test_stage_classes_are_refused_by_position_too() -> None:
    with pytest.raises(OptionsError, match="Stage classes and objects cannot be used"):
        MTCNN([StagePNet])  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["", "cuda", "cuda:0", "TPU:0", "CPU:", "xCPU:0", 0, b"CPU:0"])
def test_other_devices_are_refused_with_what_to_do(device: Any) -> None:
    with pytest.raises(OptionsError, match=r"'CPU:0' or 'GPU:0'.*RuntimeOptions\(device="):
        MTCNN(device=device)


def test_another_card_is_refused_with_how_to_choose_it() -> None:
    with pytest.raises(OptionsError, match="CUDA_VISIBLE_DEVICES=2"):
        MTCNN(device="GPU:2")


@pytest.mark.parametrize("device", ["GPU:0", "/device:GPU:0", "gpu"])
def test_a_gpu_is_cuda_and_never_silently_the_processor(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[object] = []

    def refuse(manifest: Any, form: str, device: Any, threads: int) -> Any:
        wanted.append(device)
        raise ProviderError("CUDA does not start")

    monkeypatch.setattr("edge_mtcnn.detector.start_networks", refuse)
    with pytest.raises(ProviderError):
        MTCNN(device=device)
    assert wanted == ["cuda"]


def test_device_and_runtime_together_are_refused() -> None:
    with pytest.raises(OptionsError, match="not both"):
        MTCNN(device="CPU:0", runtime=RuntimeOptions())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"box_format": "yxyx"}, "box_format must be one of xywh, xyxy; got 'yxyx'"),
        ({"output_type": "dict"}, "output_type must be one of json, numpy; got 'dict'"),
        ({"batch_stack_justification": "middle"}, "batch_stack_justification must be one of"),
        ({"fit_to_image": 1}, "fit_to_image must be true or false"),
        ({"limit_boundaries_landmarks": "no"}, "limit_boundaries_landmarks must be true or false"),
        ({"postprocess": 0}, "postprocess must be true or false"),
        ({"min_face_size": 5}, "min_face_size must be a whole number at least 10"),
        ({"min_face_size": 20.5}, "min_face_size"),
        ({"min_size": 0}, "min_size must be a whole number at least 1"),
        ({"scale_factor": 1.2}, "scale_factor"),
        ({"threshold_pnet": -0.1}, "threshold_pnet must be a number in 0.0..1.0; got -0.1"),
        ({"threshold_rnet": "0.7"}, "threshold_rnet"),
        ({"threshold_onet": 80}, "threshold_onet"),
        ({"nms_pnet1": 2}, "nms_pnet1"),
        ({"nms_pnet2": 2}, "nms_pnet2"),
        ({"nms_rnet": 2}, "nms_rnet"),
        ({"nms_onet": float("nan")}, "nms_onet"),
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused_by_their_name(
    arguments: dict[str, Any], message: str, mtcnn: MTCNN, empty: ImageArray
) -> None:
    with pytest.raises(OptionsError, match=message):
        mtcnn.detect_faces(empty, **arguments)


def test_an_unknown_argument_is_refused(mtcnn: MTCNN, empty: ImageArray) -> None:
    with pytest.raises(TypeError, match="treshold_onet"):  # mtcnn ignores it
        mtcnn.detect_faces(empty, treshold_onet=0.9)  # type: ignore[call-arg]


@pytest.mark.parametrize("stages", ["face_and_landmarks_detection", "face_detection_only"])
def test_an_image_that_cannot_be_read_is_never_no_face(stages: str, photo: ImageArray) -> None:
    mtcnn = MTCNN(stages)
    wrong: Any
    for wrong in ("no-such-file.jpg", b"no image", None, photo.astype(np.float32), (photo, photo)):
        with pytest.raises(ImageError):
            mtcnn.predict(wrong)
        with pytest.raises(ImageError, match=r"^images\[1\]: "):
            mtcnn.predict([photo, wrong])
