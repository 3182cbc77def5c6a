"""``edge-mtcnn serve`` as users start it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from calibrations import write_calibration
from videos import scene, wait_until, write_video

from edge_mtcnn import read_image
from edge_mtcnn.cli import main
from edge_mtcnn.serve import ServeOptions

COMMAND = [sys.executable, "-m", "edge_mtcnn", "serve"]
TOKEN = "correct-horse-battery-staple"


def test_it_prints_its_address_serves_and_ends_with_the_signal(
    tmp_path: Path, project_root: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--token-file", str(secret)],
        cwd=project_root,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        address = re.fullmatch(r"serving at (http://127\.0\.0\.1:\d+/) until Ctrl-C\n", line)
        assert address, line
        url = address[1]
        assert httpx.get(f"{url}healthz", trust_env=False).status_code == 200
        assert httpx.get(f"{url}state", trust_env=False).status_code == 401
        allowed = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{url}state", headers=allowed, trust_env=False).status_code == 200
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
        assert time.monotonic() - started < 10
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_source_that_is_away_is_reported_once_and_without_its_password(
    project_root: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]  # nothing listens there when the socket is closed
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", f"rtsp://user:secret@127.0.0.1:{port}/camera?key=secret"],
        cwd=project_root,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert process.stderr.readline().startswith("serving at ")
        lost = process.stderr.readline()
        assert lost.startswith(
            f"WARNING: source lost: cannot open rtsp://127.0.0.1:{port}/camera: "
        )
        assert "nothing listens" in lost
        assert "secret" not in lost
        time.sleep(1.5)  # of further tries
        process.terminate()
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_the_threshold_of_a_calibration_holds_for_images_and_the_camera(
    tmp_path: Path, project_root: Path
) -> None:
    video = write_video(tmp_path / "visit.avi", repeat(scene([(80, 40)]), 600))
    photo = (project_root / "samples" / "astronaut.jpg").read_bytes()
    seen = {}
    for threshold in (0.5, 1.0):
        file = write_calibration(tmp_path / "camera.json", threshold)
        process = subprocess.Popen(
            [*COMMAND, "--port", "0", str(video), "--calibration", str(file)],
            cwd=project_root,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            url = process.stderr.readline().split()[2]

            def state(name: str, url: str = url) -> Any:
                return httpx.get(f"{url}state", trust_env=False).json()[name]

            assert wait_until(lambda of=state: of("faces"), 10)
            present = wait_until(lambda of=state: of("persons"), 2)
            detected = httpx.post(f"{url}detect", content=photo, trust_env=False).json()
            seen[threshold] = len(detected["faces"]), present
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
    assert seen == {0.5: (1, True), 1.0: (0, False)}


def test_the_limit_of_a_detection_is_an_option(
    project_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--help"]) == 0
    help_text = " ".join(capsys.readouterr().out.split())
    assert f"(default: {ServeOptions().detect_seconds:g}) --workers" in help_text
    assert main(["serve", "--detect-seconds", "0"]) == 2
    assert "detect_seconds must be a number in 0.1..3600; got 0" in capsys.readouterr().err

    crop = read_image(project_root / "samples" / "astronaut.jpg")[60:176, 175:270, ::-1]
    tiles = np.tile(cv2.resize(crop, (28, 28), interpolation=cv2.INTER_AREA), (100, 100, 1))
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--detect-seconds", "0.1"],
        cwd=project_root,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        url = process.stderr.readline().split()[2]
        picture = cv2.imencode(".jpg", tiles)[1].tobytes()
        answer = httpx.post(f"{url}detect", content=picture, trust_env=False, timeout=30)
        assert answer.status_code == 503
        assert "took longer than 0.1 s" in answer.json()["error"]
        assert httpx.get(f"{url}healthz", trust_env=False).status_code == 200
        process.terminate()
        assert process.stderr.read() == "", "a stopped detection is not logged"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_another_address_without_a_token_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGE_MTCNN_TOKEN", raising=False)
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "give a token" in capsys.readouterr().err


def test_a_short_token_of_the_environment_is_refused_and_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_MTCNN_TOKEN", "hunter2")
    assert main(["serve"]) == 2
    shown = capsys.readouterr().err
    assert "at least 16 characters" in shown
    assert "hunter2" not in shown


def test_a_port_that_is_taken_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"cannot listen at 127.0.0.1 port {port}" in capsys.readouterr().err


def test_a_token_file_that_is_missing_is_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["serve", "--token-file", str(tmp_path / "none")]) == 2
    assert "cannot read --token-file" in capsys.readouterr().err


def test_a_source_that_is_no_file_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "no-such-video.mp4", "--port", "0"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_the_source_may_come_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_MTCNN_SOURCE", "no-such-video.mp4")
    assert main(["serve", "--port", "0"]) == 2
    assert "no-such-video.mp4: there is no such file" in capsys.readouterr().err


def test_missing_packages_are_reported_with_the_way_to_install_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_mtcnn.cli.serve.find_spec", lambda _: None)
    assert main(["serve"]) == 2
    assert "pip install 'edge-mtcnn[serve]'" in capsys.readouterr().err
