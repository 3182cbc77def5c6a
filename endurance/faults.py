"""Test how a watched source survives being killed, cut, and filled with garbage, again and again.

Each source fails 20 times: a real RTSP server that is killed, an HTTP stream cut in the middle of a
picture, one that sends garbage before it ends, and a file that ends. The script measures the
seconds from the return of the source to its first frame, and the threads and descriptors left.

    python -m endurance.faults --only http-cut

Needs Debian's GStreamer packages for the RTSP server, see ``endurance/rtsp_server.py``; without
them that fault is left out.
"""

from __future__ import annotations

import gc
import itertools
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common.images import Pixels
from benchmarks.common.program import BenchmarkError, script, script_parser
from benchmarks.common.results import (
    Result,
    Target,
    add_output,
    document,
    save,
    table,
    target_table,
)
from edge_mtcnn import FaceDetector
from edge_mtcnn.video import FaceWatcher, SourceLost

DEBIAN_PYTHON = "/usr/bin/python3"
RTSP_MODULES = "import gi; gi.require_version('GstRtspServer', '1.0')"
LIMIT_SECONDS = 2.0
PATIENCE = 30.0
BOUNDARY = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


@dataclass
class Outcome:
    """The outcome of one kind of fault."""

    name: str
    back: list[float] = field(default_factory=list)
    never: int = 0
    threads: int = 0
    descriptors: int = 0


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure and print; the exit code is 1 if a target is missed."""
    parser = script_parser("endurance.faults", __doc__)
    parser.add_argument("--times", type=int, default=20, help="faults of each kind (20)")
    parser.add_argument("--only", choices=tuple(FAULTS), help="one kind of fault")
    add_output(parser)
    options = parser.parse_args(arguments)
    outcomes = []
    with FaceDetector(preset="kiosk") as detector:
        detector.warm_up()
        for name, fault in FAULTS.items():
            if options.only in (None, name):
                print(f"{name} ...", file=sys.stderr)
                try:
                    outcomes.append(_counted(name, fault, detector, options.times))
                except BenchmarkError as error:
                    print(f"left out: {name}: {error}", file=sys.stderr)
    if not outcomes:
        raise BenchmarkError("no fault could be measured")
    rows = [(o.name, len(o.back), o.never, max(o.back, default=None), o.threads, o.descriptors)
            for o in outcomes]  # fmt: skip
    header = ("fault", "times", "never back", "s to be back, worst", "threads left", "fds left")
    print(table(rows, header))
    targets = [target for outcome in outcomes for target in _targets(outcome)]
    print("\n" + target_table(targets))
    results = [
        Result(name=f"back/{o.name}", unit="s", value=max(o.back), samples=tuple(o.back))
        for o in outcomes
        if o.back
    ]
    save(
        document("faults", results, settings={"times": options.times}, targets=targets),
        options.output,
    )
    return 0 if all(target.reached for target in targets) else 1


def _targets(outcome: Outcome) -> list[Target]:
    worst = PATIENCE if outcome.never else max(outcome.back, default=PATIENCE)
    return [
        Target(name=f"{outcome.name}: {what}", limit=limit, at_least=False, value=float(value))
        for what, limit, value in (
            ("seconds to be back", LIMIT_SECONDS, worst),
            ("threads left", 0, outcome.threads),
            ("descriptors left", 0, outcome.descriptors),
        )
    ]


def _counted(
    name: str, fault: Callable[[Outcome, FaceDetector, int], None], detector: FaceDetector, n: int
) -> Outcome:
    """Run one kind of fault, and count the threads and descriptors that are left."""
    fault(Outcome(name), detector, 1)  # libraries keep some resources after their first use
    counts()
    outcome = Outcome(name)
    threads, descriptors = counts()
    fault(outcome, detector, n)
    until = time.monotonic() + 15
    while (left := counts()) > (threads, descriptors) and time.monotonic() < until:
        time.sleep(0.5)
    outcome.threads, outcome.descriptors = left[0] - threads, left[1] - descriptors
    return outcome


def counts() -> tuple[int, int]:
    """Threads of the operating system and open descriptors of this process."""
    gc.collect()
    if not Path("/proc/self/task").is_dir():  # elsewhere than on Linux
        return threading.active_count(), 0
    threads, descriptors = (
        len(tuple(Path("/proc/self", name).iterdir())) for name in ("task", "fd")
    )
    return threads, descriptors


def _away_and_back(
    outcome: Outcome,
    detector: FaceDetector,
    times: int,
    spec: str,
    start: Callable[[], None],
    stop: Callable[[int], None],
) -> None:
    """Stop and start the server again and again; measure the seconds until the next frame."""
    start()
    with FaceWatcher(spec, detector) as watcher:
        reader = watcher.events()
        _wait_for_frame(watcher, 0)
        for number in range(times):
            stop(number)
            # A source counts as lost only after a frame has been missing for some time.
            until = time.monotonic() + PATIENCE
            while not isinstance(reader.get(0.1), SourceLost) and time.monotonic() < until:
                pass
            time.sleep(random.uniform(0, 3))  # any moment between two attempts to reopen
            frames = watcher.snapshot.frames
            start()
            returned = time.monotonic()
            if _wait_for_frame(watcher, frames):
                outcome.back.append(time.monotonic() - returned)
            else:
                outcome.never += 1
    stop(-1)


def _wait_for_frame(watcher: FaceWatcher, frames: int) -> bool:
    until = time.monotonic() + PATIENCE
    while watcher.snapshot.frames <= frames and time.monotonic() < until:
        time.sleep(0.01)
    return watcher.snapshot.frames > frames


def rtsp(outcome: Outcome, detector: FaceDetector, times: int) -> None:
    """A real RTSP server, killed."""
    command = [DEBIAN_PYTHON, "-c", RTSP_MODULES]
    python = Path(DEBIAN_PYTHON)
    if not python.exists() or subprocess.run(command, check=False, capture_output=True).returncode:
        raise BenchmarkError("it needs packages of Debian, listed in endurance/rtsp_server.py")
    port = free_port()
    script = Path(__file__).with_name("rtsp_server.py")
    servers: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        servers.append(subprocess.Popen([DEBIAN_PYTHON, str(script), str(port)]))
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise BenchmarkError("the RTSP server did not start")

    def stop(number: int) -> None:
        del number
        servers[-1].kill()
        servers[-1].wait()

    try:
        _away_and_back(outcome, detector, times, f"rtsp://127.0.0.1:{port}/camera", start, stop)
    finally:
        for server in servers:
            server.kill()
            server.wait()


def http_cut(outcome: Outcome, detector: FaceDetector, times: int) -> None:
    """An HTTP stream cut in the middle of a picture."""
    server = MjpegServer()
    _away_and_back(outcome, detector, times, server.url, server.start, lambda _: server.stop())


def http_garbage(outcome: Outcome, detector: FaceDetector, times: int) -> None:
    """An HTTP stream that turns into garbage, for old and for new connections."""
    server = MjpegServer()

    def stop(number: int) -> None:
        if number < 0:
            server.stop()
        else:
            server.garbage = True

    def start() -> None:
        server.garbage = False
        server.start()

    _away_and_back(outcome, detector, times, server.url, start, stop)


def file_end(outcome: Outcome, detector: FaceDetector, times: int) -> None:
    """A file that ends and is watched again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "short.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (320, 240))
        for picture in itertools.islice(_pictures(), 10):
            writer.write(picture)
        writer.release()
        watcher = FaceWatcher(path, detector)
        for _ in range(times):
            started = time.monotonic()
            watcher.start()  # counts from 0 again
            if _wait_for_frame(watcher, 0):
                outcome.back.append(time.monotonic() - started)
            else:
                outcome.never += 1
            for _event in watcher.events():
                pass
        watcher.close()


FAULTS: dict[str, Callable[[Outcome, FaceDetector, int], None]] = {
    "rtsp-killed": rtsp,
    "http-cut": http_cut,
    "http-garbage": http_garbage,
    "file-end": file_end,
}


class MjpegServer:
    """Serves a picture stream on one port, as simple cameras do, and can fail on purpose."""

    def __init__(self) -> None:
        self.port = free_port()
        self.garbage = False
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Address of the stream."""
        return f"http://127.0.0.1:{self.port}/stream.mjpg"

    def start(self) -> None:
        """Start to listen, unless it does already."""
        if self._listener is not None:
            return
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(0.1)
        thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Cut every connection in the middle of a picture and stop listening."""
        self._listener = None
        for thread in tuple(self._threads):
            thread.join()
        self._threads.clear()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while self._listener is listener:
                try:
                    connection = listener.accept()[0]
                except TimeoutError:
                    continue
                connection.settimeout(2)
                thread = threading.Thread(
                    target=self._send, args=(connection, listener), daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _send(self, connection: socket.socket, listener: socket.socket) -> None:
        with connection, suppress(OSError):  # the other side may go away at any time
            connection.recv(65536)
            if not self.garbage:
                connection.sendall(
                    b"HTTP/1.0 200 OK\r\n"
                    b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
                )
            for picture in _pictures():
                data = cv2.imencode(".jpg", picture)[1].tobytes()
                if self.garbage:
                    connection.sendall(random.randbytes(20_000))
                    return
                connection.sendall(BOUNDARY % len(data))
                if self._listener is not listener:
                    connection.sendall(data[: len(data) // 2])
                    return
                connection.sendall(data + b"\r\n")
                time.sleep(0.04)


def _pictures() -> Iterator[Pixels]:
    """(240, 320, 3) noise, so that no two pictures are the same."""
    noise = np.random.default_rng(1)
    while True:
        small = noise.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        yield np.asarray(cv2.resize(small, (320, 240)), dtype=np.uint8)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
