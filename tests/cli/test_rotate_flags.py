"""``--rotate`` and ``--flip`` as a user gives them: photos, annotated sets, videos, errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from videos import background, panned, write_video

from edge_mtcnn import FaceDetector, Mounting, read_image, write_image
from edge_mtcnn.calibration import load_calibration
from edge_mtcnn.cli import main

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("astronaut", "grace_hopper")
FAST = ("--min-face-size", "60")
MOUNTED = [("90", None), ("180", "horizontal"), ("270", "vertical")]


def flags(rotate: str, flip: str | None) -> list[str]:
    return ["--rotate", rotate, *(["--flip", flip] if flip else [])]


def stored(image: Any, rotate: str, flip: str | None) -> Any:
    """A picture that ``--rotate`` and ``--flip`` make upright."""
    back = Mounting(rotate=-int(rotate) % 360)  # type: ignore[arg-type]
    return back.applied(Mounting(flip=flip).applied(image))  # type: ignore[arg-type]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with an empty folder ``photos``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.mark.parametrize(("rotate", "flip"), MOUNTED)
def test_photos_are_turned_before_they_are_searched_drawn_and_cut(
    photos: Path, rotate: str, flip: str | None
) -> None:
    upright = read_image(ROOT / "samples" / "astronaut.jpg")[:400]
    write_image(photos / "a.png", stored(upright, rotate, flip))
    command = ["detect", "photos", *FAST, "--json", "out.jsonl", "--annotate", "m", "--crops", "c"]
    assert main([*command, *flags(rotate, flip)]) == 0
    line = json.loads(Path("out.jsonl").read_text())
    write_image("upright.png", upright)
    assert main(["detect", "upright.png", *FAST, "--json", "upright.jsonl", "--crops", "u"]) == 0
    expected = json.loads(Path("upright.jsonl").read_text())
    assert {**line, "path": 0} == {**expected, "path": 0}
    assert len(line["faces"]) == 1
    assert read_image("m/photos/a.png" if Path("m/photos").exists() else "m/a.png").shape == (
        upright.shape
    )
    crop, expected_crop = (read_image(next(Path(folder).rglob("*.png"))) for folder in "cu")
    assert np.array_equal(crop, expected_crop)


def test_the_exif_orientation_comes_first(photos: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    upright = read_image(ROOT / "samples" / "astronaut.jpg")
    picture = stored(stored(upright, "180", None), "90", None)
    Image.fromarray(picture).save(photos / "a.jpg", exif=exif, quality=95)
    assert main(["detect", "photos", *FAST, "--rotate", "180", "--json", "out.jsonl"]) == 0
    assert len(json.loads(Path("out.jsonl").read_text())["faces"]) == 1
    assert main(["detect", "photos", *FAST, "--json", "out.jsonl"]) == 0
    assert json.loads(Path("out.jsonl").read_text())["faces"] == []


@pytest.fixture
def annotated(photos: Path) -> dict[str, list[float]]:
    """Boxes ``x, y, w, h`` of the upright photos."""
    with FaceDetector() as detector:
        found = {name: detector.detect(ROOT / "samples" / f"{name}.jpg").boxes[0] for name in NAMES}
    return {name: [*box[:2], *(box[2:] - box[:2])] for name, box in found.items()}


@pytest.mark.parametrize("form", ["wider", "yolo"])
@pytest.mark.parametrize(("rotate", "flip"), MOUNTED)
def test_annotations_are_turned_with_their_photos(
    photos: Path,
    annotated: dict[str, list[float]],
    rotate: str,
    flip: str | None,
    form: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = []
    for name, (x, y, w, h) in annotated.items():
        upright = read_image(ROOT / "samples" / f"{name}.jpg")
        write_image(photos / f"{name}.png", stored(upright, rotate, flip))
        mask = np.zeros(upright.shape[:2], np.uint8)
        mask[round(y) : round(y + h), round(x) : round(x + w)] = 255
        left, top, width, height = cv2.boundingRect(stored(mask, rotate, flip))
        rows, columns = stored(mask, rotate, flip).shape
        lines += [f"{name}.png", "1", f"{left} {top} {width} {height} 0 0 0 0 0 0"]
        centre = (left + width / 2) / columns, (top + height / 2) / rows
        box = [0, *centre, width / columns, height / rows]
        (photos.parent / "yolo").mkdir(exist_ok=True)
        (photos.parent / "yolo" / f"{name}.txt").write_text(" ".join(map(str, box)))
    Path("boxes.txt").write_text("\n".join(lines))
    annotations = "boxes.txt" if form == "wider" else "yolo"
    command = ["evaluate", annotations, "photos", "--iou", "0.9", "--json", "-", "--journal", "j"]
    assert main([*command, *flags(rotate, flip)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["average_precision"] == 1.0
    assert result["provenance"]["mounting"] == {"rotate": int(rotate), "flip": flip}
    # The journal knows how the photos were turned.
    assert main(command) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["average_precision"] < 1.0
    assert "starting again" in output.err


def test_a_calibration_of_sideways_photos_and_its_report_and_its_things(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    (photos.parent / "others").mkdir()
    for name in (*NAMES, "chelsea"):
        upright = read_image(ROOT / "samples" / f"{name}.jpg")
        folder = photos if name in NAMES else photos.parent / "others"
        write_image(folder / f"{name}.png", stored(upright, "90", None))
    command = ["calibrate", "photos", "others", *FAST, "--report", "report.html"]
    assert main([*command, "--rotate", "90"]) == 0
    calibration = load_calibration("calibration.json")
    assert calibration.threshold <= 0.95
    assert "--rotate 90" in " ".join(calibration.command)
    capsys.readouterr()
    shutil.copy(photos / "astronaut.png", "poster.png")
    assert main(["calibrate", "--add-false", "poster.png", "--rotate", "90"]) == 0
    assert capsys.readouterr().out.split()[0] > "0.9"


def test_bench_measures_turned_photos(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upright = read_image(ROOT / "samples" / "astronaut.jpg")
    write_image(photos / "a.png", stored(upright[:400], "90", None))
    assert main(["bench", "photos", "--seconds", "0.1", *FAST, "--rotate", "90"]) == 0
    assert "512x400, 1 face" in capsys.readouterr().out


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of a face, by a camera that must be turned by 270 degrees."""
    frames = (stored(frame, "270", None) for frame in panned(60))
    return write_video(tmp_path_factory.mktemp("video") / "visit.avi", frames)


def test_watch_finds_the_rotation_and_its_video_is_turned(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "marked.avi"
    command = ["watch", str(video), "--fast"]
    assert main([*command, "--rotate", "auto", "--annotate", str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "rotation found: frames are turned clockwise by 270 degrees" in lines[0]
    assert "is here" in lines[1]
    capture = cv2.VideoCapture(str(target))
    pictures = [capture.read()[1] for _ in range(60)]
    capture.release()
    with FaceDetector() as detector:
        assert all(picture.shape == (240, 320, 3) for picture in pictures)
        assert all(len(detector.detect(picture)) == 1 for picture in pictures[::20])
    assert main([*command, "--rotate", "270", "--json", "-"]) == 0
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert events[0] == "FaceAppeared"
    config = tmp_path / "kiosk.json"
    config.write_text('{"source": {"rotate": 270}}')
    assert main([*command, "--config", str(config), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["event"] == "FaceAppeared"
    assert main([*command, "--config", str(config), "--rotate", "0"]) == 0
    assert capsys.readouterr().out == ""
    empty = write_video(tmp_path / "empty.avi", [background()] * 5)
    command = ["watch", str(empty), "--fast", "--rotate", "auto", "--annotate"]
    assert main([*command, str(tmp_path / "no.avi")]) == 1
    assert "too few faces to find the rotation" in capsys.readouterr().err
    assert not list(tmp_path.glob("no*"))


def test_collect_waits_for_the_rotation_and_its_pictures_are_turned(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finds = tmp_path / "finds"
    assert main(["collect", str(video), str(finds), "--fast", "--rotate", "auto"]) == 0
    assert "rotation found: 270 degrees clockwise" in capsys.readouterr().err
    entries = [json.loads(line) for line in (finds / "finds.jsonl").read_text().splitlines()]
    assert entries
    assert all(entry["frame_size"] == [320, 240] for entry in entries)
    assert all(entry["found_again"] and entry["score"] > 0.9 for entry in entries)
    empty = write_video(tmp_path / "empty.avi", [background()] * 10)
    assert main(["collect", str(empty), str(finds), "--fast", "--rotate", "auto"]) == 1
    assert "too few faces to find the rotation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["detect", "--rotate", "45"], "rotate must be 0, 90, 180 or 270, degrees clockwise"),
        (["detect", "--rotate", "-90"], "rotate must be 0, 90, 180 or 270"),
        (["detect", "--rotate", "auto"], "use the option angles of the detector (--angles"),
        (["detect", "--flip", "diagonal"], "invalid choice: 'diagonal'"),
        (["bench", "--rotate", "auto"], "for photos; got 'auto'"),
        (["watch", "0", "--rotate", "sideways"], "got 'sideways'"),
        (["watch", "0", "--rotate", "450"], "got 450"),
        (["serve", "--rotate", "90"], "--rotate needs a SOURCE"),
    ],
)
def test_other_values_are_refused(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(command)
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
