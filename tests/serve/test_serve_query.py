"""Query parameters: what they do, and that wrong ones are named on every route."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import httpx
import numpy as np
import pytest
from serving import Running, serving
from starlette.routing import Route

from edge_mtcnn import DetectorOptions, FaceDetector, read_image
from edge_mtcnn.images.crops import align_faces
from edge_mtcnn.options import angles_from_text
from edge_mtcnn.serve import ServeOptions, Service
from edge_mtcnn.serve.query import PARAMETERS
from edge_mtcnn.types import ImageArray, faces_entry

SIZES = DetectorOptions(min_face_size=30, max_face_size=300)


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    with FaceDetector(SIZES) as made:
        yield made


@pytest.fixture(scope="module")
def running(detector: FaceDetector) -> Iterator[Running]:
    with serving(detector) as service:
        yield service


@pytest.fixture(scope="module")
def crowd(sample_path: Callable[[str], Path]) -> ImageArray:
    """The astronaut's head six times, one of them smaller than the others."""
    head = read_image(sample_path("astronaut"))[0:240, 120:330]
    image = np.tile(head, (2, 3, 1))
    image[:240, :210] = 128
    image[60:180, 50:155] = cv2.resize(head, (105, 120), interpolation=cv2.INTER_AREA)
    return image


@pytest.fixture(scope="module")
def png(crowd: ImageArray) -> bytes:
    return cv2.imencode(".png", crowd[:, :, ::-1])[1].tobytes()


def decoded(data: bytes) -> ImageArray:
    """The RGB pixels of an encoded picture."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels[:, :, ::-1], np.uint8)


def ask(running: Running, query: str, body: bytes, **headers: str) -> httpx.Response:
    with running.client(**headers) as client:
        return client.post(f"/detect?{query}", content=body)


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("", {}),
        ("min_face_size=60", {"min_face_size": 60}),
        ("max_face_size=70", {"max_face_size": 70}),
        ("confidence=0.9991", {"confidence": 0.9991}),
        ("confidence=1e0", {"confidence": 1.0}),
        ("min_face_size=30&max_face_size=300&confidence=.0", {"confidence": 0.0}),
    ],
)
def test_the_options_are_those_of_the_detector(
    running: Running,
    detector: FaceDetector,
    crowd: ImageArray,
    png: bytes,
    query: str,
    changes: dict[str, Any],
) -> None:
    options = DetectorOptions(**{"min_face_size": 30, "max_face_size": 300, **changes})
    expected = faces_entry(detector.detect(crowd, options=options))
    assert ask(running, query, png).json() == expected


def test_the_options_change_what_is_found(running: Running, png: bytes) -> None:
    counts = [
        len(ask(running, query, png).json()["faces"])
        for query in ("", "confidence=1", "limit=2", "limit=999")
    ]
    assert counts[0] >= 6
    assert counts[1:] == [0, 2, counts[0]]


def test_limit_keeps_the_best_faces(running: Running, png: bytes) -> None:
    faces = ask(running, "", png).json()["faces"]
    assert ask(running, "limit=2", png).json()["faces"] == faces[:2]


@pytest.mark.parametrize("query", ["min_face_size=29", "min_face_size=0", "max_face_size=301"])
def test_a_client_cannot_ask_for_more_work_than_the_service_does(
    running: Running, query: str
) -> None:
    answer = ask(running, query, b"x")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(query)
    assert "the limit of this service" in answer.json()["error"]


@pytest.mark.parametrize(
    ("ours", "query", "taken"),
    [
        ((), "none", True),
        ((), "90", False),
        ((), "fallback", False),
        ("fallback", "none", True),
        ("fallback", "fallback", True),
        ("fallback", "90,180,270", False),
        ((90, 180, 270), "270,90", True),
        ((90, 180, 270), "fallback", True),
        ((90, 180, 270), "45", False),
        ((180,), "fallback", False),
    ],
)
def test_a_client_may_ask_for_some_of_the_angles_of_the_service(
    detector: FaceDetector, crowd: ImageArray, ours: Any, query: str, taken: bool
) -> None:
    image = cv2.rotate(crowd, cv2.ROTATE_180)
    body = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    options = replace(SIZES, angles=ours)
    with FaceDetector(options) as turning, serving(turning) as service:
        answer = ask(service, f"angles={query}", body)
        everything = ask(service, "", body).json()
    assert everything == faces_entry(detector.detect(image, options=options))
    if not taken:
        assert answer.status_code == 400
        assert f"angles={query} is more than this service looks at" in answer.json()["error"]
        return
    wanted = replace(SIZES, angles=angles_from_text(query))
    assert answer.json() == faces_entry(detector.detect(image, options=wanted))


def test_an_image_that_cannot_be_turned_is_refused() -> None:
    strip = cv2.imencode(".png", np.zeros((30, 4000), np.uint8))[1].tobytes()
    with FaceDetector(DetectorOptions(angles=(45,))) as turning, serving(turning) as service:
        answer = ask(service, "", strip)
        assert answer.status_code == 422
        assert "cannot be turned by 45 degrees" in answer.json()["error"]
        assert ask(service, "angles=none", strip).json()["faces"] == []


def test_sizes_that_exclude_each_other_are_named(running: Running) -> None:
    answer = ask(running, "min_face_size=80&max_face_size=40", b"x")
    assert answer.status_code == 400
    assert "max_face_size must be a whole number at least 80" in answer.json()["error"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("min_face_size", ["", "-1", "30.0", "+40", " 40", "4_0", "٤٠", "1e2", "9" * 5000, "nan"]),
        ("confidence", ["", "-0", "1.1", "nan", "inf", "0,5", "0_5", "1e", ".", "9" * 5000]),
        ("limit", ["", "0", "-1", "all"]),
        ("angles", ["", "0", "90,", "90,90", "nan", "upside", "9" * 5000]),
        ("annotate", ["", "2", "true", "yes"]),
        ("crops", ["2"]),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(
    running: Running, name: str, values: list[str]
) -> None:
    for value in values:
        answer = ask(running, f"{name}={quote(value)}", b"x")
        assert answer.status_code == 400, value
        error = answer.json()["error"]
        assert error.startswith(f"{name} must be "), value
        assert len(error) < 200


def test_every_route_refuses_an_unknown_parameter(running: Running, detector: FaceDetector) -> None:
    routes = [route for route in Service(detector).app.routes if isinstance(route, Route)]
    assert {"/", "/detect", "/docs", "/events", "/healthz", "/state"} <= {r.path for r in routes}
    with running.client() as client:
        for route in routes:
            for method in route.methods or ():
                answer = client.request(method, f"{route.path}?nonsense=1")
                assert answer.status_code == 400, (method, route.path)
                if method != "HEAD":
                    assert "unknown query parameter 'nonsense'" in answer.json()["error"]
            answer = client.request(sorted(route.methods or ())[0], f"{route.path}?%ff=%fe&%00")
            assert answer.status_code == 400


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/detect", "min_faec_size=80", "'min_faec_size': did you mean min_face_size?"),
        ("/detect", "min_confidence=1", "'min_confidence': did you mean confidence?"),
        ("/detect", "Limit=1", "'Limit': did you mean limit?"),
        ("/events", "aftr=1", "'aftr': did you mean after? /events takes after, live"),
        ("/state", "x=1", "'x': /state takes none"),
        ("/events", "after=new", "after must be the id of an event, or 0; got 'new'"),
        ("/events", "live=yes", "live must be 0 or 1; got 'yes'"),
        ("/stream", "boxes=", "boxes must be 0 or 1; got ''"),
        ("/stream", "boxes=1&boxes=1", "boxes is given more than once"),
    ],
)
def test_the_refusal_says_what_is_meant(
    running: Running, path: str, query: str, expected: str
) -> None:
    with running.client() as client:
        answer = client.request("POST" if path == "/detect" else "GET", f"{path}?{query}")
    assert answer.status_code == 400
    assert expected in answer.json()["error"]


def test_a_long_name_is_not_repeated_whole(running: Running) -> None:
    answer = ask(running, "x" * 20_000, b"x")
    assert answer.status_code == 400
    assert len(answer.json()["error"]) < 300


def test_every_parameter_belongs_to_a_route(detector: FaceDetector) -> None:
    operations = {
        f"{method} {route.path}"
        for route in Service(detector).app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    assert PARAMETERS.keys() <= operations


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "image/jpeg"),
        ("*/*", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/png, image/jpeg;q=0.9", "image/png"),
        ("image/jpeg, image/png", "image/jpeg"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/jpeg"),
        ("application/json, text/plain, */*", "image/jpeg"),
        ("IMAGE/PNG ; Q=0.5", "image/png"),
    ],
)
def test_the_drawn_picture_has_the_type_that_is_accepted(
    running: Running, png: bytes, crowd: ImageArray, accept: str, expected: str
) -> None:
    answer = ask(running, "annotate=1", png, Accept=accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, expected)
    assert int(answer.headers["content-length"]) == len(answer.content)
    picture = decoded(answer.content)
    assert picture.shape == crowd.shape
    changed = np.abs(picture.astype(int) - crowd).max(axis=2) > 60
    assert 0.005 < changed.mean() < 0.5, "faces are drawn into the picture, and nothing else"


@pytest.mark.parametrize(
    "accept", ["application/json", "image/webp", "image/*;q=0", "image/png;q=0"]
)
def test_a_type_that_cannot_be_drawn_is_406(running: Running, png: bytes, accept: str) -> None:
    answer = ask(running, "annotate=1", png, Accept=accept)
    assert answer.status_code == 406
    assert "image/jpeg or image/png" in answer.json()["error"]


def test_a_limit_holds_for_the_drawn_picture(running: Running, png: bytes) -> None:
    pictures = {
        ask(running, f"annotate=1&{query}", png, Accept="image/png").content
        for query in ("limit=1", "limit=2", "limit=99", "confidence=1")
    }
    assert len(pictures) == 4


def test_errors_of_a_drawn_picture_are_json(running: Running) -> None:
    answer = ask(running, "annotate=1", b"no image", Accept="image/png")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/json"


def test_crops_are_the_aligned_faces(
    running: Running, detector: FaceDetector, crowd: ImageArray, png: bytes
) -> None:
    found = detector.detect(crowd)
    answer = ask(running, "crops=1", png).json()
    assert len(answer["faces"]) == len(found)
    for entry, expected in zip(answer["faces"], align_faces(crowd, found), strict=True):
        crop = decoded(base64.b64decode(entry["crop"], validate=True))
        np.testing.assert_array_equal(crop, expected)
    plain = ask(running, "", png).json()
    assert plain["faces"] == [
        {name: value for name, value in face.items() if name != "crop"} for face in answer["faces"]
    ]


def test_crops_and_a_drawn_picture_exclude_each_other(running: Running, png: bytes) -> None:
    assert ask(running, "crops=1&annotate=1", png).status_code == 400
    assert ask(running, "crops=1&annotate=0", png).status_code == 200


def test_the_documentation_can_be_turned_off(detector: FaceDetector) -> None:
    paths = ["/docs", "/docs.js", "/docs.css"]
    with serving(detector) as running, running.client() as client:
        assert [client.get(path).status_code for path in paths] == [200, 200, 200]
    with serving(detector, ServeOptions(docs=False)) as running, running.client() as client:
        assert [client.get(path).status_code for path in paths] == [404, 404, 404]
        assert client.get("/openapi.json").status_code == 200
