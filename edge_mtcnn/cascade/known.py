"""Recognises known false faces among the finds, by what O-Net knows of each of them.

The values of its hidden layer in the two readings of the mirror check are standardised by those of
real faces, and compared by cosine. The first reading adds nothing: its window is R-Net's, which
moves from picture to picture. Mean and deviation of real faces are in ``known.json`` beside
the models; ``python -m export known`` measures them, and how well the bounds hold. Imports NumPy
and OpenCV.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_mtcnn.cascade.candidates import Found
from edge_mtcnn.errors import ModelFileError
from edge_mtcnn.known_false import VECTOR_LENGTH, KnownFalse
from edge_mtcnn.types import Float32Array, FloatArray, ImageArray

__all__ = [
    "BOUND",
    "BOUND_AT_PLACE",
    "KnownFaces",
    "RealFaces",
    "changed_copies",
    "load_real_faces",
    "vectors",
]

BOUND = 0.81
"""Smallest cosine at which a find is a known thing, anywhere in the frame."""
BOUND_AT_PLACE = 0.75
"""The same for a find at the place of that thing."""
_REACH = 0.75  # sides of the thing's box by which a find may be beside its place
_RATIO = 2.0  # most by which it may be larger or smaller
_CHANGES = (
    *((1.0, 1.0), (0.65, 0.75), (0.75, 0.85), (0.85, 1.15), (1.2, 1.1)),
    *((1.1, 0.8), (1.3, 0.9), (0.7, 1.2), (0.95, 0.7)),
)
"""Light and scale of the copies from which a thing is learned; the first is the image itself."""
_SCHEMA_VERSION = 1


class RealFaces:
    """What O-Net's values are for real faces.

    Args:
        mean: (512,) mean of each value.
        deviation: (512,) its standard deviation, above 0.
    """

    def __init__(self, mean: FloatArray, deviation: FloatArray) -> None:
        self._mean = mean.astype(np.float32)
        # A value that hardly varies among faces would decide alone.
        self._deviation = np.maximum(deviation, np.median(deviation) / 2).astype(np.float32)

    def directions(self, values: Float32Array) -> Float32Array:
        """(N, 512) values, standardised and of length 1."""
        standard = (values - self._mean) / self._deviation
        lengths = np.linalg.norm(standard, axis=1, keepdims=True)
        directions: Float32Array = standard / np.maximum(lengths, 1e-6)
        return directions


class KnownFaces:
    """The known false faces of a detector.

    Args:
        entries: the things, at least one.
        real: what real faces are like.
    """

    def __init__(self, entries: Sequence[KnownFalse], real: RealFaces) -> None:
        self._real = real
        self._names = np.array([entry.name for entry in entries], dtype=object)
        self._known = real.directions(np.stack([entry.values() for entry in entries]))
        self._anywhere = np.array([entry.place is None for entry in entries])
        self._places = np.array([entry.place or (0, 0, 1, 1) for entry in entries], dtype=float)

    def among(
        self, found: Found, readings: Sequence[Found], size: tuple[int, int]
    ) -> npt.NDArray[np.object_]:
        """The names of the known false faces among the finds, (N,); ``None`` for all others.

        Args:
            found: the faces that O-Net found.
            readings: what ``onet.look_again`` returned for them.
            size: height and width of the image, pixels.
        """
        if not len(found.boxes):
            return np.zeros(0, dtype=object)
        cosines = self._real.directions(vectors(readings)) @ self._known.T
        there = self._at_place(found.boxes, size) & ~self._anywhere
        same = (there & (cosines >= BOUND_AT_PLACE)) | (self._anywhere & (cosines >= BOUND))
        likest = np.where(same, cosines, -np.inf).argmax(axis=1)
        names: npt.NDArray[np.object_] = self._names[likest]
        names[~same.any(axis=1)] = None
        return names

    def _at_place(self, boxes: FloatArray, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Which of (N,) boxes are at which of (K,) places, (N, K)."""
        height, width = size
        places = self._places * (width, height, width, height)
        centres = [(edges[:, :2] + edges[:, 2:]) / 2 for edges in (boxes, places)]
        sides = [(edges[:, 2:] - edges[:, :2]).mean(axis=1) for edges in (boxes, places)]
        distances = np.abs(centres[0][:, None] - centres[1]).max(axis=2)
        ratios = np.maximum(sides[0][:, None], 1) / np.maximum(sides[1], 1)
        near = distances <= _REACH * sides[1]
        same: npt.NDArray[np.bool_] = near & (ratios <= _RATIO) & (ratios >= 1 / _RATIO)
        return same


def vectors(readings: Sequence[Found]) -> Float32Array:
    """O-Net's values of each find in the two readings of ``onet.look_again``, (N, 512)."""
    return np.concatenate([reading.features for reading in readings], axis=1)


def changed_copies(image: ImageArray, box: FloatArray) -> Iterator[tuple[ImageArray, FloatArray]]:
    """Copies of an image in other light and scale, so that a thing is known in those too.

    Args:
        image: (H, W, 3) uint8.
        box: (4,) ``x1, y1, x2, y2`` of the thing, about whose centre the image is scaled.

    Yields:
        The copy and the box in it; first the image itself.
    """
    centre = (box[:2] + box[2:]) / 2
    for light, scale in _CHANGES:
        x, y = centre * (1 - scale)
        matrix = np.array([[scale, 0, x], [0, scale, y]])
        copy = cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
        lit = cv2.convertScaleAbs(copy, alpha=light)
        yield lit.astype(np.uint8, copy=False), box * scale + np.tile((x, y), 2)


def load_real_faces(path: Path, text: bytes) -> RealFaces:
    """Read ``known.json``.

    Args:
        path: where it is, for messages.
        text: its content, UTF-8.

    Raises:
        ModelFileError: it cannot be read, or is not of this version.
    """
    try:
        content = json.loads(text)
        version = content["schema_version"]
        mean, deviation = (
            np.frombuffer(base64.b64decode(content[name]), dtype="<f2").astype(np.float32)
            for name in ("mean", "deviation")
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"values of real faces {path} cannot be read: {error!r}") from None
    right = mean.shape == deviation.shape == (VECTOR_LENGTH,)
    if version != _SCHEMA_VERSION or not right or not np.isfinite([mean, deviation]).all():
        raise ModelFileError(f"values of real faces {path} are not of this version; reinstall them")
    return RealFaces(mean, deviation)
