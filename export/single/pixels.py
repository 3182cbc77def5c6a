"""What the networks look at: octaves of the image, levels of its pyramid, and windows.

The rules are those of ``edge_mtcnn.cascade.pyramid.OctaveSampler``: octaves are 2x2 averages,
levels and windows are bilinear samples of them, everything is rounded to whole grey levels as
OpenCV does, and what lies outside the image is black. Pixels are RGB, interleaved. All octaves lie
one after the other in one flat tensor, the store, from which windows are gathered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.single.exposure import Light
from export.single.graph import Graph, Operand

__all__ = ["MOST_OCTAVES", "Octaves", "Size", "level_of", "store_octaves", "windows"]

Size = tuple[int, int]
"""Height and width of images, pixels."""
MOST_OCTAVES = 16
"""Octaves of an image of any size: enough for 32,768 pixels on the shorter side."""
STEPS = 32
"""Places between two pixels that ``cv2.remap`` tells apart."""
WEIGHTS = 2048
"""Weights of two pixels that ``cv2.resize`` tells apart."""


@dataclass(frozen=True, slots=True)
class Octaves:
    """The octaves of an image.

    Attributes:
        images: (h, w, 3) uint8, each.
        store: (pixels, 3) uint8, all of them one after the other.
        sides: (K, 2) int64, width and height of each.
        starts: (K,) int64, first pixel of each in the store.
        used: (1,) int64, how many octaves the pyramid of this image has.
        light: how dark places are brightened; ``None`` for never.
    """

    images: tuple[str, ...]
    store: str
    sides: str
    starts: str
    used: str
    light: Light | None

    def sampled(self, graph: Graph, wanted: Operand) -> str:
        """Indices of the octaves that are sampled for those that suit best."""
        if self.light:
            wanted = graph("Max", wanted, self.light.finest)
        return graph("Min", wanted, graph("Sub", self.used, 1))


def store_octaves(
    graph: Graph, image: str, count: int, used: str, size: Size | None, light: Light | None
) -> Octaves:
    """Halve an image ``count - 1`` times.

    Args:
        graph: what is written to.
        image: (h, w, 3) uint8 RGB.
        count: most octaves that an image can need.
        used: see ``Octaves``.
        size: of the image; ``None`` for any.
        light: see ``Octaves``.
    """
    powers = 2 ** np.arange(count)[:, None]
    width_height = graph.reversed(graph.part(graph("Shape", image), 0, 2))
    sides = graph("Div", graph("Add", width_height, powers - 1), powers)
    areas = graph("ReduceProd", sides, axes=[1], keepdims=0)
    images, planes = [image], ""
    for octave in range(1, count):
        larger = size and _halved(size, octave - 1)
        planes = _half(graph, planes, larger) if planes else _first_half(graph, image, larger)
        planes = graph.rounded(planes)
        interleaved = graph("Transpose", graph.cast(planes, np.uint8), perm=[0, 2, 3, 1])
        images.append(graph("Squeeze", interleaved, [0]))
    stored = [graph("Reshape", octave, [-1, 3]) for octave in images]
    return Octaves(
        images=tuple(images),
        store=graph("Concat", *stored, axis=0),
        sides=sides,
        starts=graph("CumSum", areas, 0, exclusive=1),
        used=used,
        light=light,
    )


def _halved(size: Size, times: int) -> Size:
    height, width = (-(-side // 2**times) for side in size)
    return height, width


def _half(graph: Graph, planes: str, size: Size | None) -> str:
    """Average 2x2 pixels of planes, (1, 3, h, w) float32."""
    planes = _even(graph, planes, 2, size)
    return graph("AveragePool", planes, kernel_shape=[2, 2], strides=[2, 2])


def _first_half(graph: Graph, image: str, size: Size | None) -> str:
    """The same of an interleaved image, (h, w, 3) uint8, to planes."""
    image = _even(graph, image, 0, size)
    height, width, _ = graph.several("Split", 3, graph("Shape", image), axis=0)
    shape = graph("Concat", [1, 1], height, graph("Mul", width, 3), axis=0)
    kernel: NDArray[np.float32] = np.zeros((3, 1, 2, 6), dtype=np.float32)
    for colour in range(3):
        kernel[colour, 0, :, colour::3] = 0.25
    rows = graph("Reshape", graph.cast(image, np.float32), shape)
    return graph("Conv", rows, kernel, kernel_shape=[2, 6], strides=[2, 6])


def _even(graph: Graph, values: str, axis: int, size: Size | None) -> str:
    """Repeat the last row and column where a side is odd.

    Args:
        graph: what is written to.
        values: pixels.
        axis: of the rows; that of the columns follows.
        size: what is known of the sides; ``None`` for nothing.
    """
    if size is not None and size[0] % 2 == size[1] % 2 == 0:
        return values
    rank = axis + 2 + (axis == 0)
    wanted: NDArray[np.int64] = np.zeros(rank, dtype=np.int64)
    wanted[axis : axis + 2] = 1
    odd = graph("Mul", graph("Mod", graph("Shape", values), 2), wanted)
    return graph("Pad", values, graph("Concat", wanted * 0, odd, axis=0), mode="edge")


def level_of(graph: Graph, octave: str, level: Operand, size: Size | None) -> str:
    """Sample a level of the pyramid as ``cv2.resize`` does, whose weights are whole numbers.

    Args:
        graph: what is written to.
        octave: (h, w, 3) uint8, at least as large.
        level: height and width of the level, int64 (2,).
        size: the same, if it is known.

    Returns:
        (1, 1, height, 3 width) float32 of whole numbers, rows of interleaved pixels. The sides are
        even; where one would be odd, its last row or column is repeated.
    """
    sides = graph.part(graph("Shape", octave), 0, 2)
    (y0, y1, low, high), (x0, x1, left, right) = (
        _taps(
            graph,
            graph.part(sides, axis, axis + 1),
            graph.part(level, axis, axis + 1)
            if isinstance(level, str)
            else graph.constant(np.asarray(level)[axis : axis + 1]),
        )
        for axis in range(2)
    )
    parts = []
    for columns, weight in ((x0, left), (x1, right)):
        pixels = graph.cast(_lines(graph, graph("Gather", octave, columns, axis=1)), np.float32)
        parts.append(graph("Mul", pixels, _thrice(graph, weight)))
    across = graph("Floor", graph("Mul", graph("Add", *parts), 1 / 16))
    parts = []
    for rows, weight in ((y0, low), (y1, high)):
        weight = graph("Unsqueeze", graph("Mul", weight, 1 / 65536), [1])
        parts.append(graph("Floor", graph("Mul", graph("Gather", across, rows, axis=0), weight)))
    total = graph("Add", graph("Add", *parts), 2.0)
    pixels = graph("Floor", graph("Mul", total, 0.25))
    if size is None or size[0] % 2 or size[1] % 2:
        pixels = _even(graph, graph("Reshape", pixels, [0, -1, 3]), 0, size)
        pixels = _lines(graph, pixels)
    return graph("Unsqueeze", pixels, [0, 1])


def _lines(graph: Graph, pixels: str) -> str:
    """(h, w, 3) as (h, 3 w), the same memory."""
    return graph("Reshape", pixels, [0, -1])


def _thrice(graph: Graph, values: str) -> str:
    """(n,) as (3 n,), each value for the three colours of a pixel."""
    return graph("Reshape", graph("Expand", graph("Unsqueeze", values, [1]), [1, 3]), [-1])


def _taps(graph: Graph, source: str, target: str) -> tuple[str, str, str, str]:
    """Two pixels of a side for each of another one, and their weights, 0..2048 together."""
    ratio = graph("Div", graph.cast(source, np.float64), graph.cast(target, np.float64))
    number = graph("Range", np.int64(0), graph("Squeeze", target, [0]), np.int64(1))
    centre = graph("Add", graph.cast(number, np.float64), np.float64(0.5))
    place = graph.cast(graph("Sub", graph("Mul", centre, ratio), np.float64(0.5)), np.float32)
    last = graph.cast(graph("Sub", source, 1), np.float32)
    # Beyond the first and the last pixel, their values stay.
    place = graph("Min", graph("Max", place, 0.0), last)
    first = graph("Floor", place)
    second = graph("Min", graph("Add", first, 1.0), last)
    weight = graph("Round", graph("Mul", graph("Sub", place, first), float(WEIGHTS)))
    near, far = (graph.cast(pixel, np.int64) for pixel in (first, second))
    return near, far, graph("Sub", float(WEIGHTS), weight), weight


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
        (n, size, 3 size) float32 of whole numbers, rows of interleaved pixels.
    """
    corners = graph.part(boxes, 0, 2, axis=1)
    sides = graph("Add", graph("Sub", graph.part(boxes, 2, 4, axis=1), corners), 1.0)
    octave = _octave_of(graph, octaves, graph.part(sides, 0, 1, axis=1), size)
    ends = graph("Gather", octaves.sides, octave)
    grid = _grid(graph, corners, sides, octave, size, in_mirror)
    limits = graph("Unsqueeze", graph.cast(ends, np.float64), [2])
    grid = graph("Max", graph("Min", grid, limits), np.float64(-1))
    row = graph.part(ends, 0, 1, axis=1)
    start = graph("Unsqueeze", graph("Gather", octaves.starts, octave), [1])
    first = graph("Floor", grid)
    share = graph.cast(graph("Sub", grid, first), np.float32)
    last = graph("Sub", limits, np.float64(1))
    near = _tap(graph, first, graph("Sub", 1.0, share), last, row, start, size)
    far = _tap(graph, graph("Add", first, np.float64(1)), share, last, row, start, size)
    lines = []
    for _, rows, _, down in (near, far):
        parts = []
        for columns, _, across, _ in (near, far):
            pixels = graph("Gather", octaves.store, graph("Add", rows, columns))
            pixels = graph.cast(graph("Reshape", pixels, [-1, size, 3 * size]), np.float32)
            parts.append(graph("Mul", pixels, across))
        lines.append(graph("Mul", graph("Add", *parts), down))
    pixels = graph("Round", graph("Add", *lines))
    return octaves.light.windows(graph, pixels, size, in_mirror) if octaves.light else pixels


def _octave_of(graph: Graph, octaves: Octaves, sides: str, size: int) -> str:
    """The smallest octave in which a window is at least as large as it is sampled, (n,) int64."""
    bounds = (size * 2.0 ** np.arange(1, MOST_OCTAVES)).astype(np.float32)
    larger = graph.cast(graph("GreaterOrEqual", sides, bounds[None]), np.int64)
    wanted = graph("ReduceSum", larger, [1], keepdims=0)
    return octaves.sampled(graph, wanted)


def _grid(
    graph: Graph, corners: str, sides: str, octave: str, size: int, in_mirror: str | None
) -> str:
    """Columns and rows of the pixels of windows in their octaves, (n, 2, size) float64."""
    scale = graph("Gather", 0.5 ** np.arange(MOST_OCTAVES), graph("Unsqueeze", octave, [1]))
    centres = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)).astype(
        np.float64
    )
    if in_mirror is None:
        places: Operand = centres[None, None]
    else:
        across = graph("Unsqueeze", graph("Where", in_mirror, centres[::-1], centres), [1])
        down = graph("Expand", centres, graph("Shape", across))
        places = graph("Concat", across, down, axis=1)
    steps = graph("Unsqueeze", graph("Mul", graph.cast(sides, np.float64), scale), [2])
    first = graph("Mul", graph.cast(graph("Sub", corners, 1.0), np.float64), scale)
    first = graph("Unsqueeze", graph("Sub", first, np.float64(0.5)), [2])
    grid = graph("Add", first, graph("Mul", steps, places))
    grid = graph("Round", graph("Mul", grid, np.float64(STEPS)))
    return graph("Mul", grid, np.float64(1 / STEPS))


def _tap(
    graph: Graph, place: str, weight: str, last: str, row: str, start: str, size: int
) -> tuple[str, str, str, str]:
    """What of the store is gathered for columns and for rows, and their weights.

    Returns:
        (n, 1, size) and (n, size, 1) int64, to be added; (n, 1, 3 size) and (n, size, 1) float32.
        Pixels outside the image have the weight 0.
    """
    inside = graph(
        "And", graph("GreaterOrEqual", place, np.float64(0)), graph("LessOrEqual", place, last)
    )
    weight = graph("Mul", weight, graph.cast(inside, np.float32))
    place = graph.cast(graph("Max", graph("Min", place, last), np.float64(0)), np.int64)
    columns, rows = (graph("Squeeze", one, [1]) for one in graph.several("Split", 2, place, axis=1))
    rows = graph("Add", graph("Mul", rows, row), start)
    across, down = graph.several("Split", 2, weight, axis=1)
    across = graph("Mul", graph("Reshape", across, [-1, size, 1]), np.ones((1, 1, 3), np.float32))
    return (
        graph("Unsqueeze", columns, [1]),
        graph("Unsqueeze", rows, [2]),
        graph("Reshape", across, [-1, 1, 3 * size]),
        graph("Reshape", down, [-1, size, 1]),
    )
