"""Evaluation end to end: the function and the command, in the three formats, on real photos."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtcnn import DetectorOptions, FaceDetector, Faces, OptionsError, read_image
from edge_mtcnn.calibration import SCHEMA, SCHEMA_VERSION
from edge_mtcnn.cli import main
from edge_mtcnn.thresholds import AnnotationError, LabelledImage, evaluate, read_annotations
from edge_mtcnn.thresholds.detections import Measured
from edge_mtcnn.thresholds.evaluation import landmark_error
from edge_mtcnn.thresholds.precision import Verdicts
from edge_mtcnn.types import FloatArray

ROOT = Path(__file__).resolve().parents[2]
FAST = ("--min-face-size", "60")
PHOTOS = ("astronaut", "grace_hopper")
ANIMAL = "chelsea"


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    with FaceDetector(DetectorOptions(min_face_size=60)) as made:
        yield made


@pytest.fixture(scope="module")
def truth(detector: FaceDetector) -> dict[str, tuple[Faces, tuple[int, int]]]:
    """What the detector finds in the photos: annotations on which it is perfect."""
    made = {}
    for name in PHOTOS:
        image = read_image(ROOT / "samples" / f"{name}.jpg")
        made[name] = (detector.detect(image)[:1], image.shape[:2])
    return made


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "photos").mkdir()
    for name in (*PHOTOS, ANIMAL):
        shutil.copy(ROOT / "samples" / f"{name}.jpg", tmp_path / "photos" / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


Annotate = Callable[[str], str]


@pytest.fixture
def annotate(place: Path, truth: dict[str, tuple[Faces, tuple[int, int]]]) -> Annotate:
    """Write the annotations in one of the formats; their path."""

    def write(form: str) -> str:
        return {"wider": _wider, "coco": _coco, "yolo": _yolo}[form](truth)

    return write


def _wider(truth: dict[str, tuple[Faces, tuple[int, int]]]) -> str:
    lines = [f"{ANIMAL}.jpg", "0", "0 0 0 0 0 0 0 0 0 0"]
    for name, (faces, _) in truth.items():
        x1, y1, x2, y2 = faces[0].box
        lines += [f"{name}.jpg", "1", f"{x1} {y1} {x2 - x1} {y2 - y1} 0 0 0 0 0 0"]
    Path("list.txt").write_text("\n".join(lines) + "\n")
    return "list.txt"


def _coco(truth: dict[str, tuple[Faces, tuple[int, int]]]) -> str:
    images: list[dict[str, Any]] = [{"id": 0, "file_name": f"{ANIMAL}.jpg"}]
    annotations = []
    for number, (name, (faces, (height, width))) in enumerate(truth.items(), 1):
        images.append({"id": number, "file_name": f"{name}.jpg", "height": height, "width": width})
        x1, y1, x2, y2 = faces[0].box
        keypoints = [value for x, y in faces[0].landmarks for value in (x, y, 2)]
        annotations.append(
            {"image_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1], "keypoints": keypoints}
        )
    Path("coco.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return "coco.json"


def _yolo(truth: dict[str, tuple[Faces, tuple[int, int]]]) -> str:
    Path("labels").mkdir()
    for name, (faces, (height, width)) in truth.items():
        x1, y1, x2, y2 = faces[0].box
        box = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
        points = [value for x, y in faces[0].landmarks for value in (x / width, y / height)]
        Path("labels", f"{name}.txt").write_text(" ".join(map(str, [0, *box, *points])))
    return "labels"


# The command.


@pytest.mark.parametrize("form", ["wider", "coco", "yolo"])
def test_in_every_format_a_detector_is_perfect_on_what_it_finds_itself(
    form: str, annotate: Annotate, capsys: pytest.CaptureFixture[str]
) -> None:
    path = annotate(form)
    assert main(["evaluate", path, "photos", "--json", "-", *FAST, "--confidence", "0.5"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["images"] == 3
    assert figures["faces"] == 2
    assert figures["average_precision"] == 1.0
    at_threshold = figures["at_threshold"]
    assert (at_threshold["threshold"], at_threshold["recall"]) == (0.5, 1.0)
    if form == "wider":
        assert figures["landmarks"] is None
    else:
        assert figures["landmarks"]["faces"] == 2
        assert figures["landmarks"]["mean"] == pytest.approx(0, abs=1e-5)
        assert not figures["landmarks"]["exchanged"]


def test_people_get_a_table(annotate: Annotate, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", annotate("coco"), "photos", *FAST]) == 0
    out = capsys.readouterr().out
    assert out.startswith("3 images, 2 annotated faces\n")
    assert "average precision at IoU 0.5  1.0000" in out
    for line in ("at most 0.01 false per image", "at most 1 false per image", "at the threshold"):
        assert f"\n{line}" in out
    assert "landmark error of 2 faces: mean 0.00%" in out


def test_a_calibration_sets_the_threshold(
    annotate: Annotate, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "threshold": 0.25,
        "provenance": {"detector_options": {"min_face_size": 61}},
    }
    Path("camera.json").write_text(json.dumps(content))
    arguments = ["evaluate", annotate("wider"), "photos", "--calibration", "camera.json", *FAST]
    assert main([*arguments, "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["at_threshold"]["threshold"] == 0.25
    assert "(min_face_size: calibrated with 61, now 60), so it may not hold here" in err
    assert main([*arguments, "--confidence", "0.5"]) == 2
    assert "--confidence or --calibration, not both" in capsys.readouterr().err


def test_figures_plot_and_journal_are_written(
    annotate: Annotate, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra 'plots'")
    outputs = ["--json", "figures.json", "--plot", "curves.png", "--journal", "found.journal"]
    arguments = ["evaluate", annotate("wider"), "photos", *outputs, *FAST]
    assert main(arguments) == 0
    first = Path("figures.json").read_bytes()
    assert read_image("curves.png").shape[0] > 400
    assert main(arguments) == 0
    assert "3 of 3 images are known from found.journal" in capsys.readouterr().err
    assert Path("figures.json").read_bytes() == first
    for name in ("curves.svg", "curves.pdf"):
        assert main([*arguments[:-2], "--plot", name, *FAST]) == 0
        assert Path(name).stat().st_size > 1000


def test_a_curve_of_a_million_detections_is_drawn_with_as_many_points_as_can_be_seen() -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra 'plots'")
    from matplotlib.figure import Figure

    from edge_mtcnn.thresholds.plots import _MOST_POINTS, _false_positive_curve

    count = 1_000_000
    hits = np.zeros(count, dtype=bool)
    hits[:1000:2] = hits[-1] = True
    axes = Figure().subplots()
    _false_positive_curve(axes, Verdicts(np.linspace(1, 0, count), hits, 1000, 500), "red")
    x, y = (np.asarray(values) for values in axes.lines[0].get_data())
    assert _MOST_POINTS / 2 < len(x) <= _MOST_POINTS
    assert np.allclose(y[:1000], np.cumsum(hits[:1000]) / 1000)  # where the axis is stretched
    assert (x[-1], y[-1]) == ((count - 501) / 500, 0.501)


WRONG = [
    (["labels.xml", "photos"], "cannot tell the format of labels.xml"),
    (["list.txt", "nowhere"], "there is no folder of images nowhere"),
    (["nowhere.txt", "photos"], "cannot read nowhere.txt"),
    (["list.txt", "photos", "--iou", "0"], "iou must be above 0"),
    (["list.txt", "photos", "--plot", "curves.gif"], "a plot is written as .png, .svg, .pdf"),
    (["list.txt", "photos", "--json", "list.txt"], "is one of the inputs"),
    (["list.txt", "photos", "--calibration", "list.txt"], "list.txt"),
    (["list.txt", "photos", "--category", "face"], "a WIDER list has no categories"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_wrong_usage_is_one_clear_message(
    arguments: list[str], says: str, annotate: Annotate, capsys: pytest.CaptureFixture[str]
) -> None:
    annotate("wider")
    assert main(["evaluate", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_missing_photo_is_reported_and_skipped(
    annotate: Annotate, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = annotate("wider")
    (place / "photos" / f"{PHOTOS[1]}.jpg").unlink()
    assert main(["evaluate", path, "photos", "--json", "-", *FAST]) == 1
    out, err = capsys.readouterr()
    assert "1 of 3 images failed and were skipped" in err
    figures = json.loads(out)
    assert (figures["images"], figures["faces"]) == (2, 1)
    assert figures["failed"][0]["path"] == f"{PHOTOS[1]}.jpg"


# The function.


def test_a_false_face_lowers_precision_and_a_missed_one_recall(
    detector: FaceDetector, truth: dict[str, tuple[Faces, tuple[int, int]]]
) -> None:
    photo = ROOT / "samples" / f"{PHOTOS[0]}.jpg"
    x1, y1, x2, y2 = truth[PHOTOS[0]][0][0].box
    width, height = x2 - x1, y2 - y1
    beside = LabelledImage.of_boxes(photo, "beside", [[x1 + 3 * width, y1, width, height]])
    result = evaluate(detector, [beside])
    assert result.average_precision == 0.0
    assert result.at_threshold.recall == 0.0
    assert result.at_threshold.false_positives_per_image >= 1
    both = LabelledImage.of_boxes(
        photo, "both", [[x1, y1, width, height], [x1 + 3 * width, y1, width, height]]
    )
    result = evaluate(detector, [both])
    assert result.faces == 2
    assert result.at_threshold.recall == 0.5
    assert result.average_precision == pytest.approx(0.5)


def test_subsets_count_their_own_faces_only(
    detector: FaceDetector, truth: dict[str, tuple[Faces, tuple[int, int]]], annotate: Annotate
) -> None:
    images = read_annotations(annotate("wider"), "photos")
    subsets: dict[str, list[list[int]]] = {
        "none": [[], [], []],
        "first": [[], [0], []],
        "all": [[], [0], [0]],
    }
    result = evaluate(detector, images, subsets=subsets)
    assert result.subsets == {"none": 0.0, "first": 1.0, "all": 1.0}


def test_without_a_face_to_find_there_is_no_figure(detector: FaceDetector) -> None:
    nothing = LabelledImage.of_boxes(ROOT / "samples" / f"{ANIMAL}.jpg", ANIMAL, [])
    with pytest.raises(AnnotationError, match="no annotated face counts"):
        evaluate(detector, [nothing])
    gone = LabelledImage.of_boxes(ROOT / "samples" / "gone.jpg", "gone", [[1, 2, 3, 4]])
    with pytest.raises(AnnotationError, match="no image with an annotated face could be read"):
        evaluate(detector, [gone])
    with pytest.raises(OptionsError, match="iou"):
        evaluate(detector, [nothing], iou=0)


# Landmarks.

POINTS = np.array([[30.0, 40], [70, 40], [50, 60], [35, 80], [65, 80]])


def measured(landmarks: FloatArray, annotated: FloatArray) -> Measured:
    image = LabelledImage.of_boxes(Path("a.jpg"), "a", [[0, 0, 100, 100]], (), annotated[None])
    found = Faces([[0, 0, 100, 100]], [0.9], landmarks[None], image_size=(200, 200))
    return Measured(image, found)


def test_the_landmark_error_is_the_mean_distance_over_the_distance_of_the_eyes() -> None:
    # Two points are off by 3 and 5 pixels; the eyes are 40 apart.
    moved = POINTS.copy()
    moved[2, 0] += 3
    moved[3] += [3, 4]
    error = landmark_error([measured(moved, POINTS), measured(POINTS, POINTS)])
    assert error is not None
    assert error.faces == 2
    assert error.mean == pytest.approx((3 + 5) / 5 / 40 / 2)
    assert error.failures == 0.0
    worse = landmark_error([measured(POINTS + np.array([0, 5]), POINTS)])
    assert worse is not None
    assert worse.mean == pytest.approx(0.125)
    assert worse.failures == 1.0


def test_annotations_that_call_the_persons_own_left_left_are_exchanged_and_reported() -> None:
    own = POINTS[[1, 0, 2, 4, 3]]
    error = landmark_error([measured(POINTS, own)])
    assert error is not None
    assert error.mean == 0.0
    assert error.exchanged


def test_faces_without_annotated_landmarks_have_no_landmark_error() -> None:
    assert landmark_error([measured(POINTS, np.full((5, 2), np.nan))]) is None
    assert landmark_error([]) is None
