"""Files: images found in folders and by patterns, outputs written whole, resources of the package.

Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

__all__ = [
    "IMAGE_SUFFIXES",
    "find_images",
    "folders_without_images",
    "read_bytes",
    "resource",
    "write_whole",
]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
    | {".pbm", ".pgm", ".pnm", ".ppm"}
    | {".avif", ".heic", ".heif", ".hif"}
)
"""Suffixes of images in a folder. A file that is named itself is taken whatever its suffix.
HEIC and AVIF are found without the extra ``heif`` too, so that their error names it."""

_PACKAGE = Path(__file__).resolve().parent


def find_images(
    paths: Sequence[str], *, recursive: bool = False, suffixes: Set[str] = IMAGE_SUFFIXES
) -> list[Path]:
    """Find the files that paths, folders and glob patterns name.

    Args:
        paths: a file is taken as it is, even if it is missing, so that reading it reports that; a
            folder stands for its images; a pattern is expanded unless a file has that name.
        recursive: look in subfolders too.
        suffixes: lower-case suffixes of the files that are taken from folders.

    Returns:
        Each file once, in the order of ``paths``; within a folder or pattern sorted by name, with
        numbers in names sorted by value.
    """
    found: dict[str, Path] = {}
    for text in paths:
        for path in _expanded(text, recursive, suffixes):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def folders_without_images(paths: Sequence[str], *, recursive: bool = False) -> list[Path]:
    """Find the folders among ``paths`` in which ``find_images`` finds no image, each once."""
    folders = dict.fromkeys(path for path in map(Path, paths) if path.is_dir())
    return [folder for folder in folders if not any(_files_in(folder, recursive, IMAGE_SUFFIXES))]


def _expanded(text: str, recursive: bool, suffixes: Set[str]) -> Iterable[Path]:
    path = Path(text)
    if path.is_dir():
        return _files_in(path, recursive, suffixes)
    if path.exists() or not glob.has_magic(text):
        return [path]
    matches = sorted(map(Path, glob.glob(text, recursive=True)), key=_natural)  # noqa: PTH207
    if not matches:
        return [path]
    files: list[Path] = []
    for match in matches:
        files.extend(_files_in(match, recursive, suffixes) if match.is_dir() else [match])
    return files


def _files_in(folder: Path, recursive: bool, suffixes: Set[str]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(folders, key=_natural) if recursive else []
        for name in sorted(names, key=_natural):
            if os.path.splitext(name)[1].lower() in suffixes:  # noqa: PTH122
                yield Path(parent, name)


def _natural(path: str | Path) -> list[tuple[int, int, str]]:
    """Sorting key that places ``img2`` before ``img10``."""
    parts = re.split(r"(\d+)", os.fspath(path))
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part.casefold()) for part in parts]


def write_whole(
    path: str | os.PathLike[str], data: bytes | memoryview, *, durable: bool = False
) -> None:
    """Write a file that appears whole or not at all, replacing an older one.

    Args:
        path: the file.
        data: its content.
        durable: wait until the disk has the file, so that it survives a loss of power.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full. No part is left.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    handle, part = tempfile.mkstemp(
        prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent
    )
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.chmod(part, 0o666 & ~_umask())  # noqa: PTH101 - mkstemp denies others access
        os.replace(part, target)  # noqa: PTH105
        if durable:
            _sync_folder(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)  # noqa: PTH108
        raise


def _sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder; Windows opens no folders and needs it not."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def resource(name: str) -> Path:
    """A file that comes with the package: inside it in a wheel, beside it in a checkout.

    Args:
        name: the file, such as ``models/manifest.json``.
    """
    packed, beside = _PACKAGE / name, _PACKAGE.parent / name
    return beside if beside.is_file() and not packed.is_file() else packed


def read_bytes(path: Path) -> bytes:
    """Content of a file, also of one of the package that was imported from a zip file.

    Raises:
        OSError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if _PACKAGE.is_dir() or _PACKAGE not in path.parents:
            raise
        from importlib.resources import files  # not at import: it takes time

        return files("edge_mtcnn").joinpath(path.relative_to(_PACKAGE).as_posix()).read_bytes()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
