"""Which detections are annotated faces: the rules of WIDER FACE.

Boxes are ``x1, y1, x2, y2`` with areas of ``(x2 - x1 + 1) * (y2 - y1 + 1)``, as in WIDER FACE. A
detection belongs to the face that it overlaps most. The first one, by score, that overlaps a
counted face enough is the hit. Detections on an ignored face are ignored. All others are false
positives. Imports NumPy and ``types``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_mtcnn.types import FloatArray

__all__ = ["BoolArray", "Match", "inclusive_ious", "match"]

BoolArray = npt.NDArray[np.bool_]

_PAIRS_AT_ONCE = 250_000
"""Pairs of a detection and a face that are compared at once; that takes 20 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The verdict on each detection of one image, in the order of the detections.

    Attributes:
        face: (N,) index of the annotated face that it overlaps most; -1 in an image without faces.
        hit: (N,) whether it is the first one to find a counted face.
        ignored: (N,) whether it is on an ignored face.
    """

    face: npt.NDArray[np.intp]
    hit: BoolArray
    ignored: BoolArray

    @property
    def false(self) -> BoolArray:
        """(N,) whether it is a false positive."""
        return ~(self.hit | self.ignored)


def inclusive_ious(boxes: FloatArray, faces: FloatArray) -> FloatArray:
    """(N, M) IoU of (N, 4) and (M, 4) boxes whose right and bottom pixels belong to them.

    A 10 x 10 box is ``0, 0, 9, 9``.
    """
    first, second = boxes.astype(np.float64), faces.astype(np.float64)
    left, top, right, bottom = first.T[..., None]
    width = np.minimum(right, second[:, 2]) - np.maximum(left, second[:, 0]) + 1
    height = np.minimum(bottom, second[:, 3]) - np.maximum(top, second[:, 1]) + 1
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = _areas(first)[:, None] + _areas(second) - shared
    # A box without area, such as an annotated one with exchanged corners, overlaps nothing.
    ratio: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def match(
    boxes: FloatArray,
    scores: FloatArray,
    faces: FloatArray,
    counted: BoolArray,
    iou: float = 0.5,
) -> Match:
    """Match the detections of one image with its annotated faces.

    Args:
        boxes: (N, 4) detections.
        scores: (N,) their scores; detections with equal scores match in the given order.
        faces: (M, 4) annotated faces.
        counted: (M,) whether finding the face counts; otherwise it is ignored.
        iou: smallest overlap of a detection with its face, 0..1.
    """
    count = len(boxes)
    if not count or not len(faces):
        nowhere = np.full(count, -1, dtype=np.intp)
        return Match(nowhere, np.zeros(count, dtype=bool), np.zeros(count, dtype=bool))
    face = np.empty(count, dtype=np.intp)
    near = np.empty(count, dtype=bool)
    step = max(_PAIRS_AT_ONCE // len(faces), 1)
    for start in range(0, count, step):  # all pairs of thousands would take gigabytes
        rows = slice(start, start + step)
        shared = inclusive_ious(boxes[rows], faces)
        face[rows] = shared.argmax(axis=1)
        near[rows] = shared.max(axis=1) >= iou
    ignored = near & ~counted[face]
    hit = np.zeros(count, dtype=bool)
    order = np.argsort(-scores, kind="stable")
    candidates = order[(near & counted[face])[order]]
    _, first = np.unique(face[candidates], return_index=True)
    hit[candidates[first]] = True
    return Match(face, hit, ignored)


def _areas(boxes: FloatArray) -> FloatArray:
    areas: FloatArray = np.maximum(boxes[..., 2:] - boxes[..., :2] + 1, 0).prod(axis=-1)
    return areas
