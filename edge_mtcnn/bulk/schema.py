"""The tables of a data set: ``faces``, ``images`` and ``crops``, and their version.

Boxes are ``x1, y1, x2, y2`` and landmarks five times ``x, y``, source pixels, as in ``Faces``.
Imports pyarrow, of the extra ``bulk``.
"""

from __future__ import annotations

import pyarrow as pa

__all__ = ["SCHEMAS", "SCHEMA_VERSION", "TABLES"]

SCHEMA_VERSION = 1
"""Raised when a column changes its meaning or its type, or goes; not when one is added."""

SCHEMAS: dict[str, pa.Schema] = {
    "faces": pa.schema(
        [
            pa.field("source", pa.string(), nullable=False),
            pa.field("frame", pa.int64()),
            pa.field("position_seconds", pa.float64()),
            pa.field("face", pa.int32(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("box", pa.list_(pa.float32(), 4), nullable=False),
            pa.field("landmarks", pa.list_(pa.float32(), 10), nullable=False),
            pa.field("score", pa.float32(), nullable=False),
            pa.field("confidence", pa.float32(), nullable=False),
            pa.field("angle", pa.float32(), nullable=False),
        ]
    ),
    "images": pa.schema(
        [
            pa.field("source", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("error", pa.string()),
            pa.field("faces", pa.int32(), nullable=False),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("milliseconds", pa.float64(), nullable=False),
        ]
    ),
    "crops": pa.schema(
        [
            pa.field("source", pa.string(), nullable=False),
            pa.field("frame", pa.int64()),
            pa.field("face", pa.int32(), nullable=False),
            # The form in which the libraries of Hugging Face keep an image.
            pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ]
    ),
}
TABLES = tuple(SCHEMAS)
