"""Range checks of option values; a failure is an ``OptionsError`` that names range and value."""

from __future__ import annotations

import numbers
from typing import Any

from edge_mtcnn.errors import OptionsError

__all__ = ["check_bool", "check_choice", "check_int", "check_number", "check_tuple"]


def check_int(name: str, value: object, low: int, high: int | None, why: str = "") -> None:
    """Require a whole number in ``low..high``; ``high=None`` for no upper bound."""
    bound = f"at least {low}" + (f" ({why})" if why else "") if high is None else f"{low}..{high}"
    # bool is an int in Python, yet min_face_size=True is a slip.
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):  # type: ignore[operator]
        raise OptionsError(f"{name} must be a whole number {bound}; got {value!r}")


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Require a finite number in ``low..high``."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]  # NaN is in no range
        raise OptionsError(f"{name} must be a number in {low}..{high}; got {value!r}")


def check_bool(name: str, value: object) -> None:
    """Require ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise OptionsError(f"{name} must be true or false; got {value!r}")


def check_tuple(name: str, value: object, places: tuple[str, ...]) -> tuple[Any, ...]:
    """Require one value for each of ``places``, such as the three networks."""
    if not isinstance(value, (tuple, list)) or len(value) != len(places):
        wanted = f"{', '.join(places[:-1])} and {places[-1]}"
        raise OptionsError(f"{name} must be {len(places)} values, for {wanted}; got {value!r}")
    return tuple(value)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Require one of ``choices``."""
    if value not in choices:
        raise OptionsError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
