"""Inputs in the columns of Parquet and CSV files, and the lines of text lists.

The rows of a Parquet file are read where they are searched, as they may hold the images themselves,
also in the form of Hugging Face, a struct of ``bytes`` and ``path``. A CSV file and a list name
files, which are inputs like those of the command line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as kinds

from edge_mtcnn.bulk.places import beside, open_place, read_place, source_of
from edge_mtcnn.bulk.plan import Shard
from edge_mtcnn.errors import OptionsError
from edge_mtcnn.options.checks import nearest

__all__ = ["csv_places", "list_places", "read_rows", "row_shards"]

_USUAL = ("path", "file_name", "filename", "file", "image", "image_path", "url", "address")
"""Names of a column with paths or addresses, best first."""
_ROWS_AT_ONCE = 16


def list_places(place: str, text: str | None = None) -> Iterator[str]:
    """The places in a text list, one a line; relative ones lie beside the list.

    Args:
        place: of the list.
        text: its content, if it was read already.
    """
    content = read_place(place).decode("utf-8", "surrogateescape") if text is None else text
    for line in content.removeprefix("\ufeff").splitlines():
        if line.strip():
            yield beside(place, line.strip())


def csv_places(place: str, column: str | None) -> Iterator[str]:
    """The places in a column of a CSV file with a line of names, separated by ``,``, ``;`` or tab.

    Raises:
        OptionsError: it has no such column.
        OSError, ImageError: it cannot be read.
    """
    text = read_place(place).decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = list(rows.fieldnames or ())
    chosen = _chosen(place, column, names, names)
    for row in rows:
        if row[chosen] and row[chosen].strip():
            yield beside(place, row[chosen].strip())


def row_shards(place: str, column: str | None, batch_size: int) -> Iterator[Shard]:
    """Divide a Parquet file into shards of about ``batch_size`` rows.

    Rows that hold the images are divided between row groups only, as a row group is read whole.

    Raises:
        OptionsError: it has no such column, or that has no type of an image or a path.
        OSError: it cannot be read.
    """
    with _opened(place) as file:
        schema = file.schema_arrow
        usable = {field.name: kind for field in schema if (kind := _kind(field.type))}
        images = [name for name, kind in usable.items() if kind != "text"]
        if column in schema.names and column not in usable:
            raise OptionsError(
                f"{source_of(place)}: the column {column} has the type"
                f" {schema.field(column).type}; it must have text, bytes, or a struct of bytes and"
                " path"
            )
        chosen = _chosen(place, column, list(schema.names), images or list(usable))
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    first = count = 0
    for size in sizes:
        pieces = [size]
        if usable[chosen] == "text":
            pieces = [min(batch_size, size - start) for start in range(0, size, batch_size)]
        for piece in pieces:
            if count and count + piece > batch_size:
                yield Shard("rows", (place,), first, count, chosen)
                first, count = first + count, 0
            count += piece
    if count:
        yield Shard("rows", (place,), first, count, chosen)


def read_rows(shard: Shard) -> Iterator[tuple[str, bytes | str]]:
    """Read the rows of a shard: the source, and the bytes or the place of each image.

    Raises:
        OSError: the file cannot be read; what came before is whole.
    """
    (place,) = shard.places
    with _opened(place) as file:
        groups, start = [], 0
        skipped = 0
        for index in range(file.metadata.num_row_groups):
            size = file.metadata.row_group(index).num_rows
            if start + size <= shard.first:
                skipped = start + size
            elif start < shard.first + shard.count:
                groups.append(index)
            start += size
        row = skipped
        for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=groups, columns=[shard.detail]):
            for value in batch.column(0):
                if shard.first <= row < shard.first + shard.count:
                    yield _image_of(place, row, value)
                row += 1
            if row >= shard.first + shard.count:
                return


def _image_of(place: str, row: int, value: pa.Scalar) -> tuple[str, bytes | str]:
    """The source of a row, and its bytes or its place; empty bytes for a null."""
    source = f"{source_of(place)}#{row}"
    content: Any = value.as_py()
    if isinstance(content, dict):  # without bytes, the path is that of a file
        content = content.get("bytes") or content.get("path")
    if isinstance(content, str):
        named = beside(place, content)
        return source_of(named), named
    return source, content or b""


def _kind(type_: pa.DataType) -> str:
    """``bytes``, ``image`` or ``text``; nothing for a type that holds no image."""
    if kinds.is_dictionary(type_):
        type_ = type_.value_type
    if kinds.is_struct(type_):
        names = {type_.field(i).name: type_.field(i).type for i in range(type_.num_fields)}
        return "image" if "bytes" in names and _kind(names["bytes"]) == "bytes" else ""
    if kinds.is_binary(type_) or kinds.is_large_binary(type_) or _is(type_, "is_binary_view"):
        return "bytes"
    if kinds.is_string(type_) or kinds.is_large_string(type_) or _is(type_, "is_string_view"):
        return "text"
    return ""


def _is(type_: pa.DataType, test: str) -> bool:
    """A test that older versions of pyarrow lack."""
    return bool(getattr(kinds, test, lambda _: False)(type_))


def _chosen(place: str, column: str | None, names: list[str], usable: list[str]) -> str:
    """The column that is named, or the only one that can be meant."""
    if column is not None:
        if column in names:
            return column
        raise OptionsError(
            f"{source_of(place)}: there is no column {column}{nearest(column, names)}; it has"
            f" {', '.join(names) or 'none'}"
        )
    known = [name for usual in _USUAL for name in usable if name.lower() == usual]
    if len(usable) == 1 or known:
        return known[0] if known else usable[0]
    raise OptionsError(
        f"{source_of(place)}: name the column of the images with --column; it has"
        f" {', '.join(names) or 'none'}"
    )


@contextmanager
def _opened(place: str) -> Iterator[pq.ParquetFile]:
    with open_place(place) as file:
        try:
            yield pq.ParquetFile(file)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise OSError(
                f"{source_of(place)}: cannot be read as Parquet: {' '.join(str(error).split())}"
            ) from None
