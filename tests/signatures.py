"""What a caller sees of functions and classes, for the tests of the public face."""

from __future__ import annotations

import inspect
from typing import Any


def parameters_of(function: Any) -> list[str]:
    """Names of the parameters, with ``"*"`` before those that are keyword-only."""
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in names:
            names.append("*")
        names.append(parameter.name)
        assert parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}, function
    return names


def public_members(owner: type) -> set[str]:
    """Names that an editor offers for an instance."""
    return {name for name in dir(owner) if not name.startswith("_")}
