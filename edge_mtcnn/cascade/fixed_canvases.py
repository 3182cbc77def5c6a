"""The whole pyramid on canvases of a few sizes, for devices to which each new shape is expensive.

Levels lie beside each other and not one above the other's cells: a cell of P-Net sees 12x12 pixels
of its own level, and cells that would see two levels belong to none. So the cells are those of each
level by itself.

The last cell of an odd side sees one pixel less than the others, because nothing lies behind it.
Levels of odd sides, which only ``resampling="area"`` makes, therefore have their last row and
column of cells cut off and put on narrow canvases of odd sides, flush with the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from edge_mtcnn.cascade.canvases import CELL, Canvas, Tile, cells_along, tiles_of

__all__ = ["Sizes", "edge_sizes", "fixed_layout"]

Sizes = tuple[tuple[int, int], ...]
"""Heights and widths, pixels."""
EDGE = CELL - 1
"""Pixels that the last cell of an odd side sees."""
MOST_TILES = 127
"""Tiles on a canvas, which counts them in ``int8``."""


def edge_sizes(sizes: Sizes) -> Sizes:
    """The sizes of the canvases for the last row and the last column of odd levels."""
    height, width = sizes[-1]
    return (EDGE, width + 1), (height + 1, EDGE)


@lru_cache(maxsize=16)
def fixed_layout(shapes: Sizes, sizes: Sizes) -> tuple[Canvas, ...]:
    """Lay out levels of these heights and widths on canvases of a few sizes.

    Args:
        shapes: heights and widths of the levels.
        sizes: that a canvas may have: even, the smallest first, the last at least as high and as
            wide as the others.

    Returns:
        Canvases that together show every cell of every level once. Each has one of ``sizes`` or of
        ``edge_sizes(sizes)``.
    """
    inner: list[Tile] = []
    bottoms: list[Tile] = []
    rights: list[Tile] = []
    corners: list[Tile] = []
    most = [cells_along(side) for side in sizes[-1]]
    for level, shape in enumerate(shapes):
        for tile in tiles_of(level, *shape, *most):
            height, width = tile.height - tile.height % 2, tile.width - tile.width % 2
            low, right = tile.top + tile.height - EDGE, tile.left + tile.width - EDGE
            odd_height, odd_width = height < tile.height, width < tile.width
            parts = (
                (True, inner, Tile(level, tile.top, tile.left, height, width)),
                (odd_height, bottoms, Tile(level, low, tile.left, EDGE, width)),
                (odd_width, rights, Tile(level, tile.top, right, height, EDGE)),
                (odd_height and odd_width, corners, Tile(level, low, right, EDGE, EDGE)),
            )
            for needed, kind, part in parts:
                if needed and min(part.height, part.width) >= EDGE:
                    kind.append(part)
    row, column = edge_sizes(sizes)
    canvases = [*_on_canvases(inner, sizes), *_on_canvases(rights, (column,))]
    while corners or bottoms:  # a corner has to be flush with two edges, so a canvas has one
        corner = [corners.pop()._replace(x=row[1] - EDGE)] if corners else []
        placed, bottoms = _filled(bottoms, (EDGE, row[1] - EDGE if corner else row[1]))
        canvases.append(Canvas.of(placed + corner, row))
    return tuple(canvases)


def _on_canvases(tiles: list[Tile], sizes: Sizes) -> list[Canvas]:
    """The smallest canvas that holds all tiles, or the largest and then one for the rest."""
    canvases = []
    left = sorted(tiles, key=lambda tile: tile.height * tile.width, reverse=True)
    while left:
        for size in sizes:
            placed, over = _filled(left, size)
            if not over:
                break
        left = over
        canvases.append(Canvas.of(placed, size))
    return canvases


def _filled(tiles: Sequence[Tile], size: tuple[int, int]) -> tuple[list[Tile], list[Tile]]:
    """The tiles that find a place on a canvas, with their places, and the others.

    Each goes where least is left beside it, and splits the free rectangle in two, as in
    ``canvases``.
    """
    free = [(0, 0, *size)]  # y, x, height, width
    placed: list[Tile] = []
    over: list[Tile] = []
    for tile in tiles:
        spots = [
            (min(height - tile.height, width - tile.width), index)
            for index, (_, _, height, width) in enumerate(free)
            if tile.height <= height and tile.width <= width
        ]
        if not spots or len(placed) == MOST_TILES - 1:
            over.append(tile)
            continue
        y, x, height, width = free.pop(min(spots)[1])
        placed.append(tile._replace(y=y, x=x))
        free += [
            (y, x + tile.width, tile.height, width - tile.width),
            (y + tile.height, x, height - tile.height, width),
        ]
    return placed, over
