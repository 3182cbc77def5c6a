"""The document at ``/openapi.json`` against the routes that are there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from serving import TOKEN, serving
from starlette.routing import Route

from edge_mtcnn import FaceDetector, __version__
from edge_mtcnn.serve import ServeOptions, Service
from edge_mtcnn.serve.openapi import document

PAGES = {"/", "/app.js", "/style.css", "/icon.svg", "/openapi.json"}


def schema_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = document(ServeOptions())["components"]["schemas"][name]
    return found


def conforms(value: Any, schema: dict[str, Any]) -> bool:
    """The part of JSON Schema that the document uses."""
    if "$ref" in schema:
        return conforms(value, schema_of(schema["$ref"].rsplit("/", 1)[1]))
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
        route.path: (route.methods or set()) - {"HEAD"}
        for route in Service(default_detector).app.routes
        if isinstance(route, Route) and route.path not in PAGES
    }
    paths = document(ServeOptions())["paths"]
    assert {path: {method.upper() for method in entry} for path, entry in paths.items()} == routes


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
        ("POST", "/detect", b"x", "422"),
        ("POST", "/detect", b"BM", "422"),
    ],
)
def test_an_answer_is_as_described(
    default_detector: FaceDetector, method: str, path: str, body: bytes | None, status: str
) -> None:
    with serving(default_detector) as running, running.client() as client:
        answer = client.request(method, path, content=body)
        described = client.get("/openapi.json").json()["paths"][path][method.lower()]["responses"]
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
    assert "within 2.5 s" in described["summary"]
    for status in ("429", "503"):
        assert described["responses"][status]["headers"]["Retry-After"]["required"]


def test_faces_and_state_are_as_described(default_detector: FaceDetector, sample_path: Any) -> None:
    with serving(default_detector) as running, running.client() as client:
        found = client.post("/detect", content=sample_path("astronaut").read_bytes()).json()
        assert conforms(found, schema_of("Faces"))
        assert found["faces"]
        assert conforms(client.get("/state").json(), schema_of("State"))
    assert not conforms({"width": 1, "height": 1}, schema_of("Faces"))
