"""``POST /detect``: the answers, and the limits of bytes, pixels, time and number."""

from __future__ import annotations

import gc
import io
import json
import socket
import struct
import sys
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from serving import SECONDS, Running, serving, wait_for

from edge_mtcnn import DetectorOptions, FaceDetector, read_image
from edge_mtcnn.cli import main
from edge_mtcnn.serve import ServeOptions
from edge_mtcnn.serve.detection import faces_json
from edge_mtcnn.types import Faces, faces_entry

LIMIT = 400_000

SmallLimits = ServeOptions(
    max_body_bytes=LIMIT, max_pixels=600_000, waiting=1, body_seconds=0.5, head_seconds=1.0
)


@pytest.fixture(scope="module")
def running(default_detector: FaceDetector) -> Iterator[Running]:
    with serving(default_detector, SmallLimits) as service:
        yield service


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> bytes:
    return sample_path("astronaut").read_bytes()


def post(running: Running, body: bytes, **headers: str) -> httpx.Response:
    with running.client(**headers) as client:
        return client.post("/detect", content=body)


def test_the_answer_is_what_the_command_line_writes(
    running: Running, sample_path: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = sample_path("astronaut")
    assert main(["detect", str(path), "--json", "-"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written.pop("path") == str(path)
    answer = post(running, path.read_bytes())
    assert answer.status_code == 200
    assert answer.json() == written
    assert len(written["faces"]) == 1


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_png_webp_and_jpeg_are_searched(
    running: Running, sample_path: Callable[[str], Path], suffix: str
) -> None:
    image = read_image(sample_path("astronaut"))[:360, :360, ::-1]
    encoded = cv2.imencode(suffix, image)[1].tobytes()
    answer = post(running, encoded)
    assert answer.status_code == 200
    assert (answer.json()["width"], len(answer.json()["faces"])) == (360, 1)


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", ""]
)
def test_the_bytes_count_and_not_the_declared_type(
    running: Running, photo: bytes, kind: str
) -> None:
    assert post(running, photo, **{"Content-Type": kind}).status_code == 200


def test_another_kind_of_image_is_refused(running: Running) -> None:
    image = read_image(Path(__file__).parents[2] / "samples" / "astronaut.jpg")[:64, :64]
    answer = post(running, cv2.imencode(".bmp", image)[1].tobytes())
    assert answer.status_code == 415
    assert "BMP" in answer.json()["error"]


@pytest.mark.parametrize("form", ["HEIC", "AVIF"])
def test_photos_of_phones_are_searched_with_the_extra_and_named_without(
    running: Running,
    sample_path: Callable[[str], Path],
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pixels = Image.fromarray(read_image(sample_path("astronaut"))[:360, :360])
    stream = io.BytesIO()
    if form == "AVIF":
        pixels.save(stream, form)
    else:
        pillow_heif.from_pillow(pixels).save(stream)
    answer = post(running, stream.getvalue())
    assert answer.status_code == 200
    assert (answer.json()["width"], len(answer.json()["faces"])) == (360, 1)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "PIL.AvifImagePlugin", None)
    answer = post(running, stream.getvalue())
    assert answer.status_code == 415
    assert f"{form} image, which needs the extra heif" in answer.json()["error"]


def test_another_format_is_named(running: Running) -> None:
    answer = post(running, b"%PDF-1.7")
    assert answer.status_code == 415
    assert answer.json()["error"].startswith("the image: a PDF document")


@pytest.mark.parametrize("body", [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_no_image_are_refused(running: Running, body: bytes) -> None:
    answer = post(running, body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("the image: ")


def test_an_image_that_is_cut_short_is_refused(running: Running, photo: bytes) -> None:
    assert post(running, photo[: len(photo) // 2]).status_code == 422


def test_a_size_above_the_limit_is_refused_before_any_pixel_is_decoded(running: Running) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    started = time.monotonic()
    answer = post(running, bomb)
    assert answer.status_code == 413
    assert "60000x60000" in answer.json()["error"]
    assert time.monotonic() - started < 5  # ten gigabytes would take longer, or all memory


def test_a_jpeg_of_endless_scans_is_refused_before_any_is_decoded(
    running: Running, photo: bytes
) -> None:
    pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert post(running, jpeg).status_code == 200
    last = jpeg.rindex(b"\xff\xda")
    answer = post(running, jpeg[:last] + 600 * jpeg[last : last + 10] + jpeg[last:])
    assert answer.status_code == 413
    assert "scans" in answer.json()["error"]


def test_a_body_above_the_limit_is_refused(running: Running) -> None:
    answer = post(running, b"\xff\xd8" + bytes(LIMIT))
    assert answer.status_code == 413
    assert str(LIMIT) in answer.json()["error"]


def test_a_body_without_announced_length_is_refused_at_the_limit(running: Running) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(2 * LIMIT // 10_000):
            yield bytes(10_000)

    with running.client() as client:
        assert client.post("/detect", content=pieces()).status_code == 413


def talk(running: Running, sent: bytes, seconds: float = SECONDS) -> bytes:
    """Send bytes and read until the service closes."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=seconds) as peer:
        peer.sendall(sent)
        answer = b""
        while piece := peer.recv(65536):
            answer += piece
        return answer


def test_a_body_that_does_not_arrive_is_answered_and_closed(running: Running) -> None:
    head = b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
    answer = talk(running, head)
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HT", b"POST /detect HTTP/1.1\r\nHost: loc"])
def test_a_connection_that_sends_no_whole_request_is_closed(running: Running, sent: bytes) -> None:
    started = time.monotonic()
    assert talk(running, sent) == b""
    assert time.monotonic() - started < 6  # head_seconds and a few checks


def test_garbage_is_no_request(running: Running) -> None:
    assert talk(running, b"\x16\x03\x01 hello \r\n\r\n").startswith(b"HTTP/1.1 400 ")


class Holding(FaceDetector):
    """A detector that finds nobody, when it is allowed to."""

    options = DetectorOptions()  # instead of a property

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = 0

    def detect(self, image: Any, **given: Any) -> Faces:
        assert given["timeout"] > 0
        assert given["options"] == self.options
        self.entered += 1
        assert self.go.wait(SECONDS)
        return Faces.empty(image.shape[:2])


def test_too_many_images_are_refused_while_health_is_answered_at_once(photo: bytes) -> None:
    detector: Any = Holding()
    options = ServeOptions(workers=1, waiting=1)
    with serving(detector, options) as running, ThreadPoolExecutor(8) as pool:
        try:
            held = [pool.submit(post, running, photo) for _ in range(2)]
            wait_for(lambda: detector.entered)
            wait_for(lambda: running.service._detection.images.taken == 2)
            refused = post(running, photo)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            with running.client() as client:
                client.get("/healthz")
                times = []
                for _ in range(20):
                    started = time.monotonic()
                    assert client.get("/healthz").status_code == 200
                    times.append(time.monotonic() - started)
            assert min(times) < 0.1  # a busy test machine may delay some, a blocked loop all
        finally:
            detector.go.set()
        assert [job.result().status_code for job in held] == [200, 200]
        assert post(running, photo).status_code == 200


def test_open_connections_do_not_keep_others_out(default_detector: FaceDetector) -> None:
    options = ServeOptions(connections=8)
    with serving(default_detector, options) as running:
        idle = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(20)]
        try:
            with running.client() as client:
                assert client.get("/healthz").status_code == 200
        finally:
            for peer in idle:
                peer.close()


def test_a_connection_serves_several_requests(running: Running, photo: bytes) -> None:
    with running.client() as client:
        for _ in range(3):
            assert client.post("/detect", content=photo).status_code == 200
            assert client.post("/detect", content=bytes(2 * LIMIT)).status_code == 413
            assert client.post("/detect", content=b"x").status_code == 422


@pytest.fixture(scope="module")
def tiles(sample_path: Callable[[str], Path]) -> bytes:
    """One face over and over, 4 megapixels: seconds of work, as each tile is a candidate."""
    crop = read_image(sample_path("astronaut"))[60:176, 175:270, ::-1]
    tile = cv2.resize(crop, (28, 28), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", np.tile(tile, (71, 71, 1)))[1].tobytes()


def test_a_detection_above_its_time_is_503_and_the_next_image_is_searched(
    default_detector: FaceDetector, sample_path: Callable[[str], Path], tiles: bytes
) -> None:
    pixels = read_image(sample_path("astronaut"))[:300, :300, ::-1]
    small = cv2.imencode(".png", pixels)[1].tobytes()
    with serving(default_detector, ServeOptions(detect_seconds=0.3)) as running:
        started = time.monotonic()
        answer = post(running, tiles)
        assert time.monotonic() - started < 5  # the whole detection takes longer
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"].startswith(
            "the detection took longer than 0.3 s, the limit of this service"
        )
        with running.client() as client:
            assert client.get("/healthz").json()["status"] == "ok"
            found = client.post("/detect", content=small)
            assert (found.status_code, len(found.json()["faces"])) == (200, 1)
            metrics = client.get("/metrics").text
        assert 'edge_mtcnn_requests_total{route="/detect",status="503"} 1.0' in metrics
        assert "edge_mtcnn_detect_seconds_count 2.0" in metrics
        assert running.service._detection.bodies.taken == 0


def test_an_image_whose_detection_was_stopped_is_freed_at_once(
    default_detector: FaceDetector, tiles: bytes
) -> None:
    images: list[weakref.ref[np.ndarray[Any, Any]]] = []

    class Watched(FaceDetector):
        options = default_detector.options

        def __init__(self) -> None:
            pass

        def detect(self, image: Any, **given: Any) -> Faces:
            images.append(weakref.ref(image))
            return default_detector.detect(image, **given)

    detector: Any = Watched()
    gc.disable()  # what only the garbage collector frees may stay for minutes
    try:
        with serving(detector, ServeOptions(detect_seconds=0.3)) as running:
            assert post(running, tiles).status_code == 503
            wait_for(lambda: images[0]() is None, 2)
    finally:
        gc.enable()


def test_bodies_together_hold_a_limited_number_of_bytes(photo: bytes) -> None:
    detector: Any = Holding()
    options = ServeOptions(
        max_body_bytes=len(photo), max_total_body_bytes=3 * len(photo) // 2, waiting=8
    )
    with serving(detector, options) as running, ThreadPoolExecutor(1) as pool:
        try:
            held = pool.submit(post, running, photo)
            wait_for(lambda: detector.entered)
            announced = post(running, photo)
            with running.client() as client:
                counted = client.post("/detect", content=iter([photo[:1000], photo[1000:]]))
            for refused in (announced, counted):
                assert refused.status_code == 429
                assert refused.headers["retry-after"] == "1"
                assert "bytes" in refused.json()["error"]
        finally:
            detector.go.set()
        assert held.result().status_code == 200
        assert running.service._detection.bodies.taken == 0
        assert post(running, photo).status_code == 200


def test_many_faces_are_written_as_json_writes_them() -> None:
    count = 50
    boxes = np.tile(np.array([1, 2, 30, 40], np.float32), (count, 1))
    scores = np.linspace(1, 0.5, count, dtype=np.float32)
    landmarks = np.zeros((count, 5, 2), np.float32)
    for faces in (
        Faces(boxes, scores, landmarks, confidences=scores[::-1], image_size=(480, 640)),
        Faces.empty((480, 640)),
    ):
        assert json.loads(faces_json(faces)) == faces_entry(faces)


def test_the_end_does_not_wait_for_a_detection(
    photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    detector: Any = Holding()
    with ThreadPoolExecutor(2) as pool:
        with serving(detector) as running:
            held = [pool.submit(post, running, photo) for _ in range(2)]
            wait_for(lambda: running.service._detection.images.taken == 2 and detector.entered)
            started = time.monotonic()
        assert time.monotonic() - started < 2.5  # uvicorn would cut them off after 3 s, and log it
        detector.go.set()
        for job in held:
            assert job.result().status_code == 503
            assert job.result().json()["error"] == "the service is stopping"
    assert caplog.records == []
