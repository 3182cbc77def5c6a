"""``edge-mtcnn watch`` as a user runs it: lines, files, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from calibrations import write_calibration
from videos import background, panned, scene, wait_until, write_video

from edge_mtcnn import DetectorOptions
from edge_mtcnn.cli import main
from edge_mtcnn.cli.watch import _Summary
from edge_mtcnn.cli.watch_output import Recording
from edge_mtcnn.video import Frame, Snapshot

COMMAND = [sys.executable, "-m", "edge_mtcnn", "watch"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One and a half seconds of a face, then nobody for another two."""
    frames = chain(panned(30), repeat(background(), 40))
    return write_video(tmp_path_factory.mktemp("video") / "visit.avi", frames)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face for a minute."""
    frames = repeat(scene([(80, 40)]), 1200)
    return write_video(tmp_path_factory.mktemp("video") / "long.avi", frames)


def frames_of(path: Path) -> Iterator[np.ndarray]:
    video = cv2.VideoCapture(str(path))
    while (read := video.read())[0]:
        yield read[1]
    video.release()


def test_a_threshold_says_who_counts_as_present(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kiosk = DetectorOptions.from_preset("kiosk")
    low = str(write_calibration(tmp_path / "low.json", 0.5, kiosk))
    high = str(write_calibration(tmp_path / "high.json", 1.0, kiosk))
    flags = {
        "low": ["--confidence", "0.5"],
        "high": ["--confidence", "1.0"],
        "calibrated low": ["--calibration", low],
        "calibrated high": ["--calibration", high],
    }
    appeared = {}
    for name, given in flags.items():
        assert main(["watch", str(video), "--fast", "--json", "-", *given]) == 0
        output = capsys.readouterr()
        appeared[name] = "FaceAppeared" in output.out
        assert "warning" not in output.err
    assert appeared == {
        "low": True,
        "high": False,
        "calibrated low": True,
        "calibrated high": False,
    }


def test_a_calibration_of_another_detector_warns_and_one_threshold_is_enough(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_calibration(tmp_path / "photos.json", 0.5, DetectorOptions())
    calibration = ["--calibration", str(file)]
    assert main(["watch", str(video), "--fast", *calibration]) == 0
    output = capsys.readouterr()
    assert "person 1 is here" in output.out
    (warning,) = [line for line in output.err.splitlines() if line.startswith("warning:")]
    assert "so it may not hold for the camera; to calibrate again, run: edge-mtcnn" in warning
    assert warning.endswith(f" --preset kiosk --output {file}")
    assert main(["watch", str(video), "--confidence", "0.5", *calibration]) == 2
    assert "not both" in capsys.readouterr().err


def test_the_last_line_tells_of_faces_that_were_not_followed() -> None:
    watcher: Any = SimpleNamespace(snapshot=Snapshot(frames=5, untracked=7))
    assert _Summary(watcher).text().endswith("0 dropped, 0 reconnects, 7 faces not followed")


def test_events_are_told_in_words(video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(video), "--fast"]) == 0
    output = capsys.readouterr()
    times, lines = zip(*(line.split(" ", 1) for line in output.out.splitlines()), strict=True)
    assert times == ("00:00:00.30", "00:00:00.30", "00:00:02.50", "00:00:02.50")  # in the video
    assert re.fullmatch(r"person 1 is here, \d+x\d+ at \(\d+, \d+\), score 0\.9\d{3}", lines[0])
    assert lines[1:] == ("person 1 is selected", lines[2], "no person is selected")
    assert re.fullmatch(r"person 1 left after 1\.[45] s", lines[2])
    assert re.search(r"70 frames in .* 0 dropped, 0 reconnects", output.err)


def test_events_are_json_lines_on_standard_output_and_nothing_else_is(
    video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(video), "--fast", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ["FaceAppeared", "PersonChanged", "FaceLeft", "PersonChanged"]
    assert [event["event"] for event in events] == names
    assert [event["sequence"] for event in events] == [1, 2, 3, 4]


def test_a_json_file_grows_from_watch_to_watch(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.jsonl"
    for _ in range(2):
        assert main(["watch", str(video), "--fast", "--json", str(file)]) == 0
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 8
    assert capsys.readouterr().out == ""


def test_the_annotated_video_has_every_frame_with_the_face_marked(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marked = tmp_path / "marked.mp4"
    assert main(["watch", str(video), "--fast", "--annotate", str(marked)]) == 0
    frames = list(frames_of(marked))
    assert len(frames) == 70
    differences = [
        float(np.abs(a.astype(int) - b).max())
        for a, b in zip(frames, frames_of(video), strict=True)
    ]
    assert min(differences[5:30]) > 100  # boxes and letters
    assert np.median(differences[-15:]) < 60  # compression only
    assert [path.name for path in tmp_path.iterdir()] == ["marked.mp4"]
    capsys.readouterr()


def test_without_annotate_no_file_is_written(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["watch", str(video), "--fast"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_recording_keeps_the_pace_and_the_size_of_its_first_frame(tmp_path: Path) -> None:
    place = tmp_path / "out.avi"
    with Recording(str(place), "0") as recording:
        sizes = [(120, 160), (120, 160), (240, 320)]
        for when, size in zip((0.0, 0.1, 0.3), sizes, strict=True):
            image = np.full((*size, 3), 200, np.uint8)
            frame = Frame(image=image, time=when, number=0, live=True)
            recording.add(frame, Snapshot(source_fps=10, state="watching"))
    frames = list(frames_of(place))
    assert len(frames) == 4  # 0, 0.1, and the last for 0.2 and 0.3
    assert {frame.shape for frame in frames} == {(120, 160, 3)}


@pytest.mark.parametrize("source", ["99", "rtsp://127.0.0.1:9/1"])
def test_a_source_that_never_delivers_a_frame_is_exit_1_with_the_reason(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", source, "--seconds", "1"]) == 1
    output = capsys.readouterr()
    assert "source lost: cannot open" in output.out
    reason = r"(no camera; plug one in|no such camera; cameras|nothing listens at port 9 of)"
    assert re.search(rf"^error: cannot open .*{reason}", output.err, re.MULTILINE)
    assert ("edge-mtcnn watch VIDEO --loop" in output.err) == (source == "99")


def test_a_looped_file_is_watched_until_the_time_is_over(
    video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["watch", str(video), "--loop", "--fast", "--seconds", "8", "--json"]
    assert main(arguments) == 0
    output = capsys.readouterr()
    events = [json.loads(line) for line in output.out.splitlines()]
    appeared = [event for event in events if event["event"] == "FaceAppeared"]
    assert len(appeared) >= 2, "once in each pass"
    assert appeared[0]["position_seconds"] == appeared[1]["position_seconds"]
    assert appeared[1]["time"] - appeared[0]["time"] == pytest.approx(3.5, abs=0.01)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert {"SourceLost", "SourceBack"}.isdisjoint(event["event"] for event in events)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.mp4"], "there is no such file"),
        (["VIDEO", "--annotate", "out.gif"], r"--annotate writes \.mp4 or \.webm or \.avi"),
        (["VIDEO", "--annotate", "nowhere/out.mp4"], "cannot write --annotate"),
        (["VIDEO", "--annotate", "VIDEO"], "is the source"),
        (["VIDEO", "--json", "VIDEO"], "is the source"),
        (["VIDEO", "--json", "nowhere/events.jsonl"], "there is no folder nowhere"),
        (["VIDEO", "--json", "./"], "is a folder"),
        (["VIDEO", "--json", "photo.jpg"], "the name of a picture"),
        (["VIDEO", "--region", "1,2"], "region must be"),
        (["VIDEO", "--region", "left"], "--region takes four comma-separated numbers"),
        (["VIDEO", "--seconds", "0"], "--seconds must be above 0"),
        (["0", "--loop"], "--loop is for video files, and camera 0 is not one"),
        (["rtsp://a:b@camera/1", "--loop"], r"and rtsp://camera/1 is not one: .* opened again"),
        (["http://camera/film.mp4", "--fast"], "--fast is for video files"),
        (["VIDEO", "--frame-size", "640x480"], "--frame-size is for cameras of this machine"),
        (["VIDEO", "--fps", "15"], "--fps is for cameras of this machine"),
        (
            ["0", "--frame-size", "720p"],
            "--frame-size takes a width and a height, such as 1280x720",
        ),
        (["0", "--frame-size", "0x480"], "each of size must be"),
        (["0", "--fps", "-1"], "fps must be a number in 0"),
        (["VIDEO", "--leave-after", "-1"], "leave_after"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    arguments: list[str],
    message: str,
    video: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = video.read_bytes()
    assert main(["watch", *(str(video) if a == "VIDEO" else a for a in arguments)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert re.search(message, errors[0])
    assert video.read_bytes() == before


def test_a_file_that_is_no_video_fails_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert main(["watch", str(path)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"error: cannot open {path}: it is empty"


@pytest.mark.skipif(
    bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")), reason="has a display"
)
def test_a_window_without_a_display_is_refused(
    video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(video), "--show"]) == 2
    assert "--show needs a display" in capsys.readouterr().err


def test_it_stops_after_the_time_that_was_asked_for(
    long_video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    assert main(["watch", str(long_video), "--seconds", "0.8"]) == 0
    assert time.monotonic() - started < 5
    assert "(watching stopped)" in capsys.readouterr().out


def test_ctrl_c_ends_with_130_and_loses_neither_events_nor_video(
    long_video: Path, tmp_path: Path
) -> None:
    events, marked = tmp_path / "events.jsonl", tmp_path / "marked.mp4"
    flags = ["--json", str(events), "--annotate", str(marked)]
    process = subprocess.Popen(
        [*COMMAND, str(long_video), *flags], stderr=subprocess.PIPE, text=True
    )
    assert wait_until(lambda: events.exists() and "FaceAppeared" in events.read_text(), 30)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert re.search(r"\d+ frames in", errors)
    assert "Traceback" not in errors
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert [event["event"] for event in told[-2:]] == ["FaceLeft", "PersonChanged"]
    assert told[-2]["reason"] == "stopped"
    assert sum(1 for _ in frames_of(marked)) >= 5


def test_a_reader_that_goes_away_ends_the_watch_quietly(long_video: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, str(long_video), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert b"FaceAppeared" in process.stdout.readline()
    process.stdout.close()
    process.send_signal(signal.SIGTERM)  # the events of the end have no reader
    assert process.wait(20) in (141, 143)
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


def test_a_terminal_shows_a_live_line_that_is_taken_away(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", chain(panned(15), repeat(background(), 25)), fps=20)
    screen, terminal = pty.openpty()
    process = subprocess.Popen([*COMMAND, str(video)], stdout=subprocess.DEVNULL, stderr=terminal)
    os.close(terminal)
    output = b""
    try:
        while part := os.read(screen, 65536):
            output += part
    except OSError:  # how Linux tells that the other side has closed
        pass
    os.close(screen)
    assert process.wait(20) == 0
    text = output.decode()
    assert re.search(r"\r\x1b\[Kwatching \| persons \*1 for \d s \| [\d.]+ fps", text)
    assert "watching | nobody" in text
    last_line = text.rsplit("\r\x1b[K", 1)[1]
    assert re.match(r"\d+ frames in", last_line)
