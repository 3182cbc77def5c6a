"""The rows of a data set as JSON objects, in the format of ``edge-mtcnn detect --json``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from edge_mtcnn.bulk.dataset import finished_parts
from edge_mtcnn.types import Faces, face_entry

__all__ = ["json_entries"]


def json_entries(folder: Path) -> Iterator[dict[str, Any]]:
    """One object per input of a data set.

    Args:
        folder: of the data set.

    Yields:
        ``path``, and ``width``, ``height`` and ``faces`` as ``faces_entry`` makes them; each face
        of a video with its ``frame`` and ``position_seconds``. ``error`` where it failed.
    """
    for images, faces in finished_parts(folder):
        found = list(_faces(faces))
        start = 0
        for image in images.to_pylist():
            entry: dict[str, Any] = {"path": image["source"]}
            if image["width"] is not None:
                own = found[start : start + image["faces"]]
                entry |= {"width": image["width"], "height": image["height"], "faces": own}
            start += image["faces"]
            if image["error"] is not None:
                entry["error"] = image["error"]
            yield entry


def _faces(rows: pa.Table) -> Iterator[dict[str, Any]]:
    def values(name: str, shape: tuple[int, ...] = ()) -> Any:
        column = rows[name].combine_chunks()
        flat = column.flatten() if shape else column
        return np.asarray(flat, dtype=np.float32).reshape(-1, *shape)

    faces = Faces(
        values("box", (4,)),
        values("score"),
        values("landmarks", (5, 2)),
        confidences=values("confidence"),
        angles=values("angle"),
        image_size=(0, 0),  # that of each image is in its row
    )
    frames = rows["frame"].to_pylist()
    positions = rows["position_seconds"].to_pylist()
    for face, frame, position in zip(faces, frames, positions, strict=True):
        place = {} if frame is None else {"frame": frame, "position_seconds": position}
        yield {**place, **face_entry(face)}
