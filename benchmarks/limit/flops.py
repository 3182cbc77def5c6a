"""Floating-point operations of the cascade, counted from the shapes of its layers.

The networks are those of the paper, without the padded channels of the runtime forms: the work
that the result needs. A multiply-add counts as two operations. Pools, PReLU and biases are left
out, as usual; they are less than 2 % of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Conv(NamedTuple):
    """A convolution without padding, stride 1."""

    inputs: int
    outputs: int
    kernel: int


class Pool(NamedTuple):
    """Maximum over a window; ``padded`` rounds the size up, else down."""

    window: int
    stride: int
    padded: bool


class Dense(NamedTuple):
    """A fully connected layer."""

    inputs: int
    outputs: int


Layer = Conv | Pool | Dense

PNET: tuple[Layer, ...] = (
    Conv(3, 10, 3),
    Pool(2, 2, padded=True),
    Conv(10, 16, 3),
    Conv(16, 32, 3),
    Conv(32, 2 + 4, 1),
)
RNET: tuple[Layer, ...] = (
    Conv(3, 28, 3),
    Pool(3, 2, padded=True),
    Conv(28, 48, 3),
    Pool(3, 2, padded=False),
    Conv(48, 64, 2),
    Dense(3 * 3 * 64, 128),
    Dense(128, 2 + 4),
)
ONET: tuple[Layer, ...] = (
    Conv(3, 32, 3),
    Pool(3, 2, padded=True),
    Conv(32, 64, 3),
    Pool(3, 2, padded=False),
    Conv(64, 64, 3),
    Pool(2, 2, padded=True),
    Conv(64, 128, 2),
    Dense(3 * 3 * 128, 256),
    Dense(256, 2 + 4 + 10),
)
RNET_SIDE, ONET_SIDE = 24, 48


def network_flops(layers: Sequence[Layer], height: int, width: int) -> int:
    """Operations for one image or window of this size.

    Raises:
        ValueError: the window is too small for a layer, or a dense layer does not fit.
    """
    total, channels = 0, 3
    for layer in layers:
        if isinstance(layer, Conv):
            height, width = height - layer.kernel + 1, width - layer.kernel + 1
            if min(height, width) < 1:
                raise ValueError(f"nothing is left to see for {layer}")
            total += 2 * height * width * layer.kernel**2 * layer.inputs * layer.outputs
            channels = layer.outputs
        elif isinstance(layer, Pool):
            height, width = (_pooled(side, layer) for side in (height, width))
        else:
            if height * width * channels != layer.inputs:
                raise ValueError(f"{layer} does not take {height}x{width}x{channels} values")
            total += 2 * layer.inputs * layer.outputs
            height, width, channels = 1, 1, layer.outputs
    return total


class Work(NamedTuple):
    """Operations of each stage of one image."""

    pnet: int
    rnet: int
    onet: int
    mirror: int

    @property
    def total(self) -> int:
        """All stages."""
        return sum(self)


def cascade_flops(
    levels: Iterable[tuple[int, int]], rnet_windows: int, onet_windows: int, mirror_windows: int = 0
) -> Work:
    """Operations for one image, from the numbers in its ``Timings``.

    Args:
        levels: heights and widths that go through P-Net.
        rnet_windows: windows that go through R-Net.
        onet_windows: windows that go through O-Net in the cascade.
        mirror_windows: windows that go through O-Net in the mirror check.
    """
    return Work(
        sum(network_flops(PNET, height, width) for height, width in levels),
        rnet_windows * network_flops(RNET, RNET_SIDE, RNET_SIDE),
        onet_windows * network_flops(ONET, ONET_SIDE, ONET_SIDE),
        mirror_windows * network_flops(ONET, ONET_SIDE, ONET_SIDE),
    )


def _pooled(side: int, pool: Pool) -> int:
    if pool.padded:
        return math.ceil(side / pool.stride)
    return (side - pool.window) // pool.stride + 1
