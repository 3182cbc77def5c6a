"""Exposure: one gain for the pixels of a dark image, as if it had been exposed longer.

The gain is applied to what the networks look at, tiles and windows that are float already, so the
image is neither copied nor changed. Pixels are cut off at white. The gain comes from a sample of
the pixels of all channels, so that coloured light counts like white light.
"""

from __future__ import annotations

import numpy as np

from edge_mtcnn.cascade.networks import Network, Networks
from edge_mtcnn.options import MAX_GAIN
from edge_mtcnn.types import Float32Array, ImageArray

__all__ = ["Brightened", "automatic_gain"]

WHITE = 255
BRIGHT = 160
"""Level to which the brightest pixels are raised. Photos in the light have brighter ones. Too much
gain loses faces, at 1.5 times the light one in seven, and half of the light loses none."""
BRIGHT_SHARE = 0.01
"""Share of the pixels that are brighter than that: small lamps do not decide."""
_SAMPLES = 48
"""Samples along the longer side of the image."""


def automatic_gain(image: ImageArray) -> float:
    """The gain with which a hundredth of the pixels reaches ``BRIGHT``, 1..``MAX_GAIN``.

    Args:
        image: (H, W, 3) or (H, W) uint8, in any order of the channels.

    Returns:
        1 for an image in the light.
    """
    step = max(1, max(image.shape[:2]) // _SAMPLES)
    top, left = (min(step // 2, side - 1) for side in image.shape[:2])
    samples = image[top::step, left::step].ravel()
    counts = np.bincount(samples, minlength=WHITE + 1).cumsum()
    bright = int(counts.searchsorted(len(samples) * (1 - BRIGHT_SHARE)))
    return float(min(max(BRIGHT / max(bright, 1), 1.0), MAX_GAIN))


class Brightened:
    """The networks, with the pixels that they look at multiplied by a gain.

    Args:
        networks: P-, R- and O-Net.
        gain: factor of the pixels' values.
    """

    def __init__(self, networks: Networks, gain: float) -> None:
        self.pnet = _brightened(networks.pnet, gain)
        self.rnet = _brightened(networks.rnet, gain)
        self.onet = _brightened(networks.onet, gain)
        self.onet_features = _brightened(networks.onet_features, gain)


def _brightened(network: Network, gain: float) -> Network:
    factor, white = np.float32(gain), np.float32(WHITE)

    def brightened(pixels: Float32Array) -> Float32Array:
        return network(np.minimum(pixels * factor, white))

    return brightened
