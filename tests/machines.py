"""Boards as folders: device trees, other files of Linux and outputs of commands.

``tests/board/machines`` has a text file for each board, put together from what owners of such
boards have published. A line ``== /path`` starts a file, in which ``\\0`` stands for a zero byte;
``== /path -> /target`` is a link to a folder, and ``== $ command`` the output of a command.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edge_mtcnn.board import identity

FOLDER = Path(__file__).parent / "board" / "machines"
BOARDS = sorted(file.stem for file in FOLDER.glob("*.txt"))


@dataclass(frozen=True)
class Board:
    """An unpacked board: its root folder, and what its commands print."""

    root: Path
    commands: dict[str, str]

    def machine(self) -> identity.Machine:
        """What the package reads there, with the architecture of the board."""
        return replace(
            identity.read_machine(self.root),
            architecture=self.commands["uname -m"].strip(),
            python_bits=int(self.commands["getconf LONG_BIT"]),
        )


def unpacked(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """The board below ``folder``; its commands are the only ones on the path."""
    commands: dict[str, str] = {}
    root, programs = folder / "root", folder / "programs"
    root.mkdir()
    programs.mkdir()
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    for title, content in re.findall(r"^== (.+)\n((?:(?!== ).*\n)*)", text, re.MULTILINE):
        path, arrow, target = title.partition(" -> ")
        if title.startswith("$ "):
            commands[title[2:]] = content
        elif arrow:
            (root / target[1:]).mkdir(parents=True, exist_ok=True)
            (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / path[1:]).symlink_to(root / target[1:])
        else:
            (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            # A device tree's values end with a zero byte and have no line ends.
            tree = content.replace("\\0\n", "\\0").replace("\\0", "\0")
            (root / path[1:]).write_text(tree, encoding="utf-8")
    for command, output in commands.items():
        name, _, arguments = command.partition(" ")
        program = programs / name
        program.write_text(
            f"#!/bin/sh\n[ \"$*\" = '{arguments}' ] || exit 1\ncat <<'END'\n{output}END\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/bin")
    return Board(root, commands)
