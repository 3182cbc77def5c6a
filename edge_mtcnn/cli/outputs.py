"""Files that a command writes: complete JSON Lines, and pictures whose names never collide.

A JSON Lines file is written as ``NAME.part`` and renamed to ``NAME`` when the command ends, also
after Ctrl-C. It then holds complete lines, one for each input that was processed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from edge_mtcnn.cli.terminal import UsageError, write_line
from edge_mtcnn.files import IMAGE_SUFFIXES

__all__ = [
    "JsonLines",
    "names_a_file",
    "output_file",
    "outside",
    "picture_file",
    "picture_folder",
    "unique_names",
]

# Pictures of these types keep their type; for any other type a PNG is written.
_KEPT_SUFFIXES = (".jpg", ".jpeg", ".png")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""Suffixes of a single picture to write."""
_VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
_OTHER_SUFFIXES = _VIDEO_SUFFIXES | {".avif", ".heic", ".html", ".json", ".jsonl", ".pdf", ".svg"}
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


class JsonLines:
    """A JSON Lines output: a file, a pipe or device, or standard output.

    Args:
        target: path, or ``-`` for standard output.
        inputs: files that must not be overwritten.

    Raises:
        UsageError: the file cannot be created, or is one of the inputs.
    """

    def __init__(self, target: str, inputs: Iterable[Path] = ()) -> None:
        self._stream: FileIO | None = None
        self._part: Path | None = None
        self._target = target
        if target == "-":
            return
        # Through a link, which then stays one.
        self._place = Path(os.path.realpath(output_file("--json", target, inputs)))
        try:
            if _is_regular(self._place):
                self._part = self._place.with_name(f"{self._place.name}.part")
                self._stream = self._part.open("wb", buffering=0)
            else:
                self._stream = self._place.open("wb", buffering=0)
        except OSError as error:
            raise UsageError(f"cannot write --json {target}: {error.strerror}") from None

    def close(self) -> None:
        """Rename the complete file to its name."""
        if self._stream is None:
            return
        try:
            self._stream.close()
        finally:
            if self._part is not None:
                self._part.replace(self._place)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Write one object as one line and flush it.

        Raises:
            OSError: the line cannot be written; the file keeps the lines before it.
        """
        line = json.dumps(entry, separators=(", ", ": "))
        if self._stream is None:
            write_line(line, sys.stdout)
            return
        whole = self._stream.tell() if self._part is not None else 0
        rest = line.encode("ascii") + b"\n"
        try:
            while rest:  # a disk that is nearly full writes only a part
                rest = rest[self._stream.write(rest) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._part is not None:
                with contextlib.suppress(OSError):
                    os.truncate(self._part, whole)
            raise OSError(f"cannot write --json {self._target}: {error.strerror}") from None


def _is_regular(path: Path) -> bool:
    """Whether the path is a file or does not exist, as opposed to a pipe, a device or a folder."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


def picture_folder(flag: str, folder: str, inputs: Iterable[Path]) -> Path:
    """Create a folder for pictures.

    Raises:
        UsageError: it has the name of a file, it cannot be created or written to, or it contains
            inputs that could be overwritten.
    """
    if names_a_file(folder):
        raise UsageError(
            f"{flag} takes a folder, because there may be several pictures; got {folder}"
        )
    real = os.path.realpath(folder)
    for path in inputs:
        if os.path.dirname(os.path.realpath(path)) == real:  # noqa: PTH120 - text beside text
            raise UsageError(
                f"{flag} {folder} is the folder of the input {path}, which could be overwritten;"
                " name another folder"
            )
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create the folder {flag} {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write into the folder {flag} {folder}: permission denied")
    return Path(folder)


def picture_file(flag: str, target: str, inputs: Sequence[Path]) -> Path:
    """The path of the one picture to write for the one input.

    Raises:
        UsageError: there are several inputs, or the picture cannot be written.
    """
    if len(inputs) != 1:
        raise UsageError(
            f"{flag} {target} is one file, but there are {len(inputs)} inputs; name a folder, such"
            f" as {Path(target).with_suffix('')}{os.sep}"
        )
    return output_file(flag, target, inputs, suffixes=_PICTURES)


def names_a_file(target: str) -> bool:
    """Whether an output that may be a folder is the name of a file, by its suffix."""
    path = Path(target)
    known = path.suffix.lower() in IMAGE_SUFFIXES | _OTHER_SUFFIXES
    return known and not target.endswith(_SEPARATORS) and not path.is_dir()


def output_file(
    flag: str, target: str, inputs: Iterable[Path] = (), *, suffixes: Sequence[str] | None = None
) -> Path:
    """The path of a file that can be written.

    Args:
        flag: how messages name the output.
        target: path of the user.
        inputs: files that must not be overwritten.
        suffixes: of which the file must have one; by default any, but not that of a picture or a
            video, which a list of photos that was expanded by the shell would overwrite.

    Raises:
        UsageError: its folder is missing, it is itself a folder, it has a wrong suffix, or it is
            one of the inputs.
    """
    place = Path(target)
    suffix = place.suffix.lower()
    if not target:
        raise UsageError(f"{flag} needs the name of a file")
    if place.is_dir() or target.endswith(_SEPARATORS):
        raise UsageError(f"{flag} {target} is a folder; name a file in it")
    if os.path.realpath(place) in {os.path.realpath(path) for path in inputs}:
        raise UsageError(f"{flag} {target} is one of the inputs; name another file")
    if suffixes is None and suffix in IMAGE_SUFFIXES | _VIDEO_SUFFIXES:
        raise UsageError(f"{flag} writes text, and {target} has the name of a picture or video")
    if suffixes is not None and suffix not in suffixes:
        example = place.with_suffix(suffixes[0])
        raise UsageError(
            f"{flag} must end in {' or '.join(suffixes)}, such as {example}; got {target}"
        )
    if not place.parent.is_dir():
        raise UsageError(f"{flag} {target}: there is no folder {place.parent}")
    return place


def outside(folders: Iterable[str], arguments: Sequence[str], inputs: Sequence[Path]) -> list[Path]:
    """The inputs without the pictures that an earlier run wrote into a subfolder of the inputs."""
    roots = [os.path.realpath(_folder_of(text)) for text in arguments]
    own = [
        real + os.sep
        for real in map(os.path.realpath, folders)
        if any(real.startswith(os.path.join(root, "")) and real != root for root in roots)  # noqa: PTH118
    ]
    return [path for path in inputs if not os.path.realpath(path).startswith(tuple(own))]


def unique_names(
    arguments: Sequence[str], inputs: Sequence[Path], *, stems: bool = False
) -> list[Path]:
    """A relative path for the picture of each input, all different.

    Paths keep the folders below the deepest folder that all arguments share, so files of the same
    name in different folders do not collide: ``a/x.jpg`` and ``b/x.jpg`` stay as they are.

    Args:
        arguments: paths of the command line, from which the inputs were found.
        inputs: the files.
        stems: return paths without suffixes, which are still all different.
    """
    base = _shared_folder(arguments)
    taken: set[str] = set()
    names = []
    for path in inputs:
        below = _below(base, path)
        suffix = "" if stems else below.suffix
        stem = below.stem
        if not stems and suffix.lower() not in _KEPT_SUFFIXES:
            stem, suffix = below.name, ".png"
        unique, number = below.with_name(stem + suffix), 1
        while os.fspath(unique).casefold() in taken:  # as some file systems compare
            number += 1
            unique = below.with_name(f"{stem}-{number}{suffix}")
        taken.add(os.fspath(unique).casefold())
        names.append(unique)
    return names


def _shared_folder(arguments: Iterable[str]) -> str | None:
    """The deepest folder that all arguments share; ``None`` on different drives."""
    try:
        return os.path.commonpath([os.path.abspath(_folder_of(text)) for text in arguments])  # noqa: PTH100
    except ValueError:
        return None


def _folder_of(argument: str) -> Path:
    path = Path(argument)
    if path.is_dir():
        return path
    if path.exists():
        return path.parent
    parts = itertools.takewhile(lambda part: not set("*?[") & set(part), path.parent.parts)
    return Path(*parts)


def _below(base: str | None, path: Path) -> Path:
    if base is not None:
        relative = Path(os.path.relpath(os.path.abspath(path), base))  # noqa: PTH100
        if ".." not in relative.parts:
            return relative
    return Path(path.name)
