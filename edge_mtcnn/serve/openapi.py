"""The description of the service at ``/openapi.json``, OpenAPI 3.1, written by hand.

Every status that a route can answer is declared here; a test asks the running service.
"""

from __future__ import annotations

from typing import Any

from edge_mtcnn._version import __version__
from edge_mtcnn.serve.options import ServeOptions
from edge_mtcnn.types import LANDMARK_NAMES

__all__ = ["document"]

Entry = dict[str, Any]

_REASONS = {
    400: "The request is malformed, or ended early.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another origin.",
    404: "Not offered: the service was started without it.",
    408: "The body did not arrive in time.",
    413: "More bytes, pixels or scans than the service takes.",
    415: "No JPEG, PNG or WebP image.",
    421: "The Host is not one of this service's names.",
    422: "The image is damaged or no image at all.",
    429: "Busy; ask again after the seconds in Retry-After.",
    503: "The detection took too long, or the service stops; ask again after Retry-After.",
}


def document(options: ServeOptions) -> Entry:
    """The whole document.

    Args:
        options: the limits that it tells, and whether a token is wanted.
    """
    answers = [403, 421, *([401] if options.token is not None else [])]
    paths: Entry = {
        "/detect": {"post": _detect(options, answers)},
        "/state": {"get": _get("Who is here now, rates and health.", _json("State"), answers)},
        "/events": {
            "get": {
                **_get(
                    "What happens, as server-sent events: " + ", ".join(_EVENTS) + ".",
                    _content("text/event-stream", {"type": "string"}),
                    [*answers, 404, 429],
                ),
                "parameters": [
                    _parameter("Last-Event-ID", "header", "Go on after this event.", "string"),
                    _parameter("after", "query", "The same; 0 for all remembered.", "string"),
                    _parameter("live", "query", "1 to get the state at each change.", "string"),
                ],
            }
        },
        "/stream": {
            "get": {
                **_get(
                    "The camera's picture as MJPEG; off unless asked for.",
                    _content("multipart/x-mixed-replace", {"type": "string"}),
                    [*answers, 404, 429],
                ),
                "parameters": [
                    _parameter("boxes", "query", "0 to leave out the faces.", "string"),
                ],
            }
        },
        "/healthz": {
            "get": {
                **_get("Whether the service works; open to all.", _json("Health"), [403, 421]),
                "security": [],
            }
        },
        "/metrics": {
            "get": _get(
                "Numbers for Prometheus.", _content("text/plain", {"type": "string"}), answers
            )
        },
        "/session": {"post": _session(options)},
    }
    paths["/healthz"]["get"]["responses"]["503"] = {
        "description": "The watcher is stuck or failed; only a restart helps.",
        "content": _json("Health"),
    }
    whole: Entry = {
        "openapi": "3.1.0",
        "info": {
            "title": "edge-mtcnn",
            "version": __version__,
            "description": "Faces in images, and who is in front of the camera.",
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }
    if options.token is not None:
        whole["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        whole["security"] = [{"token": []}]
    return whole


def _detect(options: ServeOptions, answers: list[int]) -> Entry:
    binary = {"schema": {"type": "string", "format": "binary"}}
    kinds = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
    operation = _get(
        f"Find the faces of one image of at most {options.max_body_bytes} bytes and"
        f" {options.max_pixels} pixels, within {options.detect_seconds:g} s.",
        _json("Faces"),
        [*answers, 400, 408, 413, 415, 422, 429, 503],
    )
    body = {"required": True, "content": dict.fromkeys(kinds, binary)}
    return {**operation, "requestBody": body}


def _session(options: ServeOptions) -> Entry:
    operation = _get("Exchange the token for a session cookie.", {}, [401, 403, 421])
    responses = operation["responses"]
    del responses["200"]
    if options.token is None:
        del responses["401"]
    responses["204"] = {"description": "The cookie is set, or none is needed."}
    return operation


def _get(summary: str, content: Entry, refusals: list[int]) -> Entry:
    responses: Entry = {"200": {"description": "Done.", "content": content}}
    for status in sorted(refusals):
        responses[str(status)] = {"description": _REASONS[status], "content": _json("Error")}
    for limited in responses.keys() & {"429", "503"}:
        responses[limited]["headers"] = {
            "Retry-After": {"required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}}
        }
    return {"summary": summary, "responses": responses}


def _content(kind: str, schema: Entry) -> Entry:
    return {kind: {"schema": schema}}


def _json(name: str) -> Entry:
    return _content("application/json", {"$ref": f"#/components/schemas/{name}"})


def _parameter(name: str, place: str, text: str, kind: str) -> Entry:
    return {"name": name, "in": place, "description": text, "schema": {"type": kind}}


def _object(text: str, **fields: Entry) -> Entry:
    required = [name for name in fields if name not in _OPTIONAL]
    return {"type": "object", "description": text, "required": required, "properties": fields}


def _array(items: Entry, count: int | None = None) -> Entry:
    bounds = {} if count is None else {"minItems": count, "maxItems": count}
    return {"type": "array", "items": items, **bounds}


def _or_null(kind: str) -> Entry:
    return {"type": [kind, "null"]}


_INTEGER: Entry = {"type": "integer"}
_NUMBER: Entry = {"type": "number"}
_STRING: Entry = {"type": "string"}
_SCORE: Entry = {"type": "number", "minimum": 0, "maximum": 1}
_EVENTS = (
    "hello",
    "state",
    "missed",
    "FaceAppeared",
    "FaceLeft",
    "PersonChanged",
    "SourceLost",
    "SourceBack",
    "ViewBlocked",
    "ViewCleared",
)
_OPTIONAL = {"score"}
"""Where it differs from the confidence."""
_STATES = ("starting", "watching", "blind", "lost", "ended", "stopped", "failed")


def _schemas() -> Entry:
    face = {
        "box": {**_array(_INTEGER, 4), "description": "x, y, width, height, source pixels"},
        "confidence": _SCORE,
        "score": _SCORE,
        "keypoints": _object(
            "x, y, source pixels; left and right are the viewer's",
            **{name: _array(_INTEGER, 2) for name in LANDMARK_NAMES},
        ),
    }
    boolean: Entry = {"type": "boolean"}
    person = _object(
        "Someone who is here.",
        person=_INTEGER,
        track=_INTEGER,
        selected=boolean,
        seen=boolean,
        since={"type": "number", "description": "seconds since 1970"},
        dwell_seconds=_NUMBER,
    )
    health: Entry = {"type": "string", "enum": ["ok", "degraded", "failing"]}
    return {
        "Error": _object("What was wrong and what to do.", error=_STRING),
        "Face": _object("One face, as in the JSON of the command line.", **face),
        "Faces": _object(
            "The faces of one image, best first.",
            width=_INTEGER,
            height=_INTEGER,
            faces=_array({"$ref": "#/components/schemas/Face"}),
        ),
        "Health": _object("Health in words.", status=health, watcher=_STRING),
        "State": _object(
            "What is known now.",
            state={
                "type": "string",
                "enum": ["off", *_STATES],
            },
            answer={"type": "string", "enum": ["someone", "nobody", "unknown"]},
            blind_reason=_or_null("string"),
            turn=_INTEGER,
            frame=_or_null("integer"),
            width=_or_null("integer"),
            height=_or_null("integer"),
            persons=_array(person),
            faces=_array(_object("A face that is followed.", track=_INTEGER, seen=boolean, **face)),
            source=_object(
                "The source.", name=_or_null("string"), state=_STRING, error=_or_null("string")
            ),
            stream={"type": "boolean", "description": "whether /stream is offered"},
            rates=_object(
                "Rates and counts of frames.",
                fps=_NUMBER,
                latency_ms=_NUMBER,
                frames=_INTEGER,
                dropped=_INTEGER,
                reconnects=_INTEGER,
            ),
            health=health,
            device=_object(
                "The board.",
                memory_mb=_or_null("number"),
                temperature_celsius=_or_null("number"),
                limits=_array(_STRING),
            ),
        ),
    }
