"""Box geometry of the cascade: overlap, suppression, regression, squaring.

A box is ``x1, y1, x2, y2`` in source pixels, 1-based and inclusive (the authors' convention): width
is ``x2 - x1 + 1``. Functions return new float64 arrays: in float64, an IoU of exactly 0.5 or 0.7
is decided as in the reference. Imports NumPy only, so every rule can be tested without a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_mtcnn.types import FloatArray, IntArray

__all__ = ["nms", "overlap_of", "regress", "square"]

Overlap = Literal["union", "min"]

MATRIX_LIMIT = 80
"""Boxes up to which comparing each with each is faster than finding the near ones."""
BLOCK = 1024
"""Number of boxes that NMS always decides at once: they have at most half a million pairs."""
PAIRS_AT_ONCE = BLOCK * BLOCK // 2
"""More boxes than ``BLOCK`` are decided at once too if they have at most this many near pairs."""
PAIRS = 1 << 16
"""Pairs of boxes whose overlap is computed at once; about 15 MB."""
SLACK = 1e-3
"""Pixels that are added to the reach of a search, because of rounding."""


def regress(boxes: FloatArray, offsets: FloatArray, *, inclusive: bool = True) -> FloatArray:
    """Move each edge by the regression of the stage that scored the box.

    Args:
        boxes: (N, 4) ``x1, y1, x2, y2``, source pixels.
        offsets: (N, 4) ``dx1, dy1, dx2, dy2``, fractions of the box's width and height.
        inclusive: measure width and height with the +1; the reference omits it after P-Net.

    Returns:
        (N, 4) moved boxes, source pixels, not clipped.
    """
    sides = boxes[:, 2:] - boxes[:, :2] + (1 if inclusive else 0)
    moved: FloatArray = boxes + offsets * np.concatenate([sides, sides], axis=1)
    return moved


def square(boxes: FloatArray) -> FloatArray:
    """Extend the shorter side to the length of the longer one, around the same centre.

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
    """Overlap of each box of ``a`` with the box at the same place of ``b``.

    Args:
        a: (..., 4) boxes.
        b: (..., 4) boxes; the shapes before the 4 are broadcast.
        overlap: intersection over ``"union"`` (IoU) or over the smaller area (``"min"``).

    Returns:
        (...) 0..1.
    """
    left, top, right, bottom = _columns(a)
    left_b, top_b, right_b, bottom_b = _columns(b)
    width = np.minimum(right, right_b) - np.maximum(left, left_b) + 1
    height = np.minimum(bottom, bottom_b) - np.maximum(top, top_b) + 1
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    area = (right - left + 1) * (bottom - top + 1)
    area_b = (right_b - left_b + 1) * (bottom_b - top_b + 1)
    whole = np.minimum(area, area_b) if overlap == "min" else area + area_b - intersection
    shares: FloatArray = intersection / whole
    return shares


def _columns(boxes: FloatArray) -> FloatArray:
    """The four numbers of (..., 4) boxes, (4, ...), contiguous: several steps pass over each."""
    return np.ascontiguousarray(boxes.transpose(-1, *range(boxes.ndim - 1)))


def nms(
    boxes: FloatArray,
    scores: FloatArray,
    threshold: float,
    overlap: Overlap = "union",
    groups: IntArray | None = None,
) -> IntArray:
    """Greedy non-maximum suppression in bounded memory.

    The rule is the plain one: take the best box, drop all that overlap it by more than
    ``threshold``, repeat; a box is dropped by a *kept* box only, and of equal scores the later
    wins. Where boxes have very many neighbours, blocks of boxes are decided one after another, the
    best block first. What a block keeps drops the boxes after it, so the next block holds only
    boxes that no better box has dropped. Kept boxes cannot lie close together. So each box is
    compared with a few of them only, however many boxes there are.

    Args:
        boxes: (N, 4) ``x1, y1, x2, y2``.
        scores: (N,) the higher the better.
        threshold: overlap above which the worse of two boxes is dropped, 0..1.
        overlap: which overlap is compared, see ``overlap_of``.
        groups: (N,) whole numbers from 0 on; boxes of different groups do not drop each other.

    Returns:
        (K,) indices of the kept boxes, best first.
    """
    order: IntArray = np.argsort(scores, kind="stable")[::-1]
    if threshold >= 1 or len(order) < 2:  # no two boxes overlap by more
        return order
    boxes = boxes[order]
    if len(order) <= MATRIX_LIMIT:
        over = overlap_of(boxes[:, None], boxes, overlap) > threshold
        if groups is not None:
            over &= np.equal.outer(groups[order], groups[order])
        return order[_kept_in_matrix(over)]
    if groups is not None:  # placed side by side, boxes of different groups cannot overlap
        shift = groups[order] * (boxes[:, 2].max() - boxes[:, 0].min() + 1)
        boxes = boxes + np.outer(shift, (1, 0, 1, 0))
    pairs = _near_pairs(boxes, threshold, overlap)
    if pairs is not None:
        return order[_kept_of(boxes, *pairs, threshold, overlap)]
    neighbourhood = _Neighbourhood(boxes, threshold, overlap)
    undecided = np.ones(len(order), dtype=bool)
    kept: list[IntArray] = []
    while len(block := np.flatnonzero(undecided)[:BLOCK]):
        pairs = _near_pairs(boxes[block], threshold, overlap)
        assert pairs is not None  # a block is small enough
        stay = block[_kept_of(boxes[block], *pairs, threshold, overlap)]
        kept.append(stay)
        undecided[block] = False
        for one, other in neighbourhood.pairs(boxes[stay]):
            still = undecided[other]
            one, other = stay[one[still]], other[still]
            undecided[other[_over(boxes, one, other, threshold, overlap)]] = False
    rows: IntArray = order[np.concatenate(kept)]
    return rows


def _kept_in_matrix(over: npt.NDArray[np.bool_]) -> list[int]:
    """Which boxes, best first, NMS keeps, from (N, N): row drops column."""
    # A row becomes one integer with a bit for each box that it drops.
    packed = np.packbits(over, axis=1, bitorder="little")
    kept, dropped = [], 0
    for row, bits in enumerate(packed):
        if not dropped >> row & 1:
            kept.append(row)
            dropped |= int.from_bytes(bits.tobytes(), "little")
    return kept


def _kept_of(
    boxes: FloatArray, better: IntArray, worse: IntArray, threshold: float, overlap: Overlap
) -> npt.NDArray[np.bool_]:
    """Which of some boxes, best first, NMS keeps, from their near pairs.

    It goes in rounds: a box without an undecided better partner stays, and its partners go. Rounds
    are as many as the longest chain of boxes that depend on each other, a handful on images.
    """
    over = _over(boxes, better, worse, threshold, overlap)
    better, worse = better[over], worse[over]
    kept = np.ones(len(boxes), dtype=bool)
    while len(better):
        waiting = np.zeros(len(boxes), dtype=bool)
        waiting[worse] = True
        dropped = np.zeros(len(boxes), dtype=bool)
        dropped[worse[~waiting[better]]] = True
        kept &= ~dropped
        open_pairs = ~(dropped[better] | dropped[worse])
        better, worse = better[open_pairs], worse[open_pairs]
    return kept


def _over(
    boxes: FloatArray, one: IntArray, other: IntArray, threshold: float, overlap: Overlap
) -> npt.NDArray[np.bool_]:
    """Which pairs of boxes, given by their indices, overlap by more than ``threshold``."""
    if len(one) > PAIRS:
        parts = [slice(start, start + PAIRS) for start in range(0, len(one), PAIRS)]
        return np.concatenate(
            [_over(boxes, one[part], other[part], threshold, overlap) for part in parts]
        )
    over: npt.NDArray[np.bool_] = overlap_of(boxes[one], boxes[other], overlap) > threshold
    return over


def _near_pairs(
    boxes: FloatArray, threshold: float, overlap: Overlap
) -> tuple[IntArray, IntArray] | None:
    """Find the pairs of boxes that can overlap by more than ``threshold``.

    Each pair is a (smaller, larger) index and may be listed twice. The result is ``None`` if more
    than ``BLOCK`` boxes have more than ``PAIRS_AT_ONCE`` pairs.

    The boxes are sorted into horizontal strips as high as two overlapping boxes can be apart and,
    within a strip, by their left edge, so a binary search finds the possible partners of a box.
    """
    x1, y1 = boxes[:, 0], boxes[:, 1]
    reach_x, reach_y = (_reach(threshold, overlap) * (boxes[:, 2:] - boxes[:, :2] + 1)).T
    strip = np.floor((y1 - y1.min()) / max(reach_y.max(), 1.0))
    stride = x1.max() - x1.min() + reach_x.max() + 1  # so that strips do not meet in `key`
    key = strip * stride + (x1 - x1.min())
    by_key = np.argsort(key)
    key, reach_x = key[by_key], reach_x[by_key]
    # Each pair is found from its left box: in its own strip, and in the two beside it with a little
    # slack for rounding.
    above, below = key - stride, key + stride
    first = np.concatenate(
        [np.arange(1, len(key) + 1), np.searchsorted(key, np.hstack([above, below]) - SLACK)]
    )
    reached = np.concatenate([key, above, below]) + np.tile(reach_x + SLACK, 3)
    counts = np.maximum(np.searchsorted(key, reached, side="right") - first, 0)
    if len(boxes) > BLOCK and counts.sum() > PAIRS_AT_ONCE:
        return None
    before = np.cumsum(counts) - counts
    second = np.arange(counts.sum()) + np.repeat(first - before, counts)
    one = by_key[np.repeat(np.tile(np.arange(len(key)), 3), counts)]
    two = by_key[second]
    return np.minimum(one, two), np.maximum(one, two)


def _reach(threshold: float, overlap: Overlap) -> float:
    """How far apart the left, or top, edges of two overlapping boxes can be.

    In widths, or heights, of the box whose edge is the smaller. IoU > t needs an intersection wider
    than t times the wider box. The smaller area gives no such bound: there any intersection may
    count.
    """
    return 1 - threshold if overlap == "union" else 1.0


class _Neighbourhood:
    """Many boxes, sorted so that those near other boxes are found piece by piece.

    Boxes of about one size form a class: sorted as in ``_near_pairs``, by strips as high as a box
    of this class can reach. One large box among small ones therefore widens no strip of theirs.
    """

    def __init__(self, boxes: FloatArray, threshold: float, overlap: Overlap) -> None:
        self._reach = _reach(threshold, overlap)
        self._least_ratio = threshold if overlap == "union" else 0.0
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        sizes = np.floor(2 * np.log2(np.maximum(sides.max(axis=1), 1)))
        self._classes = [
            _SizeClass(boxes, np.flatnonzero(sizes == size), self._reach)
            for size in np.unique(sizes)
        ]

    def pairs(self, boxes: FloatArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Pairs (index into ``boxes``, index into the many) that can overlap enough."""
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        for others in self._classes:
            # IoU > t needs sides whose ratio is above t.
            alike = (sides > self._least_ratio * others.smallest - SLACK) & (
                self._least_ratio * sides < others.largest + SLACK
            )
            rows = np.flatnonzero(alike.all(axis=1))
            low = boxes[rows, :2] - self._reach * others.largest
            high = boxes[rows, :2] + self._reach * sides[rows]
            for one, other in others.starting_in(low, high):
                yield rows[one], other


class _SizeClass:
    """Boxes of about one size, of which those that start within a window are found."""

    def __init__(self, boxes: FloatArray, members: IntArray, reach: float) -> None:
        sides = boxes[members, 2:] - boxes[members, :2] + 1
        self.smallest, self.largest = sides.min(axis=0), sides.max(axis=0)
        self._origin = boxes[members, :2].min(axis=0)
        x, y = (boxes[members, :2] - self._origin).T
        self._width = x.max()
        self._stride = self._width + 1  # so that strips do not meet in `keys`
        self._strip_height = max(reach * self.largest[1], 1.0)
        strips = self._strip_of(y)
        self._last_strip = strips.max()
        keys = strips * self._stride + x
        by_key = np.argsort(keys)
        self._members, self._keys = members[by_key], keys[by_key]

    def starting_in(self, low: FloatArray, high: FloatArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Pairs (window, box) for windows of left top corners, in pieces of a bounded size.

        Of the first and last strip of a window, corners above and below it are listed too.
        """
        low, high = low - self._origin - SLACK, high - self._origin + SLACK
        reached = (low[:, 0] <= self._width) & (high[:, 0] >= 0)
        first_strip = np.maximum(self._strip_of(low[:, 1]), 0)
        last_strip = np.minimum(self._strip_of(high[:, 1]), self._last_strip)
        counts = np.where(reached, np.maximum(last_strip - first_strip + 1, 0), 0).astype(int)
        left, right = (np.clip(edge[:, 0], 0, self._width) for edge in (low, high))
        for windows, nth in _ranges(counts):
            start = (first_strip[windows] + nth) * self._stride
            first = np.searchsorted(self._keys, start + left[windows])
            last = np.searchsorted(self._keys, start + right[windows], side="right")
            for strip, place in _ranges(last - first):
                yield windows[strip], self._members[first[strip] + place]

    def _strip_of(self, y: FloatArray) -> FloatArray:
        strips: FloatArray = np.floor(y / self._strip_height)
        return strips


def _ranges(counts: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """``0..count`` of each row one after another, as (row, number), ``PAIRS`` at a time."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, PAIRS):
        numbers = np.arange(start, min(start + PAIRS, total))
        rows = np.searchsorted(ends, numbers, side="right")
        yield rows, numbers - (ends[rows] - counts[rows])
