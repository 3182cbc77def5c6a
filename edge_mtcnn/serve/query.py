"""Query parameters: which ones each route takes, and what they may be.

A parameter that a route does not know, one that is given twice and one with a wrong value are
refused with 400 on every route, because a misspelt one would otherwise change nothing in silence.
Limits that depend on the detector are checked where they are used.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_mtcnn.errors import OptionsError
from edge_mtcnn.images.mounting import FLIPS
from edge_mtcnn.options import Angles, angles_from_text
from edge_mtcnn.serve.security import error_response

__all__ = ["PARAMETERS", "QueryCheck", "query_of", "unknown"]

_STATE = "edge_mtcnn.query"
_LONGEST_NAME = 100


def _switch(text: str) -> bool:
    if text not in {"0", "1"}:
        raise ValueError("0 or 1")
    return text == "1"


def _pixels(text: str) -> int:
    return _whole(text, "a whole number of pixels")


def _count(text: str) -> int:
    value = _whole(text, "a whole number of at least 1")
    if value < 1:
        raise ValueError("a whole number of at least 1")
    return value


def _whole(text: str, kind: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):  # int() takes signs, spaces and other digits too
        raise ValueError(kind)
    return int(text)


def _probability(text: str) -> float:
    number = r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?"
    if len(text) > 40 or not re.fullmatch(number, text) or not float(text) <= 1:
        raise ValueError("a number in 0..1")
    return float(text)


def _angles(text: str) -> Angles:
    try:
        return angles_from_text(text)
    except OptionsError:
        raise ValueError(
            "degrees separated by commas, such as 90,180,270, or fallback, or none"
        ) from None


def _rotation(text: str) -> int:
    if text not in {"0", "90", "180", "270"}:
        raise ValueError("0, 90, 180 or 270 degrees; angles=fallback finds turned faces by itself")
    return int(text)


def _flip(text: str) -> str:
    if text not in FLIPS:
        raise ValueError(" or ".join(FLIPS))
    return text


def _name(text: str) -> str:
    if not 0 < len(text) <= _LONGEST_NAME or not text.isprintable():
        raise ValueError(f"a name of 1 to {_LONGEST_NAME} printable characters")
    return text


def _event_id(text: str) -> str:
    if not re.fullmatch(r"([0-9a-f]{8}-)?[0-9]{1,18}", text):
        raise ValueError("the id of an event, or 0")
    return text


PARAMETERS: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
    "POST /detect": {
        "min_face_size": _pixels,
        "max_face_size": _pixels,
        "confidence": _probability,
        "angles": _angles,
        "rotate": _rotation,
        "flip": _flip,
        "limit": _count,
        "annotate": _switch,
        "crops": _switch,
    },
    "GET /events": {"after": _event_id, "live": _switch},
    "GET /stream": {"boxes": _switch},
    "POST /known-false": {"person": _count, "name": _name, "place": _switch},
    "DELETE /known-false": {"name": str},
}
"""By method and route: functions that read the parameters, or raise ``ValueError`` with what is
expected."""


class QueryCheck:
    """ASGI middleware: reads the parameters for ``query_of``, and refuses wrong ones with 400.

    Args:
        app: the application.
        operations: method and route, such as ``"GET /state"``, of all that it answers.
    """

    def __init__(self, app: ASGIApp, operations: list[str]) -> None:
        self._app = app
        self._operations = frozenset(operations)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and f"{scope['method']} {scope['path']}" in self._operations:
            try:
                scope[_STATE] = _read(scope)
            except HTTPException as error:
                await error_response(error.status_code, error.detail)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def query_of(scope: Scope) -> dict[str, Any]:
    """The parameters of a request; those that were not given are left out."""
    values: dict[str, Any] = scope[_STATE]
    return values


def unknown(kind: str, name: str, known: Mapping[str, Any], place: str) -> HTTPException:
    """The refusal of a name that is not known, with the nearest one that is.

    Args:
        kind: what the name is of, such as ``"query parameter"``.
        name: as the client sent it.
        known: the names that are known.
        place: what would have them, such as ``"/detect"``.
    """
    near = difflib.get_close_matches(name[:100], known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    names = f"{place} takes {', '.join(known)}" if known else f"{place} takes none"
    return HTTPException(400, f"unknown {kind} {name[:40]!r}: {hint}{names}")


def _read(scope: Scope) -> dict[str, Any]:
    method, path = scope["method"].replace("HEAD", "GET"), scope["path"]
    known = PARAMETERS.get(f"{method} {path}", {})
    values: dict[str, Any] = {}
    for name, text in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        if name not in known:
            raise unknown("query parameter", name, known, path)
        if name in values:
            raise HTTPException(400, f"the query parameter {name} is given more than once")
        try:
            values[name] = known[name](text)
        except ValueError as error:
            raise HTTPException(400, f"{name} must be {error}; got {text[:40]!r}") from None
    return values
