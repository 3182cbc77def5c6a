"""Streams that end, are killed and come back, and what is said about those that cannot be opened.

The servers are real: HTTP in Python, RTSP where Debian's GStreamer is installed.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from streams import StreamServer, write_transport_stream
from videos import Image, background, our_threads, panned, wait_until, write_video

from edge_mtcnn import FaceDetector, SourceError
from edge_mtcnn.serve.state import health_of
from edge_mtcnn.video import (
    FaceAppeared,
    FaceLeft,
    FaceWatcher,
    Frame,
    PresenceOptions,
    SourceBack,
    SourceLost,
    SourceOptions,
    WatchOptions,
    open_source,
)
from edge_mtcnn.video.source.advice import address_reason, file_reason
from edge_mtcnn.video.source.captures import SourceSpec
from endurance.faults import DEBIAN_PYTHON, RTSP_MODULES, free_port

SECONDS = 20.0  # for a busy machine; nothing waits this long when all is well
QUICK = SourceOptions(retry_first=0.05, retry_longest=0.1, frame_timeout=2)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    assert wait_until(lambda: not our_threads(), SECONDS), our_threads()


def visit(count: int) -> list[Image]:
    """A face that moves a little, so that it is the same visit after the stream was lost."""
    return list(itertools.islice(itertools.cycle(panned(20, 1)), count))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two and a half seconds of a face: ``film.ts`` and ``film.avi``."""
    folder = tmp_path_factory.mktemp("film")
    write_transport_stream(folder / "film.ts", visit(50))
    write_video(folder / "film.avi", visit(50))
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[StreamServer]:
    server = StreamServer(folder, visit(50))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def kiosk_detector() -> Iterator[FaceDetector]:
    with FaceDetector(preset="kiosk") as detector:
        detector.warm_up()
        yield detector


PATHS = ["stream.mjpg", "ended.m3u8", "film.avi"]


@pytest.mark.parametrize("path", PATHS)
def test_a_network_stream_that_ends_is_lost_and_opened_again(
    path: str, server: StreamServer
) -> None:
    with open_source(server.url(path), QUICK) as source:
        first = source.read(SECONDS)
        assert first is not None
        assert (first.live, first.position_seconds) == (True, None)
        times = [first.time]
        while source.reconnects < 2:
            frame = source.read(SECONDS)
            assert frame is not None
            assert frame.live
            times.append(frame.time)
        assert source.state == "running"
        assert source.last_loss == f"{source.name} delivers no more frames"
    # 50 frames at 20 per second, twice: they come when they are due, not all at once.
    assert times[-1] - times[0] > 4.5
    assert times == sorted(times)


@pytest.mark.parametrize("path", [*PATHS, "live.m3u8"])
def test_a_killed_server_leaves_persons_unknown_until_it_is_back(
    path: str, server: StreamServer, kiosk_detector: FaceDetector
) -> None:
    options = WatchOptions(source=QUICK, presence=PresenceOptions(appear_after=0.1))
    with FaceWatcher(server.url(path), kiosk_detector, options) as watcher:
        events = watcher.events(after=0)
        assert wait_until(lambda: watcher.snapshot.persons, SECONDS)
        assert health_of(watcher, 10) == "ok"
        server.stop()
        assert wait_until(lambda: watcher.snapshot.state == "lost", SECONDS)
        lost = watcher.snapshot
        assert (lost.answer, lost.source_state, len(lost.persons)) == ("unknown", "lost", 1)
        assert health_of(watcher, 10) == "degraded"
        assert wait_until(lambda: "nothing listens" in (watcher.snapshot.source_error or ""), 5)
        server.start()
        assert wait_until(lambda: watcher.snapshot.answer == "someone", SECONDS)
        assert health_of(watcher, 10) == "ok"
        watcher.stop()
        kinds = [type(event) for event in events]
    assert kinds.count(FaceAppeared) == 1, "it is the same visit"
    assert kinds.index(SourceLost) < kinds.index(SourceBack) < kinds.index(FaceLeft)


def test_live_hls_flows_although_its_segments_come_all_at_once(
    tmp_path: Path,
) -> None:
    # OpenCV reads the segments that exist at once, then none for as long as a segment lasts.
    write_transport_stream(tmp_path / "film.ts", visit(400))
    long = StreamServer(tmp_path)
    long.start()
    options = SourceOptions(frame_timeout=1.0, retry_first=0.05)
    with open_source(long.url("live.m3u8"), options) as source:
        arrivals: list[float] = []
        while not arrivals or arrivals[-1] - arrivals[0] < 7:
            frame = source.read(SECONDS)
            assert frame is not None
            arrivals.append(time.monotonic())
        assert (source.reconnects, source.last_loss) == (0, None)
    long.stop()
    assert float(np.diff(arrivals).max()) < 0.9


def rtsp_server(port: int, *arguments: str) -> subprocess.Popen[bytes]:
    script = Path(__file__).parents[2] / "endurance" / "rtsp_server.py"
    server = subprocess.Popen([DEBIAN_PYTHON, str(script), str(port), *arguments])
    assert wait_until(lambda: listens(port), SECONDS)
    return server


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def has_rtsp() -> bool:
    if not Path(DEBIAN_PYTHON).exists():
        return False
    return not subprocess.run([DEBIAN_PYTHON, "-c", RTSP_MODULES], capture_output=True).returncode


needs_rtsp = pytest.mark.skipif(
    not has_rtsp(), reason="needs Debian packages, see endurance/rtsp_server.py"
)


@needs_rtsp
def test_a_film_over_rtsp_is_opened_again_when_it_ends_and_when_its_server_is_killed(
    tmp_path: Path, kiosk_detector: FaceDetector
) -> None:
    film = write_video(tmp_path / "film.avi", visit(60))
    port = free_port()
    server = rtsp_server(port, str(film))
    url = f"rtsp://127.0.0.1:{port}/camera"
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0, "the server announces a length"
    capture.release()
    options = WatchOptions(source=QUICK, presence=PresenceOptions(appear_after=0.1))
    try:
        with FaceWatcher(url, kiosk_detector, options) as watcher:
            events = watcher.events(after=0)
            assert wait_until(lambda: watcher.snapshot.reconnects >= 1, SECONDS), "it ended"
            assert wait_until(lambda: watcher.snapshot.answer == "someone", SECONDS)
            server.kill()
            server.wait()
            assert wait_until(lambda: "nothing listens" in (watcher.snapshot.source_error or ""), 9)
            assert (watcher.snapshot.state, watcher.snapshot.answer) == ("lost", "unknown")
            assert health_of(watcher, 10) == "degraded"
            server = rtsp_server(port, str(film))
            assert wait_until(lambda: watcher.snapshot.answer == "someone", SECONDS)
            assert health_of(watcher, 10) == "ok"
            watcher.stop()
            kinds = [type(event) for event in events]
    finally:
        server.kill()
        server.wait()
    assert kinds.count(FaceAppeared) == 1, "it is the same visit"
    assert kinds.count(SourceBack) >= 2


@needs_rtsp
@pytest.mark.parametrize(
    ("account", "path", "reason"),
    [
        ("", "camera", "asks for a user name and a password"),
        ("kiosk:wrong@", "camera", "refuses the user name or the password"),
        ("kiosk:secret@", "nothing", "has nothing at this path"),
    ],
)
def test_a_refusal_of_an_rtsp_server_is_explained(account: str, path: str, reason: str) -> None:
    port = free_port()
    server = rtsp_server(port, "", "kiosk:secret")
    try:
        options = SourceOptions(give_up_after=0, retry_first=0.01)
        with (
            open_source(f"rtsp://{account}127.0.0.1:{port}/{path}", options) as source,
            pytest.raises(SourceError, match=reason) as caught,
        ):
            source.read(SECONDS)
        assert "kiosk" not in str(caught.value)
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize(
    ("account", "path", "reason"),
    [
        ("", "secret", "asks for a user name and a password"),
        ("kiosk:wrong@", "secret", "refuses the user name or the password"),
        ("kiosk:p%40ss@", "secret", "answers with a web page, not with a video"),
        ("", "page", "answers with a web page, not with a video"),
        ("", "nothing", "has nothing at this path"),
        ("", "broken", "answers with the error 500"),
        ("", "film.avi", "sends no video that this OpenCV can read"),
    ],
)
def test_a_refusal_of_an_http_server_is_explained(
    account: str, path: str, reason: str, server: StreamServer
) -> None:
    found = address_reason(server.url(path, account))
    assert reason in found
    assert "kiosk" not in found
    assert "p%40ss" not in found


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("rtsp://no-such-host.invalid/1", "no host of the name no-such-host.invalid is known"),
        ("rtsp://user:a/b@127.0.0.1/1", "a password in an address must be written with %2F"),
        ("http://", "an address is written http://HOST:PORT/PATH"),
        ("rtsp://camera:99999/1", "an address is written rtsp://HOST:PORT/PATH"),
        ("udp://239.0.0.1:1234", "has no|cannot be reached|nothing listens|does not answer"),
        ("foo://camera/1", "check the address, and that its server is running"),
    ],
)
def test_an_address_that_cannot_be_right_is_explained(address: str, reason: str) -> None:
    found = address_reason(address)
    assert any(part in found for part in reason.split("|")), found
    assert "user" not in found.replace("user name", "")


def test_a_port_that_nothing_listens_at_and_one_of_another_service_are_explained() -> None:
    port = free_port()
    assert f"nothing listens at port {port} of 127.0.0.1" in address_reason(
        f"rtsp://127.0.0.1:{port}/1"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/1"
        started = time.monotonic()
        assert "does not speak RTSP" in address_reason(address)
        assert time.monotonic() - started < 5  # it never answers


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        ("Grüße, no video\n".encode() * 900, "it is text, not a video"),
        (b"\0\0\0\x18ftypmp42" + bytes(500), "it is not a video, is damaged or incomplete"),
    ],
)
def test_a_file_that_is_no_video_is_explained(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    assert reason in file_reason(str(path))
    assert "No such file" in file_reason(str(tmp_path / "removed.mp4"))


@pytest.mark.parametrize(
    "address", ["file://{}", "FILE://{}", "file://{}".replace("film", "%66ilm")]
)
def test_a_file_address_is_the_file_and_ends(address: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "my film.avi", [background()] * 3)
    spec = SourceSpec(address.format(str(path).replace(" ", "%20")))
    assert (spec.kind, spec.target) == ("file", str(path))


def looped(spec: object, count: int, **options: object) -> list[Frame]:
    settings = SourceOptions(loop=True, **options)  # type: ignore[arg-type]
    with open_source(spec, settings) as source:  # type: ignore[arg-type]
        frames = list(itertools.islice(source, count))
        assert (source.reconnects, source.last_loss, source.dropped) == (0, None, 0)
    return frames


def test_a_looped_file_goes_on_with_its_numbers_and_times(tmp_path: Path) -> None:
    video = write_video(tmp_path / "short.avi", panned(5), fps=20)
    frames = looped(video, 13, pace="fast")
    assert [frame.number for frame in frames] == list(range(13))
    positions = [0.0, 0.05, 0.1, 0.15, 0.2]
    assert [frame.position_seconds for frame in frames] == (positions * 3)[:13]
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), 0.05, atol=2e-6)


def test_a_looped_file_plays_at_its_own_pace(tmp_path: Path) -> None:
    video = write_video(tmp_path / "short.avi", panned(3), fps=20)
    with open_source(video, SourceOptions(loop=True)) as source:
        assert source.read(SECONDS) is not None
        started = time.monotonic()
        while source.read(SECONDS) is not None and time.monotonic() - started < 1:
            pass
        frame = source.read(SECONDS)
        assert frame is not None
        assert 18 <= frame.number <= 24  # after a second at 20 per second


def test_what_can_be_read_again_is_looped() -> None:
    pictures = [np.full((8, 8, 3), value, np.uint8) for value in range(2)]
    for spec in (pictures, lambda: iter(pictures)):
        values = [int(frame.image[0, 0, 0]) for frame in looped(spec, 5)]
        assert values == [0, 1, 0, 1, 0]


def test_a_loop_of_nothing_ends() -> None:
    opened = itertools.count()

    def nothing() -> Iterator[Image]:
        next(opened)
        yield from ()

    assert looped(nothing, 1) == []
    assert next(opened) == 1, "it was opened once"


def test_a_looped_file_that_is_removed_or_broken_is_an_error(tmp_path: Path) -> None:
    video = write_video(tmp_path / "short.avi", [background()] * 3)
    with open_source(video, SourceOptions(loop=True)) as source:
        assert source.read(SECONDS) is not None
        video.write_bytes(b"no video any more")
        with pytest.raises(SourceError, match="it is text, not a video"):
            list(source)
