"""From a shard to the rows of its tables: the step that every engine runs, wherever it runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from edge_mtcnn.bulk.options import BulkOptions
from edge_mtcnn.bulk.places import source_of
from edge_mtcnn.bulk.plan import Shard
from edge_mtcnn.bulk.reading import pictures_of
from edge_mtcnn.bulk.schema import SCHEMAS
from edge_mtcnn.bulk.searching import Found, Searchers
from edge_mtcnn.errors import brief

__all__ = ["Failure", "Part", "given_up", "work_on"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that failed, or only the beginning of which could be read.

    Attributes:
        source: the input.
        error: the reason.
    """

    source: str
    error: str


@dataclass(frozen=True, slots=True)
class Part:
    """What became of a shard.

    Attributes:
        number: the number of the shard.
        tables: by name, see ``schema``; ``crops`` only where they are asked for.
    """

    number: int
    tables: dict[str, pa.Table]

    def frames(self) -> int:
        """Images and frames that were searched, and inputs of which none was."""
        frames = self.tables["images"]["frames"].to_pylist()
        return sum(max(1, count) for count in frames)

    def failures(self) -> list[Failure]:
        """The inputs that failed."""
        images = self.tables["images"].select(["source", "error"])
        failed = images.filter(images["error"].is_valid())
        return [Failure(row["source"], row["error"]) for row in failed.to_pylist()]


def work_on(
    shard: Shard,
    searchers: Searchers,
    options: BulkOptions,
    each: Callable[[bool], object] = lambda _: None,
) -> Part:
    """Search all images of a shard.

    Args:
        shard: the shard.
        searchers: threads that search.
        options: what is written.
        each: called after each image or frame, with whether it failed.

    Raises:
        Abandoned: the searchers were told to give up.
    """
    rows = _Rows()
    try:
        for found in searchers.search(pictures_of(shard, options)):
            rows.add(found)
            each(found.faces is None)
    except OSError as error:
        rows.failed(shard.source, str(error).removeprefix(f"{source_of(shard.places[0])}: "))
        each(True)
    return rows.part(shard, options)


def given_up(shard: Shard, error: str, options: BulkOptions) -> Part:
    """The part of a shard that cannot be worked on: a failed row for each input."""
    rows = _Rows()
    for source in map(source_of, shard.places) if shard.kind == "files" else [shard.source]:
        rows.failed(source, error)
    return rows.part(shard, options)


@dataclass
class _Rows:
    """Rows of a shard as they are found. The frames of a video come one after the other."""

    _images: list[dict[str, Any]] = field(default_factory=list)
    _found: list[Found] = field(default_factory=list)

    def add(self, found: Found) -> None:
        picture, faces = found.picture, found.faces
        last = self._images[-1] if self._images else None
        if picture.frame is None or last is None or last["source"] != picture.source:
            last = _image(picture.source)
            self._images.append(last)
        last["frames"] += faces is not None
        last["milliseconds"] += found.milliseconds
        if faces is None:
            self._fail(last, found.error or "failed")
            return
        last["height"], last["width"] = faces.image_size
        last["faces"] += len(faces)
        if len(faces):
            self._found.append(found)

    def failed(self, source: str, error: str) -> None:
        """Note that an archive, table or video ended with an error."""
        last = self._images[-1] if self._images else None
        if last is None or last["source"] != source:
            last = _image(source)
            self._images.append(last)
        self._fail(last, error)

    def _fail(self, row: dict[str, Any], error: str) -> None:
        row["status"] = "partial" if row["frames"] else "failed"
        row["error"] = row["error"] or brief(error)

    def part(self, shard: Shard, options: BulkOptions) -> Part:
        tables = {"images": self.images(), "faces": self.faces()}
        if options.crops:
            tables["crops"] = self.crops()
        return Part(shard.number, tables)

    def images(self) -> pa.Table:
        return pa.Table.from_pylist(self._images, schema=SCHEMAS["images"])

    def faces(self) -> pa.Table:
        schema = SCHEMAS["faces"]
        if not self._found:
            return schema.empty_table()
        faces = [found.faces for found in self._found if found.faces is not None]
        counts = [len(each) for each in faces]

        def repeated(values: list[Any], name: str) -> pa.Array:
            spread = [value for value, n in zip(values, counts, strict=True) for _ in range(n)]
            return pa.array(spread, schema.field(name).type)

        def joined(name: str, column: str) -> pa.Array:
            values = np.concatenate([getattr(each, name) for each in faces])
            flat = pa.array(values.reshape(-1), pa.float32())
            wanted = schema.field(column).type
            if pa.types.is_fixed_size_list(wanted):
                return pa.FixedSizeListArray.from_arrays(flat, wanted.list_size)
            return flat

        pictures = [found.picture for found in self._found]
        return pa.table(
            [
                repeated([picture.source for picture in pictures], "source"),
                repeated([picture.frame for picture in pictures], "frame"),
                repeated([picture.position for picture in pictures], "position_seconds"),
                pa.array(np.concatenate([np.arange(n) for n in counts]), pa.int32()),
                repeated([each.image_size[1] for each in faces], "width"),
                repeated([each.image_size[0] for each in faces], "height"),
                joined("boxes", "box"),
                joined("landmarks", "landmarks"),
                joined("scores", "score"),
                joined("confidences", "confidence"),
                joined("angles", "angle"),
            ],
            schema=schema,
        )

    def crops(self) -> pa.Table:
        rows = [
            {
                "source": found.picture.source,
                "frame": found.picture.frame,
                "face": number,
                "image": {"bytes": crop, "path": None},
            }
            for found in self._found
            for number, crop in enumerate(found.crops)
        ]
        return pa.Table.from_pylist(rows, schema=SCHEMAS["crops"])


def _image(source: str) -> dict[str, Any]:
    return {
        "source": source,
        "status": "ok",
        "error": None,
        "faces": 0,
        "frames": 0,
        "width": None,
        "height": None,
        "milliseconds": 0.0,
    }
