"""The checks that all option classes share: types, ranges, choices, names."""

from __future__ import annotations

import difflib
import numbers
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from edge_mtcnn.errors import OptionsError, shown

__all__ = [
    "NO_VALUE",
    "check_bool",
    "check_choice",
    "check_function",
    "check_int",
    "check_number",
    "check_options",
    "check_path",
    "check_share",
    "check_timeout",
    "check_tuple",
    "check_type",
    "is_number",
    "nearest",
    "replaced",
]

_Options = TypeVar("_Options")
_T = TypeVar("_T")

NO_VALUE = "none"
"""What stands for ``None`` in an options file: TOML has no null."""


def check_int(name: str, value: object, low: int, high: int | None, why: str = "") -> None:
    """Require a whole number in ``low..high``; ``high=None`` for no upper bound."""
    bound = f"at least {low}" + (f" ({why})" if why else "") if high is None else f"{low}..{high}"
    # bool is an int in Python, yet min_face_size=True is a slip.
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):  # type: ignore[operator]
        raise OptionsError(f"{name} must be a whole number {bound}; got {shown(value)}")


def is_number(value: object) -> bool:
    """Whether a value is a number; ``True`` and ``False`` are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Require a finite number in ``low..high``."""
    if not is_number(value) or not low <= value <= high:  # type: ignore[operator]  # NaN is in no range
        raise OptionsError(f"{name} must be a number in {low}..{high}; got {shown(value)}")


def check_share(name: str, value: object) -> None:
    """Require a number above 0 and at most 1."""
    if not is_number(value) or not 0 < value <= 1:  # type: ignore[operator]
        raise OptionsError(f"{name} must be above 0 and at most 1; got {shown(value)}")


def check_timeout(value: object) -> None:
    """Require a number of seconds, or ``None`` for no limit."""
    if value is not None:
        check_number("timeout", value, 0, float("inf"))


def check_bool(name: str, value: object) -> None:
    """Require ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise OptionsError(f"{name} must be true or false; got {shown(value)}")


def check_tuple(name: str, value: object, places: tuple[str, ...]) -> tuple[Any, ...]:
    """Require one value for each of ``places``, such as the three networks."""
    if not isinstance(value, (tuple, list)) or len(value) != len(places):
        wanted = f"{', '.join(places[:-1])} and {places[-1]}"
        raise OptionsError(f"{name} must be {len(places)} values, for {wanted}; got {shown(value)}")
    return tuple(value)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Require one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise OptionsError(
            f"{name} must be one of {', '.join(choices)}; got {shown(value)}"
            f"{nearest(value, choices)}"
        )


def nearest(word: object, known: Iterable[str]) -> str:
    """``; did you mean 'kiosk'?``, or nothing where no known word is similar."""
    text = word[:100] if isinstance(word, str) else ""
    found = difflib.get_close_matches(text, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def check_type(name: str, value: object, kind: type[_T], made_by: str = "") -> _T:
    """Require an object of a class; ``made_by`` says where people get one."""
    if not isinstance(value, kind):
        hint = f", as {made_by} returns it" if made_by else ""
        raise OptionsError(f"{name} must be {kind.__name__}{hint}; got {shown(value)}")
    return value


def check_options(name: str, value: object, kind: type[_T]) -> _T:
    """Require an object of a class of options, or ``None`` for its defaults."""
    return kind() if value is None else check_type(name, value, kind)


def check_path(name: str, value: object) -> Path:
    """Require a path, as ``str`` or ``PathLike``."""
    if not isinstance(value, (str, os.PathLike)):
        raise OptionsError(f"{name} must be a path; got {shown(value)}")
    return Path(value)


def check_function(name: str, value: object) -> None:
    """Require something that can be called."""
    if not callable(value):
        raise OptionsError(f"{name} must be a function; got {shown(value)}")


def replaced(options: _Options, values: Any, keep: Iterable[str] = ()) -> _Options:
    """``options`` with some values changed, except for names in ``keep``; no unknown names."""
    if not isinstance(values, Mapping):
        raise OptionsError(f"options must be a table of names and values; got {shown(values)}")
    known = [field.name for field in fields(options)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            kind = type(options).__name__
            raise OptionsError(
                f"unknown option {shown(name)} of {kind}{nearest(name, known)};"
                f" known: {', '.join(known)}"
            )
    changes: dict[str, Any] = {
        name: None if value == NO_VALUE else tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if name not in keep
    }
    return replace(options, **changes)  # type: ignore[type-var]
