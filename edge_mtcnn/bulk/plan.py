"""``Shard``: a fixed piece of the inputs, and the table in which a data set keeps all of them.

A shard becomes one file of each table, which has its number. So what is done is known by which
files exist, and neither a kill nor another engine changes what belongs together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute

from edge_mtcnn.bulk.places import source_of

__all__ = ["Plan", "Shard"]

Kind = Literal["files", "tar", "rows", "video", "failed"]

_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("places", pa.list_(pa.binary())),  # names of files need not be valid text
        ("first", pa.int64()),
        ("count", pa.int64()),
        ("detail", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Shard:
    """One piece of work.

    Attributes:
        kind: ``files``: images of their own; ``tar``: members of an archive; ``rows``: rows of a
            Parquet file; ``video``: a whole video; ``failed``: an input that cannot be listed.
        places: the files; one place for all other kinds.
        first: place of the first member in an archive, bytes; number of the first row.
        count: images in it; -1 where that is known only after reading.
        detail: the column of ``rows``; the reason of ``failed``.
        number: its number in the data set.
    """

    kind: Kind
    places: tuple[str, ...]
    first: int = 0
    count: int = 1
    detail: str = ""
    number: int = -1

    @property
    def source(self) -> str:
        """What stands for the whole shard in tables and messages."""
        name = source_of(self.places[0])
        part = self.kind in ("rows", "tar") and self.count >= 0
        return f"{name}#{self.first}+{self.count}" if part else name

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for another process."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Shard:
        """The shard of ``to_dict``."""
        return cls(**{**values, "places": tuple(values["places"])})


class Plan:
    """All shards of a data set, in the order of their numbers.

    They stay in Arrow's memory, which takes a fraction of that of objects.
    """

    def __init__(self, tables: Sequence[pa.Table] = ()) -> None:
        self._table = pa.concat_tables([_SCHEMA.empty_table(), *tables])

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, number: int) -> Shard:
        (row,) = self._table.slice(number, 1).to_pylist()
        row["places"] = tuple(map(os.fsdecode, row["places"]))
        return Shard(**row, number=number)

    def __iter__(self) -> Iterator[Shard]:
        return map(self.__getitem__, range(len(self)))

    def places(self) -> set[str]:
        """All places that have a shard."""
        column = self._table.column("places").combine_chunks()
        return set(map(os.fsdecode, pa.compute.list_flatten(column).to_pylist()))

    def with_shards(self, shards: Iterable[Shard]) -> tuple[Plan, pa.Table]:
        """A plan with further shards, and the table of those alone."""
        rows = []
        for shard in shards:
            row = shard.to_dict()
            del row["number"]
            row["places"] = list(map(os.fsencode, shard.places))
            rows.append(row)
        added = pa.Table.from_pylist(rows, schema=_SCHEMA)
        return Plan([self._table, added]), added

    def counts(self) -> list[int]:
        """Images of each shard; 0 where that is known only after reading."""
        return [max(0, count) for count in self._table.column("count").to_pylist()]

    def failed(self) -> list[int]:
        """Numbers of the inputs that could not be listed."""
        kinds = self._table.column("kind").to_pylist()
        return [number for number, kind in enumerate(kinds) if kind == "failed"]

    def without_failed(self) -> tuple[Plan, pa.Table]:
        """A plan that has nothing in the place of those, and its table."""
        failed = set(self.failed())
        rows = self._table.to_pylist()
        for number in failed:
            rows[number] = {**rows[number], "kind": "files", "places": [], "count": 0, "detail": ""}
        table = pa.Table.from_pylist(rows, schema=_SCHEMA)
        return Plan([table]), table
