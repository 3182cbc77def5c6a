"""``--help`` of every command: the defaults it states, its headings and its words."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from edge_mtcnn.cli import COMMANDS, main
from edge_mtcnn.cli.arguments import options_from
from edge_mtcnn.cli.mounting import mounting_from
from edge_mtcnn.cli.serve import _serve_options
from edge_mtcnn.cli.watch_arguments import watch_options_from
from edge_mtcnn.options import PRESETS

REQUIRED = {
    "bulk": ["photos/", "--output", "faces/"],
    "calibrate": ["faces/"],
    "collect": ["0", "finds/"],
    "evaluate": ["boxes.json", "photos/"],
    "watch": ["0"],
}
HEADINGS = {
    "positional arguments", "options", "commands", "example",
    "access", "detection", "engine", "known false faces", "limits", "mounting", "presence",
    "runtime", "source",
}  # fmt: skip
DIALECT = (
    r"tells?|told|telling|gives?|goes|going|go on|shall|sights?|whose|barren|looked for|left out"
    r"|as they come|beside it|anew|takes on|who may|here is"
)
# What help says where there is no value: the code then decides.
IN_WORDS: dict[str, list[str] | tuple[()] | None] = {
    "all": None,
    "no limit": None,
    "neither": None,
    "none": (),
    "by file name": None,
    "the sample photo of the package": [],
}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("EDGE_MTCNN_SOURCE", "EDGE_MTCNN_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def parser_of(name: str) -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser().add_subparsers()
    import_module(f"edge_mtcnn.cli.{name.replace('-', '_')}").add_parser(commands)
    parser = commands.choices[name]
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def values_of(name: str, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What the command uses, by the name of the argument, for each of its detectors."""
    options, runtime = options_from(args)
    values = {**vars(args), **options.to_dict(), **runtime.to_dict()}
    values["preset"] = next(name for name, preset in PRESETS.items() if preset == options)
    values["rotate"] = mounting_from(args).rotate if "rotate" in args else None
    uses = {"/detect": values}
    if name in ("collect", "watch", "serve"):
        options, runtime, watch = watch_options_from(args, None)
        watched = {**values, **options.to_dict(), **runtime.to_dict()}
        watched |= {
            name: getattr(watch.presence, name)
            for name in ("confidence", "select", "appear_after", "leave_after")
        }
        watched["rotate"] = watch.source.rotate
        watched["preset"] = next(
            name
            for name, preset in PRESETS.items()
            if preset == replace(options, confidence=preset.confidence)
        )
        uses = {**uses, "the camera": watched} if name == "serve" else {"the camera": watched}
    if name == "serve":
        served = _serve_options(args)
        limits: dict[str, Any] = {
            "max_body": served.max_body_bytes / 1e6,
            "max_pixels": served.max_pixels,
        }
        limits |= {"host": served.host, "port": served.port}
        for of_use in uses.values():
            of_use |= {
                **limits,
                "workers": served.workers,
                "detect_seconds": served.detect_seconds,
            }
        uses["/detect"] |= {dest: watched[dest] for dest in ("select", "appear_after",
                                                             "leave_after")}  # fmt: skip
    return uses


def stated_for(action: argparse.Action, use: str) -> str | None:
    """The default that the help of an argument states for a use, ``None`` if it states none."""
    text = (action.help or "") % {**vars(action), "prog": ""}
    found = re.search(r"\(default: ([^)]*)\)", text)
    if found is None:
        return None
    by_use = {to: value for value, to in re.findall(r"(\S+) for ([^,]+)", found[1])}
    return by_use[use] if by_use else found[1]


def is_value(stated: str, value: Any) -> bool:
    if stated in IN_WORDS:
        return bool(value == IN_WORDS[stated])
    if isinstance(value, (int, float)):
        return float(stated) == value
    return stated == str(value)


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ("config", "service")])
def test_help_states_every_default_and_each_is_the_one_that_the_command_uses(name: str) -> None:
    parser = parser_of(name)
    args = parser.parse_args(REQUIRED.get(name, []))
    checked = 0
    for use, values in values_of(name, args).items():
        for action in (a for a in parser._actions if a.option_strings and not a.required):
            value = values.get(action.dest)
            stated = stated_for(action, use)
            if stated is not None:
                assert is_value(stated, value), (action.dest, stated, value)
                checked += 1
            else:
                assert value is None or value is False or value in ([], ""), (action.dest, value)
    assert checked >= 2


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_is_plain_english_under_nouns(
    name: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--help"] if name is None else [name, "--help"]) == 0
    text = capsys.readouterr().out
    headings = set(re.findall(r"^([a-z ]+):$", text, re.MULTILINE))
    assert {"options", "example"} <= headings <= HEADINGS
    assert re.findall(rf"\b(?:{DIALECT})\b", text, re.IGNORECASE) == []
    assert max(map(len, text.splitlines())) <= 100


def test_calibrate_has_no_confidence_because_it_looks_for_it() -> None:
    assert "--confidence" not in parser_of("calibrate").format_help()
