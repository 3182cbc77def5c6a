"""P-Net: from the octaves to square candidates, see ``edge_mtcnn.cascade.pnet``.

For a fixed size, levels lie on the canvases of the runtime, and the window of each cell is a table.
For any size, a loop takes one level after the other.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_mtcnn.cascade.canvases import CELL, STRIDE, Canvas, layout
from edge_mtcnn.cascade.pyramid import pyramid_scales
from edge_mtcnn.options import DetectorOptions
from export.single.geometry import nms, probability, regressed, square, truncated
from export.single.graph import Graph
from export.single.networks import Network
from export.single.pixels import Octaves, Size, level_of

__all__ = [
    "level_scales",
    "most_octaves",
    "octave_of",
    "propose_dynamic",
    "propose_fixed",
    "used_octaves",
]

LARGEST_SIDE = 32_768
"""Longest shorter side of an image that has all its levels, pixels."""
NO_LIMIT = 2**31 - 1


def level_scales(options: DetectorOptions, size: Size) -> list[float]:
    """Scales of the levels of an image, largest first."""
    return pyramid_scales(*size, options.min_face_size, options.scale_factor, options.max_face_size)


def octave_of(scale: float) -> int:
    """The octave that a level is sampled from, if the image has so many."""
    return max(0, math.floor(-math.log2(scale) + 1e-9))


def most_octaves(options: DetectorOptions, size: Size) -> int:
    """Octaves of an image of this size, as ``OctaveSampler`` makes them."""
    scales = level_scales(options, size)
    smallest = scales[-1] if scales else 1.0
    count, side = 1, min(size)
    while 2.0**-count > smallest and side > 1:
        count, side = count + 1, (side + 1) // 2
    return count


def cell_count(options: DetectorOptions, size: Size) -> int:
    """Cells of P-Net in all levels."""
    scales = level_scales(options, size)
    sides = [[math.ceil(side * scale) for side in size] for scale in scales]
    return sum((math.ceil(h / STRIDE) - 5) * (math.ceil(w / STRIDE) - 5) for h, w in sides)


def used_octaves(graph: Graph, image: str, options: DetectorOptions) -> str:
    """The same for an image of any size, int64 (1,)."""
    return graph(
        "Add", _reached(graph, image, lambda side: most_octaves(options, (side, side)) - 1), 1
    )


def _reached(graph: Graph, image: str, count: Callable[[int], int]) -> str:
    """A count that rises with the shorter side of the image only, int64 (1,)."""
    sides = range(1, LARGEST_SIDE + 1)
    bounds = [
        1 + bisect_left(sides, number, key=count) for number in range(1, count(LARGEST_SIDE) + 1)
    ]
    shorter = graph("ReduceMin", graph.part(graph("Shape", image), 0, 2), keepdims=1)
    larger = graph.cast(graph("GreaterOrEqual", shorter, bounds), np.int64)
    return graph("ReduceSum", larger, [0], keepdims=1)


def propose_fixed(
    graph: Graph, octaves: Octaves, pnet: Network, options: DetectorOptions, size: Size
) -> str:
    """Candidates of an image of a fixed size, (n, 4), worst first."""
    scales = np.array(level_scales(options, size))
    if not len(scales):
        return graph.constant(np.zeros((0, 4), dtype=np.float32))
    levels, shapes = [], []
    for scale in scales:
        height, width = (math.ceil(side * scale) for side in size)
        octave = _fixed_octave(graph, octaves, min(octave_of(scale), len(octaves.images) - 1))
        level = level_of(graph, octave, [height, width], (height, width))
        levels.append(octaves.light.level(graph, level) if octaves.light else level)
        shapes.append((height + height % 2, width + width % 2))
    canvases = layout(tuple(shapes))
    outputs = []
    for canvas in canvases:
        (cells,) = pnet(graph, _pixels(graph, canvas, levels, shapes))
        outputs.append(graph("Reshape", cells, [5, -1]))
    cells = graph("Concat", *outputs, axis=1) if len(outputs) > 1 else outputs[0]
    places, table = _table(canvases, scales)
    logits, offsets = graph.several("Split", 2, cells, [1, 4], axis=0)
    logits = graph("Gather", graph("Reshape", logits, [-1]), places)
    rows = graph.where(graph("GreaterOrEqual", logits, _log_odds(options.thresholds[0])))
    scores = probability(graph, graph("Gather", logits, rows))
    described = graph.cast(graph("Gather", table, rows), np.float32)
    boxes, level = graph.several("Split", 2, described, [4, 1], axis=1)
    # Levels placed side by side: boxes of two levels cannot overlap.
    apart = graph(
        "Mul", level, np.float32(2 * max(size)) * np.array([[1, 0, 1, 0]], dtype=np.float32)
    )
    kept = nms(graph, graph("Add", boxes, apart), scores, options.level_nms, NO_LIMIT)
    kept, _ = graph.several("TopK", 2, kept, graph.length(kept), largest=0)
    cell = graph("Gather", places, graph("Gather", rows, kept))
    return _moved(
        graph,
        graph("Gather", boxes, kept),
        graph("Gather", scores, kept),
        graph("Transpose", graph("Gather", offsets, cell, axis=1), perm=[1, 0]),
        options,
    )


def propose_dynamic(
    graph: Graph, image: str, octaves: Octaves, pnet: Network, options: DetectorOptions
) -> str:
    """The same for an image of any size: one level after the other."""
    scales = np.array(level_scales(options, (LARGEST_SIDE, LARGEST_SIDE)))
    wanted = np.array([octave_of(scale) for scale in scales])
    count = _reached(graph, image, lambda side: len(level_scales(options, (side, side))))
    height_width = graph.cast(graph.part(graph("Shape", image), 0, 2), np.float64)

    def round_(inner: Graph, index: str, *before: str) -> list[str]:
        number = inner("Reshape", index, [1])
        scale = inner("Gather", scales, number)
        octave = _octave(inner, octaves, octaves.sampled(inner, inner("Gather", wanted, number)))
        level = level_of(inner, octave, _level_size(inner, height_width, scale), None)
        if octaves.light:
            level = octaves.light.level(inner, level)
        (cells,) = pnet(inner, level)
        found = _cells(inner, cells, scale, options)
        # The newest come first, so that among equal scores they win.
        return [inner("Concat", *pair, axis=0) for pair in zip(found, before, strict=True)]

    empty = [np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 4), np.float32)]
    state = [(graph.constant(one), np.float32) for one in empty]
    boxes, scores, offsets = graph.loop(count, state, round_)
    if options.max_cells:
        most = graph("Min", graph.length(scores), options.max_cells[1])
        scores, best = graph.several("TopK", 2, scores, most)
        boxes, offsets = graph("Gather", boxes, best), graph("Gather", offsets, best)
    return _moved(graph, boxes, scores, offsets, options)


def _fixed_octave(graph: Graph, octaves: Octaves, index: int) -> str:
    """An octave, (h, w, 3) uint8; the next one instead of the image if that is noisy."""
    image = octaves.images[index]
    if index or octaves.light is None or len(octaves.images) == 1:
        return image
    noisy = graph("Squeeze", graph.cast(octaves.light.finest, np.bool_), [0])
    return graph.branch(noisy, lambda _: octaves.images[1], lambda _: image, np.uint8)


def _octave(graph: Graph, octaves: Octaves, index: str) -> str:
    """An octave, (h, w, 3) uint8, by its index, int64 (1,)."""
    sides = graph("Reshape", graph("Gather", octaves.sides, index), [2])
    shape = graph("Concat", graph.reversed(sides), [3], axis=0)
    start = graph("Gather", octaves.starts, index)
    stop = graph("Add", start, graph("ReduceProd", sides, keepdims=1))
    return graph("Reshape", graph.part(octaves.store, start, stop), shape)


def _level_size(graph: Graph, sides: str, scale: str) -> str:
    """Sides times the scale, rounded up, int64 (2,)."""
    exact = graph("Mul", sides, scale)
    whole = graph.cast(exact, np.int64)
    more = graph("Greater", exact, graph.cast(whole, np.float64))
    return graph("Add", whole, graph.cast(more, np.int64))


def _cells(graph: Graph, cells: str, scale: str, options: DetectorOptions) -> list[str]:
    """Boxes, scores and offsets of a level's cells after NMS, worst first."""
    logits, offsets = graph.several("Split", 2, cells, [1, 4], axis=1)
    # Column by column, the last first.
    by_column = graph("Transpose", logits, perm=[0, 1, 3, 2])
    columns = graph.part(graph("Shape", by_column), 2, 3)
    rows = graph.part(graph("Shape", by_column), 3, 4)
    flat = graph("Reshape", by_column, [-1])
    place = graph.reversed(
        graph.where(graph("GreaterOrEqual", flat, _log_odds(options.thresholds[0])))
    )
    scores = probability(graph, graph("Gather", flat, place))
    if options.max_cells:
        most = graph("Min", graph.length(scores), options.max_cells[0])
        scores, best = graph.several("TopK", 2, scores, most)
        place = graph("Gather", place, best)
    column = graph("Div", place, rows)
    row = graph("Sub", place, graph("Mul", column, rows))
    corner = graph("Concat", graph("Unsqueeze", column, [1]), graph("Unsqueeze", row, [1]), axis=1)
    first = graph.cast(graph("Mul", corner, STRIDE), np.float64)
    edges = [graph("Add", first, np.float64(1)), graph("Add", first, np.float64(CELL))]
    boxes = truncated(graph, graph("Div", graph("Concat", *edges, axis=1), scale))
    kept = graph.reversed(nms(graph, boxes, scores, options.level_nms, NO_LIMIT))
    index = graph(
        "Add", graph("Mul", graph("Gather", row, kept), columns), graph("Gather", column, kept)
    )
    offsets = graph("Gather", graph("Reshape", offsets, [4, -1]), index, axis=1)
    return [
        graph("Gather", boxes, kept),
        graph("Gather", scores, kept),
        graph("Transpose", offsets, perm=[1, 0]),
    ]


def _moved(graph: Graph, boxes: str, scores: str, offsets: str, options: DetectorOptions) -> str:
    """NMS over all levels, regression, squares of whole numbers; worst first."""
    most = options.max_candidates[0] if options.max_candidates else NO_LIMIT
    kept = graph.reversed(nms(graph, boxes, scores, options.nms[0], most))
    boxes, offsets = graph("Gather", boxes, kept), graph("Gather", offsets, kept)
    return truncated(graph, square(graph, regressed(graph, boxes, offsets, inclusive=False)))


def _pixels(graph: Graph, canvas: Canvas, levels: list[str], shapes: list[Size]) -> str:
    """The tiles of a canvas, black in the gaps."""
    layers = []
    for tile in canvas.tiles:
        pixels = levels[tile.level]
        if (tile.height, tile.width) != shapes[tile.level]:
            ends = [tile.top + tile.height, 3 * (tile.left + tile.width)]
            pixels = graph("Slice", pixels, [tile.top, 3 * tile.left], ends, [2, 3])
        below, right = canvas.height - tile.y - tile.height, canvas.width - tile.x - tile.width
        if any((tile.y, tile.x, below, right)):
            pixels = graph("Pad", pixels, [0, 0, tile.y, 3 * tile.x, 0, 0, below, 3 * right])
        layers.append(pixels)
    return graph("Sum", *layers) if len(layers) > 1 else layers[0]


def _table(
    canvases: tuple[Canvas, ...], scales: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int16 | np.int32]]:
    """Where real cells are in P-Net's output, and their windows and levels.

    They are listed in the opposite of the runtime's order, by level, column and row.
    """
    parts, first = [], 0
    for canvas in canvases:
        rows, columns = ((side - 2 + 1) // STRIDE - 4 for side in (canvas.height, canvas.width))
        grid = np.indices((rows, columns)).reshape(2, -1)
        level, row, column = canvas.places(*grid)
        parts.append(np.stack([first + np.arange(rows * columns), level, row, column]))
        first += rows * columns
    places, levels, rows_, columns_ = np.concatenate(parts, axis=1)
    order = np.lexsort((rows_, columns_, levels))[::-1]
    order = order[levels[order] >= 0]
    places, levels, rows_, columns_ = (v[order] for v in (places, levels, rows_, columns_))
    corners = STRIDE * np.stack([columns_, rows_, columns_, rows_], axis=1)
    windows = np.trunc((corners + np.array([1, 1, CELL, CELL])) / scales[levels, None])
    table = np.concatenate([windows, levels[:, None]], axis=1)
    return places.astype(np.int32), table.astype(np.int16 if table.max() < 2**15 else np.int32)


def _log_odds(threshold: float) -> np.float32:
    odds = min(max(threshold, 1e-6), 1 - 1e-6)
    return np.float32(math.log(odds / (1 - odds)))
