"""``PhotoFile``: an image file that is read, and turned, by the thread that searches it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_mtcnn.errors import ImageError
from edge_mtcnn.images.decoding import read_image
from edge_mtcnn.images.mounting import Mounting
from edge_mtcnn.types import ImageArray

__all__ = ["IMAGE_FAILURES", "PhotoFile"]

IMAGE_FAILURES = (ImageError, OSError, MemoryError)
"""Errors that concern one image only: the other images can still be processed."""


@dataclass(slots=True, eq=False)
class PhotoFile:
    """A photo that is read when its turn comes; the detector takes it as an image.

        photos = [PhotoFile(path, mounting) for path in paths]
        for photo, found in zip(photos, detector.detect_many(photos)):
            ...

    Attributes:
        path: the file.
        mounting: how it is turned.
        keep: whether the picture stays in memory until ``take``, to draw in it or to cut from it.
    """

    path: Path
    mounting: Mounting
    keep: bool = False
    _pixels: ImageArray | None = field(default=None, init=False, repr=False)

    def read(self) -> ImageArray:
        """Read and turn it, (H, W, 3) uint8 RGB.

        Raises:
            ImageError: as ``read_image`` does.
        """
        pixels = self.mounting.applied(read_image(self.path))
        if self.keep:
            self._pixels = pixels
        return pixels

    def take(self) -> ImageArray | None:
        """The picture, if it was kept; it is kept no longer."""
        pixels, self._pixels = self._pixels, None
        return pixels
