"""Known false faces: things of one place that look like a face, as a calibration file keeps them.

An entry has no picture, only the numbers by which O-Net recognises the thing. ``cascade.known``
compares them with what is found. Imports ``errors``, ``options`` and
``types``.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options.checks import check_choice
from edge_mtcnn.types import Float32Array

__all__ = [
    "LARGEST_LOSS",
    "VECTOR_LENGTH",
    "WAYS",
    "KnownFalse",
    "check_loss",
    "encoded",
    "entries_from",
    "excess_of",
    "expected_loss",
    "free_name",
    "loss_text",
    "oldest_of",
]

VECTOR_LENGTH = 512
"""Values of a find: O-Net's hidden layer of 256, in both readings of the mirror check."""
WAYS = ("add-false", "remember", "page")
"""How an entry came: by ``calibrate --add-false`` or ``FaceDetector.remember``, as a mistake of
``calibrate --remember``, or marked while ``serve`` watched a camera."""

LARGEST_LOSS = 1 / 500
"""Largest share of real faces that the entries of one file may cost."""
_LOSS_ANYWHERE = 0.6e-4
_LOSS_AT_PLACE = 6e-4
"""Share of real faces that are taken for one known thing, by the bounds of ``cascade.known``.
Measured by ``python -m export known``: the worst of animals and posters, over portraits. The
blurred faces of crowds are taken for a thing about twice as often."""
_SHARE_AT_PLACE = 0.04
"""Share of the faces that are assumed to be seen at the place of a thing."""
_MOST_ENTRIES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFalse:
    """One thing that was taken for a face.

    Attributes:
        name: what to call it, unique in its file.
        vector: ``VECTOR_LENGTH`` values of O-Net, little-endian float16.
        model_version: version of the models that gave the vector; empty if unknown.
        added: when it was added, as text; empty if that was not recorded.
        how: how it came, one of ``WAYS``.
        place: ``x1, y1, x2, y2`` of its box as fractions of the frame of a fixed camera; ``None``
            if it may be anywhere.
    """

    name: str
    vector: bytes
    model_version: str = ""
    added: str = ""
    how: str = "add-false"
    place: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        for text in ("name", "model_version", "added"):
            if not isinstance(getattr(self, text), str):
                raise OptionsError(f"{text} must be a text; got {shown(getattr(self, text))}")
        if not self.name:
            raise OptionsError("name must not be empty")
        check_choice("how", self.how, WAYS)
        if not isinstance(self.vector, bytes) or len(self.vector) != 2 * VECTOR_LENGTH:
            raise OptionsError(f"vector must be {VECTOR_LENGTH} values of float16")
        if not np.isfinite(self.values()).all():
            raise OptionsError("vector must be finite numbers")
        if self.place is not None:
            object.__setattr__(self, "place", _checked_place(self.place))

    def values(self) -> Float32Array:
        """The vector as an array, (512,) float32."""
        return np.frombuffer(self.vector, dtype="<f2").astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The entry for JSON, with the vector in base64."""
        entry = asdict(self)
        entry["vector"] = base64.b64encode(self.vector).decode("ascii")
        return entry


def encoded(values: Float32Array) -> bytes:
    """(512,) values as ``KnownFalse.vector``."""
    return values.astype("<f2").tobytes()


def free_name(stem: str, taken: Container[str]) -> str:
    """The name ``stem``, or the first of ``stem-2``, ``stem-3`` that is not in use."""
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name


def entries_from(content: object) -> tuple[KnownFalse, ...]:
    """The entries of a calibration file.

    Args:
        content: the value of ``known_false`` in the file.

    Raises:
        OptionsError: an entry is wrong, or all together would cost too many real faces.
    """
    if not isinstance(content, list) or len(content) > _MOST_ENTRIES:
        raise OptionsError(
            f"known_false must be a list of at most {_MOST_ENTRIES} entries; got {shown(content)}"
        )
    entries = [_entry_from(number, value) for number, value in enumerate(content)]
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise OptionsError(f"known_false has two entries with the name {shown(twice)}")
    check_loss(entries)
    return tuple(entries)


def _entry_from(number: int, value: object) -> KnownFalse:
    try:
        return _checked_entry(value)
    except OptionsError as error:
        raise OptionsError(f"known_false[{number}]: {error}") from None


def _checked_entry(value: object) -> KnownFalse:
    fields = {"name", "vector", "model_version", "added", "how", "place"}
    if not isinstance(value, dict) or not {"name", "vector"} <= value.keys() <= fields:
        raise OptionsError(
            f"must be a table of {', '.join(sorted(fields))}, at least name and vector;"
            f" got {shown(value)}"
        )
    given: Mapping[str, Any] = value
    try:
        vector = base64.b64decode(given["vector"], validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise OptionsError(f"vector must be base64; got {shown(given['vector'])}") from None
    return KnownFalse(**{**given, "vector": vector})


def expected_loss(entries: Iterable[KnownFalse]) -> float:
    """Share of real faces, 0..1, that these entries are expected to leave out by mistake.

    An entry with a place costs only faces at that place: one in 25 is assumed to be there.
    """
    at_place = _LOSS_AT_PLACE * _SHARE_AT_PLACE
    return min(1.0, sum(_LOSS_ANYWHERE if e.place is None else at_place for e in entries))


def loss_text(entries: Iterable[KnownFalse]) -> str:
    """The expected loss for people: ``about 1 in 1,700 real faces``."""
    loss = expected_loss(entries)
    return f"about 1 in {round(1 / loss):,} real faces" if loss else "no real face"


def check_loss(entries: Iterable[KnownFalse]) -> None:
    """Require that the entries leave out at most ``LARGEST_LOSS`` of the real faces.

    Raises:
        OptionsError: they would cost more; with advice.
    """
    entries = list(entries)
    excess = excess_of(entries)
    if excess is None:
        return
    without = sum(entry.place is None for entry in entries)
    tie = (
        f"add them again with --place, which ties them to their place in the frame ({without} have"
        " none), or "
        if without
        else ""
    )
    raise OptionsError(
        f"{excess}; {tie}drop the oldest with 'edge-mtcnn calibrate --drop-false NAME', first"
        f" {shown(oldest_of(entries))}"
    )


def excess_of(entries: Sequence[KnownFalse]) -> str | None:
    """What the entries cost, if that is more than ``LARGEST_LOSS`` of the real faces."""
    if expected_loss(entries) <= LARGEST_LOSS:
        return None
    return (
        f"{len(entries)} known false faces would cost {loss_text(entries)}, and at most 1 in"
        f" {1 / LARGEST_LOSS:.0f} is allowed"
    )


def oldest_of(entries: Sequence[KnownFalse]) -> str:
    """The name of the entry that was added first."""
    return min(entries, key=lambda entry: entry.added).name


def _checked_place(place: object) -> tuple[float, float, float, float]:
    """Four fractions; a box may leave the frame a little."""
    if (
        not isinstance(place, (tuple, list))
        or len(place) != 4
        or not all(type(edge) in (int, float) and math.isfinite(edge) for edge in place)
        or not (-1 <= place[0] < place[2] <= 2 and -1 <= place[1] < place[3] <= 2)
    ):
        raise OptionsError(
            "place must be x1, y1, x2, y2 as fractions of the frame, or null; got " + shown(place)
        )
    x1, y1, x2, y2 = (float(edge) for edge in place)
    return x1, y1, x2, y2
