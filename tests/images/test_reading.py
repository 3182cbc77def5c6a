"""Images read ahead of their use: in order, one ahead, and each error at its own image."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge_mtcnn import ImageError, read_image
from edge_mtcnn.images import reading
from edge_mtcnn.images.reading import read_ahead
from edge_mtcnn.types import ImageArray

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def test_images_come_in_order_and_an_error_comes_in_the_place_of_its_image() -> None:
    paths = [SAMPLES / "astronaut.jpg", Path("missing.jpg"), SAMPLES / "chelsea.jpg"]
    found: list[ImageArray | str] = []
    with closing(read_ahead(paths)) as reads:
        for read in reads:
            try:
                found.append(read())
            except ImageError as error:  # noqa: PERF203 - as callers do
                found.append(str(error))
    assert len(found) == 3
    assert found[1] == "missing.jpg: no such file"
    assert np.array_equal(found[0], read_image(paths[0]))
    assert np.array_equal(found[2], read_image(paths[2]))


def test_no_image_is_no_thread() -> None:
    assert list(read_ahead([])) == []


def test_only_the_next_image_is_read_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    another = threading.Event()

    def read(path: Path) -> None:
        asked.append(path)
        another.set()

    monkeypatch.setattr(reading, "read_image", read)
    paths = [Path(str(number)) for number in range(9)]
    with closing(read_ahead(iter(paths))) as reads:
        for number in range(1, 4):
            next(reads)()
            assert another.wait(10)
            another.clear()
            assert len(asked) <= number + 1
    assert len(asked) <= 4
    assert asked == paths[: len(asked)]
