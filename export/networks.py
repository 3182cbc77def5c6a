"""The three networks of the cascade as tables, and their Keras models.

The tables are the single description of the architecture: Keras models are built from them here and
``reading`` compares the converted graphs with them. Keras models keep the published convention:
channels last, pixels as ``(v - 127.5) / 128``, and the image transposed to (width, height), because
the weights come from column-major MATLAB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

FloatArray = NDArray[np.float32]

PIXEL_MEAN = 127.5
PIXEL_SCALE = 0.0078125


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Square max-pooling; ``same`` says that a last partial window counts."""

    size: int
    stride: int
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvLayer:
    """A valid square convolution of stride 1, then PReLU, then an optional pool."""

    channels: int
    kernel: int
    pool: Pool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of the cascade.

    Attributes:
        name: file stem and key in the manifest.
        title: the name in the paper.
        window: side of the window one output row describes, pixels.
        layers: convolutions in order.
        dense: features of the hidden dense layer; ``None`` keeps the network fully convolutional.
        heads: output features by head, in the order of the published weights.
        features: whether the values of the hidden dense layer are a second output.
    """

    name: str
    title: str
    window: int
    layers: tuple[ConvLayer, ...]
    dense: int | None
    heads: dict[str, int]
    features: bool = False


NETWORKS: dict[str, Network] = {
    "pnet": Network(
        name="pnet",
        title="P-Net",
        window=12,
        layers=(
            ConvLayer(channels=10, kernel=3, pool=Pool(size=2, stride=2, same=True)),
            ConvLayer(channels=16, kernel=3),
            ConvLayer(channels=32, kernel=3),
        ),
        dense=None,
        heads={"probability": 2, "offsets": 4},
    ),
    "rnet": Network(
        name="rnet",
        title="R-Net",
        window=24,
        layers=(
            ConvLayer(channels=28, kernel=3, pool=Pool(size=3, stride=2, same=True)),
            ConvLayer(channels=48, kernel=3, pool=Pool(size=3, stride=2, same=False)),
            ConvLayer(channels=64, kernel=2),
        ),
        dense=128,
        heads={"probability": 2, "offsets": 4},
    ),
    "onet": Network(
        name="onet",
        title="O-Net",
        window=48,
        layers=(
            ConvLayer(channels=32, kernel=3, pool=Pool(size=3, stride=2, same=True)),
            ConvLayer(channels=64, kernel=3, pool=Pool(size=3, stride=2, same=False)),
            ConvLayer(channels=64, kernel=3, pool=Pool(size=2, stride=2, same=True)),
            ConvLayer(channels=128, kernel=2),
        ),
        dense=256,
        heads={"probability": 2, "offsets": 4, "landmarks": 10},
        features=True,
    ),
}


def build_keras(network: Network, weights: Sequence[FloatArray]) -> keras.Model:
    """Build a Keras model with the published weights.

    Args:
        network: the architecture.
        weights: float32 arrays in published order: kernel, bias, slope per hidden layer, then
            kernel, bias per head.

    Returns:
        A model from (N, width, height, 3) float32 normalised pixels to one tensor per head, named
        as in ``network.heads``; ``probability`` is the softmax over not-face, face.
    """
    import keras
    from keras import layers

    side = None if network.dense is None else network.window
    pixels = keras.Input((side, side, 3), name="image")
    parameterised: list[keras.layers.Layer] = []

    def apply(layer: keras.layers.Layer, value: keras.KerasTensor) -> keras.KerasTensor:
        parameterised.append(layer)
        return layer(value)

    value = pixels
    for index, spec in enumerate(network.layers, start=1):
        value = apply(layers.Conv2D(spec.channels, spec.kernel, name=f"conv{index}"), value)
        value = apply(layers.PReLU(shared_axes=[1, 2], name=f"prelu{index}"), value)
        if spec.pool is not None:
            padding = "same" if spec.pool.same else "valid"
            pool = layers.MaxPooling2D(
                spec.pool.size, spec.pool.stride, padding, name=f"pool{index}"
            )
            value = pool(value)
    if network.dense is not None:
        value = layers.Flatten(name="flatten")(value)
        value = apply(layers.Dense(network.dense, name="dense"), value)
        value = apply(layers.PReLU(name="dense_prelu"), value)
    outputs = {}
    for head, features in network.heads.items():
        if network.dense is None:
            output = apply(layers.Conv2D(features, 1, name=f"{head}_head"), value)
        else:
            output = apply(layers.Dense(features, name=f"{head}_head"), value)
        if head == "probability":
            output = layers.Softmax(axis=-1, name=head)(output)
        outputs[head] = output

    model = keras.Model(pixels, outputs, name=network.name)
    remaining = list(weights)
    for layer in parameterised:
        count = len(layer.weights)
        layer.set_weights(remaining[:count])  # Keras refuses a wrong shape with a clear message
        del remaining[:count]
    if remaining:
        raise ValueError(f"{network.title}: {len(remaining)} weight arrays were left over")
    return model
