"""The calibrated score: its model file, what it is made of, and what it gives on real photos."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_mtcnn import DetectorOptions, FaceDetector, ModelFileError, RuntimeOptions, read_image
from edge_mtcnn.cascade.candidates import Found
from edge_mtcnn.cascade.onet import look_again
from edge_mtcnn.cascade.pyramid import AreaSampler, OctaveSampler
from edge_mtcnn.cascade.scoring import EVIDENCE, ScoreModel, evidence, load_score_model
from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.sessions import open_networks
from edge_mtcnn.types import FloatArray, ImageArray

# A face of 90x120 with landmarks as a face has them.
BOX = np.array([[100.0, 80.0, 190.0, 200.0]])
LANDMARKS = np.array([[(125.0, 125), (165, 125), (145, 150), (128, 172), (162, 172)]])
SAME_FACE = 0.03  # of the box: how far two readings of a clear face may lie apart


@pytest.fixture(scope="module")
def score_file(project_root: Path) -> Path:
    return project_root / "models" / "score.json"


@pytest.fixture(scope="module")
def model(score_file: Path) -> ScoreModel:
    return load_score_model(score_file, score_file.read_bytes())


def found_with(
    logits: list[float], apart: float = 0.0, size: float = 1.0, feature: float = 0.0
) -> Found:
    """Faces at one place, their landmarks ``apart`` pixels off, all ``size`` times as large."""
    count = len(logits)
    boxes, landmarks = np.tile(BOX, (count, 1)), np.tile(LANDMARKS, (count, 1, 1)) + apart
    values = np.array(logits, dtype=np.float32)
    return Found(
        boxes=boxes * size,
        scores=values,
        landmarks=landmarks * size,
        logits=values,
        features=np.full((count, 256), feature, dtype=np.float32),
    )


def readings(found: Found, logits: float | None = None, apart: float = 0.0) -> list[Found]:
    other = found.logits if logits is None else np.full_like(found.logits, logits)
    near = found._replace(logits=other, landmarks=found.landmarks + apart)
    return [near, found._replace(logits=other, landmarks=found.landmarks - apart)]


# The model file.


def test_the_models_own_score_file_is_read(model: ScoreModel) -> None:
    assert model.coefficients.shape == (2, EVIDENCE)
    assert model.landmark_offsets.shape == (5, 2)
    # A more certain reading makes a face likelier, whatever its size; features count in large ones.
    assert (model.coefficients[:, -3:-1].sum(axis=1) > 0).all()
    small, large = np.abs(model.coefficients[:, :256]).sum(axis=1)
    assert 0 < small < large


def content_of(score_file: Path, **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(score_file.read_text(encoding="utf-8"))
    return {**content, **changes}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another version": ({"schema_version": 1}, "not of this version"),
    "too few coefficients": ({"coefficients": [[1.0]] * 2}, "must hold arrays of the shapes"),
    "one model": ({"coefficients": [[1.0] * 259]}, "must hold arrays of the shapes"),
    "too few landmarks": ({"landmark_offsets": [[0, 0]] * 4}, "must hold arrays of the shapes"),
    "ragged landmarks": ({"landmark_offsets": [[0, 0], [0]]}, "cannot be read"),
    "text for a number": ({"intercepts": ["high", 1]}, "cannot be read"),
    "no number": ({"intercepts": None}, "must hold arrays of the shapes"),
    "not a number": ({"intercepts": [1.0, float("nan")]}, "not finite"),
    "endless": ({"intercepts": [float("inf"), 1.0]}, "not finite"),
    "one size": ({"sizes": [20]}, "cannot be read"),
    "sizes that fall": ({"sizes": [80, 20]}, "sizes must rise"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_score_file_is_an_error_that_names_it_once(
    case: str, score_file: Path, tmp_path: Path
) -> None:
    changes, reason = WRONG[case]
    file = tmp_path / "score.json"
    file.write_text(json.dumps(content_of(score_file, **changes)))
    with pytest.raises(ModelFileError, match=reason) as caught:
        load_score_model(file, file.read_bytes())
    assert str(caught.value).count(str(file)) == 1


@pytest.mark.parametrize("name", ["schema_version", "sizes", "tail", "coefficients", "intercepts"])
def test_a_missing_entry_is_named(name: str, score_file: Path, tmp_path: Path) -> None:
    content = content_of(score_file)
    del content[name]
    file = tmp_path / "score.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ModelFileError, match=f"has no '{name}'"):
        load_score_model(file, file.read_bytes())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"3"])
def test_a_file_that_is_no_score_model_is_an_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "score.json"
    file.write_bytes(content)
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_score_model(file, file.read_bytes())


def test_a_detector_whose_score_file_was_altered_does_not_start(
    project_root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for file in (project_root / "models").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    content = json.loads((folder / "score.json").read_text())
    (folder / "score.json").write_text(json.dumps({**content, "intercepts": [9.0, 9.0]}))
    with pytest.raises(ModelFileError, match=r"score\.json"):
        FaceDetector(runtime=RuntimeOptions(models=folder))
    # The reference does not use it.
    FaceDetector(DetectorOptions.from_preset("reference"), RuntimeOptions(models=folder)).close()


# What the score is made of.


def test_evidence_is_the_features_the_log_odds_and_the_size() -> None:
    found = found_with([2.0], feature=1.0)
    tight, mirrored = readings(found, logits=5.0, apart=3.0)
    mirrored = mirrored._replace(features=mirrored.features + 3, logits=mirrored.logits + 1)
    (row,) = evidence(found, [tight, mirrored])
    assert row[:256] == pytest.approx(2)  # the mean of 1, 1 and 4
    first, further, size = row[256:]
    assert first == pytest.approx(2)
    assert further == pytest.approx(5.5)
    assert size == pytest.approx(np.log(105))  # the box is 105 pixels on average


def test_size_counts_between_40_and_150_pixels_only() -> None:
    for scale, size in ((0.1, 40), (0.5, 52.5), (1.0, 105), (4.0, 150)):
        found = found_with([2.0], size=scale)
        assert evidence(found, readings(found))[0, -1] == pytest.approx(np.log(size))


def test_readings_that_agree_wholly_have_finite_evidence() -> None:
    found = found_with([3.0])
    assert np.isfinite(evidence(found, readings(found))).all()


def test_evidence_of_a_face_without_size_is_finite() -> None:
    found = found_with([3.0], size=0.0)
    assert np.isfinite(evidence(found, readings(found))).all()


def test_the_score_rises_with_the_certainty_of_the_readings(model: ScoreModel) -> None:
    found = found_with([float(value) for value in np.linspace(-8, 14, 40)])
    scores = model.scores(found, readings(found, apart=1.0))
    assert (np.diff(scores) > 0).all()


def test_the_score_goes_from_the_model_for_small_to_that_for_large_faces() -> None:
    coefficients = np.zeros((2, EVIDENCE))
    coefficients[1, :256] = 1 / 256
    model = ScoreModel(coefficients, np.array([-1.0, 1.0]), (20.0, 80.0), 0.5, np.zeros((5, 2)))
    for size, log_odds in ((10, -0.5), (20, -0.5), (50, 0.5), (80, 2), (200, 2)):
        found = found_with([0.0], size=size / 105, feature=1.0)
        (score,) = model.scores(found, readings(found))
        assert score == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-6)


def test_scores_stay_within_0_and_1_without_a_warning(model: ScoreModel) -> None:
    # O-Net's logits of photos lie within 40; warnings are errors here.
    found = found_with([-200.0, -40.0, 0.0, 40.0, 200.0])
    for apart in (0.0, 50.0, 1e6):
        scores = model.scores(found, readings(found, apart=apart))
        assert scores.shape == (5,)
        assert ((scores >= 0) & (scores <= 1)).all()


def test_a_reported_score_as_threshold_keeps_its_face(
    sample_path: Callable[[str], Path],
) -> None:
    photo = read_image(sample_path("astronaut"))
    with FaceDetector(DetectorOptions(min_face_size=60)) as detector:
        found = [(image, detector.detect(image)) for image in shifted(photo)]
    assert len(found) == 6
    for image, faces in found:
        options = DetectorOptions(min_face_size=60, confidence=float(faces.scores.min()))
        with FaceDetector(options) as choosy:
            assert len(choosy.detect(image)) == len(faces) >= 1


def shifted(photo: ImageArray) -> list[ImageArray]:
    """Six photos of one face, each with its own score."""
    return [np.ascontiguousarray(photo[:, number:]) for number in range(0, 60, 10)]


def test_no_faces_have_no_scores_and_no_landmarks(model: ScoreModel) -> None:
    found = found_with([1.0]).take(slice(0))
    assert evidence(found, readings(found)).shape == (0, EVIDENCE)
    assert model.scores(found, readings(found)).shape == (0,)
    assert model.landmarks(found, readings(found)).shape == (0, 5, 2)


def test_landmarks_are_the_mean_of_the_readings_and_what_they_lack() -> None:
    offsets = np.array([(0.01 * n, -0.02 * n) for n in range(5)])
    model = ScoreModel(np.ones((2, EVIDENCE)), np.zeros(2), (20.0, 80.0), 1.0, offsets)
    found = found_with([1.0])
    near = found._replace(landmarks=found.landmarks + 4)
    far = found._replace(landmarks=found.landmarks + 8)
    expected = LANDMARKS + 6 + 105 * offsets  # the box is 105 pixels on average
    assert model.landmarks(found, [near, far]) == pytest.approx(expected)


# The second look, with the real networks.


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    return read_image(sample_path("astronaut"))


@pytest.fixture(scope="module")
def onet() -> Callable[[Any], Any]:
    manifest = load_manifest(None)
    return open_networks(manifest.models(manifest.forms[0]), "cpu").onet_features


def one_after_another(function: Callable[[Any], Any], items: Any, /) -> list[Any]:
    return [function(item) for item in items]


def astronaut(detector: FaceDetector, photo: ImageArray) -> Found:
    (face,) = detector.detect(photo)
    confidence = min(face.confidence, 1 - 1e-6)
    logits = np.array([np.log(confidence / (1 - confidence))], dtype=np.float32)
    return Found(
        boxes=np.array([face.box]),
        scores=np.array([face.confidence], dtype=np.float32),
        landmarks=np.array([face.landmarks]),
        logits=logits,
        features=np.zeros((1, 256), dtype=np.float32),
    )


def looked_again(found: Found, image: ImageArray, onet: Callable[[Any], Any]) -> list[Found]:
    return look_again(found, OctaveSampler(image, 1.0), onet, one_after_another)


def spread(first: FloatArray, second: FloatArray, found: Found) -> float:
    """Largest distance of two sets of landmarks, in widths of the box."""
    width = found.boxes[0, 2] - found.boxes[0, 0]
    return float(np.linalg.norm(first - second, axis=-1).max() / width)


def test_both_further_readings_of_a_clear_face_agree(
    photo: ImageArray, onet: Callable[[Any], Any], reference_detector: FaceDetector
) -> None:
    found = astronaut(reference_detector, photo)
    tight, mirrored = looked_again(found, photo, onet)
    for reading in (tight, mirrored):
        assert np.array_equal(reading.boxes, found.boxes)
        assert reading.logits.shape == (1,)
        assert reading.logits[0] > 5
    assert not np.array_equal(tight.landmarks, mirrored.landmarks)
    # Mirrored back: left is left again.
    assert spread(tight.landmarks, mirrored.landmarks, found) < SAME_FACE
    left_eye, right_eye = mirrored.landmarks[0, :2]
    assert left_eye[0] < right_eye[0]


def test_in_a_mirrored_photo_the_readings_change_places(
    photo: ImageArray, onet: Callable[[Any], Any], reference_detector: FaceDetector
) -> None:
    found = astronaut(reference_detector, photo)
    width = photo.shape[1]
    flipped = np.ascontiguousarray(photo[:, ::-1])
    boxes = found.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [width, 0, width, 0]
    here = looked_again(found, photo, onet)
    there = looked_again(found._replace(boxes=boxes), flipped, onet)
    for reading, other in zip(here, there, strict=True):
        back = other.landmarks[:, [1, 0, 2, 4, 3]] * [-1, 1] + [width - 1, 0]
        assert spread(reading.landmarks, back, found) < SAME_FACE


@pytest.mark.parametrize("degrees", [15, 30, -30, 45, -45])
@pytest.mark.parametrize("make", [OctaveSampler, AreaSampler])
def test_a_tilted_head_is_read_upright(
    degrees: float,
    make: Any,
    photo: ImageArray,
    onet: Callable[[Any], Any],
    reference_detector: FaceDetector,
) -> None:
    found = astronaut(reference_detector, photo)
    x1, y1, x2, y2 = found.boxes[0]
    matrix = cv2.getRotationMatrix2D(((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2), -degrees, 1.0)
    tilted = cv2.warpAffine(photo, matrix, photo.shape[1::-1])
    moved = found.landmarks @ matrix[:, :2].T + matrix[:, 2]
    sampler = make(tilted, 1.0) if make is OctaveSampler else make(tilted)
    readings = look_again(found._replace(landmarks=moved), sampler, onet, one_after_another)
    upright = looked_again(found, photo, onet)
    not_turned = looked_again(found, tilted, onet)
    for reading, expected, other in zip(readings, upright, not_turned, strict=True):
        points = expected.landmarks @ matrix[:, :2].T + matrix[:, 2]
        assert spread(reading.landmarks, points, found) < SAME_FACE
        assert spread(other.landmarks, points, found) > spread(reading.landmarks, points, found)
        assert reading.logits[0] > 5


def test_only_the_windows_of_tilted_heads_are_turned(
    photo: ImageArray, onet: Callable[[Any], Any], reference_detector: FaceDetector
) -> None:
    found = astronaut(reference_detector, photo)
    tilted = found.landmarks[:, :, ::-1].copy()  # some other points, of a head on its side
    both = Found(*(np.concatenate([values, values]) for values in found))
    both = both._replace(landmarks=np.concatenate([found.landmarks, tilted]))
    for reading, alone in zip(
        looked_again(both, photo, onet), looked_again(found, photo, onet), strict=True
    ):
        assert np.array_equal(reading.landmarks[0], alone.landmarks[0])
        assert not np.array_equal(reading.landmarks[1], alone.landmarks[0])


def test_a_second_look_at_nothing_asks_the_network_nothing(photo: ImageArray) -> None:
    def never(windows: Any) -> Any:
        raise AssertionError

    nothing = found_with([1.0]).take(slice(0))
    for reading in looked_again(nothing, photo, never):
        assert reading.landmarks.shape == (0, 5, 2)
        assert reading.logits.shape == (0,)


def test_a_second_look_makes_a_person_certain_and_a_face_in_noise_not(
    photo: ImageArray, onet: Callable[[Any], Any], model: ScoreModel
) -> None:
    # Where nothing is, O-Net is asked all the same: as if it had been sure at first.
    noise = np.random.default_rng(1).integers(0, 256, photo.shape, dtype=np.uint8)
    supposed = found_with([8.0])
    (score,) = model.scores(supposed, looked_again(supposed, noise, onet))
    assert score < 0.01
    with FaceDetector(DetectorOptions(confidence=0.99)) as detector:
        assert len(detector.detect(photo)) == 1
