"""The service reports how frames are turned, looks again when told to, and turns what is sent."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from serving import QUICK, SECONDS, TOKEN, Reader, Running, Scene, face_bgr, serving, wait_for

from edge_mtcnn import FaceDetector, read_image
from edge_mtcnn.images.writing import encode_image
from edge_mtcnn.serve import ServeOptions
from edge_mtcnn.types import ImageArray

AUTO = replace(QUICK, source=replace(QUICK.source, rotate="auto"))
LOOKING = {"degrees": 90, "state": "looking"}


@pytest.fixture(scope="module")
def face(sample_path: Callable[[str], Path]) -> ImageArray:
    return face_bgr(sample_path("astronaut"))[:, :200]  # not square


@pytest.fixture
def camera(face: ImageArray) -> Scene:
    """Mounted so that its frames must be turned by 90 degrees."""
    return Scene(cv2.rotate(face, cv2.ROTATE_90_COUNTERCLOCKWISE))


@pytest.fixture
def running(camera: Scene, default_detector: FaceDetector) -> Iterator[Running]:
    options = ServeOptions(stream=True)
    with serving(
        default_detector, options, source=camera, watch_detector=default_detector, watch=AUTO
    ) as service:
        yield service


def rotation(client: httpx.Client) -> object:
    return client.get("/state").json()["rotation"]


def test_the_state_and_an_event_report_the_rotation_and_pictures_are_turned(
    running: Running, face: ImageArray
) -> None:
    with running.client() as client, client.stream("GET", "/events?after=0") as response:
        reader = Reader(response)
        event = reader.until("RotationFound")[0]
        assert (event["rotation"], event["previous"]) == (90, 0)
        reader.until("FaceAppeared")
        state = client.get("/state").json()
        assert state["rotation"] == {"degrees": 90, "state": "found"}
        assert (state["width"], state["height"]) == (face.shape[1], face.shape[0])
        eyes = [state["faces"][0]["keypoints"][name] for name in ("left_eye", "right_eye")]
        assert abs(eyes[0][1] - eyes[1][1]) < eyes[1][0] - eyes[0][0], "beside each other"
        with client.stream("GET", "/stream") as stream:
            data = b""
            for part in stream.iter_bytes():
                data += part
                if data.count(b"\xff\xd8\xff") >= 2:
                    break
        picture = Image.open(io.BytesIO(data[data.index(b"\xff\xd8\xff") :]))
        assert picture.size == (face.shape[1], face.shape[0])


def test_it_looks_again_when_it_is_told_to(
    running: Running, camera: Scene, face: ImageArray
) -> None:
    with running.client() as client:
        wait_for(lambda: rotation(client) == {"degrees": 90, "state": "found"})
        camera.image = None  # nothing can be found meanwhile
        wait_for(lambda: client.get("/state").json()["state"] == "lost")
        answer = client.post("/rotation")
        assert (answer.status_code, answer.json()) == (202, LOOKING)
        wait_for(lambda: rotation(client) == LOOKING)
        camera.image = np.ascontiguousarray(face[::-1, ::-1])
        wait_for(lambda: rotation(client) == {"degrees": 180, "state": "found"})


def test_without_the_token_from_elsewhere_or_for_nothing_it_is_refused(
    default_detector: FaceDetector, camera: Scene, face: ImageArray
) -> None:
    with serving(default_detector) as none, none.client() as client:
        answer = client.post("/rotation")
        assert (answer.status_code, "no source" in answer.json()["error"]) == (404, True)
        assert rotation(client) == {"degrees": 0, "state": "fixed"}
        assert client.get("/rotation").status_code == 405
        assert client.post("/rotation?rotate=90").status_code == 400
    turned = replace(QUICK, source=replace(QUICK.source, rotate=90))
    options = ServeOptions(token=TOKEN)
    with (
        serving(
            default_detector, options, source=camera, watch_detector=default_detector, watch=turned
        ) as fixed,
        fixed.client() as stranger,
        fixed.client(Authorization=f"Bearer {TOKEN}") as client,
    ):
        assert stranger.post("/rotation").status_code == 401
        answer = client.post("/rotation")
        assert answer.status_code == 409
        assert answer.json()["error"].startswith("the rotation is fixed at 90 degrees: start the")
        assert client.post("/rotation", headers={"Origin": "http://evil.test"}).status_code == 403
        wait_for(lambda: client.get("/state").json()["persons"])
        assert rotation(client) == {"degrees": 90, "state": "fixed"}


def test_without_a_token_another_machine_may_not(
    default_detector: FaceDetector, camera: Scene
) -> None:
    import asyncio

    from edge_mtcnn.serve import Service

    service = Service(default_detector, source=camera, watch_detector=default_detector, watch=AUTO)

    async def asked(address: str) -> httpx.Response:
        transport = httpx.ASGITransport(service.app, client=(address, 1234))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", timeout=SECONDS
        ) as client:
            return await client.post("/rotation")

    assert asyncio.run(asked("192.0.2.1")).status_code == 403
    assert asyncio.run(asked("127.0.0.1")).status_code == 202


def test_images_that_are_sent_are_turned(
    default_detector: FaceDetector, sample_path: Callable[[str], Path]
) -> None:
    photo = read_image(sample_path("astronaut"))[:, 60:300]
    expected = default_detector.detect(photo)
    mirrored = cv2.flip(photo, 1)
    body = encode_image(cv2.rotate(mirrored, cv2.ROTATE_90_CLOCKWISE), ".png")
    turned = {"rotate": "270", "flip": "horizontal"}
    with serving(default_detector) as running, running.client() as client:
        assert client.post("/detect", content=body).json()["faces"] == []
        found = client.post("/detect", content=body, params=turned).json()
        assert (found["width"], found["height"]) == (240, photo.shape[0])
        assert np.allclose(found["faces"][0]["box_xyxy"], expected.boxes[0], atol=0.01)
        drawn = client.post("/detect", content=body, params={**turned, "annotate": "1"})
        assert Image.open(io.BytesIO(drawn.content)).size == (240, photo.shape[0])
        for query in ("rotate=45", "rotate=auto", "rotate=-90", "flip=diagonal", "flip="):
            answer = client.post(f"/detect?{query}", content=body)
            assert answer.status_code == 400, query
        assert "angles=fallback" in client.post("/detect?rotate=auto", content=body).json()["error"]
