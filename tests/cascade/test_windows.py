"""Windows through a network: which pixels it gets when they are turned or mirrored first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_mtcnn.cascade.pyramid import AreaSampler, OctaveSampler
from edge_mtcnn.cascade.windows import WindowSpec, window_outputs
from edge_mtcnn.types import Float32Array

SIZE = 12
SPEC = WindowSpec(size=SIZE, outputs=SIZE * SIZE * 3, batch=(2, 8))
BOXES = np.array([[11.0, 21, 34, 44], [-3, 2, 8, 13], [40, 1, 75, 36]])
QUARTERS = {0: 0, 1: 90, 2: 180, 3: 270}
ROUNDING = 2.5
"""Levels by which two interpolations may differ from one, on average."""


def seen(sampler: Any, **changes: Any) -> Float32Array:
    """The pixels that a network gets for ``BOXES``, (N, SIZE, SIZE, 3)."""

    def flat(pixels: Float32Array) -> Float32Array:
        return pixels.reshape(len(pixels), -1)

    def run(function: Any, items: Any, /) -> list[Any]:
        return [function(item) for item in items]

    output = window_outputs(BOXES, sampler, flat, SPEC, run, **changes)
    return output.reshape(-1, SIZE, SIZE, 3)


@pytest.fixture(params=["area", "octaves"])
def sampler(request: pytest.FixtureRequest) -> Any:
    rng = np.random.default_rng(4)
    rough = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
    image = np.kron(rough, np.ones((8, 8, 1), np.uint8))
    return AreaSampler(image) if request.param == "area" else OctaveSampler(image, 0.1)


@pytest.mark.parametrize("turns", QUARTERS)
def test_a_window_on_its_side_is_the_upright_one_turned(turns: int, sampler: Any) -> None:
    upright = seen(sampler)
    tilts = np.radians([QUARTERS[turns], 0.0, QUARTERS[turns]])
    turned = seen(sampler, tilts=tilts)
    assert np.array_equal(turned[1], upright[1])
    for row in (0, 2):
        # A face that is tilted clockwise is turned counterclockwise to be upright.
        expected = np.rot90(upright[row], turns)
        assert np.abs(turned[row] - expected).mean() < ROUNDING
        if turns:
            assert np.abs(turned[row] - upright[row]).mean() > 10 * ROUNDING


def test_a_window_is_turned_before_it_is_mirrored(sampler: Any) -> None:
    tilts = np.radians([30.0, -20, 0])
    turned = seen(sampler, tilts=tilts)
    both = seen(sampler, tilts=tilts, in_mirror=np.array([True, False, True]))
    assert np.array_equal(both[[0, 2]], turned[[0, 2], :, ::-1])
    assert np.array_equal(both[1], turned[1])
