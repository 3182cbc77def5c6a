"""The argument parser: messages name the right command and the nearest known word."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from edge_mtcnn.options.checks import nearest

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """``argparse`` that refuses unknown arguments where they belong, and suggests known ones.

    It also makes the parsers of the commands.
    """

    def parse_known_args(  # type: ignore[override]  # the overloads only differ in the namespace
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse all arguments; ``argparse`` would report unknown ones at the uppermost level."""
        given = sys.argv[1:] if args is None else list(args)
        if self._subparsers is None:
            # First, since argparse would complain of a missing argument beside --hepl.
            own = itertools.takewhile(lambda text: text != "--", given)
            unknown = [text for text in own if self._is_unknown(text)]
            if unknown:
                self._refuse(unknown)
        parsed, unknown = super().parse_known_args(given, namespace)
        if unknown:
            self._refuse(unknown)
        return parsed, []

    def _is_unknown(self, text: str) -> bool:
        """Whether it is a long option that is none; a unique beginning stands for an option."""
        name = text.partition("=")[0]
        return (
            re.fullmatch(r"--[A-Za-z]\S*", name) is not None
            and " " not in text
            and not any(option.startswith(name) for option in self._option_string_actions)
        )

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        # What follows an unknown option was meant as its value, and needs no mention.
        options = [text.partition("=")[0] for text in unknown if re.match(r"-+[A-Za-z]", text)]
        if not options:
            self.error(f"unexpected argument: {unknown[0]}")
        known = self._option_string_actions
        self.error("; ".join(f"unknown option {name}{nearest(name, known)}" for name in options))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is not among the choices; ``argparse`` calls this for each value."""
        if action.choices is None or value in action.choices:
            return
        choices = list(map(str, action.choices))
        hint = nearest(value, choices)
        if action.metavar == "COMMAND" and not hint and Path(value).exists():
            hint = f"; to find faces in it, run: {self.prog} detect {value}"
        raise argparse.ArgumentError(
            action, f"invalid choice: {value!r}{hint} (choose from {', '.join(choices)})"
        )
