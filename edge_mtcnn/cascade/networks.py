"""What the cascade knows of the networks: callables, their input, and their probability of a face.

No file, session or provider is known here, and threads only as a ``map``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from edge_mtcnn.types import Float32Array

__all__ = ["Map", "Network", "Networks", "network_input", "probability"]

Network = Callable[[Float32Array], Float32Array]


class Networks(Protocol):
    """The three networks of the cascade."""

    @property
    def canvas_sizes(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths that P-Net is fast for, smallest first; () where it takes any.

        Where there are some, the networks run on a device: it sees the whole pyramid on uint8
        canvases of these sizes, and R-Net and O-Net see all windows at once.
        """

    @property
    def pnet(self) -> Network:
        """(1, 1, h, 3 w) float32 pixels to (1, 5, rows, columns)."""

    @property
    def rnet(self) -> Network:
        """(n, 1, 24, 72) float32 pixels to (n, 5)."""

    @property
    def onet(self) -> Network:
        """(n, 1, 48, 144) float32 pixels to (n, 15)."""

    @property
    def onet_features(self) -> Network:
        """(n, 1, 48, 144) float32 pixels to (n, 271): as ``onet``, then its hidden layer."""


class Map(Protocol):
    """Runs jobs, perhaps in parallel: ``[function(item) for item in items]``."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> list[Any]:
        """Return the results in the order of the items."""


def network_input(pixels: Float32Array) -> Float32Array:
    """(N, H, W, 3) pixels in the shape that the networks take: (N, 1, H, 3 W), the same memory."""
    count, height, width, channels = pixels.shape
    return pixels.reshape(count, 1, height, width * channels)


def probability(logits: Float32Array) -> Float32Array:
    """Probability of a face, float32: high scores are equal at 1.0, as in the reference."""
    with np.errstate(over="ignore"):
        return np.float32(1) / (np.float32(1) + np.exp(-logits))
