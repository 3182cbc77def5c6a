"""Stage 1 of the cascade: P-Net proposes windows that may show a face.

P-Net runs over every level of the image pyramid. Each cell of its output judges a window of 12x12
pixels of the level. The rules are those of the paper (Zhang et al. 2016, "Joint Face Detection and
Alignment Using Multitask Cascaded Convolutional Networks") as the package ``mtcnn`` 0.1.x reads
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from edge_mtcnn.cascade.boxes import IntArray, nms, regress, square
from edge_mtcnn.cascade.candidates import Candidates
from edge_mtcnn.cascade.networks import Map, Network, network_input, probability
from edge_mtcnn.types import Float32Array, FloatArray, ImageArray

__all__ = ["Cells", "best_cells", "propose"]

STRIDE = 2
"""Distance between two neighbouring cells of P-Net, pixels of the level."""
CELL = 12
"""Side of a cell's window, pixels of the level."""
TILE_ROWS, TILE_COLUMNS = 64, 256
"""Largest piece of a level that P-Net sees at once, cells. Its results stay in the cache."""
TILES_AT_ONCE = 64
"""Tiles whose cells are held before they are capped: at most a million cells, about 40 MB."""


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
) -> Candidates:
    """Stage 1: P-Net over every level, NMS within and across levels, regression.

    Levels are cut into overlapping tiles. P-Net does not pad its input, so the cells of the tiles
    are exactly those of the whole level.

    Args:
        levels: the image at each scale, (h, w, 3) uint8 RGB.
        scales: side of each level divided by the side of the image.
        pnet: (1, 1, h, 3 w) float32 pixels to (1, 5, rows, columns).
        threshold: minimum probability of a candidate.
        overlap: IoU above which NMS across levels drops a candidate.
        run: shares the tiles among threads.
        capped: selects the cells that are kept, see ``best_cells``; called whenever more are found.
        level_overlap: IoU above which NMS within a level drops a cell.

    Returns:
        Candidates with square boxes of whole numbers, best first.
    """
    tiles = [tile for index, level in enumerate(levels) for tile in _tiles(index, level)]
    # The largest first, so that the threads end at about the same time.
    tiles.sort(key=lambda tile: tile.rows * tile.columns, reverse=True)

    def cells_of(tile: _Tile) -> Cells:
        pixels = levels[tile.level][tile.window].astype(np.float32)
        return _cells_above(threshold, pnet(network_input(pixels[None]))[0], tile)

    if not tiles:
        return Candidates(np.zeros((0, 4)), np.zeros(0, dtype=np.float32))
    found: list[Cells] = []
    for start in range(0, len(tiles), TILES_AT_ONCE):
        found += run(cells_of, tiles[start : start + TILES_AT_ONCE])
        found = [capped(Cells(*(np.concatenate(parts) for parts in zip(*found, strict=True))))]
    (cells,) = found
    boxes, scores, offsets = _suppressed_in_levels(cells, np.asarray(scales), level_overlap)
    kept = nms(boxes, scores, overlap)
    moved = regress(boxes[kept], offsets[kept], inclusive=False)
    return Candidates(np.trunc(square(moved)), scores[kept])


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


class _Tile(NamedTuple):
    """A piece of a level; all numbers are cells."""

    level: int
    row: int
    column: int
    rows: int
    columns: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the pixels of its cells; at an odd side the last cell lacks one."""
        top, left = self.row * STRIDE, self.column * STRIDE
        height, width = ((n - 1) * STRIDE + CELL for n in (self.rows, self.columns))
        return slice(top, top + height), slice(left, left + width)


def _tiles(index: int, level: ImageArray) -> Iterator[_Tile]:
    """Cut a level into nearly equal tiles; the cut depends on the level's size alone."""
    # The first convolution takes two pixels off, the pool halves and rounds up, and the other
    # convolutions take four cells off.
    rows, columns = (math.ceil((side - 2) / STRIDE) - 4 for side in level.shape[:2])
    for row, next_row in _parts(rows, TILE_ROWS):
        for column, next_column in _parts(columns, TILE_COLUMNS):
            yield _Tile(index, row, column, next_row - row, next_column - column)


def _parts(count: int, largest: int) -> Iterator[tuple[int, int]]:
    """Split ``0..count`` into nearly equal parts of at most ``largest``, as (start, stop)."""
    parts = math.ceil(count / largest)
    return pairwise(count * part // parts for part in range(parts + 1))


def _cells_above(threshold: float, cells: Float32Array, tile: _Tile) -> Cells:
    """Select the cells of a tile whose probability reaches the threshold, from P-Net's output."""
    logits = cells[0]
    # Most cells are sorted out by their logit, so only a few need the exponential. The bound is a
    # little low, because the float32 probability has to decide, as in the reference.
    odds = min(max(threshold, 1e-6), 1 - 1e-6)
    rows, columns = np.nonzero(logits >= math.log(odds / (1 - odds)) - 1e-3)
    scores = probability(logits[rows, columns])
    above = scores >= threshold
    rows, columns = rows[above], columns[above]
    offsets = cells[1:, rows, columns].T
    levels = np.full(len(rows), tile.level)
    return Cells(levels, rows + tile.row, columns + tile.column, scores[above], offsets)


def _suppressed_in_levels(
    cells: Cells, scales: FloatArray, overlap: float
) -> tuple[FloatArray, Float32Array, FloatArray]:
    """Boxes, scores and offsets of the cells that NMS within each level keeps."""
    # Column by column, as in the reference: of two equal scores the later cell wins.
    order = np.lexsort((cells.rows, cells.columns, cells.levels))
    levels, rows, columns = cells.levels[order], cells.rows[order], cells.columns[order]
    scores, offsets = cells.scores[order], cells.offsets[order]
    corners = STRIDE * np.stack([columns, rows], axis=1)
    scale = scales[levels, None]
    boxes = np.hstack([np.trunc((corners + edge) / scale) for edge in (1, CELL)])
    # One NMS for all levels: placed side by side, boxes of different levels cannot overlap.
    shift = levels * (boxes.max(initial=0) + 1)
    kept = nms(boxes + np.outer(shift, (1, 0, 1, 0)), scores, overlap)
    kept = kept[np.argsort(levels[kept], kind="stable")]
    return boxes[kept], scores[kept], offsets[kept]
