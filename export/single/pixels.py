"""What the networks look at: octaves of the image, levels of its pyramid, and windows.

The rules are those of ``edge_mtcnn.cascade.pyramid.OctaveSampler``: octaves are 2x2 averages, levels
and windows are bilinear samples of them, everything is rounded to whole grey levels, and what lies
outside the image is black. All octaves lie in one flat uint8 tensor, the store, planes of colours
one after the other; where no level needs the image itself, it lies there as it came.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.single.graph import Graph, Operand

__all__ = ["Octaves", "Size", "store_octaves", "windows"]

Size = tuple[int, int]
"""Height and width of images, pixels."""
STEPS = 32
"""Places between two pixels that are told apart, as ``cv2.remap`` does."""


@dataclass(frozen=True, slots=True)
class Octaves:
    """The octaves of an image.

    Attributes:
        planes: (1, 3, h, w) float32 of each; empty for the image itself where no level needs it.
        store: (values,) uint8, all octaves one after the other.
        sides: (K, 2) int64, width and height of each.
        starts: (K,) int64, first value of each in the store.
        strides: (K, 3) int64, values from a pixel to the next, to the one below and to the next
            colour.
        used: (1,) int64, how many octaves the pyramid of this image has.
    """

    planes: tuple[str, ...]
    store: str
    sides: str
    starts: str
    strides: str
    used: str


def store_octaves(
    graph: Graph, image: str, count: int, used: str, *, size: Size | None, planar: bool
) -> Octaves:
    """Halve the image ``count - 1`` times.

    Args:
        graph: what is written to.
        image: (h, w, 3) uint8 RGB.
        count: most octaves that an image can need.
        used: see ``Octaves``.
        size: of the image; ``None`` for any.
        planar: a level is sampled from the image itself.
    """
    powers = 2 ** np.arange(count)
    height_width = graph.part(graph("Shape", image), 0, 2)
    width_height = graph.reversed(height_width)
    sides = graph("Div", graph("Add", width_height, powers[:, None] - 1), powers[:, None])
    widths, heights = (graph("Reshape", side, [-1]) for side in graph.columns(sides, 2))
    areas = graph("Mul", widths, heights)
    starts = graph("CumSum", graph("Mul", areas, 3), 0, exclusive=1)
    interleaved = np.arange(count) == (-1 if planar else 0)
    strides = [
        graph.constant(np.where(interleaved, 3, 1)),
        graph("Mul", widths, np.where(interleaved, 3, 1)),
        graph("Where", interleaved, 1, areas),
    ]
    planes, stored = [], []
    for octave in range(count):
        if octave:
            values = _half(graph, planes[-1], size, octave) if planes[-1] else _first(graph, image, size)
            values = graph.rounded(values)
            bytes_ = graph.cast(values, np.uint8)
        else:
            bytes_ = graph("Transpose", image, perm=[2, 0, 1]) if planar else image
            values = graph("Unsqueeze", graph.cast(bytes_, np.float32), [0]) if planar else ""
        planes.append(values)
        stored.append(graph("Reshape", bytes_, [-1]))
    return Octaves(
        planes=tuple(planes),
        store=graph("Concat", *stored, axis=0) if count > 1 else stored[0],
        sides=sides,
        starts=starts,
        strides=graph("Concat", *(graph("Reshape", s, [-1, 1]) for s in strides), axis=1),
        used=used,
    )


def _half(graph: Graph, planes: str, size: Size | None, octave: int) -> str:
    """Average 2x2 pixels of planes; an odd side is first extended by its last row or column."""
    return graph(
        "AveragePool",
        even(graph, planes, size and _halved(size, octave - 1), first_axis=2),
        kernel_shape=[2, 2],
        strides=[2, 2],
    )


def _first(graph: Graph, image: str, size: Size | None) -> str:
    """The same of the image as it came, (h, w, 3) uint8, to planes."""
    image = even(graph, image, size, first_axis=0)
    height, width, _ = graph.several("Split", 3, graph("Shape", image), axis=0)
    shape = graph("Concat", [1, 1], height, graph("Mul", width, 3), axis=0)
    rows = graph("Reshape", graph.cast(image, np.float32), shape)
    kernel: NDArray[np.float32] = np.zeros((3, 1, 2, 6), dtype=np.float32)
    for colour in range(3):
        kernel[colour, 0, :, colour::3] = 0.25
    return graph("Conv", rows, kernel, kernel_shape=[2, 6], strides=[2, 6])


def even(graph: Graph, values: str, size: Size | None, *, first_axis: int) -> str:
    """Repeat the last row and column where a side is odd."""
    if size is not None and not (size[0] % 2 or size[1] % 2):
        return values
    axes = 3 if first_axis == 0 else 4
    sides = graph("Mod", graph("Shape", values), 2)
    # Only the two axes of rows and columns are extended.
    wanted = np.zeros(axes, dtype=np.int64)
    wanted[first_axis : first_axis + 2] = 1
    pads = graph("Concat", np.zeros(axes, dtype=np.int64), graph("Mul", sides, wanted), axis=0)
    return graph("Pad", values, pads, mode="edge")


def _halved(size: Size, times: int) -> Size:
    height, width = (-(-side // 2**times) for side in size)
    return height, width


def windows(
    graph: Graph, octaves: Octaves, boxes: str, size: int, in_mirror: str | None = None
) -> str:
    """Sample square windows.

    Args:
        graph: what is written to.
        octaves: of the image.
        boxes: (n, 4) float32, inclusive, whole numbers.
        size: side of a window, pixels.
        in_mirror: (n, 1) bool, windows that are mirrored; ``None`` for none.

    Returns:
        (n, size, 3 size) float32, rows of interleaved pixels.
    """
    corners = graph.cast(graph.part(boxes, 0, 2, axis=1), np.float64)
    sides = graph("Add", graph("Sub", graph.part(boxes, 2, 3, axis=1), graph.part(boxes, 0, 1, axis=1)), 1.0)
    octave = _octave_of(graph, octaves, sides, size)
    scale = graph("Gather", np.float64(0.5) ** np.arange(MOST_OCTAVES), graph("Unsqueeze", octave, [1]))
    ends = graph("Unsqueeze", graph("Gather", octaves.sides, octave), [2])
    ends_d = graph.cast(ends, np.float64)
    # Pixel centres in the octave, (n, 2, size): columns, then rows.
    centres = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)).astype(np.float64)
    steps = graph("Mul", graph.cast(sides, np.float64), scale)
    first = graph("Sub", graph("Mul", graph("Sub", corners, np.float64(1)), scale), np.float64(0.5))
    if in_mirror is None:
        offsets = graph("Unsqueeze", graph("Mul", steps, centres), [1])
    else:
        across = graph("Where", in_mirror, centres[::-1], centres)
        both = graph("Concat", graph("Unsqueeze", across, [1]), graph("Expand", centres, graph("Shape", graph("Unsqueeze", across, [1]))), axis=1)
        offsets = graph("Mul", graph("Unsqueeze", steps, [2]), both)
    grid = graph("Add", graph("Unsqueeze", first, [2]), offsets)
    grid = graph("Div", graph("Round", graph("Mul", grid, np.float64(STEPS))), np.float64(STEPS))
    grid = graph("Max", graph("Min", grid, ends_d), np.float64(-1))
    lower = graph("Floor", grid)
    share = graph.cast(graph("Sub", grid, lower), np.float32)
    upper = graph("Add", lower, np.float64(1))
    last = graph("Sub", ends_d, np.float64(1))
    stride = graph("Unsqueeze", graph("Gather", octaves.strides, octave), [2])
    (pixel_stride, row_stride, colour_stride) = graph.several("Split", 3, stride, axis=1)
    start = graph("Reshape", graph("Gather", octaves.starts, octave), [-1, 1, 1])
    colours = graph("Mul", colour_stride, np.arange(3)[None, None])
    indices, weights = [], []
    for place, weight in ((lower, graph("Sub", 1.0, share)), (upper, share)):
        inside = graph("And", graph("GreaterOrEqual", place, np.float64(0)), graph("LessOrEqual", place, last))
        weight = graph("Mul", weight, graph.cast(inside, np.float32))
        place = graph.cast(graph("Max", graph("Min", place, last), np.float64(0)), np.int64)
        x, y = graph.several("Split", 2, place, axis=1)
        x = graph("Add", graph("Mul", graph("Reshape", x, [-1, size, 1]), pixel_stride), colours)
        y = graph("Add", graph("Mul", graph("Reshape", y, [-1, size, 1]), row_stride), start)
        indices.append((graph("Reshape", x, [-1, 1, 3 * size]), y))
        wx, wy = graph.several("Split", 2, weight, axis=1)
        wx = graph("Mul", graph("Reshape", wx, [-1, size, 1]), np.ones((1, 1, 3), dtype=np.float32))
        weights.append((graph("Reshape", wx, [-1, 1, 3 * size]), graph("Reshape", wy, [-1, size, 1])))
    lines = []
    for row in range(2):
        ends_of_line = []
        for column in range(2):
            index = graph("Add", indices[row][1], indices[column][0])
            values = graph.cast(graph("Gather", octaves.store, index), np.float32)
            ends_of_line.append(graph("Mul", values, weights[column][0]))
        lines.append(graph("Mul", graph("Add", *ends_of_line), weights[row][1]))
    return graph.rounded(graph("Add", *lines))


MOST_OCTAVES = 16
"""Octaves of an image of up to 32,768 pixels on its shorter side."""


def _octave_of(graph: Graph, octaves: Octaves, sides: str, size: int) -> str:
    """The smallest octave in which a window is at least as large as it is sampled, (n,) int64."""
    bounds = (size * 2.0 ** np.arange(1, MOST_OCTAVES)).astype(np.float32)
    larger = graph.cast(graph("GreaterOrEqual", sides, bounds[None]), np.int64)
    wanted = graph("ReduceSum", larger, [1], keepdims=0)
    return graph("Min", wanted, graph("Sub", octaves.used, 1))
