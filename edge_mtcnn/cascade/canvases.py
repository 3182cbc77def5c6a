"""What P-Net sees at once: large levels in tiles, small levels beside each other on one canvas.

P-Net does not pad its input, so a tile gives exactly the cells of its part of the level, whatever
lies beside it on the canvas. Each run costs the same few steps in Python and ONNX Runtime however
small it is, and the smaller levels of a pyramid are as small as thumbnails.

These canvases fit the caches of processors; those for devices are in ``fixed_canvases``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_mtcnn.types import ImageArray, IntArray

__all__ = [
    "CELL",
    "STRIDE",
    "TILE_COLUMNS",
    "TILE_ROWS",
    "Canvas",
    "Tile",
    "cells_along",
    "layout",
    "tiles_of",
]

STRIDE = 2
"""Distance between two neighbouring cells of P-Net, pixels of the level."""
CELL = 12
"""Side of a cell's window, pixels of the level."""
TILE_ROWS, TILE_COLUMNS = 64, 256
"""Largest canvas, cells: what P-Net computes for it stays in the cache."""
RUN_PIXELS = 2000
"""A run costs as much as this many pixels more; canvases with larger gaps would not pay."""


class Tile(NamedTuple):
    """A piece of a level, and its place on a canvas.

    Attributes:
        level: index of the level.
        top, left: first row and column in the level, pixels.
        height, width: pixels.
        y, x: first row and column on the canvas, pixels.
    """

    level: int
    top: int
    left: int
    height: int
    width: int
    y: int = 0
    x: int = 0

    @property
    def packs(self) -> bool:
        """Whether it may have neighbours: it is small, and its sides are even.

        The last cell of an odd side lacks a row of pixels, and would see that of the neighbour.
        """
        even = self.height % 2 == 0 and self.width % 2 == 0
        return even and 2 * self.height * self.width < MOST_PIXELS

    def part_of(self, levels: Sequence[ImageArray]) -> ImageArray:
        """Its pixels."""
        rows = slice(self.top, self.top + self.height)
        columns = slice(self.left, self.left + self.width)
        return levels[self.level][rows, columns]


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Tiles that P-Net sees in one run.

    Attributes:
        height, width: pixels.
        tiles: what is on it.
        owners: (rows, columns) index of the tile that each cell belongs to, -1 in the gaps;
            ``None`` if there is one tile only.
        levels: (T + 1,) level of each tile, and -1 for the gaps.
        shifts: (T + 1, 2) row and column in the level of the canvas's first cell.
    """

    height: int
    width: int
    tiles: tuple[Tile, ...]
    owners: npt.NDArray[np.int8] | None
    levels: IntArray
    shifts: IntArray

    @classmethod
    def of(cls, tiles: Sequence[Tile], size: tuple[int, int] | None = None) -> Canvas:
        """The smallest canvas that holds the tiles at their places, or one of a fixed size."""
        height, width = size or (
            max(tile.y + tile.height for tile in tiles),
            max(tile.x + tile.width for tile in tiles),
        )
        owners = None
        if size is not None or len(tiles) > 1:
            owners = np.full((cells_along(height), cells_along(width)), -1, dtype=np.int8)
            for index, tile in enumerate(tiles):
                rows = slice(tile.y // STRIDE, tile.y // STRIDE + cells_along(tile.height))
                columns = slice(tile.x // STRIDE, tile.x // STRIDE + cells_along(tile.width))
                owners[rows, columns] = index
        return cls(
            *(height, width, tuple(tiles), owners),
            levels=np.array([*(tile.level for tile in tiles), -1]),
            shifts=np.array([*((t.top - t.y, t.left - t.x) for t in tiles), (0, 0)]) // STRIDE,
        )

    def pixels(self, levels: Sequence[ImageArray], dtype: Any = np.float32) -> Any:
        """The tiles' pixels, (height, width, 3) 0..255, black in the gaps."""
        if self.owners is None:
            return self.tiles[0].part_of(levels).astype(dtype)
        pixels = np.zeros((self.height, self.width, 3), dtype=dtype)
        for tile in self.tiles:
            place = pixels[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            place[:] = tile.part_of(levels)
        return pixels

    def places(self, rows: IntArray, columns: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Level, and row and column in the level, of cells of the canvas; level -1 in the gaps."""
        owners = np.zeros_like(rows) if self.owners is None else self.owners[rows, columns]
        shifts = self.shifts[owners]
        return self.levels[owners], rows + shifts[:, 0], columns + shifts[:, 1]


@lru_cache(maxsize=16)
def layout(shapes: tuple[tuple[int, int], ...]) -> tuple[Canvas, ...]:
    """Lay out levels of these heights and widths; it depends on nothing else.

    Returns:
        Canvases that together show every cell of every level once, roughly the largest first, so
        that threads end at about the same time.
    """
    tiles = [tile for level, shape in enumerate(shapes) for tile in tiles_of(level, *shape)]
    tiles.sort(key=lambda tile: tile.height * tile.width, reverse=True)
    alone = [[tile] for tile in tiles if not tile.packs]
    packed = _packed([tile for tile in tiles if tile.packs])
    return tuple(Canvas.of(tiles) for tiles in alone + packed)


def _packed(tiles: Sequence[Tile]) -> list[list[Tile]]:
    """Put tiles, the largest first, on as few canvases as pay."""
    canvases: list[_Packing] = []
    for tile in tiles:
        if not any(canvas.add(tile) for canvas in canvases):
            canvases.append(_Packing(tile))
    return [canvas.tiles for canvas in canvases]


class _Packing:
    """A canvas that is being filled: a tile goes where the canvas grows least.

    Free rectangles are split in two by each tile ("guillotine", Jylanki 2010, "A Thousand Ways to
    Pack the Bin").
    """

    def __init__(self, first: Tile) -> None:
        self.tiles: list[Tile] = []
        self._height = self._width = 0
        self._free = [(0, 0, _side(TILE_ROWS), _side(TILE_COLUMNS))]  # y, x, height, width
        self._put(first, 0)

    def add(self, tile: Tile) -> bool:
        """Put a tile on the canvas if that costs less than a run of its own."""
        area = self._height * self._width
        growths = [
            (
                max(self._height, y + tile.height) * max(self._width, x + tile.width) - area
                if tile.height <= height and tile.width <= width
                else MOST_PIXELS
            )
            for y, x, height, width in self._free
        ]
        least = min(growths, default=MOST_PIXELS)
        if least > tile.height * tile.width + RUN_PIXELS:
            return False
        self._put(tile, growths.index(least))
        return True

    def _put(self, tile: Tile, spot: int) -> None:
        y, x, height, width = self._free.pop(spot)
        self.tiles.append(tile._replace(y=y, x=x))
        self._height = max(self._height, y + tile.height)
        self._width = max(self._width, x + tile.width)
        self._free += [
            (y, x + tile.width, tile.height, width - tile.width),
            (y + tile.height, x, height - tile.height, width),
        ]


def tiles_of(
    level: int, height: int, width: int, rows: int = TILE_ROWS, columns: int = TILE_COLUMNS
) -> Iterator[Tile]:
    """Cut a level into nearly equal tiles, which overlap by what their cells share.

    A tile has at most so many rows and columns of cells.
    """
    for top, bottom in _parts(height, rows):
        for left, right in _parts(width, columns):
            yield Tile(level, top, left, bottom - top, right - left)


def _parts(side: int, most: int) -> Iterator[tuple[int, int]]:
    """First pixel and end of each part of a side of a level; a part has at most ``most`` cells."""
    cells = cells_along(side)
    parts = math.ceil(cells / most)
    edges = [cells * part // parts for part in range(parts + 1)] if cells > 0 else []
    for first, end in pairwise(edges):
        yield first * STRIDE, min(first * STRIDE + _side(end - first), side)


def cells_along(side: int) -> int:
    """Cells along a side of so many pixels.

    The first convolution takes two pixels off, the pool halves and rounds up, and the other
    convolutions take four cells off.
    """
    return math.ceil((side - 2) / STRIDE) - 4


def _side(cells: int) -> int:
    """Pixels that so many cells see."""
    return (cells - 1) * STRIDE + CELL


MOST_PIXELS = _side(TILE_ROWS) * _side(TILE_COLUMNS)
"""Pixels of the largest canvas."""
