"""Levels in tiles and side by side on canvases give P-Net every cell once."""

from __future__ import annotations

import numpy as np
import pytest

from edge_mtcnn.cascade import canvases
from edge_mtcnn.cascade.canvases import Canvas, layout
from edge_mtcnn.cascade.networks import Networks, network_input
from edge_mtcnn.types import Float32Array, ImageArray, IntArray

Shapes = tuple[tuple[int, int], ...]

KIOSK: Shapes = ((72, 96), (44, 58), (26, 36), (16, 22))
PHOTO: Shapes = ((432, 768), (308, 546), (218, 388), (154, 274), (110, 194), (78, 138), (56, 98))
ODD: Shapes = ((101, 77), (72, 55), (50, 38), (37, 27), (26, 20), (19, 14), (14, 12))
LONG: Shapes = ((12, 4000), (12, 2836), (300, 12))


def noise(shapes: Shapes) -> list[ImageArray]:
    """A level of each shape."""
    random = np.random.default_rng(4)
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def plain_cells(networks: Networks, level: ImageArray) -> Float32Array:
    """P-Net's output for a whole level, (5, rows, columns)."""
    cells: Float32Array = networks.pnet(network_input(level[None].astype(np.float32)))[0]
    return cells


def owned(canvas: Canvas) -> tuple[IntArray, ...]:
    """Rows and columns of the cells that belong to a tile."""
    if canvas.owners is not None:
        return np.nonzero(canvas.owners >= 0)
    rows, columns = ((side - 1) // 2 - 4 for side in (canvas.height, canvas.width))
    return tuple(np.indices((rows, columns)).reshape(2, -1))


@pytest.mark.parametrize("shapes", [KIOSK, PHOTO, ODD, LONG])
def test_canvases_show_each_cell_of_each_level_once_and_as_it_is(
    shapes: Shapes, networks: Networks
) -> None:
    levels = noise(shapes)
    expected = [plain_cells(networks, level) for level in levels]
    seen = [np.zeros(cells.shape[1:], dtype=int) for cells in expected]
    for canvas in layout(shapes):
        output = networks.pnet(network_input(canvas.pixels(levels)[None]))[0]
        rows, columns = owned(canvas)
        places = canvas.places(rows, columns)
        for level, row, column, y, x in zip(*places, rows, columns, strict=True):
            seen[level][row, column] += 1
            np.testing.assert_allclose(
                output[:, y, x], expected[level][:, row, column], rtol=0, atol=2e-4
            )
    assert all((cells == 1).all() for cells in seen)


def test_the_levels_of_a_kiosk_frame_share_one_canvas() -> None:
    (canvas,) = layout(KIOSK)
    assert len(canvas.tiles) == 4
    assert canvas.height * canvas.width < 1.05 * sum(height * width for height, width in KIOSK)


def test_cells_between_the_levels_belong_to_none() -> None:
    (canvas,) = layout(KIOSK)
    assert canvas.owners is not None
    rows, columns = np.nonzero(canvas.owners < 0)
    assert len(rows) > 100
    assert (canvas.places(rows, columns)[0] == -1).all()


@pytest.mark.parametrize("shapes", [KIOSK, PHOTO, ODD, LONG])
def test_no_canvas_is_larger_than_the_cache_allows_or_mostly_empty(shapes: Shapes) -> None:
    for canvas in layout(shapes):
        assert canvas.height * canvas.width <= canvases.MOST_PIXELS
        shown = sum(tile.height * tile.width for tile in canvas.tiles)
        gaps = canvas.height * canvas.width - shown
        assert gaps <= canvases.RUN_PIXELS * (len(canvas.tiles) - 1)


def test_levels_of_odd_sides_stay_alone() -> None:
    odd, *even = layout(((73, 96), (44, 58), (26, 36)))
    assert [(tile.level, tile.height) for tile in odd.tiles] == [(0, 73)]
    assert sum(len(canvas.tiles) for canvas in even) == 2


def test_levels_too_small_for_a_cell_or_none_at_all_need_no_canvas() -> None:
    assert layout(()) == ()
    assert layout(((9, 40),)) == ()
