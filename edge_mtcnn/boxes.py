"""Box geometry of the cascade: overlap, suppression, regression, squaring.

A box is ``x1, y1, x2, y2`` in source pixels, 1-based and inclusive (the authors' convention): width
is ``x2 - x1 + 1``. Functions return new float64 arrays, in which the reference's ties at IoU 0.5
and 0.7 come out the same. Imports NumPy only, so every rule here is testable without a model.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_mtcnn.types import FloatArray

__all__ = ["IntArray", "nms", "overlap_of", "regress", "square"]

Overlap = Literal["union", "min"]
IntArray = npt.NDArray[np.integer[Any]]

FEW = 48
"""Boxes up to which comparing each with each is faster than finding the near ones."""


def regress(boxes: FloatArray, offsets: FloatArray, *, inclusive: bool = True) -> FloatArray:
    """Move each edge by the regression of the stage that scored the box.

    Args:
        boxes: (N, 4) ``x1, y1, x2, y2``, source pixels.
        offsets: (N, 4) ``dx1, dy1, dx2, dy2``, fractions of the box's width and height.
        inclusive: measure width and height with the +1; the reference leaves it out after P-Net.

    Returns:
        (N, 4) moved boxes, source pixels, not clipped.
    """
    sides = boxes[:, 2:] - boxes[:, :2] + (1 if inclusive else 0)
    moved: FloatArray = boxes + offsets * np.concatenate([sides, sides], axis=1)
    return moved


def square(boxes: FloatArray) -> FloatArray:
    """Grow the shorter side to the longer one around the same centre.

    Args:
        boxes: (N, 4) ``x1, y1, x2, y2``, source pixels.

    Returns:
        (N, 4) boxes with ``x2 - x1 == y2 - y1``.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    side = sides.max(axis=1, keepdims=True)
    corners = boxes[:, :2] + sides * 0.5 - side * 0.5
    return np.concatenate([corners, corners + side], axis=1)


def overlap_of(a: FloatArray, b: FloatArray, overlap: Overlap = "union") -> FloatArray:
    """Overlap of each box of ``a`` with the box of ``b`` in the same row.

    Args:
        a: (N, 4) boxes.
        b: (N, 4) boxes.
        overlap: intersection over ``"union"`` (IoU) or over the smaller area (``"min"``).

    Returns:
        (N,) 0..1.
    """
    left, top, right, bottom = (np.ascontiguousarray(column) for column in a.T)
    left_b, top_b, right_b, bottom_b = (np.ascontiguousarray(column) for column in b.T)
    width = np.minimum(right, right_b) - np.maximum(left, left_b) + 1
    height = np.minimum(bottom, bottom_b) - np.maximum(top, top_b) + 1
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    area = (right - left + 1) * (bottom - top + 1)
    area_b = (right_b - left_b + 1) * (bottom_b - top_b + 1)
    whole = np.minimum(area, area_b) if overlap == "min" else area + area_b - intersection
    shares: FloatArray = intersection / whole
    return shares


def nms(
    boxes: FloatArray, scores: FloatArray, threshold: float, overlap: Overlap = "union"
) -> IntArray:
    """Greedy non-maximum suppression without a Python step per box.

    The rule is the plain one: take the best box, drop all that overlap it by more than
    ``threshold``, repeat; a box is dropped by a *kept* box only, and of equal scores the later
    wins. It is computed on the sparse set of overlapping pairs. A few boxes are compared each with
    each; many are sorted into horizontal strips as high as two overlapping boxes can be apart and,
    within a strip, by their left edge, so a binary search finds every box's possible partners. Then
    whole rounds are decided at once:
    a box without an undecided better partner stays, and its partners go. Rounds are as many as the
    longest chain of boxes that depend on each other, a handful on images.

    Args:
        boxes: (N, 4) ``x1, y1, x2, y2``.
        scores: (N,) the higher the better.
        threshold: overlap above which the worse of two boxes goes, 0..1.
        overlap: what is compared, see ``overlap_of``.

    Returns:
        (K,) indices of the kept boxes, best first.
    """
    order = np.argsort(scores, kind="stable")[::-1]
    if len(order) < 2:
        return order
    boxes = boxes[order]
    if len(order) <= FEW:
        better, worse = _every_pair(len(order))
    else:
        better, worse = _near_pairs(boxes, threshold, overlap)
    over = overlap_of(boxes[better], boxes[worse], overlap) > threshold
    better, worse = better[over], worse[over]
    kept = np.ones(len(order), dtype=bool)
    while len(better):
        waiting = np.zeros(len(order), dtype=bool)
        waiting[worse] = True
        dropped = np.zeros(len(order), dtype=bool)
        dropped[worse[~waiting[better]]] = True
        kept &= ~dropped
        open_pairs = ~(dropped[better] | dropped[worse])
        better, worse = better[open_pairs], worse[open_pairs]
    return order[kept]


@lru_cache(maxsize=FEW + 1)
def _every_pair(count: int) -> tuple[IntArray, IntArray]:
    """All pairs of ``count`` boxes, as (smaller, larger) index."""
    return np.triu_indices(count, 1)


def _near_pairs(boxes: FloatArray, threshold: float, overlap: Overlap) -> tuple[IntArray, IntArray]:
    """The pairs of boxes that can overlap by more than ``threshold``, as (smaller, larger) index.

    A pair may be listed twice.
    """
    x1, y1 = boxes[:, 0], boxes[:, 1]
    # IoU > t needs an intersection wider than t times the wider box, so left edges are at most
    # (1 - t) widths of the left box apart; the same holds for top edges. The smaller area gives
    # no such bound: there any intersection may count.
    share = 1 - threshold if overlap == "union" else 1.0
    reach_x, reach_y = (share * (boxes[:, 2:] - boxes[:, :2] + 1)).T
    strip = np.floor((y1 - y1.min()) / max(reach_y.max(), 1.0))
    stride = x1.max() - x1.min() + reach_x.max() + 1  # so that strips do not meet in `key`
    key = strip * stride + (x1 - x1.min())
    by_key = np.argsort(key)
    key, reach_x = key[by_key], reach_x[by_key]
    # Each pair is found from its left box: in its own strip, and in the two beside it with a little
    # slack for rounding.
    above, below = key - stride, key + stride
    slack = 1e-3
    first = np.concatenate(
        [np.arange(1, len(key) + 1), np.searchsorted(key, np.hstack([above, below]) - slack)]
    )
    reached = np.concatenate([key, above, below]) + np.tile(reach_x + slack, 3)
    counts = np.maximum(np.searchsorted(key, reached, side="right") - first, 0)
    before = np.cumsum(counts) - counts
    second = np.arange(counts.sum()) + np.repeat(first - before, counts)
    one = by_key[np.repeat(np.tile(np.arange(len(key)), 3), counts)]
    two = by_key[second]
    return np.minimum(one, two), np.maximum(one, two)
