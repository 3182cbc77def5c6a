"""Image files read one ahead, so that reading and detecting take place at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from edge_mtcnn.errors import ImageError
from edge_mtcnn.images.decoding import read_image
from edge_mtcnn.images.mounting import Mounting
from edge_mtcnn.types import ImageArray

__all__ = ["IMAGE_FAILURES", "read_ahead"]

IMAGE_FAILURES = (ImageError, OSError, MemoryError)
"""Errors that concern one image only: the other images can still be processed."""
_READS_HELD = 2
"""The image in use, and the next one. More would only take memory: one thread reads them all."""


def read_ahead(
    paths: Iterable[Path], mounting: Mounting | None = None
) -> Generator[Callable[[], ImageArray]]:
    """Read images in another thread while the caller works on the one before.

    Close the generator to stop the thread, also after an error:

        with contextlib.closing(read_ahead(paths)) as reads:
            for path, read in zip(paths, reads):
                image = read()

    Args:
        paths: the images.
        mounting: how they are turned.

    Yields:
        For each path a function that returns its image, or raises what ``read_image`` raises. Call
        it before the generator is advanced or closed.
    """
    turned = (mounting or Mounting()).applied

    def read(path: Path) -> ImageArray:
        return turned(read_image(path))

    reader = ThreadPoolExecutor(1, thread_name_prefix="edge-mtcnn-reader")
    try:
        remaining = iter(paths)
        reads: deque[Future[ImageArray]] = deque()
        while True:
            upcoming = islice(remaining, _READS_HELD - len(reads))
            reads.extend(reader.submit(read, path) for path in upcoming)
            if not reads:
                return
            yield reads.popleft().result
    finally:
        reader.shutdown(wait=False, cancel_futures=True)
