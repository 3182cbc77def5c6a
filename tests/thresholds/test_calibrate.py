"""Threshold calibration end to end: the function, the command, and a run that is interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_mtcnn import DetectorOptions, FaceDetector, Faces, OptionsError, read_image
from edge_mtcnn.calibration import load_calibration
from edge_mtcnn.cli import main
from edge_mtcnn.thresholds import (
    AnnotationError,
    LabelledImage,
    Target,
    calibrate,
    from_folders,
)
from edge_mtcnn.thresholds.calibrator import evidence_of
from edge_mtcnn.thresholds.detections import Measured
from edge_mtcnn.thresholds.labels.images import with_face, without_faces

ROOT = Path(__file__).resolve().parents[2]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
FACES, OTHERS = ("astronaut", "grace_hopper"), ("chelsea", "coffee", "rocket")
# Large faces only: each photo is done in a moment.
FAST = ("--min-face-size", "60")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with ``faces`` and ``others`` in it."""
    for folder, names in (("faces", FACES), ("others", OTHERS)):
        (tmp_path / folder).mkdir()
        for name in names:
            shutil.copy(ROOT / "samples" / f"{name}.jpg", tmp_path / folder / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    with FaceDetector(DetectorOptions(min_face_size=60)) as made:
        yield made


def written(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="ascii"))
    return content


# What one image says.


def found(*rows: tuple[tuple[float, float, float, float], float]) -> Faces:
    boxes = [box for box, _ in rows]
    scores = [score for _, score in rows]
    return Faces(
        np.reshape(boxes, (-1, 4)), scores, np.zeros((len(rows), 5, 2)), image_size=(300, 300)
    )


HERE, THERE, ELSEWHERE = (0, 0, 100, 100), (200, 200, 290, 290), (120, 0, 180, 60)


def test_a_photo_of_a_face_somewhere_says_its_best_score_and_nothing_of_non_faces() -> None:
    image = with_face(Path("a.jpg"), "a.jpg")
    faces, others = evidence_of(Measured(image, found((HERE, 0.4), (THERE, 0.9))))
    assert [each.score for each in faces] == [pytest.approx(0.9)]
    assert others == []
    (missed,), _ = evidence_of(Measured(image, found()))
    assert np.isnan(missed.score)
    assert missed.box is None


def test_an_image_without_faces_says_its_best_false_score() -> None:
    image = without_faces(Path("a.jpg"), "a.jpg")
    faces, others = evidence_of(Measured(image, found((HERE, 0.4), (THERE, 0.9))))
    assert faces == []
    assert [each.score for each in others] == [pytest.approx(0.9)]


def test_an_annotated_image_says_each_faces_score_and_the_best_of_what_is_none() -> None:
    image = LabelledImage.of_boxes(
        Path("a.jpg"), "a.jpg", [[0, 0, 100, 100], [200, 200, 90, 90]], [False, False]
    )
    faces, others = evidence_of(Measured(image, found((HERE, 0.7), (ELSEWHERE, 0.3))))
    assert faces[0].score == pytest.approx(0.7)
    assert np.isnan(faces[1].score)
    assert [each.score for each in others] == [pytest.approx(0.3)]
    ignoring = LabelledImage.of_boxes(
        Path("a.jpg"), "a.jpg", [[0, 0, 100, 100], [120, 0, 60, 60]], [False, True]
    )
    faces, others = evidence_of(Measured(ignoring, found((HERE, 0.7), (ELSEWHERE, 0.3))))
    assert len(faces) == 1
    assert np.isnan(others[0].score)


# The function.


def test_a_result_becomes_the_threshold_of_a_detector(detector: FaceDetector, place: Path) -> None:
    result = calibrate(detector, from_folders("faces", "others"), Target("recall", 1.0))
    assert (result.choice.recall.count, result.choice.recall.total) == (2, 2)
    result.save("calibration.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = FaceDetector(DetectorOptions(min_face_size=60), calibration="calibration.json")
    with reading:
        assert reading.options.confidence == pytest.approx(result.threshold)
        for name in FACES:
            assert len(reading.detect(read_image(f"faces/{name}.jpg"))) >= 1
        for name in OTHERS:
            assert len(reading.detect(read_image(f"others/{name}.jpg"))) == 0


def test_the_file_says_what_was_measured_and_with_what(detector: FaceDetector, place: Path) -> None:
    result = calibrate(detector, from_folders("faces", "others"), date="2026-01-02")
    content = result.to_dict()
    assert content["counts"] == {"images": 5, "failed": 0, "faces": 2, "nonfaces": 3}
    assert content["provenance"]["date"] == "2026-01-02"
    assert content["provenance"]["detector_options"]["min_face_size"] == 60
    assert content["target"] == {"kind": "fpr", "value": 0.01, "promised": False}
    assert content["at_threshold"]["false_positive_rate"]["total"] == 3
    assert content["statistics"]["faces"]["count"] == 2
    assert len(content["lowest_faces"]) == 2
    (warning,) = content["warnings"]
    assert warning.startswith("too few images without faces: 3 cannot promise")
    json.dumps(content, allow_nan=False)


def test_a_class_without_images_is_refused(detector: FaceDetector, place: Path) -> None:
    images = from_folders("faces", "others")
    with pytest.raises(AnnotationError, match="no image without a face"):
        calibrate(detector, images[: len(FACES)])
    with pytest.raises(AnnotationError, match="no image with a face"):
        calibrate(detector, images[len(FACES) :])
    for name in FACES:
        (place / "faces" / f"{name}.jpg").write_bytes(b"broken")
    with pytest.raises(AnnotationError, match="no image with a face that can be read"):
        calibrate(detector, images)


@pytest.mark.parametrize("wrong", [{"iou": 0}, {"iou": 1.1}, {"confidence": 0}, {"confidence": 1}])
def test_bounds_out_of_range_are_refused(wrong: dict[str, float], detector: FaceDetector) -> None:
    with pytest.raises(OptionsError):
        calibrate(detector, [], **wrong)  # type: ignore[arg-type]


# The command.


def test_the_command_writes_the_calibration_and_prints_the_table_of_the_article(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "faces", "others", *FAST]) == 0
    out, err = capsys.readouterr()
    for line in ("count", "detected", "mean", "std", "min", "25 %", "50 %", "75 %", "max"):
        assert f"\n{line}" in out
    assert "lowest faces" in out
    assert "threshold " in out
    assert "95% interval" in out
    assert "warning: too few images without faces: 3" in err
    assert err.endswith("written: calibration.json\n")
    assert load_calibration("calibration.json").options["min_face_size"] == 60
    assert sorted(path.name for path in place.iterdir()) == [
        "calibration.json",
        "calibration.json.journal",
        "faces",
        "others",
    ]


def test_equal_images_give_equal_bytes_and_the_journal_saves_the_second_run(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "faces", "others", *FAST]) == 0
    first = Path("calibration.json").read_bytes()
    assert main(["calibrate", "faces", "others", *FAST]) == 0
    assert "5 of 5 images are known from calibration.json.journal" in capsys.readouterr().err
    assert Path("calibration.json").read_bytes() == first
    assert main(["calibrate", "faces", "others", *FAST, "--output", "other.json"]) == 0
    assert Path("other.json").read_bytes() == first


def test_labels_in_a_csv_file_do_as_well_as_two_folders(place: Path) -> None:
    rows = [f"faces/{name}.jpg,face" for name in FACES]
    rows += [f"others/{name}.jpg,nonface" for name in OTHERS]
    Path("labels.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    assert main(["calibrate", ".", "--labels", "labels.csv", "--output", "a.json", *FAST]) == 0
    assert main(["calibrate", "faces", "others", "--output", "b.json", *FAST]) == 0
    a, b = written(Path("a.json")), written(Path("b.json"))
    assert a["threshold"] == b["threshold"]
    assert a["counts"] == b["counts"]


def test_annotated_boxes_do_as_well(place: Path) -> None:
    with FaceDetector() as plain:
        face = plain.detect(read_image("faces/astronaut.jpg")).largest()
    assert face is not None
    x1, y1, x2, y2 = face.box
    lines = ["faces/astronaut.jpg", "1", f"{x1} {y1} {x2 - x1} {y2 - y1}"]
    lines += ["others/chelsea.jpg", "0", "others/coffee.jpg", "0"]
    Path("list.txt").write_text("\n".join(lines) + "\n")
    arguments = ["calibrate", ".", "--annotations", "list.txt", "--recall", "1", *FAST]
    assert main(arguments) == 0
    content = written(Path("calibration.json"))
    # The astronaut's image, too, can show a false face.
    assert content["counts"] == {"images": 3, "failed": 0, "faces": 1, "nonfaces": 3}
    assert content["at_threshold"]["recall"]["count"] == 1


def test_an_unreadable_image_is_skipped_and_reported(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "others" / "broken.jpg").write_bytes(b"\xff\xd8 not much")
    assert main(["calibrate", "faces", "others", *FAST]) == 1
    err = capsys.readouterr().err
    assert "error: " in err
    assert "broken.jpg" in err
    assert err.endswith("1 of 6 images failed and were skipped\n")
    assert written(Path("calibration.json"))["counts"]["failed"] == 1


WRONG = [
    (["faces"], "give two folders"),
    (["faces", "nowhere"], "there is no folder nowhere"),
    (["faces", "faces"], "is in both folders"),
    (["faces", "others", "--fpr", "0"], "fpr must be between 0 and 1; got 0"),
    (["faces", "others", "--recall", "1.5"], "recall must be above 0"),
    (["faces", "others", "--fpr", "0.1", "--recall", "0.9"], "not allowed with"),
    (["faces", "others", "--promise", *FAST], "3 images without faces cannot promise"),
    (["faces", "others", "--confidence", "0.5"], "unknown option --confidence"),
    (["faces", "others", "--labels", "l.csv"], "with --labels there is one folder"),
    (["faces", "--labels", "l.csv"], "cannot read l.csv"),
    (["faces", "others", "--output", "no/such.json"], "there is no folder no"),
    (["faces", "others", "--output", "faces"], "is a folder; name a file"),
    (["faces", "others", "--output", "faces/astronaut.jpg"], "is one of the inputs"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_wrong_usage_is_one_clear_message_and_leaves_nothing(
    arguments: list[str], says: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", *arguments]) == 2
    assert says in capsys.readouterr().err
    kept = {"calibration.json.journal"} if "--promise" in arguments else set()
    assert {path.name for path in place.iterdir()} == {"faces", "others"} | kept


# Interrupted and resumed.


@pytest.fixture
def many(place: Path) -> Path:
    """More photos than are done before the interruption, all different."""
    for folder, name in (("faces", "astronaut"), ("others", "chelsea")):
        image = read_image(ROOT / "samples" / f"{name}.jpg")
        for number in range(40):
            part = np.ascontiguousarray(image[:, number:])
            cv2.imwrite(str(place / folder / f"{number:02}.jpg"), part)
    return place


@POSIX
def test_an_interrupted_command_goes_on_where_it_stopped_and_ends_with_the_same_file(
    many: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    process = started("--output", "stopped.json")
    journal = many / "stopped.json.journal"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 10):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("interrupted after ")
    assert "of 85 images; stopped.json.journal keeps them: run the same command" in err
    assert not (many / "stopped.json").exists()
    known = journal.read_bytes().count(b"\n") - 1
    assert 1 <= known < 85

    process = started("--output", "stopped.json")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err.startswith(f"{known} of 85 images are known from stopped.json.journal")
    process = started("--output", "whole.json")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert (many / "stopped.json").read_bytes() == (many / "whole.json").read_bytes()
    assert not list(many.glob("*.part"))


@pytest.fixture
def started(place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_mtcnn", "calibrate", "faces", "others", *FAST, *arguments],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
