"""Files of ``python -m export single`` for tests: written once, when they are first needed."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import pytest

__all__ = ["one_file", "shipped_folder"]


@cache
def shipped_folder() -> Path:
    """A folder with the two files of a release; the test is skipped where onnx is missing."""
    pytest.importorskip("onnx", reason="writing graphs needs the package onnx")
    from export.single.command import write_shipped

    folder = Path(tempfile.mkdtemp(prefix="edge-mtcnn-single-"))
    write_shipped(folder)
    return folder


def one_file(name: str) -> Path:
    """One of them, by its name."""
    return shipped_folder() / name
