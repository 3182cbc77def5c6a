"""What a client of ``POST /detect`` asked for, by the query and the header ``Accept``.

A client may ask for less work than the service would do, never for more.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

from starlette.exceptions import HTTPException
from starlette.requests import Request

from edge_mtcnn.errors import OptionsError
from edge_mtcnn.images.mounting import Mounting
from edge_mtcnn.options import QUARTER_TURNS, Angles, DetectorOptions, angles_as_text
from edge_mtcnn.serve.query import query_of

__all__ = ["DRAWN", "Wanted", "wanted_by"]

DRAWN = {"image/jpeg": ".jpg", "image/png": ".png"}
"""Formats of drawn pictures, with their suffixes; the first is the default."""
_OPTIONS = ("min_face_size", "max_face_size", "confidence", "angles")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a client asked for.

    Attributes:
        options: of the detection.
        mounting: how the image is turned before it is searched, and drawn or cut out.
        limit: number of faces to report, best first; ``None`` for all.
        crops: add an aligned crop to each face.
        picture: media type of the drawn picture to answer with; ``None`` for JSON.
    """

    options: DetectorOptions
    mounting: Mounting = field(default_factory=Mounting)
    limit: int | None = None
    crops: bool = False
    picture: str | None = None


def wanted_by(request: Request, ours: DetectorOptions) -> Wanted:
    """Read the query and ``Accept`` of a request.

    Args:
        request: its query has been read by ``QueryCheck``.
        ours: options of the service, which a client cannot exceed.

    Raises:
        HTTPException: 400 if a value exceeds them or contradicts another, 406 if the client accepts
            no format of drawn pictures.
    """
    query = query_of(request.scope)
    smallest, largest = ours.min_face_size, ours.max_face_size
    if query.get("min_face_size", smallest) < smallest:
        raise _beyond("min_face_size", query["min_face_size"], "below", smallest)
    if largest is not None and query.get("max_face_size", largest) > largest:
        raise _beyond("max_face_size", query["max_face_size"], "above", largest)
    try:
        options = replace(ours, **{name: query[name] for name in _OPTIONS if name in query})
    except OptionsError as error:
        raise HTTPException(400, str(error)) from None
    if _exceed(options.angles, ours.angles):
        raise HTTPException(
            400,
            f"angles={angles_as_text(options.angles)} is more than this service looks at:"
            f" {angles_as_text(ours.angles)}",
        )
    crops, annotate = query.get("crops", False), query.get("annotate", False)
    if crops and annotate:
        raise HTTPException(
            400, "annotate=1 answers with a picture, which has no crops: send one of the two"
        )
    return Wanted(
        options=options,
        mounting=Mounting(**{name: query[name] for name in ("rotate", "flip") if name in query}),
        limit=query.get("limit"),
        crops=crops,
        picture=_acceptable(request.headers.get("accept", "")) if annotate else None,
    )


def _beyond(name: str, value: int, side: str, limit: int) -> HTTPException:
    return HTTPException(400, f"{name}={value} is {side} {limit}, the limit of this service")


def _exceed(angles: Angles, ours: Angles) -> bool:
    """Whether a client asks for looks that the service would not make."""
    if ours == "fallback":
        return bool(angles) and angles != "fallback"
    return not set(QUARTER_TURNS if angles == "fallback" else angles) <= set(ours)


def _acceptable(accept: str) -> str:
    """The format of drawn pictures that an ``Accept`` header prefers."""
    weights: dict[str, float] = {}
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        weights[kind] = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                with suppress(ValueError):
                    weights[kind] = float(parameter[2:])
    others = weights.get("image/*", weights.get("*/*", 0.0 if accept.strip() else 1.0))
    best = max(DRAWN, key=lambda kind: weights.get(kind, others))
    if not weights.get(best, others) > 0:
        raise HTTPException(406, f"annotate=1 answers with {' or '.join(DRAWN)}; Accept has none")
    return best
