"""``edge-mtcnn collect`` as a user runs it: pictures, limits, the page, Ctrl-C, errors."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from html.parser import HTMLParser
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from browsers import launched
from videos import background, panned, scene, wait_until, write_video

from edge_mtcnn.cli import main

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits and signals")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of a face."""
    return write_video(tmp_path_factory.mktemp("video") / "visit.avi", panned(60))


@pytest.fixture
def finds(tmp_path: Path) -> Path:
    return tmp_path / "finds"


def pictures(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))


def index(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "finds.jsonl").read_text().splitlines()]


def test_pictures_sort_by_time_and_the_index_has_a_line_for_each(
    video: Path, finds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", str(video), str(finds), "--fast", "--every", "1"]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == [str(finds / name) for name in pictures(finds)]
    assert [line["file"] for line in index(finds)] == pictures(finds)
    assert [line["position_seconds"] for line in index(finds)] == [0.0, 1.0, 2.0]
    pattern = r"sure/visit_00-00-0(\d)-000_track1_score0\.9\d{3}\.jpg"
    assert [re.fullmatch(pattern, name)[1] for name in pictures(finds)] == ["0", "1", "2"]  # type: ignore[index]
    line = index(finds)[0]
    assert line["frame_size"] == [320, 240]
    assert (line["track"], line["source"], line["found_again"]) == (1, str(video), True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", line["time"])


def test_it_says_that_it_writes_pictures_of_people_and_where(
    video: Path, finds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", str(video), str(finds), "--fast", "--most", "1"]) == 0
    first, summary, _ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"note: pictures of people are written to {finds}, at most 1, for 10")
    assert "1 sure, 0 unsure, from 1 frame; stopped because --most 1 is reached" in summary
    assert summary.endswith(f"the pictures of people are in {finds}")


def test_the_command_at_the_end_calibrates_with_the_folders(
    video: Path, finds: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finds.parent)
    flags = ["--fast", "--every", "0.25", "--min-face-size", "60"]
    for sure in ("0.5", "1"):  # as if the second half had been sorted so
        assert main(["collect", str(video), "finds", *flags, "--sure", sure]) == 0
    command = shlex.split(capsys.readouterr().err.splitlines()[-1].partition("run: ")[2])
    assert command[:4] == ["edge-mtcnn", "calibrate", "finds/sure", "finds/unsure"]
    assert command[4:8] == ["--preset", "kiosk", "--min-face-size", "60"]
    assert main(command[1:]) == 0
    content = json.loads(Path("calibration.json").read_text())
    assert content["counts"] == {"images": 24, "failed": 0, "faces": 12, "nonfaces": 12}
    read = {entry["path"]: entry["score"] for entry in content["lowest_faces"]}
    written = {Path(line["file"]).name: line["score"] for line in index(finds)}
    assert len(read) == 10
    assert all(score == pytest.approx(written[name], abs=1e-6) for name, score in read.items())


@pytest.mark.parametrize(
    ("flags", "count", "reason"),
    [
        (["--most", "2"], 2, "--most 2 is reached"),
        (["--minutes", "0.025"], 3, "--minutes 0.025 are over"),  # 1.5 s of the video
    ],
)
def test_it_stops_at_a_limit(
    flags: list[str],
    count: int,
    reason: str,
    video: Path,
    finds: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["collect", str(video), str(finds), "--fast", "--every", "0.5", *flags]) == 0
    assert len(pictures(finds)) == count
    assert reason in capsys.readouterr().err


def test_a_folder_is_continued_and_never_overwritten(video: Path, finds: Path) -> None:
    command = ["collect", str(video), str(finds), "--fast"]
    assert main(command) == 0
    (first,) = pictures(finds)
    content = (finds / first).read_bytes()
    (finds / first).rename(finds / "unsure" / Path(first).name)  # as a user who labels
    assert main(command) == 0
    again = first.replace(".jpg", "-2.jpg")
    assert pictures(finds) == [again, first.replace("sure", "unsure", 1)]
    assert (finds / "unsure" / Path(first).name).read_bytes() == content
    assert [line["file"] for line in index(finds)] == [first, again]


def test_a_video_of_nobody_leaves_empty_folders(
    tmp_path: Path, finds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "empty.avi", repeat(background(), 10))
    assert main(["collect", str(video), str(finds), "--fast"]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "0 sure, 0 unsure" in output.err.splitlines()[-1]
    assert sorted(path.name for path in finds.iterdir()) == ["sure", "unsure"]


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_every_picture_and_writes_the_page(
    number: signal.Signals, tmp_path: Path, finds: Path
) -> None:
    video = write_video(tmp_path / "long.avi", repeat(scene([(80, 40)]), 1200))
    command = [sys.executable, "-m", "edge_mtcnn", "collect", str(video), str(finds)]
    process = subprocess.Popen(
        [*command, "--every", "0.2", "--report"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert wait_until(lambda: len(list(finds.glob("*/*.jpg"))) >= 3, 30)
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert "stopped because it was interrupted" in errors
    names = pictures(finds)
    assert len(names) >= 3
    assert all(name.endswith(".jpg") for name in names)  # no unfinished file
    assert [line["file"] for line in index(finds)] == names
    assert all(Path(name).name in (finds / "report.html").read_text() for name in names)


@POSIX
def test_a_disk_that_is_full_is_one_clear_error(
    video: Path, finds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    assert main(["collect", str(video), str(finds), "--fast", "--most", "1"]) == 0
    before = pictures(finds), (finds / "finds.jsonl").read_bytes()
    capsys.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes: less than a picture
    try:
        assert main(["collect", str(video), str(finds), "--fast"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith(f"error: cannot write {finds}/sure/visit_")
    assert errors[-1].endswith(": File too large")
    assert "0 sure, 0 unsure, from 1 frame; stopped because of an error" in errors[-2]
    assert (pictures(finds), (finds / "finds.jsonl").read_bytes()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mp4", "finds"], "there is no such file"),
        (["VIDEO", ""], "DIR needs the name of a folder"),
        (["VIDEO", "finds.jpg"], "DIR takes a folder"),
        (["VIDEO", "file"], "cannot create the folder DIR file: File exists"),
        (["VIDEO", "finds", "--minutes", "0"], "--minutes must be above 0; got 0"),
        (["VIDEO", "finds", "--minutes", "nan"], "--minutes must be above 0; got nan"),
        (["VIDEO", "finds", "--most", "-1"], "--most must be above 0; got -1"),
        (["VIDEO", "finds", "--every", "-1"], "--every must be at least 0; got -1"),
        (["VIDEO", "finds", "--sure", "90"], "--sure must be in 0..1; got 90"),
        (["VIDEO", "finds", "--report", "page.txt"], "--report must end in .html or .htm"),
        (["0", "finds", "--fast"], "--fast is for video files"),
        (["VIDEO", "finds", "--fps", "15"], "--fps is for cameras"),
    ],
)
def test_wrong_arguments_are_usage_errors(
    arguments: list[str],
    message: str,
    video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    given = [str(video) if each == "VIDEO" else each for each in arguments]
    assert main(["collect", *given]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.rglob("*.jpg")) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable_is_a_usage_error(
    video: Path, finds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finds.mkdir(mode=0o500)
    assert main(["collect", str(video), str(finds)]) == 2
    assert "permission denied" in capsys.readouterr().err


def test_a_file_that_is_no_video_fails(
    tmp_path: Path, finds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert main(["collect", str(path), str(finds)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"error: cannot open {path}: it is empty"


def test_a_camera_that_is_not_there_is_waited_for_and_then_an_error(
    finds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", "/dev/video99", str(finds), "--minutes", "0.01"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert any(line.startswith("source lost: ") for line in errors)
    assert errors[-1].startswith("error: ")
    assert "/dev/video99" in errors[-1]


class Images(HTMLParser):
    """The attributes of the pictures and links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pictures: list[dict[str, str | None]] = []
        self.links: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs))
        elif tag == "a":
            self.links.append(dict(attrs)["href"])


def test_the_page_shows_all_pictures_where_they_lie_now(video: Path, finds: Path) -> None:
    command = ["collect", str(video), str(finds), "--fast", "--every", "1", "--report"]
    assert main(command) == 0
    moved = pictures(finds)[0]
    (finds / moved).rename(finds / "unsure" / "a#b <i>.jpg")  # and renamed: it is not in the index
    assert main([*command, "--most", "1"]) == 0
    page = (finds / "report.html").read_text()
    images = Images(page)
    assert len(images.pictures) == len(images.links) == len(pictures(finds)) == 4
    assert [picture["alt"] for picture in images.pictures][-1] == "a#b <i>.jpg: no score known"
    assert images.links[-1] == "unsure/a%23b%20%3Ci%3E.jpg"
    assert all("score 0.9" in str(picture["alt"]) for picture in images.pictures[:-1])
    assert all(str(picture["src"]).startswith("data:image/jpeg") for picture in images.pictures)
    assert f"the folder {finds} contain pictures of people" in page
    assert "run <code>edge-mtcnn calibrate " in page


def test_a_browser_shows_the_page_and_opens_a_picture(video: Path, finds: Path) -> None:
    page_file = finds.parent / "page.html"  # outside of the folder: the links are absolute
    assert main(["collect", str(video), str(finds), "--fast", "--report", str(page_file)]) == 0
    with launched() as browser:
        page = browser.new_page(viewport={"width": 360, "height": 700})
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.goto(page_file.as_uri())
        assert page.evaluate("[...document.images].map(image => image.naturalWidth > 0)") == [True]
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator(".pictures a").click()
        assert page.url == (finds / pictures(finds)[0]).as_uri()
        assert messages == []
