"""Image files that a command reads: the arguments that name them, and the images in memory."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import sample_photo
from edge_mtcnn.cli.mounting import add_mounting_arguments, mounting_from
from edge_mtcnn.cli.outputs import unique_names
from edge_mtcnn.cli.terminal import UsageError, printable, write_message
from edge_mtcnn.errors import ImageError

if TYPE_CHECKING:
    from edge_mtcnn.speed.report import NamedImage

__all__ = ["add_path_arguments", "no_images", "read_images"]

_MOST_IMAGES = 50
"""Most images that are held in memory at once, so that a folder of thousands does not fill it."""


def add_path_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the paths of images, ``--recursive``, and how the images are turned."""
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="photo, folder or glob pattern (default: the sample photo of the package)",
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="also look in subfolders")
    add_mounting_arguments(parser)


def no_images(folder: Path, *, recursive: bool) -> ImageError:
    """The error for a folder that has no image files."""
    hint = "" if recursive else "; --recursive also looks in its subfolders"
    return ImageError(f"{folder}: no image files in this folder{hint}")


def read_images(args: argparse.Namespace) -> tuple[list[NamedImage], int]:
    """Read the images that the arguments name into memory; also how many could not be read.

    Raises:
        UsageError: none could be read.
    """
    from edge_mtcnn.files import find_images, folders_without_images
    from edge_mtcnn.images.decoding import read_image
    from edge_mtcnn.images.reading import IMAGE_FAILURES
    from edge_mtcnn.speed.report import NamedImage

    arguments = args.paths or [str(sample_photo())]
    for text in arguments if args.json else ():
        if Path(text).suffix.lower() == ".json":
            raise UsageError(
                f"--json writes to standard output and takes no file; to save it, use --json"
                f" > {printable(text)}"
            )
    paths = find_images(arguments, recursive=args.recursive)
    named = list(zip(paths, unique_names(arguments, paths), strict=True))
    if len(named) > _MOST_IMAGES:
        write_message(f"the first {_MOST_IMAGES} of {len(named)} images are used")
    empty_folders = folders_without_images(arguments, recursive=args.recursive)
    for folder in empty_folders:
        write_message(f"error: {printable(str(no_images(folder, recursive=args.recursive)))}")
    failures = len(empty_folders)
    mounting = mounting_from(args)
    images: list[NamedImage] = []
    for path, name in named[:_MOST_IMAGES]:
        try:
            images.append(NamedImage(str(name), mounting.applied(read_image(path))))
        except IMAGE_FAILURES as error:  # noqa: PERF203 - the others are still read
            failures += 1
            write_message(f"error: {printable(str(error) or str(path))}")
    if not images:
        raise UsageError("no image could be read, so there is nothing to measure")
    return images, failures
