"""``edge-mtcnn service``: print the files with which systemd runs ``edge-mtcnn serve``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import add_command
from edge_mtcnn.cli.terminal import write_line, write_message
from edge_mtcnn.files import read_bytes, resource

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands

_COMMAND = "/opt/edge-mtcnn/bin/edge-mtcnn"
"""What the unit starts as it is in ``packaging/``."""


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``service``."""
    parser = add_command(
        commands,
        "service",
        "print the files that run edge-mtcnn serve as a service of systemd",
        example="edge-mtcnn service --print-unit | sudo tee /etc/systemd/system/edge-mtcnn.service",
        notes="docs/kiosk.md explains how to install and adapt them.",
    )
    wanted = parser.add_mutually_exclusive_group(required=True)
    for flag, file, meaning in (
        ("--print-unit", "edge-mtcnn.service", "the unit, which starts this installation"),
        ("--print-settings", "edge-mtcnn.default", "settings, for /etc/default/edge-mtcnn"),
        ("--print-browser-unit", "kiosk.service", "a user's unit that shows the page full-screen"),
    ):
        wanted.add_argument(flag, dest="file", action="store_const", const=file, help=meaning)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one of the files of ``packaging/``."""
    text = read_bytes(resource(f"packaging/{args.file}")).decode()
    command = Path(sys.executable).with_name("edge-mtcnn")
    if _COMMAND in text and command.is_file():
        text = text.replace(_COMMAND, str(command))
        if command.is_relative_to("/home") or command.is_relative_to("/root"):
            write_message(
                f"warning: ProtectHome=yes hides {command} from the service; install edge-mtcnn"
                " elsewhere, such as in /opt/edge-mtcnn, or remove that line"
            )
    write_line(text.rstrip("\n"))
    return 0
