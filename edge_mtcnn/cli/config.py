"""``edge-mtcnn config``: write a file with all options for ``--config``, or check one."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from edge_mtcnn.cli.arguments import DEFAULT_PRESET, add_command
from edge_mtcnn.cli.outputs import output_file
from edge_mtcnn.cli.terminal import UsageError, printable, write_line, write_message
from edge_mtcnn.options import PRESETS, DetectorOptions, RuntimeOptions, load_options, toml_value

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands

_EXAMPLE = """\
edge-mtcnn config --init kiosk.toml
edge-mtcnn config --check kiosk.toml
edge-mtcnn serve 0 --config kiosk.toml"""

_NOTES = """\
Every option is in the file as a comment, with its default. Remove the # of what you change. A
command reads the tables that it uses; what is on the command line takes precedence. Reading TOML
needs Python 3.11 or newer. A JSON file may contain the same, such as {"detector": {"min_face_size":
60}}, and is read by Python 3.10 too."""

_HEAD = """\
# Options of edge-mtcnn, for --config FILE of the commands. Python reads them with
# FaceDetector(config=FILE), edge_mtcnn.video.load_watch_options(FILE) and
# edge_mtcnn.serve.load_serve_options(FILE).
# Every option is shown with its default. Remove the # in front of what you change; keep the line of
# its [table]. "none" is no value.
"""
_PRESET = (
    "named set of options that [detector] changes: {}. Without it, watch and the camera of serve \
use kiosk, and all other commands use default"
)
_WIDTH = 100


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``config``."""
    parser = add_command(
        commands,
        "config",
        "write a file with all options for --config, or check one",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--init",
        nargs="?",
        const="-",
        metavar="FILE.toml",
        help="write all options with comments, to standard output or a new file",
    )
    group.add_argument(
        "--check", metavar="FILE", help="read all tables of a file and report what is wrong in it"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write or check a file."""
    if args.check is not None:
        _check(args.check)
        write_line(f"{printable(args.check)}: no error found")
    elif args.init == "-":
        for line in _lines():
            write_line(line)
    else:
        _write(args.init)
    return 0


def _check(path: str) -> None:
    from edge_mtcnn.serve import load_serve_options
    from edge_mtcnn.video import load_watch_options

    load_options(path)
    load_watch_options(path)
    load_serve_options(path)


def _write(target: str) -> None:
    from edge_mtcnn.files import write_whole

    place = output_file("--init", target, suffixes=(".toml",))
    if place.exists():
        raise UsageError(f"--init {printable(target)} exists already; name a new file")
    write_whole(place, "".join(f"{line}\n" for line in _lines()).encode("utf-8"))
    name = printable(target)
    write_message(f"written: {name}; change what you need, and use it with --config {name}")
    if sys.version_info < (3, 11):
        write_message(
            "warning: this Python cannot read TOML, Python 3.11 can; save what you change as JSON"
        )


def _lines() -> Iterator[str]:
    """The file, line by line."""
    from edge_mtcnn.serve import ServeOptions
    from edge_mtcnn.video import BlindOptions, PresenceOptions, SourceOptions, TrackerOptions

    yield from _HEAD.splitlines()
    yield ""
    yield from _comment(_PRESET.format(", ".join(PRESETS)))
    yield f"#preset = {toml_value(DEFAULT_PRESET)}"
    tables: dict[str, Any] = {
        "detector": DetectorOptions(),
        "runtime": RuntimeOptions(),
        "source": SourceOptions(),
        "tracking": TrackerOptions(),
        "presence": PresenceOptions(),
        "blind": BlindOptions(),
        "service": ServeOptions(),
    }
    for name, options in tables.items():
        yield ""
        yield ""
        yield from _comment((type(options).__doc__ or name).splitlines()[0].rstrip("."))
        yield f"[{name}]"
        told = meanings(type(options))
        for option in (field.name for field in fields(options)):
            yield ""
            yield from _comment(told.get(option, option))
            yield f"#{option} = {toml_value(getattr(options, option))}{_of_presets(name, option)}"


def _comment(text: str) -> Iterator[str]:
    """Text of a docstring as lines of comment."""
    plain = re.sub(r"``(.*?)``", r"\1", text.replace("``None``", '"none"'))
    return (f"# {line}" for line in textwrap.wrap(plain, _WIDTH - 2))


def _of_presets(table: str, option: str) -> str:
    """What the presets have instead of the default, as a comment."""
    if table != "detector":
        return ""
    others = [
        f"preset {name}: {toml_value(getattr(preset, option))}"
        for name, preset in PRESETS.items()
        if getattr(preset, option) != getattr(PRESETS[DEFAULT_PRESET], option)
    ]
    return f"  # {', '.join(others)}" if others else ""


def meanings(kind: type[Any]) -> dict[str, str]:
    """The first sentence on each option, from the docstring of its class.

    Without docstrings, as under ``python -OO``, there are none.
    """
    listed = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    entries = re.findall(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", listed, re.MULTILINE)
    for names, text in entries:
        sentence = re.split(r"\.(?:\s|$)", " ".join(text.split()), maxsplit=1)[0]
        found.update(dict.fromkeys(names.split(", "), sentence))
    return found
