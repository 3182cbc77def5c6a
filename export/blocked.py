"""The ``blocked`` form, for x86-64: everything up to the last map stays in the NCHWc layout.

ONNX Runtime keeps channels in blocks of 8 (AVX2) or 16 (AVX-512) only through convolutions (+ Add,
+ Relu), Relu and pools. Therefore channels are padded to multiples of 16 and PReLU becomes ``a x +
relu((1 - a) x)``: two depthwise 1x1 convolutions that ONNX Runtime fuses into Conv+Relu and
Conv+Add. That sum is convex, so it is valid for slopes ``a <= 1``; each recipe says how it handles
a steeper one. All recipes are exact; the fastest one for each place was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from export.graph import GraphWriter, output_name, pixel_kernel
from export.plain import write_head
from export.reading import Conv, DoubleArray, GraphError, Trained

Recipe = Literal["pair", "pool_first", "split"]

BLOCK = 16

# Measured on one AVX2 thread. P-Net's ten first channels have six negative slopes, so pooling first
# just fills its block and saves 15 %. In R-Net and O-Net the negated copies would cost a further
# block, so `pair` is 5 to 40 % faster there.
RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    "pnet": ("pool_first", "pair", "split"),
    "rnet": ("pair", "pair", "pair"),
    "onet": ("pair", "pair", "pair", "pair"),
}


def build_blocked(trained: Trained, recipes: Sequence[Recipe] | None = None) -> GraphWriter:
    """Write the network by one recipe per convolution (default: the measured ones).

    ``spread`` carries from layer to layer how channels were rearranged: (as trained, in the graph)
    float64, so that ``weight @ spread`` over the input channels is the next layer's weight.
    """
    recipes = recipes or RECIPES[trained.network.name]
    writer = GraphWriter(f"{trained.network.name}.blocked")
    value, spread = "pixels", np.eye(3)
    for index, (conv, recipe) in enumerate(zip(trained.convs, recipes, strict=True), start=1):
        weight = np.einsum("ochw,cp->ophw", conv.weight, spread)
        arranged = Conv(weight, conv.bias, conv.slope, conv.pool)
        if recipe == "split":
            _split(writer, index, value, arranged, trained)
            return writer
        apply = _pool_first if recipe == "pool_first" else _pair
        value, spread = apply(writer, index, value, arranged)
    if trained.dense is None:
        head = trained.head_weight @ spread
        writer.conv(output_name(trained.network), value, head[:, :, None, None], trained.head_bias)
        return writer
    if not np.array_equal(spread, np.eye(len(spread))):
        raise GraphError(
            f"{trained.network.title}: the dense layer reads channels as trained, "
            "so the last layer must not rearrange them"
        )
    write_head(writer, trained, value)
    return writer


def padded(channels: int) -> int:
    """The next multiple of the block size."""
    return -(-channels // BLOCK) * BLOCK


def _convolve(
    writer: GraphWriter,
    index: int,
    value: str,
    conv: Conv,
    repeated: Sequence[int] = (),
    sign: float = 1.0,
) -> str:
    """Append the convolution, padded by ``repeated`` channels times ``sign``, then by zeros."""
    copies = list(repeated)
    weight = np.concatenate([conv.weight, sign * conv.weight[copies]])
    bias = np.concatenate([conv.bias, sign * conv.bias[copies]])
    space = padded(len(bias)) - len(bias)
    weight = np.pad(weight, ((0, space), (0, 0), (0, 0), (0, 0)))
    bias = np.pad(bias, (0, space))
    if index == 1:
        return writer.conv("conv1", value, pixel_kernel(weight), bias, strides=(1, 3))
    return writer.conv(f"conv{index}", value, weight, bias)


def _sum(writer: GraphWriter, name: str, straight: str, curved: str) -> str:
    """Append ``straight + relu(curved)``, the pattern ONNX Runtime fuses."""
    return writer.node("Add", name, [straight, writer.node("Relu", f"{name}.relu", [curved])])


def _pair(writer: GraphWriter, index: int, value: str, conv: Conv) -> tuple[str, DoubleArray]:
    """Conv, PReLU as a depthwise pair, then the pool.

    A channel steeper than 1 passes unchanged, its relu takes a padding channel, and the next layer
    mixes the two: ``w a x + w (1 - a) relu(x)``. Both commute with the pool, and so does PReLU of a
    positive slope.
    """
    channels = len(conv.slope)
    steep = [int(channel) for channel in np.flatnonzero(conv.slope > 1)]
    value = _convolve(writer, index, value, conv, repeated=steep)
    total = padded(channels + len(steep))
    linear, bent = np.zeros(total), np.zeros(total)
    linear[:channels], bent[:channels] = conv.slope, 1 - conv.slope
    spread = np.eye(channels, total)
    for copy, channel in enumerate(steep, start=channels):
        linear[channel], bent[channel] = 1, 0
        linear[copy], bent[copy] = 0, 1
        spread[channel, channel], spread[channel, copy] = (
            conv.slope[channel],
            1 - conv.slope[channel],
        )
    name = f"prelu{index}"
    straight = writer.conv(f"{name}.linear", value, linear.reshape(-1, 1, 1, 1), group=total)
    curved = writer.conv(f"{name}.bent", value, bent.reshape(-1, 1, 1, 1), group=total)
    value = _sum(writer, name, straight, curved)
    if conv.pool is not None:
        value = writer.pool(f"pool{index}", value, conv.pool)
    return value, spread


def _pool_first(writer: GraphWriter, index: int, value: str, conv: Conv) -> tuple[str, DoubleArray]:
    """Conv, pool, then PReLU on a quarter of the values.

    For ``a >= 0`` PReLU is monotone and commutes with the maximum. For ``a < 0`` it is a V, whose
    maximum over a window is ``max(P, |a| P')`` with ``P`` the pooled channel and ``P'`` the pooled
    negated channel. The negated copies take padding channels, and the maximum is ``P + relu(|a| P'
    - P)``. A channel steeper than 1 comes out negated, ``-a P + relu((a - 1) P)``, and the next
    layer's weights take the sign back.
    """
    if conv.pool is None:
        raise GraphError(f"layer {index} has no pool to put first")
    channels = len(conv.slope)
    negative = [int(channel) for channel in np.flatnonzero(conv.slope < 0)]
    value = _convolve(writer, index, value, conv, repeated=negative, sign=-1.0)
    value = writer.pool(f"pool{index}", value, conv.pool)
    outputs, total = padded(channels), padded(channels + len(negative))
    linear, bent = np.zeros((outputs, total)), np.zeros((outputs, total))
    spread = np.eye(channels, outputs)
    for channel, slope in enumerate(conv.slope):
        if slope > 1:
            linear[channel, channel], bent[channel, channel] = -slope, slope - 1
            spread[channel, channel] = -1
        elif slope >= 0:
            linear[channel, channel], bent[channel, channel] = slope, 1 - slope
        else:
            linear[channel, channel], bent[channel, channel] = 1, -1
            bent[channel, channels + negative.index(channel)] = -slope
    name = f"prelu{index}"
    if outputs == total:
        diagonal = np.diag(linear).reshape(-1, 1, 1, 1)
        straight = writer.conv(f"{name}.linear", value, diagonal, group=total)
    else:
        straight = writer.conv(f"{name}.linear", value, linear[:, :, None, None])
    curved = writer.conv(f"{name}.bent", value, bent[:, :, None, None])
    return _sum(writer, name, straight, curved), spread


def _split(writer: GraphWriter, index: int, value: str, conv: Conv, trained: Trained) -> None:
    """The last convolution of a fully convolutional network, its PReLU taken into the linear heads.

    ``H prelu(z) = (H diag(a)) z + (H diag(1 - a)) relu(z)`` for any slope, and saves a depthwise
    pass.
    """
    value = _convolve(writer, index, value, conv)
    output = output_name(trained.network)
    space = ((0, 0), (0, padded(len(conv.slope)) - len(conv.slope)))
    linear = np.pad(trained.head_weight * conv.slope, space)
    bent = np.pad(trained.head_weight * (1 - conv.slope), space)
    relu = writer.node("Relu", f"prelu{index}.relu", [value])
    straight = writer.conv(f"{output}.linear", value, linear[:, :, None, None], trained.head_bias)
    curved = writer.conv(f"{output}.bent", relu, bent[:, :, None, None])
    writer.node("Add", output, [straight, curved])
