"""The pyramid on canvases of a few sizes gives P-Net the cells of each level."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_mtcnn.cascade.canvases import cells_along
from edge_mtcnn.cascade.fixed_canvases import edge_sizes, fixed_layout
from edge_mtcnn.cascade.networks import Networks, network_input
from edge_mtcnn.cascade.pyramid import pyramid_scales

Sizes = tuple[tuple[int, int], ...]

SIZES: Sizes = ((32, 48), (96, 128))
"""Small ones, so that a level of a few hundred pixels is cut and fills several canvases."""
EVEN: Sizes = ((72, 96), (52, 68), (38, 50), (26, 36), (16, 22))
ODD: Sizes = ((101, 77), (72, 55), (50, 38), (37, 27), (26, 19), (19, 14), (13, 12), (11, 11))
LARGE: Sizes = ((301, 275), (212, 195), (12, 601), (333, 12))

# Convolutions of other shapes may add in another order; logits are of the order of 10.
ROUNDING = 2e-4


@pytest.mark.parametrize("shapes", [EVEN, ODD, LARGE])
def test_canvases_show_each_cell_of_each_level_once_and_as_it_is(
    shapes: Sizes, networks: Networks
) -> None:
    random = np.random.default_rng(4)
    levels = [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    expected = [networks.pnet(network_input(one[None].astype(np.float32)))[0] for one in levels]
    seen = [np.zeros(cells.shape[1:], dtype=int) for cells in expected]
    for canvas in fixed_layout(shapes, SIZES):
        pixels = canvas.pixels(levels, np.uint8)
        assert pixels.dtype == np.uint8
        output = networks.pnet(network_input(pixels[None].astype(np.float32)))[0]
        assert canvas.owners is not None
        assert canvas.owners.shape == output.shape[1:]
        rows, columns = np.nonzero(canvas.owners >= 0)
        owners, *places = canvas.places(rows, columns)
        for level in set(owners.tolist()):
            mine = owners == level
            there, here = tuple(place[mine] for place in places), (rows[mine], columns[mine])
            np.add.at(seen[level], there, 1)
            np.testing.assert_allclose(
                output[(slice(None), *here)],
                expected[level][(slice(None), *there)],
                rtol=0,
                atol=ROUNDING,
            )
    assert all((cells == 1).all() for cells in seen)


@pytest.mark.parametrize("shapes", [EVEN, ODD, LARGE])
def test_canvases_have_the_sizes_that_were_given(shapes: Sizes) -> None:
    found = {(canvas.height, canvas.width) for canvas in fixed_layout(shapes, SIZES)}
    assert found <= {*SIZES, *edge_sizes(SIZES)}


def test_levels_of_even_sides_need_no_canvas_for_edges() -> None:
    assert {(canvas.height, canvas.width) for canvas in fixed_layout(EVEN, SIZES)} <= set(SIZES)


def test_levels_too_small_for_a_cell_or_none_at_all_need_no_canvas() -> None:
    assert fixed_layout((), SIZES) == ()
    assert fixed_layout(((9, 40), (40, 10)), SIZES) == ()


def test_any_pyramid_finds_room_for_all_its_cells() -> None:
    random = np.random.default_rng(2)
    sizes = ((224, 256), (448, 480), (672, 704))
    for _ in range(30):
        height, width = random.integers(12, 2500, 2).tolist()
        scales = pyramid_scales(height, width, int(random.integers(12, 90)), 0.709, None)
        shapes = tuple((math.ceil(height * s), math.ceil(width * s)) for s in scales)
        wanted = sum(cells_along(rows) * cells_along(columns) for rows, columns in shapes)
        shown = sum(
            int((canvas.owners >= 0).sum())
            for canvas in fixed_layout(shapes, sizes)
            if canvas.owners is not None
        )
        assert shown == wanted
