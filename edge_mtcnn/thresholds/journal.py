"""A journal of detections, so that an interrupted run can continue.

The file is JSON Lines: first a header with what the detections depend on, then a line for each
image with its path, size and time of change. An image that has changed since is detected again. A
line that was cut off, as by a power failure, is dropped. The numbers are read back bit for bit.
Imports ``types``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from edge_mtcnn.types import Faces

__all__ = ["Journal"]

_VERSION = 1

_Key = tuple[str, int, int]


class Journal:
    """Detections that are already known; new ones are written at once.

    Args:
        path: path of the journal; the file is created if it does not exist.
        setup: what the detections depend on, as plain values. A file with another setup is started
            again.

    Attributes:
        notice: why the content of the file cannot be used, in one sentence; ``None`` if it can.
    """

    def __init__(self, path: str | os.PathLike[str], setup: Mapping[str, Any]) -> None:
        self._path = Path(path)
        self._setup = json.loads(json.dumps(setup))
        self._known: dict[_Key, Faces] = {}
        self.notice: str | None = None
        whole = self._read()
        if whole is None:
            self._stream: IO[bytes] = self._path.open("wb")
            self._append({"edge-mtcnn journal": _VERSION, "setup": self._setup})
        else:
            self._stream = self._path.open("r+b")
            self._stream.truncate(whole)
            self._stream.seek(whole)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, path: Path) -> Faces | None:
        """The faces recorded for an image; ``None`` if it is not recorded or has changed since."""
        try:
            return self._known.get(_key(path))
        except OSError:
            return None

    def add(self, path: Path, faces: Faces) -> None:
        """Record the faces of an image; they are in the file when this returns."""
        name, size, changed = _key(path)
        self._append(
            {
                "path": name,
                "size": size,
                "changed": changed,
                "image": list(faces.image_size),
                "boxes": faces.boxes.tolist(),
                "scores": faces.scores.tolist(),
                "confidences": faces.confidences.tolist(),
                "angles": faces.angles.tolist(),
                "landmarks": faces.landmarks.reshape(-1, 10).tolist(),
            }
        )

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n")
        self._stream.flush()

    def _read(self) -> int | None:
        """Read the known detections.

        Returns:
            Number of bytes up to the last whole line; ``None`` to start the file again.
        """
        try:
            stream = self._path.open("rb")
        except FileNotFoundError:
            return None
        # Line by line, because thousands of detections per image make a file of gigabytes.
        with stream:
            header = stream.readline()
            found = _parse(header) if header.endswith(b"\n") else {}
            if found.get("edge-mtcnn journal") != _VERSION:
                if header:
                    self.notice = f"{self._path} is not a readable journal; starting again"
                return None
            changes = _changes(found.get("setup"), self._setup)
            if changes:
                self.notice = f"{self._path} was made with {changes}; starting again"
                return None
            whole = len(header)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                entry = _parse(line)
                try:
                    key = (str(entry["path"]), int(entry["size"]), int(entry["changed"]))
                    self._known[key] = _faces(entry)
                except (KeyError, TypeError, ValueError):
                    continue  # a damaged line loses one image
            return whole


def _key(path: Path) -> _Key:
    state = path.stat()
    return os.path.realpath(path), state.st_size, state.st_mtime_ns


def _parse(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _faces(entry: Mapping[str, Any]) -> Faces:
    count = len(entry["scores"])
    height, width = entry["image"]
    return Faces(
        np.reshape(entry["boxes"], (count, 4)),
        entry["scores"],
        np.reshape(entry["landmarks"], (count, 5, 2)),
        confidences=entry["confidences"],
        angles=entry.get("angles"),
        image_size=(int(height), int(width)),
    )


def _changes(before: object, now: Mapping[str, Any]) -> str:
    """The differences between two setups, in words; empty if they are equal."""
    if not isinstance(before, dict):
        return "another version"
    flat_before, flat_now = _flat(before), _flat(now)
    names = sorted(
        name
        for name in flat_before.keys() | flat_now.keys()
        if flat_before.get(name) != flat_now.get(name)
    )
    return ", ".join(
        f"{name} {flat_before.get(name)} instead of {flat_now.get(name)}" for name in names
    )


def _flat(setup: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in setup.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    return flat
