"""What the service reports about a source: state, events, pictures, health, metrics."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from serving import QUICK, Reader, Running, Scene, empty_bgr, face_bgr, serving, wait_for

from edge_mtcnn import FaceDetector
from edge_mtcnn.serve import ServeOptions
from edge_mtcnn.serve.events import EventLog, server_sent_events
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video import FaceAppeared, PersonChanged

STREAMING = ServeOptions(stream=True, write_seconds=1.0)


@pytest.fixture(scope="module")
def face(sample_path: Callable[[str], Path]) -> ImageArray:
    return face_bgr(sample_path("astronaut"))


@pytest.fixture
def scene(face: ImageArray) -> Scene:
    return Scene(face)


@pytest.fixture
def running(scene: Scene, default_detector: FaceDetector) -> Iterator[Running]:
    with serving(
        default_detector, STREAMING, source=scene, watch_detector=default_detector, watch=QUICK
    ) as service:
        yield service


def test_someone_comes_and_goes_and_the_source_is_lost_and_back(
    scene: Scene, running: Running, face: ImageArray
) -> None:
    with running.client() as client, client.stream("GET", "/events?after=0") as response:
        reader = Reader(response)
        assert response.headers["content-type"].startswith("text/event-stream")
        hello = reader.until("hello")[0]
        appeared, number = reader.until("FaceAppeared")
        assert number == f"{hello['run']}-{appeared['sequence']}"
        state = client.get("/state").json()
        assert (state["state"], state["answer"]) == ("watching", "someone")
        assert state["persons"][0]["person"] == appeared["person"]
        assert state["persons"][0]["selected"]
        assert abs(state["persons"][0]["since"] - appeared["wall_time"]) < 5
        assert (state["width"], state["height"]) == (face.shape[1], face.shape[0])
        x, y, width, height = state["faces"][0]["box"]
        eye_x, eye_y = state["faces"][0]["keypoints"]["left_eye"]
        assert x < eye_x < x + width
        assert y < eye_y < y + height

        scene.image = empty_bgr()
        left = reader.until("FaceLeft")[0]
        assert left["person"] == appeared["person"]
        assert left["reason"] == "gone"
        assert wait_for(lambda: client.get("/state").json()["answer"] == "nobody")

        scene.image = None
        lost = reader.until("SourceLost")[0]
        assert "the cable is out" in lost["reason"]
        state = wait_for(lambda: (s := client.get("/state").json())["state"] == "lost" and s)
        assert state["answer"] == "unknown"
        health = client.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")

        scene.image = face
        reader.until("SourceBack")
        again = reader.until("FaceAppeared")[0]
        assert again["person"] != appeared["person"]


def test_a_reader_resumes_after_the_last_event_that_it_has_seen(
    scene: Scene, running: Running
) -> None:
    with running.client() as client:
        with client.stream("GET", "/events?after=0") as response:
            _, number = Reader(response).until("FaceAppeared")
            assert number is not None
        scene.image = empty_bgr()
        wait_for(lambda: client.get("/state").json()["answer"] == "nobody")
        resume = {"Last-Event-ID": number}
        with client.stream("GET", "/events?after=0", headers=resume) as response:
            reader = Reader(response)
            assert reader.next()[1]["resumed"] is True
            sequences = [reader.next()[1]["sequence"] for _ in range(2)]
        first = int(number.split("-")[1])
        assert sequences == [first + 1, first + 2]
        with client.stream("GET", "/events", headers={"Last-Event-ID": "00000000-99"}) as response:
            reader = Reader(response)
            assert reader.next()[1]["resumed"] is False, "numbers of another run mean nothing"
            assert reader.next()[1]["sequence"] == 1


def test_a_live_reader_gets_the_state_as_it_changes(running: Running) -> None:
    with running.client() as client, client.stream("GET", "/events?live=1") as response:
        reader = Reader(response)
        turns = [reader.until("state")[0]["turn"] for _ in range(4)]
    assert turns == sorted(set(turns))


def test_pictures_are_jpeg_with_or_without_the_faces(running: Running, face: ImageArray) -> None:
    with running.client() as client:
        wait_for(lambda: client.get("/state").json()["persons"])
        pictures = {}
        for boxes in "01":
            with client.stream("GET", f"/stream?boxes={boxes}") as response:
                kind = response.headers["content-type"]
                assert kind == "multipart/x-mixed-replace; boundary=frame"
                data = b""
                for piece in response.iter_bytes():
                    data += piece
                    start, end = data.find(b"\xff\xd8"), data.find(b"\xff\xd9\r\n")
                    if end > start >= 0:
                        break
            assert data.startswith(b"--frame\r\nContent-Type: image/jpeg\r\n")
            pictures[boxes] = cv2.imdecode(np.frombuffer(data[start:], np.uint8), cv2.IMREAD_COLOR)
    difference = [np.abs(face.astype(int) - pictures[boxes]).mean() for boxes in "01"]
    assert difference[0] < 4  # noise and JPEG
    assert difference[1] > difference[0] + 0.2  # box, points and label


def test_readers_that_left_are_forgotten(running: Running) -> None:
    with (
        running.client() as client,
        client.stream("GET", "/events") as first,
        client.stream("GET", "/events?live=1") as second,
        client.stream("GET", "/stream") as third,
    ):
        assert {first.status_code, second.status_code, third.status_code} == {200}
        wait_for(lambda: running.service._streams.taken == 3)
    wait_for(lambda: running.service._streams.taken == 0)


def test_a_viewer_that_takes_no_bytes_is_cut_off_and_delays_nobody(
    scene: Scene, running: Running
) -> None:
    # Pictures that are large as JPEG, so that the system's buffers are soon full.
    scene.image = np.random.default_rng(2).integers(0, 255, (600, 800, 3), dtype=np.uint8)
    with socket.socket() as slow, running.client() as client:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", running.port))
        slow.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: running.service._streams.taken == 1)
        with client.stream("GET", "/events?live=1") as response:
            reader = Reader(response)
            started = time.monotonic()
            while running.service._streams.taken == 2:
                reader.until("state")
                assert time.monotonic() - started < 60


def test_there_are_only_so_many_readers(scene: Scene, default_detector: FaceDetector) -> None:
    with (
        serving(
            default_detector,
            ServeOptions(streams=1),
            source=scene,
            watch_detector=default_detector,
            watch=QUICK,
        ) as running,
        running.client() as client,
        client.stream("GET", "/events"),
    ):
        wait_for(lambda: running.service._streams.taken == 1)
        refused = client.get("/events")
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"


def test_pictures_are_off_unless_asked_for(scene: Scene, default_detector: FaceDetector) -> None:
    with (
        serving(
            default_detector, source=scene, watch_detector=default_detector, watch=QUICK
        ) as running,
        running.client() as client,
    ):
        assert client.get("/stream").status_code == 404
        assert client.get("/state").json()["stream"] is False
        wait_for(lambda: running.service.health == "ok")
        assert running.service.watcher is not None
        assert running.service.watcher.frame() is None, "no frame is kept either"


def test_without_a_source_there_is_nothing_to_report(default_detector: FaceDetector) -> None:
    with serving(default_detector) as running, running.client() as client:
        state = client.get("/state").json()
        assert (state["state"], state["answer"]) == ("off", "unknown")
        assert client.get("/events").status_code == 404
        assert client.get("/stream").status_code == 404
        assert client.get("/healthz").json() == {"status": "ok", "watcher": "off"}


def test_stopping_ends_all_streams_within_seconds(
    scene: Scene, default_detector: FaceDetector
) -> None:
    with serving(
        default_detector, STREAMING, source=scene, watch_detector=default_detector, watch=QUICK
    ) as running:
        client = running.client()
        streams = [client.stream("GET", path) for path in ("/events", "/events?live=1", "/stream")]
        for stream in streams:
            stream.__enter__()
        started = time.monotonic()
    assert time.monotonic() - started < 5
    client.close()


def test_metrics_count_frames_faces_requests_and_memory(running: Running) -> None:
    with running.client() as client:
        wait_for(lambda: client.get("/state").json()["persons"])
        client.get("/nothing")
        text = client.get("/metrics").text
    values = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )
    assert float(values["edge_mtcnn_frames_total"]) > 0
    assert float(values["edge_mtcnn_frame_seconds_count"]) > 0
    assert float(values["edge_mtcnn_persons"]) == 1
    assert float(values["edge_mtcnn_faces"]) == 1
    assert float(values['edge_mtcnn_watcher_state{state="watching"}']) == 1
    assert float(values['edge_mtcnn_requests_total{route="other",status="404"}']) == 1
    assert "edge_mtcnn_frames_dropped_total" in values
    assert "edge_mtcnn_reconnects_total" in values
    if Path("/proc/self/stat").exists():
        assert float(values["process_resident_memory_bytes"]) > 1e7


def test_a_watcher_whose_heart_stopped_is_failing(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for(lambda: running.service.health == "ok")
    monkeypatch.setattr(type(running.service.watcher), "heartbeat", time.monotonic() - 60)
    with running.client() as client:
        health = client.get("/healthz")
    assert (health.status_code, health.json()["status"]) == (503, "failing")


def event(sequence: int) -> PersonChanged:
    return PersonChanged(sequence=sequence, person=sequence, previous=None)


async def first_parts(log: EventLog, last_id: str | None, count: int) -> list[bytes]:
    reader = server_sent_events(log, last_id, None)
    parts = [await asyncio.wait_for(reader.__anext__(), 5) for _ in range(count)]
    await reader.aclose()
    return parts


def test_a_reader_that_was_too_slow_learns_how_much_it_missed() -> None:
    async def scenario() -> list[bytes]:
        log = EventLog(remembered=3)
        log.open()
        for sequence in range(1, 9):
            log.append(event(sequence))
        await asyncio.sleep(0.01)
        return await first_parts(log, f"{log.run}-2", 2)

    _, parts = asyncio.run(scenario())
    assert b'event: missed\ndata: {"events": 3}' in parts
    assert parts.count(b"event: PersonChanged") == 3


def test_a_reader_without_an_id_gets_new_events_only() -> None:
    async def scenario() -> bytes:
        log = EventLog()
        log.open()
        log.append(event(1))
        await asyncio.sleep(0.01)
        reader = server_sent_events(log, None, None)
        await reader.__anext__()
        log.append(FaceAppeared(sequence=2, person=2, box=(0, 0, 1, 1), score=1, eye_distance=1))
        part = await asyncio.wait_for(reader.__anext__(), 5)
        log.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(reader.__anext__(), 5)
        return part

    part = asyncio.run(scenario())
    assert part.count(b"event: ") == 1
    assert b"event: FaceAppeared" in part


@pytest.mark.parametrize("text", ["", "x", "-1", "12345678-", "9" * 40, "a-b-c", "٣"])
def test_an_id_that_is_none_counts_as_no_id(text: str) -> None:
    assert EventLog().position(text) is None


def test_an_id_from_the_future_is_now() -> None:
    log = EventLog()
    assert log.position(f"{log.run}-999") == 0 == log.last
