"""``PhotoFile``: an image file that is read, and turned, by the thread that searches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_mtcnn.errors import ImageError
from edge_mtcnn.images.decoding import read_image
from edge_mtcnn.images.mounting import Mounting
from edge_mtcnn.types import ImageArray

__all__ = ["IMAGE_FAILURES", "PhotoFile"]

IMAGE_FAILURES = (ImageError, OSError, MemoryError)
"""Errors that concern one image only: the other images can still be processed."""


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo that is read when its turn comes; the detector takes it as an image.

        photos = [PhotoFile(path, mounting) for path in paths]
        for photo, found in zip(photos, detector.detect_many(photos)):
            ...

    Attributes:
        path: the file.
        mounting: how it is turned.
    """

    path: Path
    mounting: Mounting

    def read(self) -> ImageArray:
        """Read and turn it, (H, W, 3) uint8 RGB.

        Raises:
            ImageError: as ``read_image`` does.
        """
        return self.mounting.applied(read_image(self.path))
