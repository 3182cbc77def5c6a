"""Faces cut out of an image: aligned by their landmarks for recognition, or the box with a margin.

A picture may contain thousands of false faces, so ``align_faces`` and ``crop_faces``, which return
all crops at once, refuse to use more than 2 GB; ``aligned_faces`` and ``cropped_faces`` yield one
crop after the other. Imports NumPy, OpenCV and ``types``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from edge_mtcnn.errors import OptionsError
from edge_mtcnn.images.inputs import rgb_image
from edge_mtcnn.options.checks import check_int, check_number, check_type
from edge_mtcnn.types import Faces, FloatArray, ImageArray

__all__ = ["align_faces", "aligned_faces", "crop_faces", "cropped_faces"]

MOST_BYTES = 2 * 10**9
"""Largest total size of crops that are returned at once, bytes."""
TEMPLATE_SIZE = 112
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""Positions of the five landmarks in the 112x112 pixels that ArcFace expects (Deng et al. 2019,
"ArcFace: Additive Angular Margin Loss for Deep Face Recognition"; values of its published code)."""


def align_faces(image: Any, faces: Faces, size: int = TEMPLATE_SIZE) -> ImageArray:
    """Rotate, scale and shift each face so that its landmarks are where ArcFace expects them.

        crops = align_faces(image, detector.detect(image))  # (N, 112, 112, 3)

    Args:
        image: the image that the faces were found in, see ``FaceDetector.detect``; an array is RGB.
        faces: N faces.
        size: side of the crops, 8..4096 pixels.

    Returns:
        (N, size, size, 3) uint8 RGB; black outside the image.

    Raises:
        ImageError: ``image`` is not an image.
        OptionsError: ``size`` is out of range, or the crops would take more than 2 GB.
    """
    check_int("size", size, 8, 4096)
    check_type("faces", faces, Faces, "detect")
    pixels = rgb_image(image)
    _check_bytes(len(faces), 3 * len(faces) * size**2)
    crops = np.zeros((len(faces), size, size, 3), dtype=np.uint8)
    for crop, aligned in zip(crops, aligned_faces(pixels, faces, size), strict=True):
        crop[:] = aligned
    return crops


def aligned_faces(image: Any, faces: Faces, size: int = TEMPLATE_SIZE) -> Iterator[ImageArray]:
    """The crops of ``align_faces``, one after the other."""
    check_int("size", size, 8, 4096)
    pixels = rgb_image(image)
    # Pixel centres are counted from 0, so the half pixel keeps the outer edges when scaling.
    template = (TEMPLATE + 0.5) * (size / TEMPLATE_SIZE) - 0.5
    for landmarks in faces.landmarks:
        crop = np.zeros((size, size, 3), dtype=np.uint8)
        matrix = _similarity(landmarks.astype(np.float64), template)
        part, matrix = _part_needed(pixels, matrix, size)
        if part.size:
            cv2.warpAffine(part, matrix, (size, size), dst=crop, flags=cv2.INTER_LINEAR)
        yield crop


def crop_faces(image: Any, faces: Faces, margin: float = 0.2) -> list[ImageArray]:
    """Cut out each box with a margin, limited to the image.

    Args:
        image: the image that the faces were found in, see ``FaceDetector.detect``; an array is RGB.
        faces: N faces.
        margin: width added on each side, as a fraction 0..10 of the width or height of the box.

    Returns:
        N copies, (h, w, 3) uint8 RGB; of size 0 for a box completely outside the image.

    Raises:
        ImageError: ``image`` is not an image.
        OptionsError: ``margin`` is out of range, or the crops would take more than 2 GB.
    """
    parts = _parts_with_margin(image, faces, margin)
    _check_bytes(len(faces), sum(part.nbytes for part in parts))
    return [part.copy() for part in parts]


def cropped_faces(image: Any, faces: Faces, margin: float = 0.2) -> Iterator[ImageArray]:
    """The crops of ``crop_faces``, one after the other."""
    return (part.copy() for part in _parts_with_margin(image, faces, margin))


def _parts_with_margin(image: Any, faces: Faces, margin: float) -> list[ImageArray]:
    """The part of the image around each box, as views."""
    check_number("margin", margin, 0.0, 10.0)
    check_type("faces", faces, Faces, "detect")
    pixels = rgb_image(image)
    height, width = pixels.shape[:2]
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    grown = np.hstack([faces.boxes[:, :2] - margin * sides, faces.boxes[:, 2:] + margin * sides])
    grown = np.round(np.clip(grown, 0, [width, height, width, height])).astype(int)
    return [pixels[top:bottom, left:right] for left, top, right, bottom in grown.tolist()]


def _check_bytes(count: int, size: int) -> None:
    if size > MOST_BYTES:
        raise OptionsError(
            f"the crops of {count} faces would take {size / 1e9:.1f} GB, more than"
            f" {MOST_BYTES / 1e9:g} GB; pass fewer faces at a time, such as faces[:10], or make"
            " smaller crops"
        )


def _part_needed(
    pixels: ImageArray, matrix: FloatArray, size: int
) -> tuple[ImageArray, FloatArray]:
    """The part of an image that a crop shows, and the matrix for that part.

    OpenCV cannot warp pictures with sides of 32,767 pixels or more.
    """
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]])
    sources = (corners - matrix[:, 2]) @ np.linalg.pinv(matrix[:, :2]).T
    height, width = pixels.shape[:2]
    # One more pixel on each side for the interpolation.
    left, top = np.clip(np.floor(sources.min(axis=0)) - 1, 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(sources.max(axis=0)) + 2, 0, (width, height)).astype(int)
    shift = matrix[:, 2] + matrix[:, :2] @ (left, top)
    return pixels[top:bottom, left:right], np.hstack([matrix[:, :2], shift[:, None]])


def _similarity(points: FloatArray, onto: FloatArray) -> FloatArray:
    """The rotation, scale and shift that maps points closest to others, without reflection.

    The least-squares solution of Umeyama (1991, "Least-squares estimation of transformation
    parameters between two point patterns"), which in the plane is one complex division.

    Args:
        points: (K, 2) ``x, y``.
        onto: (K, 2) ``x, y``.

    Returns:
        (2, 3) matrix for ``cv2.warpAffine``. The scale is 1 when all points coincide.
    """
    centre, goal = points.mean(axis=0), onto.mean(axis=0)
    moved, target = (_complex(points - centre), _complex(onto - goal))
    spread = float((moved.conj() @ moved).real)
    turn = complex((moved.conj() @ target) / spread) if spread > 0 else 1 + 0j
    rotation = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.hstack([rotation, (goal - rotation @ centre)[:, None]])


def _complex(points: FloatArray) -> Any:
    """(K, 2) points as (K,) complex numbers."""
    return points[:, 0] + 1j * points[:, 1]
