"""The inputs of a run, found and divided into shards.

An input that cannot be listed becomes a shard of the kind ``failed``, so that it has its row too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from edge_mtcnn.bulk.archives import TAR_SUFFIXES, tar_shards
from edge_mtcnn.bulk.places import is_address, list_place, place_of, source_of, suffix_of
from edge_mtcnn.bulk.plan import Shard
from edge_mtcnn.bulk.tables import csv_places, list_places, row_shards
from edge_mtcnn.errors import ImageError, OptionsError
from edge_mtcnn.files import IMAGE_SUFFIXES, find_images

__all__ = ["VIDEO_SUFFIXES", "shards_of"]

VIDEO_SUFFIXES = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"}
)
_PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
_CSV_SUFFIXES = frozenset({".csv", ".tsv"})
_LIST_SUFFIXES = frozenset({".txt", ".lst"})
_TAKEN = IMAGE_SUFFIXES | VIDEO_SUFFIXES | TAR_SUFFIXES | _PARQUET_SUFFIXES
"""What is taken from a folder. Lists and CSV files there describe the images beside them."""
_KNOWN = _TAKEN | _CSV_SUFFIXES | _LIST_SUFFIXES
_FAILURES = (ImageError, OptionsError, OSError)


def shards_of(
    inputs: Sequence[str],
    *,
    recursive: bool,
    column: str | None,
    batch_size: int,
    known: set[str],
    outside: str,
) -> Iterator[Shard]:
    """Find all inputs that are not known yet.

    Args:
        inputs: paths, folders, patterns and addresses; ``-`` for a list on standard input.
        recursive: look in subfolders too.
        column: see ``BulkOptions``.
        batch_size: see ``EngineOptions``.
        known: places that have a shard; those found are added.
        outside: folder whose files are no inputs, as they are written there.

    Yields:
        Shards without numbers.
    """
    images: list[str] = []
    for place, failure in _places(inputs, recursive, column):
        if place in known or place.startswith(os.path.join(outside, "")):  # noqa: PTH118
            continue
        known.add(place)
        if failure is not None:
            yield Shard("failed", (place,), detail=failure)
            continue
        suffix = suffix_of(place)
        if suffix in VIDEO_SUFFIXES:
            yield Shard("video", (place,))
        elif suffix in TAR_SUFFIXES:
            yield from _or_failed(place, tar_shards(place, batch_size))
        elif suffix in _PARQUET_SUFFIXES:
            yield from _or_failed(place, row_shards(place, column, batch_size))
        else:
            images.append(place)
            if len(images) == batch_size:
                yield Shard("files", tuple(images), count=len(images))
                images = []
    if images:
        yield Shard("files", tuple(images), count=len(images))


def _or_failed(place: str, shards: Iterator[Shard]) -> Iterator[Shard]:
    """The shards of a file; where it cannot be read, a failed one."""
    try:
        yield from shards
    except _FAILURES as error:
        yield Shard("failed", (place,), detail=_without(place, error))


def _places(
    inputs: Iterable[str], recursive: bool, column: str | None
) -> Iterator[tuple[str, str | None]]:
    """Each place that the inputs name, and why it cannot be listed."""
    for text in inputs:
        place = "standard input" if text == "-" else place_of(text)
        suffix = suffix_of(place)
        try:
            found: Iterable[str]
            if text == "-":
                found = list_places(place_of("list"), sys.stdin.read())
            elif suffix in _LIST_SUFFIXES:
                found = list_places(place)
            elif suffix in _CSV_SUFFIXES:
                found = csv_places(place, column)
            elif is_address(text):
                found = list_place(text, recursive=recursive, suffixes=_KNOWN)
            else:
                paths = find_images([text], recursive=recursive, suffixes=_TAKEN)
                found = (os.path.abspath(path) for path in paths)  # noqa: PTH100 - links stay
            empty = True
            for one in found:
                empty = False
                yield one, None
            if empty:
                yield place, _nothing(place, recursive)
        except _FAILURES as error:
            yield place, _without(place, error)


def _nothing(place: str, recursive: bool) -> str:
    if suffix_of(place) in _LIST_SUFFIXES | _CSV_SUFFIXES or place == "standard input":
        return "this list is empty"
    hint = "" if recursive else "; --recursive also looks in its subfolders"
    return f"no images, videos, tar or Parquet files here{hint}"


def _without(place: str, error: Exception) -> str:
    """The message of an error, without the place at its beginning."""
    return str(error).removeprefix(f"{source_of(place)}: ")
