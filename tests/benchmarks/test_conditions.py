"""The conditions in which faces are looked for: what changes, what moves, and what is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures import run

from benchmarks import accuracy, compare
from benchmarks.accuracy_conditions import score_at
from benchmarks.common.annotated import random_of
from benchmarks.common.images import Pixels, read_rgb
from benchmarks.common.program import BenchmarkError
from benchmarks.common.results import read, write
from benchmarks.conditions import CONDITIONS, MASK, PLEAT, Photo
from edge_mtcnn import DetectorOptions, FaceDetector
from edge_mtcnn.types import Faces

MOVED = {"backlit", "small", *(name for name in CONDITIONS if name.startswith("tilted"))}
"""Conditions under which the face lies elsewhere in the picture."""
LOST = {"tilted by 50", "tilted by 90", "tilted by 180", "over-exposed"}
"""Conditions under which the sample may be missed."""


@pytest.fixture(scope="module")
def detector() -> Any:
    with FaceDetector(DetectorOptions(min_face_size=30, confidence=0.0)) as detector:
        yield detector


@pytest.fixture(scope="module")
def photo(detector: FaceDetector, sample_path: Callable[[str], Path]) -> Photo:
    """The portrait of a sample, annotated by what is found in it."""
    pixels = read_rgb(sample_path("astronaut"))
    face = detector.detect(pixels)[0]
    return Photo(pixels, np.array(face.box), np.array(face.landmarks))


def under(condition: str, photo: Photo) -> Photo:
    return CONDITIONS[condition](photo, random_of(condition))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_each_condition_changes_the_picture_and_never_the_photo_it_is_given(
    condition: str, photo: Photo
) -> None:
    before = photo.pixels.copy(), photo.box.copy(), photo.points.copy()
    first, second = under(condition, photo), under(condition, photo)
    assert first.pixels.dtype == np.uint8
    assert first.pixels.shape[2] == 3
    np.testing.assert_array_equal(first.pixels, second.pixels)
    same = first.pixels.shape == photo.pixels.shape and (first.pixels == photo.pixels).all()
    assert same == (condition == "clean")
    for kept, given in zip(before, (photo.pixels, photo.box, photo.points), strict=True):
        np.testing.assert_array_equal(kept, given)
    assert (condition in MOVED) == (not np.array_equal(first.points, photo.points))


@pytest.mark.parametrize("condition", sorted(CONDITIONS.keys() - LOST))
def test_the_face_is_found_where_the_condition_says_it_is(
    condition: str, photo: Photo, detector: FaceDetector
) -> None:
    shown = under(condition, photo)
    faces = detector.detect(shown.pixels)
    assert score_at(faces, shown.box) == faces.scores.max() > 0.5
    # Painted covers hide what the landmarks are read from.
    distance = np.linalg.norm(faces.landmarks[0] - shown.points, axis=1).mean() / shown.size
    assert distance < (0.15 if condition in {"mask", "dark glasses"} else 0.06)


def brightness(pixels: Pixels) -> float:
    return float(pixels.mean())


def test_light_is_as_strong_as_the_condition_says(photo: Photo) -> None:
    clean = brightness(photo.pixels)
    assert brightness(under("dark", photo).pixels) == pytest.approx(0.22 * clean, abs=1)
    assert brightness(under("darker", photo).pixels) == pytest.approx(0.10 * clean, abs=1)
    assert brightness(under("over-exposed", photo).pixels) > 1.5 * clean
    x1, y1, x2, y2 = under("backlit", photo).box.astype(int)
    backlit = under("backlit", photo).pixels
    assert brightness(backlit[y1:y2, x1:x2]) < 0.16 * 255
    assert backlit[0].min() == 255
    window = under("silhouette", photo).pixels
    assert window[0].min() == 255
    left, top, right, bottom = photo.box.astype(int)
    assert brightness(window[top:bottom, left:right]) < 0.3 * 255


@pytest.mark.parametrize("condition", ["gray", "infrared"])
def test_all_channels_are_alike_without_colour(condition: str, photo: Photo) -> None:
    pixels = under(condition, photo).pixels
    assert (pixels == pixels[:, :, :1]).all()


@pytest.mark.parametrize("condition", ["sodium lamp", "red lamp"])
def test_a_lamp_leaves_its_colour(condition: str, photo: Photo) -> None:
    red, green, blue = under(condition, photo).pixels.mean(axis=(0, 1))
    assert red > 1.4 * green >= 1.4 * blue
    assert red == pytest.approx(photo.pixels[:, :, 0].mean())


def test_noise_and_blur_are_as_strong_as_the_condition_says(photo: Photo) -> None:
    gray = np.full((200, 200, 3), 128, np.uint8)
    flat = Photo(gray, np.array([50.0, 50, 130, 130]), photo.points)
    assert under("noise", flat).pixels.std() == pytest.approx(25, abs=1)

    edge = gray.copy()
    edge[:, :100], edge[:, 100:] = 0, 255
    sharp = Photo(edge, flat.box, photo.points)
    # A moving edge is a ramp as wide as the movement, an eighth of the face's 80 pixels.
    ramp = under("motion blur", sharp).pixels[100, :, 0]
    assert 8 <= np.count_nonzero((ramp > 0) & (ramp < 255)) <= 10
    # A Gaussian of 4 pixels passes from 16 to 84 % within two deviations.
    blurred = under("blur", sharp).pixels[100, :, 0]
    assert 7 <= np.count_nonzero((blurred > 0.16 * 255) & (blurred < 0.84 * 255)) <= 9


def test_a_small_face_has_44_pixels_and_a_smaller_one_stays(photo: Photo) -> None:
    small = under("small", photo)
    assert small.size == pytest.approx(44, rel=0.02)
    again = Photo(small.pixels, small.box * 0.5, small.points)
    assert under("small", again).pixels.shape == small.pixels.shape


@pytest.mark.parametrize("degrees", [20, 30, 50, 90, 180])
def test_a_tilted_face_is_turned_about_its_nose(degrees: int, photo: Photo) -> None:
    tilted = under(f"tilted by {degrees}", photo)
    np.testing.assert_allclose(tilted.points[2], photo.points[2])
    eyes, turned = photo.points[1] - photo.points[0], tilted.points[1] - tilted.points[0]
    cosine = eyes @ turned / np.linalg.norm(eyes) ** 2
    assert cosine == pytest.approx(np.cos(np.radians(degrees)))
    assert tilted.size == pytest.approx(photo.size)


def test_a_mask_covers_the_mouth_and_glasses_the_eyes(photo: Photo) -> None:
    x, y = photo.points[2:].mean(axis=0).astype(int)
    covered = under("mask", photo).pixels[y, x]
    assert (np.minimum(MASK, PLEAT) <= covered).all()
    assert (covered <= np.maximum(MASK, PLEAT)).all()
    for x, y in photo.points[:2].astype(int):
        assert under("dark glasses", photo).pixels[y, x].max() < 20
        np.testing.assert_array_equal(under("mask", photo).pixels[y, x], photo.pixels[y, x])


def test_only_a_find_at_the_annotated_face_counts() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [100, 100, 140, 140], [104, 100, 144, 140]])
    faces = Faces(boxes, np.array([0.99, 0.5, 0.75]), np.zeros((3, 5, 2)), image_size=(200, 200))
    assert score_at(faces, np.array([105.0, 105, 135, 135])) == 0.75
    assert score_at(faces, np.array([200.0, 200, 240, 240])) == -1
    assert score_at(faces[:0], np.array([0.0, 0, 10, 10])) == -1


def test_the_faces_of_a_folder_are_measured_under_each_condition(
    tmp_path: Path, photo: Photo, sample_path: Callable[[str], Path], capsys: Any
) -> None:
    faces, others = tmp_path / "landmarks", tmp_path / "nonface"
    faces.mkdir()
    others.mkdir()
    (faces / "one.jpg").write_bytes(sample_path("astronaut").read_bytes())
    (others / "one.jpg").write_bytes(sample_path("coffee").read_bytes())
    entry = {"image": "one.jpg", "box_xyxy": [*photo.box], "points": photo.points.tolist()}
    (faces / "annotations.json").write_text(json.dumps([entry]))
    arguments = ["--conditions", "--preset", "default", "--set", "min_face_size=40"]
    found = run(accuracy.main, tmp_path / "r.json", *arguments, "--data", tmp_path)
    lights = [f"{light}, without people" for light in ("clean", "dark", "darker")]
    assert [*found] == [
        *(f"accuracy/default/{c}/{level}" for c in CONDITIONS for level in ("found", "0.5", "0.9")),
        *(f"accuracy/default/{light}/{level}" for light in lights for level in ("0.5", "0.9")),
    ]
    assert found["accuracy/default/clean/0.9"]["value"] == 1.0
    assert found["accuracy/default/dark, without people/0.5"]["value"] == 0.0
    assert "100.0 %  100.0 %  100.0 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "found 0 and 0"),
        ("[", "is not JSON"),
        ("{}", "entry 0 of"),
        ('[{"image": "one.jpg", "box_xyxy": [0, 0, 9, 9]}]', "lacks points"),
    ],
)
def test_annotations_of_another_form_are_one_line_and_exit_code_2(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "landmarks").mkdir()
    (tmp_path / "landmarks" / "annotations.json").write_text(text)
    assert accuracy.main(["--conditions", "--data", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("box", "points", "said"),
    [
        ([0.0, 0, 0, 9], np.ones((5, 2)), "must be below"),
        ([0.0, 0, 9], np.ones((5, 2)), r"got \(3,\)"),
        ([0.0, 0, 9, 9], np.ones((4, 2)), r"\(4, 2\)"),
    ],
)
def test_a_photo_without_a_face_is_refused(box: list[float], points: Any, said: str) -> None:
    with pytest.raises(BenchmarkError, match=said):
        Photo(np.zeros((9, 9, 3), np.uint8), np.array(box), points)


@pytest.mark.parametrize(
    ("name", "value"), [("dark/0.5", 0.85), ("mask/0.9", 0.6), ("dark, without people/0.5", 0.2)]
)
def test_a_condition_of_the_baseline_cannot_be_lost_unseen(
    name: str, value: float, tmp_path: Path, project_root: Path
) -> None:
    baseline = project_root / "benchmarks" / "results" / "conditions.json"
    content = read(baseline)
    (entry,) = (e for e in content["results"] if e["name"] == f"accuracy/default/{name}")
    entry.update(value=value, interval=None)
    write(tmp_path / "new.json", content)
    assert compare.main([str(baseline), str(tmp_path / "new.json")]) == compare.REGRESSED
    assert compare.main([str(baseline), str(baseline)]) == compare.DONE
