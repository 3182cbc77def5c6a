"""The document at ``/openapi.json`` against the routes that are there."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest
from serving import TOKEN, Reader, Scene, serving
from starlette.routing import Route

from edge_mtcnn import DetectorOptions, FaceDetector, __version__
from edge_mtcnn.serve import ServeOptions, Service
from edge_mtcnn.serve.openapi import document
from edge_mtcnn.serve.query import PARAMETERS
from edge_mtcnn.video import (
    Event,
    FaceAppeared,
    FaceLeft,
    PersonChanged,
    RotationFound,
    SourceBack,
    SourceLost,
    ViewBlocked,
    ViewCleared,
)

PAGES = {
    "/",
    "/app.js",
    "/style.css",
    "/icon.svg",
    "/docs",
    "/docs.css",
    "/docs.js",
    "/openapi.json",
}


COMMON = {field.name for field in fields(Event)}


def schema_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = document(ServeOptions())["components"]["schemas"][name]
    return found


def conforms(value: Any, schema: dict[str, Any]) -> bool:
    """The part of JSON Schema that the document uses."""
    if "$ref" in schema:
        return conforms(value, schema_of(schema["$ref"].rsplit("/", 1)[1]))
    if "anyOf" in schema:
        return any(conforms(value, one) for one in schema["anyOf"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    classes = {
        "integer": int,
        "number": (int, float),
        "string": str,
        "boolean": bool,
        "null": type(None),
        "object": dict,
        "array": list,
    }
    if not any(isinstance(value, classes[kind]) for kind in kinds):  # type: ignore[arg-type]
        return False
    if isinstance(value, dict):
        fields = schema["properties"]
        return set(schema["required"]) <= value.keys() <= fields.keys() and all(
            conforms(inner, fields[name]) for name, inner in value.items()
        )
    if isinstance(value, list):
        return all(conforms(inner, schema["items"]) for inner in value)
    return value in schema.get("enum", [value])


def test_every_route_is_described_with_its_methods(default_detector: FaceDetector) -> None:
    routes = {
        (method, route.path)
        for route in Service(default_detector).app.routes
        if isinstance(route, Route) and route.path not in PAGES
        for method in (route.methods or set()) - {"HEAD"}
    }
    paths = document(ServeOptions())["paths"]
    assert {(method.upper(), path) for path, entry in paths.items() for method in entry} == routes


def test_a_token_is_described_where_one_is_needed() -> None:
    assert "security" not in document(ServeOptions())
    locked = document(ServeOptions(token=TOKEN))
    assert locked["security"] == [{"token": []}]
    assert "401" in locked["paths"]["/detect"]["post"]["responses"]
    assert locked["paths"]["/healthz"]["get"]["security"] == []
    assert TOKEN not in str(locked)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/state", None, "200"),
        ("GET", "/healthz", None, "200"),
        ("GET", "/events", None, "404"),
        ("POST", "/session", None, "204"),
        ("GET", "/known-false", None, "404"),
        ("POST", "/known-false?person=1", None, "404"),
        ("DELETE", "/known-false?name=poster", None, "404"),
        ("POST", "/detect", b"x", "422"),
        ("POST", "/detect", b"BM", "422"),
        ("GET", "/state?x=1", None, "400"),
        ("GET", "/metrics?x=1", None, "400"),
        ("POST", "/session?x=1", None, "400"),
        ("POST", "/detect?limit=0", b"x", "400"),
    ],
)
def test_an_answer_is_as_described(
    default_detector: FaceDetector, method: str, path: str, body: bytes | None, status: str
) -> None:
    with serving(default_detector) as running, running.client() as client:
        answer = client.request(method, path, content=body)
        described = client.get("/openapi.json").json()["paths"][path.partition("?")[0]][
            method.lower()
        ]["responses"]
    assert str(answer.status_code) == status
    assert status in described
    if "content" in described[status]:
        kind = answer.headers["content-type"].split(";")[0]
        assert conforms(answer.json(), described[status]["content"][kind]["schema"])


def test_the_served_document_is_filled_in_and_its_references_resolve() -> None:
    for options in (ServeOptions(), ServeOptions(token=TOKEN)):
        served = document(options)
        assert served["info"]["version"] == __version__
        text = json.dumps(served)
        assert not re.search(r"\{[a-z_]+", text), "a placeholder is left"
        references = set(re.findall(r'"\$ref": "#/([^"]+)"', text))
        assert references
        for reference in references:
            place = served
            for part in reference.split("/"):
                place = place[part]


def test_busy_and_too_slow_are_described_with_the_time_to_wait() -> None:
    described = document(ServeOptions(detect_seconds=2.5))["paths"]["/detect"]["post"]
    assert "2.5 s for all images of a request" in described["description"]
    for status in ("429", "503"):
        assert described["responses"][status]["headers"]["Retry-After"]["required"]


def test_the_parameters_are_those_that_the_service_reads() -> None:
    described = {
        f"{method.upper()} {path}": [
            entry["name"] for entry in operation.get("parameters", []) if entry["in"] == "query"
        ]
        for path, methods in document(ServeOptions())["paths"].items()
        for method, operation in methods.items()
    }
    for operation, names in described.items():
        assert names == list(PARAMETERS.get(operation, {})), operation


def test_examples_of_parameters_are_read_by_the_service() -> None:
    checked = 0
    for path, methods in document(ServeOptions())["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query" and "example" in parameter:
                    read = PARAMETERS[f"{method.upper()} {path}"][parameter["name"]]
                    read(str(parameter["example"]))
                    checked += 1
    assert checked >= 10


def test_the_limits_of_sizes_are_those_of_the_detector() -> None:
    sizes = DetectorOptions(min_face_size=40, max_face_size=200)
    parameters = document(ServeOptions(), sizes)["paths"]["/detect"]["post"]["parameters"]
    schemas = {entry["name"]: entry["schema"] for entry in parameters}
    assert schemas["min_face_size"]["minimum"] == 40
    assert schemas["max_face_size"] == {"type": "integer", "minimum": 40, "maximum": 200}


EVENTS = [
    *(FaceAppeared, FaceLeft, PersonChanged, RotationFound),
    *(SourceLost, SourceBack, ViewBlocked, ViewCleared),
]
VALUES: dict[str, Any] = {
    "person": 1,
    "previous": 0,
    "rotation": 90,
    "box": (1.0, 2.0, 3.0, 4.0),
    "score": 0.9,
    "eye_distance": 30.0,
    "dwell_seconds": 2.0,
    "lost_seconds": 1.0,
    "blocked_seconds": 1.0,
}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_events_are_as_described(kind: type[Event]) -> None:
    schema = schema_of(kind.__name__)
    hints = get_type_hints(kind)
    reasons = get_args(hints["reason"]) if "reason" in hints else ()
    assert list(reasons) == schema["properties"].get("reason", {}).get("enum", [])
    own = [field.name for field in fields(kind) if field.name not in COMMON]
    values = {name: (reasons or ("x",))[0] if name == "reason" else VALUES[name] for name in own}
    assert conforms(json.loads(json.dumps(kind(**values).to_dict())), schema)
    assert set(schema["required"]) == set(schema["properties"])


def test_the_document_names_each_event_of_the_stream() -> None:
    answer = document(ServeOptions())["paths"]["/events"]["get"]["responses"]["200"]
    described = answer["content"]["text/event-stream"]["x-events"]
    names = {"hello", "missed", "state", *(kind.__name__ for kind in EVENTS)}
    assert described.keys() == names
    assert {kind.__name__ for kind in Event.__subclasses__()} <= names


def test_the_messages_of_the_stream_are_as_described(default_detector: FaceDetector) -> None:
    with (
        serving(default_detector, source=Scene(None), watch_detector=default_detector) as running,
        running.client() as client,
        client.stream("GET", "/events?after=0&live=1") as stream,
    ):
        described = document(ServeOptions())["paths"]["/events"]["get"]["responses"]["200"]
        schemas = described["content"]["text/event-stream"]["x-events"]
        reader = Reader(stream)
        seen: set[str] = set()
        while not {"hello", "state", "SourceLost"} <= seen:
            name, data, _ = reader.next()
            assert conforms(data, schemas[name]), (name, data)
            seen.add(name)


def test_examples_conform_to_their_schemas() -> None:
    whole = document(ServeOptions())
    for name, schema in whole["components"]["schemas"].items():
        if "example" in schema:
            assert conforms(schema["example"], schema), name
    post = whole["paths"]["/detect"]["post"]
    for content in (post["requestBody"]["content"], post["responses"]["200"]["content"]):
        entry = content["application/json"]
        assert len(entry["examples"]) == 2
        for example in entry["examples"].values():
            assert conforms(example["value"], entry["schema"])


def test_the_examples_of_bodies_can_be_sent(default_detector: FaceDetector) -> None:
    content = document(ServeOptions())["paths"]["/detect"]["post"]["requestBody"]["content"]
    with serving(default_detector) as running, running.client() as client:
        for example in content["application/json"]["examples"].values():
            assert client.post("/detect", json=example["value"]).status_code == 200


def test_several_images_and_crops_are_as_described(
    default_detector: FaceDetector, sample_path: Any
) -> None:
    photo = sample_path("astronaut").read_bytes()
    files = [("image", ("a", photo)), ("image", ("b", b"no image"))]
    with serving(default_detector) as running, running.client() as client:
        found = client.post("/detect?crops=1", files=files).json()
    assert conforms(found, schema_of("Results"))
    assert "crop" in found["results"][0]["faces"][0]
    assert conforms(found["results"][1], schema_of("Failure"))


def test_faces_and_state_are_as_described(default_detector: FaceDetector, sample_path: Any) -> None:
    with serving(default_detector) as running, running.client() as client:
        found = client.post("/detect", content=sample_path("astronaut").read_bytes()).json()
        assert conforms(found, schema_of("Faces"))
        assert found["faces"]
        assert conforms(client.get("/state").json(), schema_of("State"))
    assert not conforms({"width": 1, "height": 1}, schema_of("Faces"))
