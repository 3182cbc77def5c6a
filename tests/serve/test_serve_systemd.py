"""Messages to systemd over a real socket, and the unit file of the repository."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import QUICK, Scene, face_bgr, serving, wait_for

from edge_mtcnn import FaceDetector
from edge_mtcnn.serve import ServeOptions
from edge_mtcnn.serve.notify import notify, watchdog_seconds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd runs on Linux")


class Manager:
    """The socket on which systemd listens."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver
        self.lines: list[str] = []

    def heard(self, line: str) -> bool:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.lines += self._receiver.recv(4096).decode().splitlines()
        return line in self.lines


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Manager]:
    name = str(tmp_path / "notify")
    if request.param == "abstract":
        name = f"@edge-mtcnn-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0", 1))
        receiver.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield Manager(receiver)


def test_ready_is_sent_over_the_socket(manager: Manager) -> None:
    assert notify("READY=1", "STATUS=serving")
    assert manager.heard("READY=1")
    assert manager.heard("STATUS=serving")


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("30000000", None, 30.0),
        ("30000000", str(os.getpid()), 30.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("x", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_asked_for_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
    microseconds: str | None,
    pid: str | None,
    seconds: float | None,
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog_seconds() == seconds


def test_the_watchdog_is_fed_until_the_watcher_is_stuck(
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    default_detector: FaceDetector,
    sample_path: Callable[[str], Path],
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    scene = Scene(face_bgr(sample_path("astronaut")))
    with serving(
        default_detector, source=scene, watch_detector=default_detector, watch=QUICK
    ) as running:
        assert wait_for(lambda: manager.heard("READY=1"))
        assert wait_for(lambda: manager.heard("STATUS=health: ok"))
        assert wait_for(lambda: manager.heard("WATCHDOG=1"))
        stuck = time.monotonic() - 60
        monkeypatch.setattr(type(running.service.watcher), "heartbeat", stuck)
        assert wait_for(lambda: manager.heard("STATUS=health: failing"))
        manager.lines.clear()
        time.sleep(0.5)  # five times as long as between two
        assert not manager.heard("WATCHDOG=1")
    assert manager.heard("STOPPING=1")


def test_the_unit_gives_a_running_detection_time_to_end(project_root: Path) -> None:
    unit = (project_root / "packaging" / "edge-mtcnn.service").read_text(encoding="utf-8")
    (timeout,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    # Streams and other answers may take up to 3 s after the signal.
    assert int(timeout) >= ServeOptions().detect_seconds + 3


def test_systemd_accepts_the_unit(project_root: Path, tmp_path: Path) -> None:
    unit = project_root / "packaging" / "edge-mtcnn.service"
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    # The program's place differs between machines, and must exist for the check.
    text = unit.read_text(encoding="utf-8")
    assert "/opt/edge-mtcnn/bin/edge-mtcnn" in text
    checked = tmp_path / unit.name
    checked.write_text(text.replace("/opt/edge-mtcnn/bin/edge-mtcnn", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(checked)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert complaints == []
