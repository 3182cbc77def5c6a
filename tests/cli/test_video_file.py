"""The video of ``watch --annotate``: its codec, its times, and whether a browser plays it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browsers import launched
from videos import panned, write_video

from edge_mtcnn.cli import main, video_file
from edge_mtcnn.cli.video_file import codec_for, open_video_file
from edge_mtcnn.cli.watch_output import Recording
from edge_mtcnn.video import Frame, Snapshot

_PLAYED = """async (name) => {
  const video = document.createElement("video");
  video.muted = true;
  video.src = name;
  const told = (event) => new Promise((done) => video.addEventListener(event, done));
  const failed = told("error").then(() => "cannot be played");
  const ended = video.play().then(() => told("ended")).then(
    () => `${video.videoWidth}x${video.videoHeight} for ${video.currentTime.toFixed(1)} s`,
    () => "cannot be played");
  return Promise.race([failed, ended]);
}"""


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real ffmpeg as the only one on the path."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is missing")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    monkeypatch.setenv("PATH", str(programs) + os.pathsep + os.defpath)


@pytest.fixture
def no_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as running:
        yield running


def opencv_writes_h264() -> bool:
    return video_file._works("h264")


def written(path: Path, codec: str, count: int = 20) -> Path:
    video = open_video_file(path, codec, 20.0, (320, 240))
    for frame in panned(count):
        video.write(frame)
    video.close()
    return path


def played(browser: Any, path: Path) -> str:
    """What a browser says of a video: its size and how long it played."""
    page = browser.new_page()
    blank = path.with_name("page.html")
    blank.write_text("<!doctype html>")
    page.goto(blank.as_uri())
    answer: str = page.evaluate(_PLAYED, path.name)
    page.close()
    return answer


@pytest.mark.slow
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "ffmpeg"), ("b.webm", "vp8")])
def test_a_browser_plays_the_video_to_its_end(
    name: str, codec: str, ffmpeg: None, browser: Any, tmp_path: Path
) -> None:
    assert played(browser, written(tmp_path / name, codec)) == "320x240 for 1.0 s"


@pytest.mark.slow
def test_a_browser_plays_the_h264_of_this_opencv(browser: Any, tmp_path: Path) -> None:
    if not opencv_writes_h264():
        pytest.skip("this OpenCV writes no H.264")
    assert played(browser, written(tmp_path / "a.mp4", "h264")) == "320x240 for 1.0 s"


@pytest.mark.slow
def test_a_browser_does_not_play_what_the_note_warns_of(browser: Any, tmp_path: Path) -> None:
    assert played(browser, written(tmp_path / "a.mp4", "mpeg4")) == "cannot be played"


def test_h264_is_written_where_the_system_can(ffmpeg: None, tmp_path: Path) -> None:
    codec = codec_for(".mp4")
    assert codec == ("h264" if opencv_writes_h264() else "ffmpeg")
    recording = Recording(str(tmp_path / "out.mp4"), "0")
    assert recording.note is None
    recording.close()


def test_without_h264_one_sentence_says_so_and_what_to_do(
    no_ffmpeg: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if opencv_writes_h264():
        pytest.skip("this OpenCV writes H.264")
    source = write_video(tmp_path / "in.avi", panned(3))
    assert main(["watch", str(source), "--fast", "--annotate", str(tmp_path / "out.mp4")]) == 0
    errors = capfd.readouterr().err.splitlines()
    assert re.match(r"note: .*out\.mp4 will be MPEG-4, which browsers do not play", errors[0])
    assert "Install ffmpeg" in errors[0]
    assert len(errors) == 2  # and the summary, but nothing from OpenCV


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi", ".MP4"])
def test_every_suffix_is_written_without_a_word_of_opencv(
    suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"out{suffix}"
    with Recording(str(path), "0") as recording:
        image = np.full((241, 321, 3), 90, np.uint8)
        for number in range(5):
            frame = Frame(image, number / 10, number, live=True)
            recording.add(frame, Snapshot(source_fps=10, state="watching"))
    assert recording.failure is None
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert (video.get(3), video.get(4)) == (322, 242)  # even, as H.264 needs it
    video.release()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert "out.part" not in capfd.readouterr().err


def test_frames_of_a_file_keep_their_places_when_some_were_dropped(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    with Recording(str(path), "0") as recording:
        for shade, position in ((50, 0.5), (100, 0.6), (200, 4.0)):
            image = np.full((64, 64, 3), shade, np.uint8)
            frame = Frame(image, 100 + position, 0, live=False, position_seconds=position)
            recording.add(frame, Snapshot(source_fps=10, state="watching"))
    video = cv2.VideoCapture(str(path))
    shades = []
    while (read := video.read())[0]:
        shades.append(round(float(read[1].mean()) / 50) * 50)
    video.release()
    assert len(shades) == 41
    assert (shades[0], shades[5], shades[6], shades[39], shades[40]) == (50, 50, 100, 200, 200)


def test_an_ffmpeg_that_fails_is_not_used_and_one_that_dies_is_reported(
    no_ffmpeg: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    if not opencv_writes_h264():
        assert codec_for(".mp4") == "mpeg4"
    monkeypatch.setattr("edge_mtcnn.cli.watch_output.codec_for", lambda _: "ffmpeg")
    recording = Recording(str(tmp_path / "out.mp4"), "0")
    for number in range(100):
        image = np.zeros((240, 320, 3), np.uint8)
        recording.add(Frame(image, number / 10, number, live=True), Snapshot(source_fps=10))
    assert recording.failure is not None
    assert re.search(r"out\.mp4 could not be written", recording.failure)
    with pytest.raises(OSError, match="ffmpeg could not write the video"):
        recording.close()
    assert not (tmp_path / "out.mp4").exists()
