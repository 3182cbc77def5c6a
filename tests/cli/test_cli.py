"""The command line: arguments, exit codes, and what ``detect`` writes.

Most commands run in this process; signals, closed pipes and the clean start need one of their own.
Photos are the project's samples, so everything here always runs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from calibrations import write_calibration

from edge_mtcnn import DetectorOptions, RuntimeOptions, read_image, write_image
from edge_mtcnn._version import __version__
from edge_mtcnn.cli import COMMANDS, main
from edge_mtcnn.cli.outputs import JsonLines, unique_names
from edge_mtcnn.options import save_options

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
# The faces of the samples, by the original program; one photo of each kind is enough here.
ONE_FACE, NO_FACE = "astronaut.jpg", "chelsea.jpg"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes are POSIX")


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "edge_mtcnn", *map(str, arguments)]


def in_new_process(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a face, a cat, a file that is no image, and a subfolder with a namesake."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name in (ONE_FACE, NO_FACE):
        shutil.copy(ROOT / "samples" / name, folder / name)
    shutil.copy(ROOT / "samples" / "grace_hopper.jpg", folder / "more" / ONE_FACE)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a JPEG")
    return folder


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Arguments and exit codes.


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_a_config_file(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    output = capsys.readouterr().out
    assert f"example:\n  edge-mtcnn {name}" in output
    assert ("--config FILE" in output) is (name not in ("config", "service"))


def test_the_version_is_written_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edge-mtcnn {__version__}\n"


def test_help_answers_without_loading_opencv_or_onnx_runtime() -> None:
    look = (
        "import sys; from edge_mtcnn.cli import main; main(['detect', '--help'])\n"
        "sys.exit(','.join({'cv2', 'onnxruntime', 'tqdm'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "usage: edge-mtcnn detect" in done.stdout


WRONG = [
    (["detekt"], "'detekt'; did you mean 'detect'?"),
    (["detect", "--min-face-size", "3"], "at least 10"),
    (["detect", "--min-face-size", "many"], "invalid int value"),
    (["detect", "--confidence", "90"], "0.0..1.0"),
    (["detect", "--scale-factor", "1"], "0.1..0.95"),
    (["detect", "--max-face-size", "12"], "at least 20"),
    (["detect", "--angles", "400"], "-360..360"),
    (["detect", "--angles", "0,90"], "leave out 0"),
    (["detect", "--angles", "sideways"], "such as 90,180,270, or fallback"),
    (["watch", "0", "--angles", "90"], "--angles"),
    (["detect", "--threads", "0"], "1..256"),
    (["detect", "--preset", "best"], "reference"),
    (["detect", "--crop-style", "round"], "margin"),
    (["detect", "--config", "nowhere.json"], "nowhere.json"),
    (["detect", "--device", "NoSuchProvider"], "CPUExecutionProvider"),
    (["detect", "--calibration", "nowhere.json"], "nowhere.json"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_wrong_usage_is_one_clear_message_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], in_folder: Path
) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert "Traceback" not in output.err
    assert output.out == ""
    assert list(in_folder.iterdir()) == []


def test_an_altered_model_file_is_one_clear_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = shutil.copytree(ROOT / "models", tmp_path / "models")
    (models / "rnet.weights").write_bytes(b"short")
    config = tmp_path / "options.json"
    save_options(config, runtime=RuntimeOptions(models=models))
    assert main(["detect", "--config", str(config)]) == 2
    (_, output) = capsys.readouterr().err.splitlines()
    assert output.startswith("error: ")
    assert "rnet.weights" in output


def test_flags_win_over_the_config_file_and_the_file_over_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "options.json"
    # No face is that large, so whether one is found tells which value counts.
    save_options(config, detector=DetectorOptions(min_face_size=400))
    assert main(["detect", "--json", "-", "--config", str(config)]) == 0
    assert main(["detect", "--json", "-", "--config", str(config), "--min-face-size", "40"]) == 0
    assert main(["detect", "--json", "-", "--config", str(config), "--preset", "default"]) == 0
    output = lines_of(capsys.readouterr().out)
    assert [len(entry["faces"]) for entry in output] == [0, 1, 1]


# What detect reports.


def test_without_a_path_the_sample_photo_has_its_one_face(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["detect"]) == 0
    output = capsys.readouterr()
    (line,) = output.out.splitlines()
    assert "astronaut.jpg: 512x512, 1 face: " in line
    assert "sample photo" in output.err
    assert "1 image, 1 face, 0 failed" in output.err


def test_json_lines_have_the_documented_form(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", str(photos / ONE_FACE), str(photos / NO_FACE), "--json", "-"]) == 0
    first, second = lines_of(capsys.readouterr().out)
    assert list(first) == ["path", "width", "height", "faces"]
    assert first["path"] == str(photos / ONE_FACE)
    assert (first["width"], first["height"]) == (512, 512)
    (face,) = first["faces"]
    assert list(face) == ["box", "confidence", "keypoints", "score", "angle", "box_xyxy"]
    assert face["box"] == pytest.approx([179, 60, 88, 114], abs=25)
    assert 0.99 < face["confidence"] <= 1
    assert list(face["keypoints"]) == [
        "left_eye", "right_eye", "nose", "mouth_left", "mouth_right",
    ]  # fmt: skip
    assert all(type(value) is int for point in face["keypoints"].values() for value in point)
    assert second["faces"] == []


def test_one_unreadable_file_among_good_ones_is_reported_and_the_others_are_done(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", str(photos), "--json", "-"]) == 1
    output = capsys.readouterr()
    entries = {Path(entry["path"]).name: entry for entry in lines_of(output.out)}
    assert set(entries) == {ONE_FACE, NO_FACE, "broken.jpg"}
    assert list(entries["broken.jpg"]) == ["path", "error"]
    assert "broken.jpg" in entries["broken.jpg"]["error"]
    assert len(entries[ONE_FACE]["faces"]) == 1
    assert "2 images, 1 face, 1 failed" in output.err
    assert len(output.err.splitlines()) == 1


def test_for_people_faces_go_to_standard_output_and_problems_to_standard_error(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", str(photos), "--recursive"]) == 1
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 3
    assert "no faces" in output.out
    (problem,) = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert "broken.jpg" in problem


def test_a_path_that_is_not_there_fails_alone(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", str(photos / "gone.jpg"), str(photos / ONE_FACE), "--json", "-"]) == 1
    gone, found = lines_of(capsys.readouterr().out)
    assert "gone.jpg" in gone["error"]
    assert len(found["faces"]) == 1


@POSIX
def test_a_file_name_cannot_break_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "new\nline \x1b[31m \udcff.jpg"
    shutil.copy(ROOT / "samples" / ONE_FACE, odd)
    assert main(["detect", str(odd)]) == 0
    assert main(["detect", str(odd), "--json", "-"]) == 0
    for_people, for_programs = capsys.readouterr().out.splitlines()
    assert "\\n" in for_people
    assert "\x1b" not in for_people
    assert json.loads(for_programs)["path"] == str(odd)


def test_a_folder_without_images_is_a_failed_input_and_the_others_are_done(
    in_folder: Path, sample_path: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "empty" / "deep").mkdir(parents=True)
    arguments = ["detect", "empty", str(sample_path(ONE_FACE)), "empty/", "--json", "-"]
    assert main(arguments) == 1
    output = capsys.readouterr()
    failed, done = lines_of(output.out)
    assert failed["path"] == "empty"
    reason = "empty: no image files in this folder; --recursive also looks"
    assert failed["error"].startswith(reason)
    assert len(done["faces"]) == 1
    assert "1 image, 1 face, 1 failed" in output.err
    assert main(["detect", "empty", "--recursive"]) == 1
    assert "error: empty: no image files in this folder\n" in capsys.readouterr().err


def test_a_calibration_sets_the_threshold_and_warns_where_it_may_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "camera.json"
    lines = []
    for threshold, options in ((0.5, DetectorOptions()), (1.0, DetectorOptions(min_face_size=50))):
        write_calibration(file, threshold, options)
        assert main(["detect", "--calibration", str(file), "--json", "-"]) == 0
        output = capsys.readouterr()
        (entry,) = lines_of(output.out)
        lines.append(
            (len(entry["faces"]), "warning: " in output.err, "min_face_size" in output.err)
        )
    assert lines == [(1, False, False), (0, True, True)]
    assert main(["detect", "--calibration", str(file), "--confidence", "0.5"]) == 2
    assert "not both" in capsys.readouterr().err


def test_confidence_hides_faces_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", "--json", "-"]) == 0
    (entry,) = lines_of(capsys.readouterr().out)
    (score,) = [face["score"] for face in entry["faces"]]
    for lowest, count in ((score - 1e-4, 1), (min(score + 1e-4, 1), 0)):
        assert main(["detect", "--confidence", str(lowest), "--json", "-"]) == 0
        (entry,) = lines_of(capsys.readouterr().out)
        assert len(entry["faces"]) == count


@pytest.mark.parametrize("angles", ["90,180", "fallback", "-180,100"])
def test_angles_find_a_turned_face_and_say_so(
    angles: str, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image("turned.png", read_image(ROOT / "samples" / ONE_FACE)[::-1, ::-1])
    assert main(["detect", "turned.png", "--json", "-"]) == 0
    assert main(["detect", "turned.png", "--json", "-", f"--angles={angles}"]) == 0
    upright, turned = lines_of(capsys.readouterr().out)
    assert upright["faces"] == []
    assert [face["angle"] for face in turned["faces"]] == [180]


def test_a_json_file_appears_whole_and_standard_output_stays_empty(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = photos.parent / "faces.jsonl"
    report.write_text("older\n")
    assert main(["detect", str(photos), "--json", str(report)]) == 1
    assert capsys.readouterr().out == ""
    assert len(lines_of(report.read_text())) == 3
    assert list(report.parent.glob("*.part")) == []


def test_with_a_json_file_the_terminal_says_why_inputs_failed(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", str(photos), "--json", str(photos.parent / "faces.jsonl")]) == 1
    (problem, summary) = capsys.readouterr().err.splitlines()
    assert problem.startswith("error: ")
    assert "broken.jpg" in problem
    assert "1 failed, " in summary


def test_a_rate_is_that_of_images_that_were_searched(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", str(photos / "broken.jpg")]) == 1
    assert capsys.readouterr().err.endswith("0 images, 0 faces, 1 failed\n")


# Outputs: what is a file, what is a folder, and what must not be overwritten.


@pytest.mark.parametrize("name", ["marked.png", "marked.JPG", "marked.webp"])
def test_one_photo_can_be_annotated_into_a_file(name: str, in_folder: Path) -> None:
    assert main(["detect", "--annotate", name]) == 0
    assert [path.name for path in in_folder.iterdir()] == [name]
    picture = cv2.imread(name)
    assert picture is not None
    assert picture.shape == (512, 512, 3)
    assert main(["detect", "--annotate", name]) == 0  # replaced, as the pictures of a folder are


def test_a_folder_may_have_a_suffix(in_folder: Path) -> None:
    (in_folder / "day.png").mkdir()
    for folder in ("day.png", "night.png/", "v1.2"):
        assert main(["detect", "--annotate", folder]) == 0
        assert (in_folder / folder / ONE_FACE).is_file()


WRONG_OUTPUTS = [
    (["detect", "PHOTOS", "--annotate", "marked.png"], "3 inputs; name a folder, such as marked/"),
    (["detect", "--annotate", "marked.gif"], "must end in .png or .jpg or .jpeg or .webp"),
    (["detect", "--annotate", "marked.mp4"], "such as marked.png"),
    (["detect", "--annotate", "no/marked.png"], "there is no folder no"),
    (["detect", "PHOTO", "--annotate", "PHOTO"], "is one of the inputs"),
    (["detect", "--crops", "face.png"], "--crops takes a folder"),
    (["detect", "--json", "."], "--json . is a folder; name a file in it"),
    (["detect", "--json", "new/"], "--json new/ is a folder"),
    (["detect", "--json", "no/faces.jsonl"], "there is no folder no"),
    (["detect", "--json", "holiday.jpg"], "holiday.jpg has the name of a picture"),
    (["evaluate", "PHOTOS", "PHOTOS", "--format", "yolo", "--json", "a.png"], "a picture"),
    (
        ["calibrate", "PHOTOS", "OTHERS", "--output", "door"],
        "in .json, such as door.json; got door",
    ),
    (["calibrate", "PHOTOS", "OTHERS", "--report", "x.txt"], "in .html or .htm, such as x.html"),
    (["tune", "--output", "board"], "such as board.json"),
    (["bench", "--json", "speed.json"], "--json > speed.json"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG_OUTPUTS)
def test_an_output_of_the_wrong_kind_is_refused_before_anything_is_done(
    arguments: list[str],
    said: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "--report" in arguments:
        pytest.importorskip("matplotlib", reason="a report needs the extra 'plots'")
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    for file in photos.glob("*.jpg"):
        (photos / f"{file.stem}.txt").write_text("0 0.5 0.5 0.1 0.1\n")  # YOLO annotations
    others = shutil.move(photos / "more", tmp_path / "others")
    names = {"PHOTOS": str(photos), "PHOTO": str(photos / ONE_FACE), "OTHERS": str(others)}
    before = (photos / ONE_FACE).read_bytes()
    assert main([names.get(word, word) for word in arguments]) == 2
    assert said in capsys.readouterr().err
    assert list(place.iterdir()) == []
    assert (photos / ONE_FACE).read_bytes() == before


@POSIX
def test_json_is_written_through_a_pipe_or_a_link_without_replacing_it(tmp_path: Path) -> None:
    place, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(place)
    report = JsonLines(str(link))
    report.write({"path": "a"})
    report.close()
    assert link.is_symlink()
    assert lines_of(place.read_text()) == [{"path": "a"}]
    nowhere = JsonLines("/dev/null")
    nowhere.write({"path": "a"})
    nowhere.close()
    assert Path("/dev/null").is_char_device()


# Pictures.


def decoded(folder: Path) -> dict[str, Any]:
    """Shape of every picture in a folder by its name; each must be readable."""
    shapes = {}
    for path in sorted(folder.rglob("*.*")):
        image = cv2.imread(str(path))
        assert image is not None, path
        shapes[path.relative_to(folder).as_posix()] = image.shape
    return shapes


def test_annotated_photos_keep_their_tree_so_that_namesakes_stay_apart(
    photos: Path, in_folder: Path
) -> None:
    assert main(["detect", str(photos), "--recursive", "--annotate", "marked"]) == 1
    assert decoded(in_folder / "marked") == {
        ONE_FACE: (512, 512, 3),
        NO_FACE: (300, 451, 3),
        f"more/{ONE_FACE}": (600, 512, 3),
    }
    original, marked = (cv2.imread(str(f / ONE_FACE)) for f in (photos, in_folder / "marked"))
    assert original is not None
    assert marked is not None
    assert cv2.absdiff(original, marked)[60:174, 170:280].max() > 100


@pytest.mark.parametrize("style", ["aligned", "margin"])
def test_each_face_is_cut_out_as_a_picture_of_its_own(
    style: str, photos: Path, in_folder: Path
) -> None:
    arguments = ["detect", str(photos), "-r", "--crops", "cut", "--crop-style", style]
    assert main(arguments) == 1
    shapes = decoded(in_folder / "cut")
    assert set(shapes) == {"astronaut_face1.png", "more/astronaut_face1.png"}
    if style == "aligned":
        assert set(shapes.values()) == {(112, 112, 3)}
    else:
        height, width, _ = shapes["astronaut_face1.png"]
        assert 1.2 * 88 < width < 2 * 88
        assert 1.2 * 114 < height < 2 * 114


@POSIX
@pytest.mark.parametrize("flag", ["--annotate", "--crops"])
def test_a_picture_that_cannot_be_written_is_named_and_fails_alone(
    flag: str, photos: Path, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A folder stands where the first photo's picture should go.
    name = ONE_FACE if flag == "--annotate" else "astronaut_face1.png"
    (in_folder / "out" / name / "in the way").mkdir(parents=True)
    inputs = [str(photos / ONE_FACE), str(photos / "more" / ONE_FACE)]
    assert main(["detect", *inputs, flag, "out", "--json", "-"]) == 1
    failed, done = lines_of(capsys.readouterr().out)
    assert failed["error"] == f"cannot write out/{name}: Is a directory"
    assert len(done["faces"]) == 1
    assert [path for path in (in_folder / "out").rglob("*") if path.suffix == ".part"] == []


@POSIX
def test_a_report_that_cannot_grow_keeps_the_lines_before(tmp_path: Path) -> None:
    import resource

    place = tmp_path / "faces.jsonl"
    report = JsonLines(str(place))
    report.write({"path": "a"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, limits[1]))  # bytes: half of the second line
    try:
        with pytest.raises(OSError, match=r"cannot write --json .*: File too large"):
            report.write({"path": "b" * 30})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    report.close()
    assert place.read_text() == '{"path": "a"}\n'


@POSIX
def test_a_full_disk_under_the_report_is_one_clear_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    assert main(["detect", "--json", str(full)]) == 1
    assert "error: cannot write --json /dev/full: No space left" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission_is_refused_at_the_start(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "marked").mkdir(mode=0o555)
    assert main(["detect", "--annotate", "marked"]) == 2
    assert "cannot write into the folder --annotate marked" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--annotate", "--crops"])
def test_a_folder_that_holds_inputs_is_refused_for_pictures(
    flag: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in photos.rglob("*")}
    assert main(["detect", str(photos), flag, str(photos / "more" / "..")]) == 2
    assert "could be overwritten" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in photos.rglob("*")} == before


def test_the_json_file_may_not_be_an_input(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = photos / ONE_FACE
    content = photo.read_bytes()
    assert main(["detect", str(photo), "--json", str(photo)]) == 2
    assert "is one of the inputs" in capsys.readouterr().err
    assert photo.read_bytes() == content


def test_pictures_in_a_folder_within_the_inputs_are_not_taken_for_inputs_again(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["detect", str(photos), "-r", "--annotate", str(photos / "marked"), "--json", "-"]
    assert main(arguments) == 1
    first = capsys.readouterr().out
    assert main(arguments) == 1
    assert capsys.readouterr().out == first
    assert len(decoded(photos / "marked")) == 3


NAMES = [
    (["a/x.jpg", "a/y.JPG"], ["a/x.jpg", "a/y.JPG"], ["x.jpg", "y.JPG"]),
    (["a", "b"], ["a/x.jpg", "b/x.jpg"], ["a/x.jpg", "b/x.jpg"]),
    (["a/*.gif"], ["a/x.gif", "a/x.gif.png"], ["x.gif.png", "x.gif-2.png"]),
    (["c*/**/*.tif"], ["c1/d/x.tif", "c2/d/x.tif"], ["c1/d/x.tif.png", "c2/d/x.tif.png"]),
    (["../a", "."], ["../a/x.png", "./x.png"], ["a/x.png", "{here}/x.png"]),
    (["a/X.jpg", "a/x.jpg"], ["a/X.jpg", "a/x.jpg"], ["X.jpg", "x-2.jpg"]),
]


@pytest.mark.parametrize(("arguments", "inputs", "expected"), NAMES)
def test_names_of_pictures_follow_the_tree_and_never_collide(
    arguments: list[str], inputs: list[str], expected: list[str], in_folder: Path
) -> None:
    for name in ("a", "b"):
        (in_folder / name).mkdir()
    (in_folder.parent / "a").mkdir(exist_ok=True)
    names = unique_names(arguments, [Path(path) for path in inputs])
    assert [name.as_posix() for name in names] == [
        name.format(here=in_folder.name) for name in expected
    ]


def test_crops_of_files_that_differ_in_their_suffix_only_stay_apart() -> None:
    inputs = [Path("x.jpg"), Path("x.png"), Path("x-2.png"), Path("v1.2.gif")]
    names = unique_names(["."], inputs, stems=True)
    assert [name.as_posix() for name in names] == ["x", "x-2", "x-2-2", "v1.2"]


# Processes: signals and pipes.


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """More photos than are done before the interruption."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        shutil.copy(ROOT / "samples" / ONE_FACE, folder / f"{number:02}.jpg")
    return folder


@pytest.fixture
def started(many: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command("detect", many, *arguments),
            cwd=many.parent,
            env=ENVIRONMENT,
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


@POSIX
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_what_was_done_is_on_disk_as_whole_lines(
    number: signal.Signals, code: int, many: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    report, part = many.parent / "faces.jsonl", many.parent / "faces.jsonl.part"
    process = started("--json", "faces.jsonl", "--annotate", "marked", "--threads", "1")
    deadline = time.monotonic() + 60
    while not (part.exists() and part.read_text().count("\n") >= 3):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    asked = time.monotonic()
    _, output = process.communicate(timeout=30)
    assert time.monotonic() - asked < 10
    assert process.returncode == code, output
    assert "Traceback" not in output
    entries = lines_of(report.read_text())
    assert 3 <= len(entries) < 60
    assert f"interrupted after {len(entries)} of 60" in output
    assert not part.exists()
    pictures = decoded(many.parent / "marked")
    assert {f"{index:02}.jpg" for index in range(len(entries))} <= set(pictures)
    assert [path for path in (many.parent / "marked").iterdir() if path.suffix != ".jpg"] == []


@POSIX
@pytest.mark.parametrize("form", [[], ["--json", "-"]])
def test_a_closed_pipe_ends_the_command_quietly(
    form: list[str], started: Callable[..., subprocess.Popen[str]]
) -> None:
    process = started(*form)
    assert process.stdout is not None
    assert process.stderr is not None
    assert "00.jpg" in process.stdout.readline()
    process.stdout.close()
    output = process.stderr.read()
    assert process.wait(timeout=60) == 141
    assert output == ""


def test_the_module_runs_as_the_command(tmp_path: Path) -> None:
    done = in_new_process("detect", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (entry,) = lines_of(done.stdout)
    assert len(entry["faces"]) == 1
    assert list(tmp_path.iterdir()) == []


@POSIX
def test_the_progress_bar_does_not_hide_that_an_image_is_damaged() -> None:
    pytest.importorskip("tqdm")
    program = """
import os
from edge_mtcnn.cli.terminal import Progress
from edge_mtcnn.images.codec_errors import listening
progress = Progress(10, "image")
with listening(exclusive=True) as heard:
    progress._bar.refresh()
    os.write(2, b"Corrupt JPEG data: premature end of data segment\\n")
with progress.writing():
    print(heard.complaints)
progress.close()
"""
    import fcntl
    import termios

    terminal, stderr = os.openpty()
    fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=60,
    )
    os.set_blocking(terminal, False)
    shown = os.read(terminal, 65536)
    os.close(stderr)
    os.close(terminal)
    assert done.stdout == "['Corrupt JPEG data: premature end of data segment']\n"
    assert b"0/10" in shown
    assert b"Corrupt" not in shown


def test_every_hard_file_has_one_line_and_none_ends_the_command(
    shared: Path, tmp_path: Path
) -> None:
    tricky = shared / "data" / "tricky"
    done = in_new_process("detect", tricky, "--recursive", "--json", "-", cwd=tmp_path)
    assert done.returncode == 1
    entries = lines_of(done.stdout)
    assert len(entries) == sum(path.is_file() for path in tricky.rglob("*")) > 100
    assert any("error" in entry for entry in entries)
    assert all(entry.get("error") or "faces" in entry for entry in entries)
    assert len(done.stderr.splitlines()) == 1, done.stderr
