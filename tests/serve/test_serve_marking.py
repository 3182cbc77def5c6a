"""A person who is none is marked while the service runs, and the calibration file keeps it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from calibrations import write_calibration
from serving import QUICK, SECONDS, TOKEN, Reader, Running, Scene, serving, wait_for

from edge_mtcnn import FaceDetector, OptionsError, read_image
from edge_mtcnn.calibration import load_calibration, save_known_false
from edge_mtcnn.known_false import KnownFalse
from edge_mtcnn.serve import ServeOptions, Service
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video import SourceOptions

FILE_LIKE = replace(QUICK, source=SourceOptions(loop=True, fps=20))


@pytest.fixture(scope="module")
def face(sample_path: Callable[[str], Path]) -> ImageArray:
    """At full size: a face of 40 pixels is not recognised in every frame."""
    return np.ascontiguousarray(read_image(sample_path("astronaut"))[:, :, ::-1])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """As ``calibrate`` writes it, so that an undo restores every byte."""
    file = write_calibration(tmp_path / "door.json", 0.5)
    file.write_text(json.dumps(json.loads(file.read_text()), indent=2) + "\n")
    return file


@pytest.fixture
def detectors() -> Iterator[list[FaceDetector]]:
    """One for ``/detect`` and one for the camera."""
    with FaceDetector() as first, FaceDetector(preset="kiosk") as second:
        yield [first, second]


def arguments(source: object, file: Path | None, detectors: list[FaceDetector]) -> dict[str, Any]:
    return {
        "source": source,
        "watch_detector": detectors[1],
        "watch": QUICK,
        "calibration": file,
    }


@pytest.fixture
def running(face: ImageArray, file: Path, detectors: list[FaceDetector]) -> Iterator[Running]:
    with serving(detectors[0], **arguments(Scene(face), file, detectors)) as service:
        yield service


def persons(client: httpx.Client) -> list[int]:
    return [person["person"] for person in client.get("/state").json()["persons"]]


def mark(client: httpx.Client, **query: str | int) -> httpx.Response:
    """Mark the first person as soon as there is one."""
    person = wait_for(lambda: persons(client))[0]
    return client.post("/known-false", params={"person": person, **query})


def test_a_marked_thing_is_gone_everywhere_until_the_undo_brings_it_back(
    running: Running, file: Path, detectors: list[FaceDetector], face: ImageArray, tmp_path: Path
) -> None:
    before = file.read_bytes()
    photo = np.ascontiguousarray(face[:, :, ::-1])
    with running.client() as client, client.stream("GET", "/events?after=0") as response:
        reader = Reader(response)
        person = reader.until("FaceAppeared")[0]["person"]
        assert client.get("/state").json()["marking"] is True
        assert client.get("/known-false").json() == {
            "known_false": [],
            "expected_loss": 0.0,
            "place": True,
        }
        answer = mark(client, name="poster")
        assert answer.status_code == 201
        assert persons(client) == [], "gone when the answer comes"
        left = reader.until("FaceLeft")[0]
        assert (left["person"], left["reason"]) == (person, "dismissed")
        assert reader.until("PersonChanged")[0]["person"] is None

        (thing,) = load_calibration(file).known_false
        assert answer.json() == {
            "name": "poster",
            "added": thing.added,
            "how": "page",
            "place": list(thing.place or ()),
        }
        listed = client.get("/known-false")
        assert listed.json()["known_false"] == [answer.json()]
        assert listed.json()["expected_loss"] > 0
        assert "vector" not in listed.text
        assert [detector.known_false for detector in detectors] == [(thing,), (thing,)]
        assert len(detectors[0].detect(photo)) == 0, "nor does /detect find it"

        def left_out() -> float:
            lines = client.get("/metrics").text.splitlines()
            return float(next(s for s in lines if s.startswith("edge_mtcnn_known_")).split()[1])

        counted = left_out()
        assert wait_for(lambda: left_out() > counted + 1)
        state = client.get("/state").json()
        assert (state["answer"], state["persons"], state["faces"]) == ("nobody", [], [])

        assert client.delete("/known-false", params={"name": "poster"}).status_code == 204
        assert file.read_bytes() == before
        assert [detector.known_false for detector in detectors] == [(), ()]
        assert reader.until("FaceAppeared")[0]["person"] > person
    assert [path.name for path in tmp_path.iterdir()] == ["door.json"], "nothing else is written"


def test_a_name_is_found_where_none_is_given_and_the_place_can_be_left_out(
    running: Running, file: Path
) -> None:
    with running.client() as client:
        assert mark(client, place=0).json()["name"] == "thing"
        (thing,) = load_calibration(file).known_false
        assert thing.place is None
        save_known_false(file, [thing, replace(thing, name="statue")])  # by another program
        assert client.delete("/known-false", params={"name": "thing"}).status_code == 204
        assert [e.name for e in load_calibration(file).known_false] == ["statue"]
        assert client.delete("/known-false", params={"name": "statue"}).status_code == 204
        assert mark(client, name="büste & co").json()["name"] == "büste & co"


def test_a_thing_in_a_video_file_is_not_tied_to_a_place(
    face: ImageArray, file: Path, detectors: list[FaceDetector]
) -> None:
    given = {**arguments([face] * 40, file, detectors), "watch": FILE_LIKE}
    with serving(detectors[0], **given) as running, running.client() as client:
        wait_for(lambda: persons(client))
        assert client.get("/known-false").json()["place"] is False
        assert mark(client).json()["place"] is None


def test_marks_at_the_same_time_lose_none(
    face: ImageArray, file: Path, detectors: list[FaceDetector]
) -> None:
    head = face[30:230, 120:320]
    scene = np.full((480, 640, 3), 120, np.uint8)
    scene[20:220, 20:220] = scene[20:220, 420:620] = scene[260:460, 220:420] = head
    with (
        serving(detectors[0], **arguments(Scene(scene), file, detectors)) as running,
        running.client() as client,
        ThreadPoolExecutor(6) as pool,
    ):
        here = wait_for(lambda: len(found := persons(client)) == 3 and found)
        answers = [
            pool.submit(client.post, "/known-false", params={"person": person})
            for person in here * 2
        ]
        statuses = sorted(answer.result().status_code for answer in answers)
        assert statuses == [201, 201, 201, 404, 404, 404], "each person once"
        names = {entry.name for entry in load_calibration(file).known_false}
        assert names == {"thing", "thing-2", "thing-3"}
        assert {entry.name for entry in detectors[1].known_false} == names
        assert persons(client) == []


def test_refusals_say_what_to_do_and_change_nothing(running: Running, file: Path) -> None:
    with running.client() as client:
        first = mark(client, name="poster").json()
        (thing,) = load_calibration(file).known_false
        save_known_false(file, [replace(thing, name="statue", place=None)])
        client.delete("/known-false", params={"name": "poster"})
        before = file.read_bytes()
        person = 10**6
        refusals: list[tuple[str, dict[str, str | int], int, str]] = [
            ("POST", {}, 400, "person is missing"),
            ("POST", {"person": "x"}, 400, "person must be a whole number"),
            ("POST", {"person": 1, "place": "yes"}, 400, "place must be 0 or 1"),
            ("POST", {"person": 1, "name": ""}, 400, "name must be a name of 1 to 100"),
            ("POST", {"person": 1, "name": "x" * 101}, 400, "name must be"),
            ("POST", {"person": 1, "name": "a\nb"}, 400, "printable"),
            ("POST", {"person": 1, "nmae": "a"}, 400, "did you mean name?"),
            ("POST", {"person": person}, 404, "is not here; /state lists who is"),
            ("POST", {"person": person, "name": "statue"}, 409, "give another name"),
            ("DELETE", {}, 400, "name is missing"),
            ("DELETE", {"name": "nobody"}, 404, "no known false face 'nobody'"),
            ("GET", {"name": "poster"}, 400, "takes none"),
        ]
        for method, query, status, message in refusals:
            answer = client.request(method, "/known-false", params=query)
            assert (answer.status_code, message in answer.json()["error"]) == (status, True), query
        assert client.put("/known-false").status_code == 405
        assert file.read_bytes() == before
        assert first["how"] == "page"


def test_a_file_that_would_cost_too_many_faces_is_refused_and_the_place_helps(
    running: Running, file: Path, detectors: list[FaceDetector]
) -> None:
    vector = np.random.default_rng(1).normal(1, 1, 512).astype("<f2").tobytes()
    others = [
        KnownFalse(
            name=str(number),
            vector=vector,
            added=str(2000 + number),
            place=None if number < 32 else (0.8, 0.8, 0.9, 0.9),
        )
        for number in range(34)
    ]
    save_known_false(file, others)
    before = file.read_bytes()
    with running.client() as client:
        answer = mark(client, place=0)
        assert answer.status_code == 409
        assert "at most 1 in 500" in answer.json()["error"]
        assert "the oldest, '0'" in answer.json()["error"]
        assert (file.read_bytes(), detectors[1].known_false) == (before, ())
        assert persons(client)
        assert mark(client, place=1).status_code == 201


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_file_that_cannot_be_written_leaves_everything_as_it_was(
    running: Running,
    file: Path,
    detectors: list[FaceDetector],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with running.client() as client:
        if method == "DELETE":
            mark(client, name="poster")
        before, known = file.read_bytes(), detectors[1].known_false
        monkeypatch.setattr("edge_mtcnn.calibration.write_whole", full)
        answer = (
            mark(client)
            if method == "POST"
            else client.delete("/known-false", params={"name": "poster"})
        )
        assert answer.status_code == 500
        assert "door.json: No space left on device; nothing was changed" in answer.json()["error"]
        assert (file.read_bytes(), detectors[1].known_false) == (before, known)
        assert detectors[0].known_false == known
        assert bool(persons(client)) == (method == "POST")


def test_a_file_that_is_damaged_or_gone_is_an_error_for_all(running: Running, file: Path) -> None:
    with running.client() as client:
        person = wait_for(lambda: persons(client))[0]
        for damage in (lambda: file.write_text("{"), file.unlink):
            damage()
            for answer in (
                client.get("/known-false"),
                client.post("/known-false", params={"person": person}),
                client.delete("/known-false", params={"name": "poster"}),
            ):
                assert answer.status_code == 500
                assert "door.json" in answer.json()["error"]
        assert persons(client) == [person]
        assert not file.exists()


def test_who_is_not_in_the_picture_at_the_moment_cannot_be_marked(
    running: Running, file: Path
) -> None:
    watcher = running.service.watcher
    assert watcher is not None
    before = file.read_bytes()
    with running.client() as client:
        person = wait_for(lambda: persons(client))[0]
        watcher.stop()
        assert client.post("/known-false", params={"person": person}).status_code == 404
    assert file.read_bytes() == before


def test_without_a_file_or_a_source_it_says_how_to_start_the_service(
    face: ImageArray, file: Path, detectors: list[FaceDetector]
) -> None:
    for source, given, expected in (
        (Scene(face), None, "start the service with --calibration FILE"),
        (None, file, "no source is watched"),
    ):
        with (
            serving(detectors[0], **arguments(source, given, detectors)) as running,
            running.client() as client,
        ):
            answer = client.post("/known-false", params={"person": 1})
            assert answer.status_code == 404
            assert expected in answer.json()["error"]
            assert client.get("/state").json()["marking"] is False


def test_a_camera_without_the_mirror_check_says_so(
    face: ImageArray, file: Path, detectors: list[FaceDetector]
) -> None:
    with FaceDetector(preset="reference") as plain:
        given = {**arguments(Scene(face), file, detectors), "watch_detector": plain}
        with serving(detectors[0], **given) as running, running.client() as client:
            answer = client.post("/known-false", params={"person": 1})
            assert answer.status_code == 404
            assert "no mirror check" in answer.json()["error"]
            assert client.get("/state").json()["marking"] is False


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_it_needs_the_token_or_this_machine_and_no_page_of_another_origin(
    file: Path, detectors: list[FaceDetector], method: str
) -> None:
    path = "/known-false?name=x" if method == "DELETE" else "/known-false"
    with serving(
        detectors[0], ServeOptions(token=TOKEN), **arguments(None, file, detectors)
    ) as running:
        with running.client() as client:
            assert client.request(method, path).status_code == 401
        with running.client(Authorization=f"Bearer {TOKEN}") as client:
            answered = client.request(method, path).status_code
            assert answered == (200 if method == "GET" else 404)
            for headers in (
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
                {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
            ):
                assert client.request(method, path, headers=headers).status_code == 403

    async def status_for(client: str) -> int:
        app = Service(detectors[0], calibration=file).app
        transport = httpx.ASGITransport(app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as sender:
            return (await sender.request(method, path, timeout=SECONDS)).status_code

    assert asyncio.run(status_for("127.0.0.1")) == answered
    assert asyncio.run(status_for("192.168.1.5")) == 403


def test_a_file_that_is_no_calibration_is_refused_at_the_start(
    tmp_path: Path, detectors: list[FaceDetector]
) -> None:
    with pytest.raises(OptionsError, match="nothing"):
        Service(detectors[0], calibration=tmp_path / "nothing.json")
