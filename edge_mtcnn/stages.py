"""The three stages of the cascade: candidates from P-Net, refined by R-Net, finished by O-Net.

The networks come in as callables and the threads as a ``map``; no file, session or provider is
known here. Boxes are as in ``boxes``: source pixels, 1-based and inclusive. The rules are those of
the paper (Zhang et al. 2016, "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks") as the package ``mtcnn`` 0.1.x reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from edge_mtcnn.boxes import IntArray, nms, regress, square
from edge_mtcnn.pyramid import Sampler
from edge_mtcnn.types import FloatArray, ImageArray

__all__ = [
    "Candidates",
    "Cells",
    "Found",
    "Map",
    "Network",
    "best_cells",
    "finish",
    "look_again",
    "propose",
    "refine",
]

Float32Array = npt.NDArray[np.float32]
Network = Callable[[Float32Array], Float32Array]

STRIDE = 2
"""Pixels of a level between two neighbouring cells of P-Net."""
CELL = 12
"""Side of a cell's window in a level, pixels."""
TILE_ROWS, TILE_COLUMNS = 64, 256
"""Cells of the largest piece of a level that P-Net sees at once; what it computes then
stays in the cache."""
TILES_AT_ONCE = 64
"""Tiles whose cells are held before they are capped: a million cells at most, some 40 MB."""
RNET_CHUNKS, ONET_CHUNKS = (8, 32), (2, 8)
"""Fewest and most windows that a network sees at once: with fewer a job costs more than sharing
gains, with more the cache is too small."""
SHARES = 4
"""Chunks are a multiple of it where there are enough windows, so that two or four threads share
them evenly. Their number does not depend on the threads, and so neither do results."""
TIGHT, MIRROR_TIGHT = 0.9, 0.8
"""Sides of the mirror check's windows, in sides of the found box; found on annotated photos."""
_MIRRORED_LANDMARKS = (1, 0, 2, 4, 3)
"""Where each landmark is found in the mirror: left and right change places."""


class Map(Protocol):
    """Runs jobs, perhaps side by side: ``[function(item) for item in items]``."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> list[Any]:
        """The results in the items' order."""


class Candidates(NamedTuple):
    """Boxes on their way through the cascade, best first.

    Attributes:
        boxes: (N, 4) ``x1, y1, x2, y2``, source pixels.
        scores: (N,) float32 0..1, of the stage that gave them.
    """

    boxes: FloatArray
    scores: Float32Array

    def take(self, rows: Any) -> Candidates:
        """Some of the candidates, by slice, mask or indices."""
        return Candidates(self.boxes[rows], self.scores[rows])

    def after(self, boxes: FloatArray) -> Candidates:
        """The same, after boxes that are certain (score 1): (M, 4), square, whole numbers."""
        if not len(boxes):
            return self
        certain = np.ones(len(boxes), dtype=np.float32)
        return Candidates(
            np.concatenate([boxes, self.boxes]), np.concatenate([certain, self.scores])
        )


class Found(NamedTuple):
    """Faces as O-Net leaves them, best first.

    Attributes:
        boxes: (N, 4) ``x1, y1, x2, y2``, source pixels.
        scores: (N,) float32 probabilities 0..1.
        logits: (N,) float32 log odds of a face.
        landmarks: (N, 5, 2) ``x, y``, source pixels.
    """

    boxes: FloatArray
    scores: Float32Array
    logits: Float32Array
    landmarks: FloatArray

    def take(self, rows: Any) -> Found:
        """Some of the faces, by slice, mask or indices."""
        return Found(*(values[rows] for values in self))


def propose(
    levels: Sequence[ImageArray],
    scales: Sequence[float],
    pnet: Network,
    threshold: float,
    overlap: float,
    run: Map,
    capped: Callable[[Cells], Cells] = lambda cells: cells,
) -> Candidates:
    """Stage 1: P-Net over every level, NMS within and across levels, regression.

    Levels are cut into overlapping tiles. P-Net pads nothing, so the tiles give exactly the cells
    that whole levels would.

    Args:
        levels: the image at each scale, (h, w, 3) uint8.
        scales: level side / image side.
        pnet: (1, 1, h, 3 w) float32 pixels to (1, 5, rows, columns).
        threshold: lowest probability of a candidate.
        overlap: IoU above which NMS across levels drops a candidate; within a level it is 0.5.
        run: shares the tiles among threads.
        capped: takes the cells found so far and gives those that go on, see ``best_cells``.

    Returns:
        Candidates with square boxes of whole numbers.
    """
    tiles = [tile for index, level in enumerate(levels) for tile in _tiles(index, level)]
    tiles.sort(key=lambda tile: tile.rows * tile.columns, reverse=True)

    def cells_of(tile: _Tile) -> Cells:
        pixels = levels[tile.level][tile.window].astype(np.float32)
        return _cells_above(threshold, pnet(_rows_of(pixels[None]))[0], tile)

    if not tiles:
        return Candidates(np.zeros((0, 4)), np.zeros(0, dtype=np.float32))
    found: list[Cells] = []
    for start in range(0, len(tiles), TILES_AT_ONCE):
        found += run(cells_of, tiles[start : start + TILES_AT_ONCE])
        found = [capped(Cells(*(np.concatenate(parts) for parts in zip(*found, strict=True))))]
    (cells,) = found
    boxes, scores, offsets = _suppressed_in_levels(cells, np.asarray(scales))
    kept = nms(boxes, scores, overlap)
    moved = regress(boxes[kept], offsets[kept], inclusive=False)
    return Candidates(np.trunc(square(moved)), scores[kept])


def refine(
    candidates: Candidates,
    sampler: Sampler,
    rnet: Network,
    threshold: float,
    overlap: float,
    run: Map,
) -> Candidates:
    """Stage 2: R-Net on each candidate's window, NMS, regression.

    Args:
        candidates: of ``propose``.
        sampler: gives the windows' pixels.
        rnet: (n, 1, 24, 72) float32 pixels to (n, 5).
        threshold: probability that a candidate must exceed.
        overlap: IoU above which NMS drops a candidate.
        run: shares chunks of windows among threads.

    Returns:
        Candidates with square boxes of whole numbers.
    """
    if not len(candidates.boxes):
        return candidates
    output = _window_outputs(candidates.boxes, sampler, rnet, 24, RNET_CHUNKS, run)
    scores = _probability(output[:, 0])
    passed = np.flatnonzero(scores > threshold)
    boxes, scores, offsets = candidates.boxes[passed], scores[passed], output[passed, 1:5]
    kept = nms(boxes, scores, overlap)
    boxes = np.trunc(square(regress(boxes[kept], offsets[kept])))
    real = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)  # a wild regression can turn a box inside out
    return Candidates(boxes[real], scores[kept][real])


def finish(
    candidates: Candidates,
    sampler: Sampler,
    onet: Network,
    threshold: float,
    overlap: float,
    run: Map,
) -> Found:
    """Stage 3: O-Net on each candidate's window, landmarks, regression, NMS by the smaller area.

    Args:
        candidates: of ``refine``.
        sampler: gives the windows' pixels.
        onet: (n, 1, 48, 144) float32 pixels to (n, 15).
        threshold: probability that a face must exceed.
        overlap: intersection over the smaller area above which NMS drops a face.
        run: shares chunks of windows among threads.
    """
    output = _window_outputs(candidates.boxes, sampler, onet, 48, ONET_CHUNKS, run)
    scores = _probability(output[:, 0])
    passed = np.flatnonzero(scores > threshold)
    windows, scores, output = candidates.boxes[passed], scores[passed], output[passed]
    boxes = regress(windows, output[:, 1:5])
    kept = nms(boxes, scores, overlap, "min")
    return Found(
        boxes=boxes[kept],
        scores=scores[kept],
        logits=output[kept, 0],
        landmarks=_landmarks(windows[kept], output[kept]),
    )


def look_again(found: Found, sampler: Sampler, onet: Network, run: Map) -> list[Found]:
    """The mirror check: O-Net reads each found face twice more, once of them in the mirror.

    A face stays a face in the mirror and in a tighter window; what only resembled one often does
    not. The authors' MATLAB code averages the mirrored landmarks too. Both windows are cut from the
    finished box: they sit better than the first, which R-Net placed, and tight ones give the better
    landmarks.

    Args:
        found: of ``finish``.
        sampler: gives the windows' pixels.
        onet: as for ``finish``.
        run: shares chunks of windows among threads.

    Returns:
        Both further readings: the same faces with the logits and landmarks of the tight window, and
        with those of its mirror image, mirrored back.
    """
    boxes = square(found.boxes)
    windows = np.concatenate([_scaled(boxes, TIGHT), _scaled(boxes, MIRROR_TIGHT)])
    in_mirror = np.arange(len(windows)) >= len(boxes)
    output = _window_outputs(windows, sampler, onet, 48, ONET_CHUNKS, run, in_mirror)
    seen = output[in_mirror, 5:].reshape(-1, 5, 2)[:, _MIRRORED_LANDMARKS]
    seen[:, :, 0] = 1 - seen[:, :, 0]
    output[in_mirror, 5:] = seen.reshape(-1, 10)
    landmarks = _landmarks(windows, output)
    return [
        found._replace(logits=output[rows, 0], landmarks=landmarks[rows])
        for rows in (~in_mirror, in_mirror)
    ]


def _landmarks(windows: FloatArray, output: Float32Array) -> FloatArray:
    """O-Net's landmarks, fractions of the windows, in source pixels: (N, 5, 2) ``x, y``."""
    sides = windows[:, 2:] - windows[:, :2] + 1
    return windows[:, None, :2] + sides[:, None] * output[:, 5:].reshape(-1, 5, 2) - 1


def _scaled(boxes: FloatArray, factor: float) -> FloatArray:
    """Boxes with the same centres and sides ``factor`` times as long, of whole numbers."""
    centres = np.tile((boxes[:, :2] + boxes[:, 2:]) / 2, 2)
    return np.trunc(centres + (boxes - centres) * factor)


class _Tile(NamedTuple):
    """A piece of a level, in cells."""

    level: int
    row: int
    column: int
    rows: int
    columns: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The pixels that its cells look at; the last cell of an odd side lacks one pixel."""
        top, left = self.row * STRIDE, self.column * STRIDE
        height, width = ((n - 1) * STRIDE + CELL for n in (self.rows, self.columns))
        return slice(top, top + height), slice(left, left + width)


def _tiles(index: int, level: ImageArray) -> Iterator[_Tile]:
    """Cut a level into nearly equal tiles; the cut depends on the level's size alone."""
    # Two pixels go in the first convolution, the pool halves and rounds up, four cells go after it.
    rows, columns = (math.ceil((side - 2) / STRIDE) - 4 for side in level.shape[:2])
    for row, next_row in _parts(rows, TILE_ROWS):
        for column, next_column in _parts(columns, TILE_COLUMNS):
            yield _Tile(index, row, column, next_row - row, next_column - column)


def _parts(count: int, largest: int) -> Iterator[tuple[int, int]]:
    """``0..count`` in nearly equal parts of at most ``largest``, as (start, stop)."""
    parts = math.ceil(count / largest)
    return pairwise(count * part // parts for part in range(parts + 1))


def _shares(count: int, fewest: int, most: int) -> Iterator[tuple[int, int]]:
    """``0..count`` in nearly equal chunks of ``fewest`` to ``most``, as (start, stop).

    A multiple of ``SHARES`` where there is enough; a few are one chunk.
    """
    chunks = math.ceil(count / most)
    chunks = max(min(chunks + -chunks % SHARES, count // fewest), 1)
    return pairwise(count * chunk // chunks for chunk in range(chunks + 1 if count else 0))


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
    """The cells with the highest scores; ``cells`` itself when there are no more than allowed.

    Args:
        cells: N cells in any order, which is kept.
        of_level: most cells of one level.
        of_all: most cells.
    """
    if len(cells.scores) <= min(of_level, of_all):  # as good as always
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


def _cells_above(threshold: float, cells: Float32Array, tile: _Tile) -> Cells:
    logits = cells[0]
    # The sigmoid of a few survivors costs less than that of every cell; a little below the
    # threshold the logits decide, at it the float32 probabilities, as in the reference.
    odds = min(max(threshold, 1e-6), 1 - 1e-6)
    rows, columns = np.nonzero(logits >= math.log(odds / (1 - odds)) - 1e-3)
    scores = _probability(logits[rows, columns])
    above = scores >= threshold
    rows, columns = rows[above], columns[above]
    offsets = cells[1:, rows, columns].T
    levels = np.full(len(rows), tile.level)
    return Cells(levels, rows + tile.row, columns + tile.column, scores[above], offsets)


def _suppressed_in_levels(
    cells: Cells, scales: FloatArray
) -> tuple[FloatArray, Float32Array, FloatArray]:
    """Boxes, scores and offsets of the cells that stay after NMS within each level."""
    # Column by column: of equal scores the later cell wins, and the reference lists them so.
    order = np.lexsort((cells.rows, cells.columns, cells.levels))
    levels, rows, columns = cells.levels[order], cells.rows[order], cells.columns[order]
    scores, offsets = cells.scores[order], cells.offsets[order]
    corners = STRIDE * np.stack([columns, rows], axis=1)
    scale = scales[levels, None]
    boxes = np.hstack([np.trunc((corners + edge) / scale) for edge in (1, CELL)])
    # One NMS for all levels: side by side, their boxes cannot meet.
    shift = levels * (boxes.max(initial=0) + 1)
    kept = nms(boxes + np.outer(shift, (1, 0, 1, 0)), scores, 0.5)
    kept = kept[np.argsort(levels[kept], kind="stable")]
    return boxes[kept], scores[kept], offsets[kept]


def _window_outputs(
    boxes: FloatArray,
    sampler: Sampler,
    network: Network,
    size: int,
    chunks: tuple[int, int],
    run: Map,
    in_mirror: npt.NDArray[np.bool_] | None = None,
) -> Float32Array:
    """The network's output for each box's window, in chunks of windows that are cheap together."""

    def outputs_of(rows: Any) -> Float32Array:
        pixels = sampler.windows(boxes[rows], size)
        if in_mirror is not None:
            flipped = in_mirror[rows]
            pixels[flipped] = pixels[flipped, :, ::-1]
        return network(_rows_of(pixels))

    if not len(boxes):
        return np.zeros((0, 15), dtype=np.float32)
    if len(boxes) < 2 * chunks[0]:  # one chunk, in any order
        return outputs_of(slice(None))
    order = np.argsort(sampler.groups(boxes, size), kind="stable")
    outputs = run(outputs_of, [order[start:stop] for start, stop in _shares(len(order), *chunks)])
    output = np.concatenate(outputs)
    in_order = np.empty_like(output)
    in_order[order] = output
    return in_order


def _rows_of(pixels: Float32Array) -> Float32Array:
    """(N, H, W, 3) pixels as the networks take them: (N, 1, H, 3 W), the same memory."""
    count, height, width, channels = pixels.shape
    return pixels.reshape(count, 1, height, width * channels)


def _probability(logits: Float32Array) -> Float32Array:
    """The probability of a face, float32: saturated scores tie at 1.0 as in the reference."""
    with np.errstate(over="ignore"):
        return np.float32(1) / (np.float32(1) + np.exp(-logits))
