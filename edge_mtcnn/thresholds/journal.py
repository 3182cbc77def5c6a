"""A journal of detections, so that an interrupted run goes on where it stopped.

JSON Lines: first what the detections depend on, then a line for each image with its path, size and
time of change. An image that changed since is detected again; a line cut off in the middle, as by a
power failure, is dropped. The numbers come back bit for bit. Imports ``types``.
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
    """Detections that are already known, and where new ones are noted at once.

    Args:
        path: of the journal; made when it is not there.
        setup: what the detections depend on, as plain values; another one starts anew.

    Attributes:
        notice: why what was in the file does not count, in one sentence; ``None`` when it does.
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
        """The faces noted for an image that has not changed since."""
        try:
            return self._known.get(_key(path))
        except OSError:
            return None

    def add(self, path: Path, faces: Faces) -> None:
        """Note the faces of an image, on disk before this returns."""
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
                "landmarks": faces.landmarks.reshape(-1, 10).tolist(),
            }
        )

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n")
        self._stream.flush()

    def _read(self) -> int | None:
        """Take over what counts; how many bytes of the file do, ``None`` to start anew."""
        try:
            stream = self._path.open("rb")
        except FileNotFoundError:
            return None
        with stream:  # line by line: thousands of detections an image make a file of gigabytes
            header = stream.readline()
            found = _parsed(header) if header.endswith(b"\n") else {}
            if found.get("edge-mtcnn journal") != _VERSION:
                if header:
                    self.notice = f"{self._path} is no journal that can be read; starting anew"
                return None
            changes = _changes(found.get("setup"), self._setup)
            if changes:
                self.notice = f"{self._path} was made with {changes}; starting anew"
                return None
            whole = len(header)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                entry = _parsed(line)
                try:
                    key = (str(entry["path"]), int(entry["size"]), int(entry["changed"]))
                    self._known[key] = _faces(entry)
                except (KeyError, TypeError, ValueError):
                    continue  # a damaged line costs one detection
            return whole


def _key(path: Path) -> _Key:
    state = path.stat()
    return os.path.realpath(path), state.st_size, state.st_mtime_ns


def _parsed(line: bytes) -> dict[str, Any]:
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
        image_size=(int(height), int(width)),
    )


def _changes(before: object, now: Mapping[str, Any]) -> str:
    """What differs, in a few words; empty when nothing does."""
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
