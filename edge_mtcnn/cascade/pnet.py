"""Stage 1 of the cascade: P-Net proposes windows that may show a face.

P-Net runs over every level of the image pyramid. Each cell of its output judges a window of 12x12
pixels of the level. The rules are those of the paper (Zhang et al. 2016, "Joint Face Detection and
Alignment Using Multitask Cascaded Convolutional Networks") as the package ``mtcnn`` 0.1.x reads
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edge_mtcnn.cascade.boxes import nms, regress, square
from edge_mtcnn.cascade.candidates import Candidates
from edge_mtcnn.cascade.canvases import CELL, STRIDE, Canvas, layout
from edge_mtcnn.cascade.fixed_canvases import Sizes, fixed_layout
from edge_mtcnn.cascade.networks import Map, Network, network_input, probability
from edge_mtcnn.types import Float32Array, FloatArray, ImageArray, IntArray

__all__ = ["Cells", "best_cells", "propose"]

CANVASES_AT_ONCE = 64
"""Canvases whose cells are held before they are capped: at most a million cells, about 40 MB."""


def propose(
    levels: Sequence[ImageArray],
    scales: Sequence[float],
    pnet: Network,
    threshold: float,
    overlap: float,
    run: Map,
    capped: Callable[[Cells], Cells] = lambda cells: cells,
    *,
    level_overlap: float,
    canvas_sizes: Sizes = (),
) -> Candidates:
    """Stage 1: P-Net over every level, NMS within and across levels, regression.

    P-Net sees the levels on canvases, see ``canvases``, and finds exactly the cells that it would
    find on each level.

    Args:
        levels: the image at each scale, (h, w, 3) uint8 RGB.
        scales: side of each level divided by the side of the image.
        pnet: (1, 1, h, 3 w) float32 pixels to (1, 5, rows, columns).
        threshold: minimum probability of a candidate.
        overlap: IoU above which NMS across levels drops a candidate.
        run: shares the tiles among threads.
        capped: selects the cells that are kept, see ``best_cells``; called whenever more are found.
        level_overlap: IoU above which NMS within a level drops a cell.
        canvas_sizes: see ``Networks.canvas_sizes``.

    Returns:
        Candidates with square boxes of whole numbers, best first.
    """
    shapes = tuple((level.shape[0], level.shape[1]) for level in levels)
    canvases = fixed_layout(shapes, canvas_sizes) if canvas_sizes else layout(shapes)
    dtype = np.uint8 if canvas_sizes else np.float32  # a device converts them itself

    def cells_of(canvas: Canvas) -> Cells:
        pixels = canvas.pixels(levels, dtype)
        return _cells_above(threshold, pnet(network_input(pixels[None]))[0], canvas)

    if not canvases:
        return Candidates(np.zeros((0, 4)), np.zeros(0, dtype=np.float32))
    found: list[Cells] = []
    for start in range(0, len(canvases), CANVASES_AT_ONCE):
        found += run(cells_of, canvases[start : start + CANVASES_AT_ONCE])
        if len(found) > 1:
            found = [Cells(*(np.concatenate(parts) for parts in zip(*found, strict=True)))]
        found = [capped(found[0])]
    # Column by column, as in the reference: of two equal scores the later cell wins.
    (cells,) = found
    cells = cells.take(np.lexsort((cells.rows, cells.columns, cells.levels)))
    boxes = _boxes(cells, np.asarray(scales))
    kept = nms(boxes, cells.scores, level_overlap, groups=cells.levels)
    kept = kept[np.argsort(cells.levels[kept], kind="stable")]
    kept = kept[nms(boxes[kept], cells.scores[kept], overlap)]
    moved = regress(boxes[kept], cells.offsets[kept], inclusive=False)
    return Candidates(np.trunc(square(moved)), cells.scores[kept])


class Cells(NamedTuple):
    """P-Net's cells above the threshold.

    Attributes:
        levels: (N,) index of the level.
        rows, columns: (N,) place in the level, cells.
        scores: (N,) float32 0..1.
        offsets: (N, 4) regression of the box.
    """

    levels: IntArray
    rows: IntArray
    columns: IntArray
    scores: Float32Array
    offsets: FloatArray

    def take(self, rows: IntArray) -> Cells:
        """Some of the cells, by their indices."""
        levels, places = self.levels[rows], (self.rows[rows], self.columns[rows])
        return Cells(levels, *places, self.scores[rows], self.offsets[rows])


def best_cells(cells: Cells, of_level: int, of_all: int) -> Cells:
    """Keep the cells with the highest scores; ``cells`` itself if there are no more than allowed.

    Args:
        cells: N cells, in an order that is kept.
        of_level: maximum number of cells of one level.
        of_all: maximum number of cells.
    """
    if len(cells.scores) <= min(of_level, of_all):  # almost always
        return cells
    best = cells
    for level in np.flatnonzero(np.bincount(cells.levels) > of_level):
        rest = np.flatnonzero(best.levels != level)
        own = np.flatnonzero(best.levels == level)
        own = own[np.argpartition(best.scores[own], -of_level)[-of_level:]]
        best = best.take(np.sort(np.concatenate([own, rest])))
    if len(best.scores) > of_all:
        best = best.take(np.sort(np.argpartition(best.scores, -of_all)[-of_all:]))
    return best


def _cells_above(threshold: float, cells: Float32Array, canvas: Canvas) -> Cells:
    """Select the cells whose probability reaches the threshold, from P-Net's output."""
    logits = cells[0]
    # Most cells are sorted out by their logit, so only a few need the exponential. The bound is a
    # little low, because the float32 probability has to decide, as in the reference.
    odds = min(max(threshold, 1e-6), 1 - 1e-6)
    rows, columns = np.nonzero(logits >= math.log(odds / (1 - odds)) - 1e-3)
    scores = probability(logits[rows, columns])
    above = scores >= threshold
    levels, level_rows, level_columns = canvas.places(rows, columns)
    above &= levels >= 0
    rows, columns = rows[above], columns[above]
    return Cells(
        *(levels[above], level_rows[above], level_columns[above]),
        scores=scores[above],
        offsets=cells[1:, rows, columns].T,
    )


def _boxes(cells: Cells, scales: FloatArray) -> FloatArray:
    """The cells' windows, (N, 4), whole source pixels."""
    corners = np.stack([cells.columns, cells.rows, cells.columns, cells.rows], axis=1)
    edges = STRIDE * corners + (1, 1, CELL, CELL)
    boxes: FloatArray = np.trunc(edges / scales[cells.levels, None])
    return boxes
