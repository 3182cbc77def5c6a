"""``edge-mtcnn bulk`` as people run it: output, exit codes, signals, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bulks import photos, rows, run, sources, table, video

from edge_mtcnn.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_mtcnn", "bulk", *map(str, arguments)],
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


def wait_for_parts(output: Path, count: int) -> None:
    until = time.monotonic() + 60
    while len(list((output / "images").glob("part-*.parquet"))) < count:
        assert time.monotonic() < until, "no part is written"
        time.sleep(0.01)


def bulk(*arguments: str | Path) -> int:
    return main(["bulk", *map(str, arguments)])


def test_the_exit_code_says_whether_inputs_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(tmp_path / "in", 3)
    assert bulk(tmp_path / "in", "--output", tmp_path / "out") == 0
    assert "3 inputs, 2 faces, 0 failed" in capsys.readouterr().err
    assert bulk(tmp_path / "in", tmp_path / "missing.jpg", "-o", tmp_path / "out") == 1
    written = capsys.readouterr()
    assert f"error: {tmp_path / 'missing.jpg'}: no such file" in written.err
    assert "3 images of 4 were searched before" in written.err
    assert written.out == ""
    assert bulk(tmp_path / "in", "-o", tmp_path / "out") == 1  # the table has a failure
    assert bulk(tmp_path / "in", "-o", tmp_path / "out", "--min-face-size", "50") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert bulk(tmp_path / "in", "-o", tmp_path / "out.jpg") == 2


@pytest.mark.parametrize(
    "wrong", [["--every", "1m"], ["--batch-size", "0"], ["--engine", "spark"], ["--nice", "99"]]
)
def test_wrong_usage_is_refused_before_anything_is_written(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bulk(tmp_path, "-o", tmp_path / "out", *wrong) == 2
    assert wrong[0].removeprefix("--").replace("-", "_").split("_")[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_json_is_what_detect_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "in", 5)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no image")
    folder = str(tmp_path / "in")
    assert main(["detect", folder, "--json", str(tmp_path / "detect.jsonl")]) == 1
    assert bulk(folder, "-o", tmp_path / "out", "--json", tmp_path / "bulk.jsonl") == 1
    expected, written = (
        {(entry := json.loads(line))["path"]: entry for line in path.read_text().splitlines()}
        for path in (tmp_path / "detect.jsonl", tmp_path / "bulk.jsonl")
    )
    bad = str(tmp_path / "in" / "bad.jpg")
    assert expected[bad].pop("error").endswith(written[bad].pop("error"))
    assert written == expected
    capsys.readouterr()
    bulk(folder, "-o", tmp_path / "out", "--json", "-")
    lines = capsys.readouterr().out.splitlines()
    assert sorted(json.loads(line)["path"] for line in lines) == sorted(expected)


def test_json_of_a_video_says_at_which_frame_a_face_is(tmp_path: Path) -> None:
    path = video(tmp_path / "lobby.avi", 20)
    bulk(path, "-o", tmp_path / "out", "--every", "5", "--json", tmp_path / "faces.jsonl")
    (entry,) = map(json.loads, (tmp_path / "faces.jsonl").read_text().splitlines())
    assert [(face["frame"], face["position_seconds"]) for face in entry["faces"]] == [
        (0, 0.0),
        (5, 0.5),
    ]


@POSIX
def test_ctrl_c_finishes_what_is_searched_and_the_same_command_continues(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    paths = photos(tmp_path / "in", 100)
    arguments = [tmp_path / "in", "-o", tmp_path / "out", "--batch-size", "10"]
    process = started(*arguments)
    wait_for_parts(tmp_path / "out", 1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "finishing what is being searched" in errors
    assert "the same command continues" in errors
    done = len(table(tmp_path / "out", "images"))
    assert 0 < done < 100
    assert done % 10 == 0
    again = started(*arguments)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert f"{done} images of 100 were searched before" in errors
    assert sources(tmp_path / "out") == sorted(map(str, paths))


@POSIX
def test_a_second_ctrl_c_ends_at_once(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    photos(tmp_path / "in", 40)
    # At this rate the batches that are searched would take 40 s more.
    limits = ["--batch-size", "20", "--limit-rate", "1"]
    process = started(tmp_path / "in", "-o", tmp_path / "out", *limits)
    until = time.monotonic() + 60
    while not list((tmp_path / "out" / "plan").glob("*.parquet")):
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)
    # The second number is the same for a shell: Python was about to end by itself.
    assert process.returncode in (130, -signal.SIGINT)


@POSIX
def test_a_killed_run_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    photos(tmp_path / "in", 40)
    run([tmp_path / "in"], tmp_path / "undisturbed")
    arguments = [tmp_path / "in", "-o", tmp_path / "out", "--batch-size", "4"]
    for parts in (1, 5):
        process = started(*arguments)
        wait_for_parts(tmp_path / "out", parts)
        process.kill()
        process.communicate()
    last = started(*arguments)
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    assert rows(tmp_path / "out") == rows(tmp_path / "undisturbed")


@POSIX
def test_progress_is_shown_on_a_terminal_with_the_failures_so_far(tmp_path: Path) -> None:
    pytest.importorskip("tqdm")
    paths = photos(tmp_path / "in", 30)
    paths[0].write_bytes(b"no image")
    import fcntl
    import termios

    terminal, stderr = os.openpty()
    fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    command = [sys.executable, "-m", "edge_mtcnn", "bulk", str(tmp_path / "in")]
    limits = ["--limit-rate", "15", "--batch-size", "5"]
    process = subprocess.Popen(
        [*command, "-o", str(tmp_path / "out"), *limits], env=ENVIRONMENT, stderr=stderr
    )
    os.close(stderr)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    assert process.wait(timeout=60) == 1
    assert b"/30 [" in shown  # with the remaining time
    assert b"image/s" in shown
    assert b"1 failed" in shown
    assert b"0000.jpg: text, no" in shown
