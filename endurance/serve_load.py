"""Does the service hold under load: no failure, bounded memory, health answered at once?

``python -m endurance.serve_load``. Starts ``edge-mtcnn serve`` on loopback with its own limits and
lets ``wrk`` send photos, hostile pictures of up to 25 megapixels, broken images, oversized bodies
and questions over many connections, beside half-open and stalled ones, slow readers of events, and
a client that asks for the health again and again. A 503 is no failure when it is the answer to a
picture that takes too long: with ``Retry-After`` and a sentence that says so. Needs ``wrk``, and
about 2 GB of memory for its copies of the bodies.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import psutil

from benchmarks.common.images import SAMPLES
from benchmarks.common.program import BenchmarkError, script, script_parser
from benchmarks.common.results import Result, Target, add_output, document, save, target_table
from benchmarks.hostile_pictures import PICTURES
from edge_mtcnn import read_image
from edge_mtcnn.serve import ServeOptions
from edge_mtcnn.types import ImageArray

HEALTH_MS = 100.0
GROWTH_MB = 25.0
"""What is kept varies by 20 MB with the images that came last; an image that leaks has 75 MB."""
RSS_MB = 700.0
_PAUSE_SECONDS = 0.02
_WARM_SECONDS = 10
_MAX_BODY_BYTES = ServeOptions().max_body_bytes

# Each connection sends kinds at random; requests are made once. A 503 counts as itself when it is
# the one that is stated, else as 599.
_SCRIPT = """
local function read(name)
  local file = assert(io.open(name, "rb"))
  local data = file:read("*a")
  file:close()
  return data
end
local photo = read("@PHOTO@")
local kinds = {
  {"POST", "/detect", photo},
  {"POST", "/detect", photo:sub(1, #photo / 2)},
  {"POST", "/detect", "not an image"},
  {"POST", "/detect", string.rep("x", @OVERSIZED@)},
  {"POST", "/detect", read("@BOMB@")},
@PICTURES@
  {"GET", "/state", nil},
  {"GET", "/metrics", nil},
  {"GET", "/nothing", nil},
}
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init()
  math.randomseed(os.time())
  counts, requests = {}, {}
  for _, kind in ipairs(kinds) do
    table.insert(requests, wrk.format(kind[1], kind[2], nil, kind[3]))
  end
end
function request() return requests[math.random(#requests)] end
function response(status, headers, body)
  local stated = headers["retry-after"] and body:find("the detection took longer than", 1, true)
  if status == 503 and not stated then status = 599 end
  counts[status] = (counts[status] or 0) + 1
  _G["status" .. status] = counts[status]
end
function done()
  for status = 100, 599 do
    local count = 0
    for _, thread in ipairs(threads) do count = count + (thread:get("status" .. status) or 0) end
    if count > 0 then print("STATUS " .. status .. " " .. count) end
  end
end
"""


@script
def main(arguments: list[str] | None = None) -> int:
    """Run, print the figures; the exit code says whether the targets are met."""
    parser = script_parser("endurance.serve_load", __doc__)
    parser.add_argument("--seconds", type=int, default=60, help="length of the load (60)")
    parser.add_argument("--connections", type=int, default=64, help="connections of wrk (64)")
    parser.add_argument("--half-open", type=int, default=32, help="connections that stall (32)")
    add_output(parser)
    options = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        raise BenchmarkError("wrk is not installed; on Debian and Ubuntu: apt install wrk")

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        script = _write_script(Path(folder))
        video = _write_video(Path(folder) / "video.avi", _WARM_SECONDS + options.seconds + 30)
        port, process = stack.enter_context(_service(video))
        _load(
            port, script, _WARM_SECONDS, options.connections
        )  # buffers and threads that come once
        memory = stack.enter_context(_Repeating(lambda: process.memory_info().rss / 1e6, 0.5))
        health = stack.enter_context(_Repeating(lambda: _health_ms(port), _PAUSE_SECONDS))
        stack.enter_context(_stalling(port, options.half_open))
        statuses, errors = _load(port, script, options.seconds, options.connections)
        time.sleep(1)
        peak = _rss_peak_mb(process, memory.values)

    slowest = max(health.values)
    # Large images come and go; what the process keeps is the floor between them.
    part = max(1, len(memory.values) // 4)
    growth = min(memory.values[-part:]) - min(memory.values[-2 * part : -part])
    failures = sum(count for status, count in statuses.items() if status >= 500 and status != 503)
    print("answers:", ", ".join(f"{count} x {status}" for status, count in statuses.items()))
    print(f"wrk: {errors or 'no socket errors'}")
    print(
        f"health: {len(health.values)} answers, median {statistics.median(health.values):.1f} ms,"
        f" 99 % {statistics.quantiles(health.values, n=100)[98]:.1f} ms, slowest {slowest:.1f} ms,"
        f" {health.failures} failed"
    )
    print(
        f"RSS: {memory.values[0]:.0f} MB at first, {memory.values[-1]:.0f} MB at last,"
        f" peak {peak:.0f} MB"
    )
    targets = [
        Target(name="answers of 5xx, without stated 503", limit=0, at_least=False, value=failures),
        Target(name="health answers that failed", limit=0, at_least=False, value=health.failures),
        Target(name="slowest health answer, ms", limit=HEALTH_MS, at_least=False, value=slowest),
        Target(name="RSS peak, MB", limit=RSS_MB, at_least=False, value=peak),
        Target(
            name="RSS growth, lowest of the last quarters, MB",
            limit=GROWTH_MB,
            at_least=False,
            value=growth,
        ),
    ]
    print(target_table(targets))
    results = [
        Result(name="serve/health/slowest", unit="ms", value=slowest),
        Result(
            name="serve/health/median",
            unit="ms",
            value=statistics.median(health.values),
            samples=tuple(health.values),
        ),
        Result(name="serve/rss_peak", unit="MB", value=peak),
        Result(name="serve/rss_growth", unit="MB", value=growth, samples=tuple(memory.values)),
        Result(
            name="serve/answers",
            unit="",
            value=sum(statuses.values()),
            better="none",
            detail={str(status): count for status, count in statuses.items()},
        ),
    ]
    settings = {"seconds": options.seconds, "connections": options.connections}
    save(document("serve_load", results, targets=targets, settings=settings), options.output)
    return 0 if all(target.reached for target in targets) else 1


def _write_script(folder: Path) -> Path:
    photo = SAMPLES / "astronaut.jpg"
    bomb = folder / "bomb.png"
    bomb.write_bytes(_bomb())
    lines = []
    for number, data in enumerate(_hostile_files()):
        file = folder / f"hostile-{number}"
        file.write_bytes(data)
        lines.append(f'  {{"POST", "/detect", read("{file}")}},')
    script = folder / "load.lua"
    text = _SCRIPT.replace("@PHOTO@", str(photo)).replace("@BOMB@", str(bomb))
    text = text.replace("@OVERSIZED@", str(_MAX_BODY_BYTES + 1))
    script.write_text(text.replace("@PICTURES@", "\n".join(lines)))
    return script


def _hostile_files() -> Iterator[bytes]:
    """The hostile pictures as PNG, or as JPEG of the best quality that the service takes.

    The last is a PNG of 16 bits, whose pixels take twice the memory while they are decoded.
    """
    for make in PICTURES.values():
        picture = cv2.cvtColor(make(), cv2.COLOR_RGB2BGR)
        if picture.shape[0] * picture.shape[1] > ServeOptions().max_pixels:
            continue  # refused by its header, as the bomb is
        yield next(data for data in _encodings(picture) if len(data) <= _MAX_BODY_BYTES)
    rows = np.linspace(0, 65535, 5000).astype(np.uint16)
    deep = np.ascontiguousarray(np.broadcast_to(rows[:, None, None], (5000, 5000, 3)))
    yield cv2.imencode(".png", deep)[1].tobytes()


def _encodings(picture: ImageArray) -> Iterator[bytes]:
    yield cv2.imencode(".png", picture)[1].tobytes()
    for quality in range(95, 0, -10):
        yield cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _write_video(place: Path, seconds: int) -> Path:
    """A sample photo that moves, 15 frames per second: work for the watcher all the time."""
    photo = cv2.cvtColor(read_image(SAMPLES / "astronaut.jpg"), cv2.COLOR_RGB2BGR)
    writer = cv2.VideoWriter(str(place), cv2.VideoWriter.fourcc(*"MJPG"), 15, (640, 480))
    for number in range(15 * seconds):
        left = round(64 + 60 * math.sin(number / 15))
        frame = np.full((480, 640, 3), 90, dtype=np.uint8)
        frame[:, left : left + 512] = photo[:480]
        writer.write(frame)
    writer.release()
    return place


def _bomb() -> bytes:
    """A PNG of a few bytes that claims to be enormous."""
    chunks = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")):
        chunks += struct.pack(">I", len(data)) + kind + data
        chunks += struct.pack(">I", zlib.crc32(kind + data))
    return chunks


@contextmanager
def _service(video: Path) -> Iterator[tuple[int, psutil.Process]]:
    """``edge-mtcnn serve`` on a free port, watching a video."""
    command = [sys.executable, "-m", "edge_mtcnn", "serve", "--port", "0"]
    command += [str(video), "--stream"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r":(\d+)/", line)
        if found is None:
            raise BenchmarkError(f"the service did not start: {line}{process.stderr.read()}")
        threading.Thread(target=_pass_on, args=(process.stderr,), daemon=True).start()
        yield int(found[1]), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _rss_peak_mb(process: psutil.Process, samples: list[float]) -> float:
    """The most memory that the process ever held, or the largest sample outside Linux."""
    with suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_text()
        if found := re.search(r"VmHWM:\s*(\d+) kB", status):
            return int(found[1]) * 1024 / 1e6
    return max(samples)


def _pass_on(lines: Iterator[str]) -> None:
    for line in lines:
        print(f"service: {line}", end="", file=sys.stderr)


def _load(port: int, script: Path, seconds: int, connections: int) -> tuple[dict[int, int], str]:
    """Let wrk work; answers by status, and what it says of sockets."""
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s"]
    done = subprocess.run(
        [*command, str(script), f"http://127.0.0.1:{port}/"],
        capture_output=True,
        text=True,
        check=True,
    )
    statuses = {int(a): int(b) for a, b in re.findall(r"STATUS (\d+) (\d+)", done.stdout)}
    errors = re.search(r"Socket errors: (.*)", done.stdout)
    return statuses, errors[1] if errors else ""


def _health_ms(port: int) -> float:
    """One question over a new connection, as a monitor asks."""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := peer.recv(4096):
            answer += piece
    taken = (time.perf_counter() - started) * 1e3
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 ") or json.loads(body)["status"] == "failing":
        raise BenchmarkError(f"health answered {answer!r}")
    return taken


class _Repeating:
    """Measures again and again in a thread until the end."""

    def __init__(self, measure: Callable[[], float], pause: float) -> None:
        self.values: list[float] = []
        self.failures = 0
        self._measure = measure
        self._pause = pause
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Repeating:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._ended.wait(self._pause):
            self._once()

    def _once(self) -> None:
        try:
            self.values.append(self._measure())
        except (OSError, BenchmarkError) as error:
            self.failures += 1
            print(error, file=sys.stderr)


@contextmanager
def _stalling(port: int, count: int) -> Iterator[None]:
    """Connections that send nothing, half a head or half a body, or never read; opened anew."""
    ended = threading.Event()
    starts = (
        b"",
        b"GET /state HTTP/1.1\r\nHost: loc",
        b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nabc",
        b"GET /events?live=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n",
        os.urandom(64),
    )

    def stall(number: int) -> None:
        while not ended.wait(0.1):
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=1) as peer,
            ):
                peer.sendall(starts[number % len(starts)])
                ended.wait(5)

    threads = [threading.Thread(target=stall, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    sys.exit(main())
