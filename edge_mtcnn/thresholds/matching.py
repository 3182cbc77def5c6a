"""Which detections are annotated faces: the rules of WIDER FACE.

Boxes are ``x1, y1, x2, y2``, areas ``(x2 - x1 + 1) * (y2 - y1 + 1)``, as WIDER FACE counts them.
A detection belongs to the face that it overlaps most. The first one, best score first, to reach the
needed overlap with a counted face is the hit; any on an ignored face counts neither way; all others
are false. Imports NumPy and ``types``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_mtcnn.types import FloatArray

__all__ = ["BoolArray", "Match", "inclusive_ious", "match"]

BoolArray = npt.NDArray[np.bool_]

_PAIRS_AT_ONCE = 250_000
"""Pairs of a detection and a face whose overlaps are held at once: 20 MB while they are made."""


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """What each detection of one image is, in the order of the detections.

    Attributes:
        face: (N,) index of the annotated face overlapped most; -1 where there is none.
        hit: (N,) whether it is the first to find a counted face.
        ignored: (N,) whether it lies on an ignored face.
    """

    face: npt.NDArray[np.intp]
    hit: BoolArray
    ignored: BoolArray

    @property
    def false(self) -> BoolArray:
        """(N,) whether it counts as a false positive."""
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
    # No area at all, as of an annotated box turned inside out, overlaps nothing.
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
        scores: (N,) their scores; equal ones match in the order given.
        faces: (M, 4) annotated faces.
        counted: (M,) whether finding the face counts; otherwise it is ignored.
        iou: least overlap of a detection with its face, 0..1.
    """
    count = len(boxes)
    if not count or not len(faces):
        nowhere = np.full(count, -1, dtype=np.intp)
        return Match(nowhere, np.zeros(count, dtype=bool), np.zeros(count, dtype=bool))
    face = np.empty(count, dtype=np.intp)
    near = np.empty(count, dtype=bool)
    step = max(_PAIRS_AT_ONCE // len(faces), 1)
    for start in range(0, count, step):  # thousands of both would take gigabytes together
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
