"""Files of the commands: images found in folders and globs, outputs written whole or not at all.

Imports NumPy, OpenCV, ``errors`` and ``types``.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

__all__ = ["IMAGE_SUFFIXES", "find_images", "folders_without_images", "resource", "write_whole"]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
    | {".pbm", ".pgm", ".pnm", ".ppm"}
)
"""What counts as an image inside a folder; a file that is named itself is always taken."""


def find_images(paths: Sequence[str], *, recursive: bool = False) -> list[Path]:
    """The files that paths, folders and glob patterns stand for.

    Args:
        paths: files are taken as they are, also missing ones, so that reading them says so;
            folders give their images; a pattern that names no file is expanded.
        recursive: look in the folders of folders too.

    Returns:
        Each file once: in the order of ``paths``, and within a folder or pattern by name, numbers
        in it by value.
    """
    found: dict[str, Path] = {}
    for text in paths:
        for path in _expanded(text, recursive):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def folders_without_images(paths: Sequence[str], *, recursive: bool = False) -> list[Path]:
    """The folders among ``paths`` that give no image to ``find_images``, each once."""
    folders = dict.fromkeys(path for path in map(Path, paths) if path.is_dir())
    return [folder for folder in folders if not any(_images_in(folder, recursive))]


def _expanded(text: str, recursive: bool) -> Iterable[Path]:
    path = Path(text)
    if path.is_dir():
        return _images_in(path, recursive)
    if path.exists() or not glob.has_magic(text):
        return [path]
    matches = sorted(map(Path, glob.glob(text, recursive=True)), key=_natural)  # noqa: PTH207
    if not matches:
        return [path]
    files: list[Path] = []
    for match in matches:
        files.extend(_images_in(match, recursive) if match.is_dir() else [match])
    return files


def _images_in(folder: Path, recursive: bool) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(folders, key=_natural) if recursive else []
        for name in sorted(names, key=_natural):
            if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122
                yield Path(parent, name)


def _natural(path: str | Path) -> list[tuple[int, int, str]]:
    """A sorting key in which ``img2`` comes before ``img10``."""
    parts = re.split(r"(\d+)", os.fspath(path))
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part.casefold()) for part in parts]


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that appears whole or not at all, replacing what is there.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; nothing is left.
    """
    target = Path(os.path.realpath(path))  # through a link, which then stays one
    handle, part = tempfile.mkstemp(
        prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent
    )
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(part, 0o666 & ~_umask())  # noqa: PTH101 - mkstemp keeps others out
        os.replace(part, target)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)  # noqa: PTH108
        raise


def resource(name: str) -> Path:
    """A folder that comes with the package: inside it in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    packed = package / name
    return packed if packed.is_dir() else package.parent / name


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
