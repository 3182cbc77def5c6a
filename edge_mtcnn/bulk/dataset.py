"""``DataSet``: the output folder. Its files appear whole or not at all, and say what is done.

DIR/run.json                        what the rows were made with
DIR/plan/plan-00000.parquet         the shards of each run that found new inputs
DIR/faces/part-0000000.parquet      one file of each table for each shard
DIR/images/part-0000000.parquet     written last: a shard with this file is done
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edge_mtcnn.bulk.plan import Plan, Shard
from edge_mtcnn.bulk.schema import SCHEMA_VERSION, TABLES
from edge_mtcnn.bulk.work import Part
from edge_mtcnn.errors import OptionsError, brief
from edge_mtcnn.files import write_whole

__all__ = ["DataSet", "Totals", "finished_parts"]

_RUN = "run.json"
_LOCK = ".lock"
_PLAN = "plan"
_FORMAT = "edge-mtcnn bulk"


@dataclass
class Totals:
    """What a data set has.

    Attributes:
        images: inputs that have a row; a video is one.
        faces: faces.
        failed: inputs that failed, or only the beginning of which could be read.
    """

    images: int = 0
    faces: int = 0
    failed: int = 0

    def add(self, images: pa.Table) -> None:
        """Count the rows of a file of the table ``images``."""
        self.images += images.num_rows
        self.faces += pc.sum(images["faces"]).as_py() or 0
        self.failed += pc.sum(pc.not_equal(images["status"], "ok")).as_py() or 0


class DataSet:
    """A data set that one run writes. Close it, so that others may.

    Args:
        folder: a folder that does not exist, is empty, or has a data set.
        made_with: models and options that decide what the rows contain, in plain values.
        information: further facts for the metadata of its files.
        overwrite: remove what is there.
        retry_failed: search again whatever failed.

    Attributes:
        plan: all shards.
        totals: what the finished shards have.

    Raises:
        OptionsError: the folder has other files, or a data set that was made with others; or
            another run writes it now.
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        made_with: Mapping[str, Any],
        information: Mapping[str, Any],
        *,
        overwrite: bool = False,
        retry_failed: bool = False,
    ) -> None:
        self.folder = folder
        # As a file would give it back, so that a tuple equals its list.
        self._made_with: dict[str, Any] = json.loads(json.dumps(dict(made_with)))
        about = {"schema_version": SCHEMA_VERSION, **information}
        self._metadata = {b"edge_mtcnn": json.dumps({**about, **self._made_with}).encode()}
        before = _contents(folder)
        if before and _RUN not in before and before != [_LOCK]:
            raise OptionsError(
                f"{folder} has files that are no data set of this command; name another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder / _LOCK)
        try:
            if overwrite:
                self._remove()
            self._begin(about)
            for name in (_PLAN, *TABLES):
                (folder / name).mkdir(exist_ok=True)
            self.plan = self._load()
            self._done = self._finished()
            if retry_failed:
                self._forget_failures()
            self._sweep()
        except BaseException:
            self.close()
            raise
        self.totals = Totals()
        for number in sorted(self._done):
            self.totals.add(pq.read_table(self._path("images", number), columns=_COUNTED))

    def close(self) -> None:
        """Let other runs write this data set."""
        self._lock.close()

    def add(self, shards: Iterable[Shard]) -> None:
        """Add shards to the plan."""
        self.plan, added = self.plan.with_shards(shards)
        if added.num_rows:
            taken = len(list((self.folder / _PLAN).glob("plan-*.parquet")))
            self._write(self.folder / _PLAN / f"plan-{taken:05}.parquet", added)

    def undone(self) -> Iterator[Shard]:
        """The shards that are not finished."""
        done = set(self._done)
        return (self.plan[number] for number in range(len(self.plan)) if number not in done)

    def counts(self) -> tuple[int, int]:
        """Images of the finished shards and of all, as far as the plan knows their number."""
        counts = self.plan.counts()
        return sum(counts[number] for number in self._done), sum(counts)

    def write(self, part: Part) -> None:
        """Write the files of a shard, each whole; the one that says that it is done last."""
        for name in reversed(TABLES):
            if name in part.tables and name != "images":
                self._write(self._path(name, part.number), part.tables[name])
        self._write(self._path("images", part.number), part.tables["images"])
        self._done.add(part.number)
        self.totals.add(part.tables["images"])

    def _path(self, table: str, number: int) -> Path:
        return self.folder / table / f"part-{number:07}.parquet"

    def _write(self, path: Path, table: pa.Table) -> None:
        buffer = io.BytesIO()
        compression = "none" if path.parent.name == "crops" else "zstd"  # a PNG is compressed
        table = table.replace_schema_metadata(self._metadata)
        pq.write_table(table, buffer, compression=compression)
        _write_durably(path, buffer.getbuffer())

    def _begin(self, about: Mapping[str, Any]) -> None:
        """Note what the rows are made with, or compare it with what is noted."""
        path = self.folder / _RUN
        if not path.exists():
            run = {"format": _FORMAT, **about, "made_with": self._made_with}
            _write_durably(path, json.dumps(run, indent=2).encode() + b"\n")
            return
        try:
            noted = json.loads(path.read_bytes())["made_with"]
        except (ValueError, KeyError, TypeError):
            raise OptionsError(f"{path} is not the file of a data set of this command") from None
        names = sorted(noted.keys() | self._made_with.keys())
        different = [
            f"{name} {json.dumps(noted.get(name))}, now {json.dumps(self._made_with.get(name))}"
            for name in names
            if noted.get(name) != self._made_with.get(name)
        ]
        if different:
            raise OptionsError(
                f"{self.folder} was made with {brief('; '.join(different))}. Rows of both would be"
                " mixed: name another folder, or use --overwrite to remove what is there"
            )

    def _load(self) -> Plan:
        files = sorted((self.folder / _PLAN).glob("plan-*.parquet"))
        return Plan([pq.read_table(file) for file in files])

    def _finished(self) -> set[int]:
        names = (self.folder / "images").glob("part-*.parquet")
        return {int(path.stem.removeprefix("part-")) for path in names}

    def _forget_failures(self) -> None:
        """Make what failed undone. An input that could not be listed will be listed again."""
        for number in sorted(self._done):
            path = self._path("images", number)
            status = pq.read_table(path, columns=["status"])["status"]
            if pc.any(pc.not_equal(status, "ok")).as_py():
                path.unlink()
                self._done.discard(number)
        if self.plan.failed():
            self.plan, table = self.plan.without_failed()
            files = sorted((self.folder / _PLAN).glob("plan-*.parquet"))
            self._write(files[0], table)
            for file in files[1:]:
                file.unlink()

    def _sweep(self) -> None:
        """Remove what a killed run left: unfinished files, and tables of unfinished shards."""
        for name in (_PLAN, *TABLES):
            for path in (self.folder / name).glob(".*.part"):
                path.unlink()
        for name in TABLES:
            for path in (self.folder / name).glob("part-*.parquet"):
                if int(path.stem.removeprefix("part-")) not in self._done:
                    path.unlink()

    def _remove(self) -> None:
        # First what the plan numbers, and last what says that this is a data set.
        for name in ("images", "faces", "crops", _PLAN):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            (self.folder / _RUN).unlink()


def finished_parts(folder: Path) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The tables ``images`` and ``faces`` of each finished shard, in the order of the plan."""
    for path in sorted((folder / "images").glob("part-*.parquet")):
        yield pq.read_table(path), pq.read_table(folder / "faces" / path.name)


_COUNTED = ["faces", "status"]


def _contents(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise OptionsError(f"{folder} is a file; name a folder") from None


def _write_durably(path: Path, data: bytes | memoryview) -> None:
    try:
        write_whole(path, data, durable=True)
    except OSError as error:  # it names a temporary file
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from None


def _locked(path: Path) -> IO[bytes]:
    """A file that one process at a time can hold; it is free when the process ends."""
    file = path.open("ab")
    try:
        import fcntl
    except ImportError:  # Windows
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise OptionsError(f"another run writes {path.parent} now; wait for its end") from None
    except OSError:  # a network disk without locks
        pass
    return file
