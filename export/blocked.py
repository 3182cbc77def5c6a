"""The ``blocked`` form, for x86-64: every operator between the pixels and the last map stays in ONNX Runtime's NCHWc layout.

ONNX Runtime keeps channels in blocks of 8 (AVX2) or 16 (AVX-512) only through convolutions (+ Add, + Relu) and pools, so
channels are padded to multiples of 16 and PReLU becomes ``a x + relu((1 - a) x)``, two depthwise 1x1 convolutions that the
runtime fuses into one Conv and one Conv + Add. That needs slopes ``a <= 1``; each recipe says what it does with others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from export.graph import GraphWriter, output_name, pixel_kernel
from export.plain import write_head
from export.reading import Conv, GraphError, Trained

DoubleArray = NDArray[np.float64]
Recipe = Literal["pool_first", "pair", "split", "flat"]

BLOCK = 16

RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    "pnet": ("pool_first", "pair", "split"),
    "rnet": ("pair", "pair", "pair"),
    "onet": ("pair", "pair", "pair", "pair"),
}


def padded(channels: int) -> int:
    """The next multiple of the block size."""
    return -(-channels // BLOCK) * BLOCK


def build_blocked(trained: Trained, recipes: tuple[Recipe, ...] | None = None) -> GraphWriter:
    """Write the network by one recipe per convolution.

    ``spread`` carries from layer to layer how the channels were rearranged: (channels as trained, channels in the graph)
    float64, so that ``weight @ spread`` is the next layer's weight.
    """
    recipes = recipes or RECIPES[trained.network.name]
    writer = GraphWriter(f"{trained.network.name}.blocked")
    value, spread = "pixels", np.eye(3)
    for index, (conv, recipe) in enumerate(zip(trained.convs, recipes, strict=True), start=1):
        weight = np.einsum("ochw,cp->ophw", conv.weight, spread)
        arranged = Conv(weight, conv.bias, conv.slope, conv.pool)
        if recipe == "pool_first":
            value, spread = _pool_first(writer, index, value, arranged)
        elif recipe == "pair":
            value, spread = _pair(writer, index, value, arranged)
        elif recipe == "split":
            return _split(writer, index, value, arranged, trained)
        elif recipe == "flat":
            value = _convolve(writer, index, value, arranged)
            spread = np.eye(len(conv.bias))
    if spread.shape[0] != spread.shape[1]:
        raise GraphError(f"{trained.network.title}: the dense layer needs its channels as trained")
    if recipes[-1] == "flat":
        _flat_head(writer, trained, value)
    else:
        write_head(writer, trained, value)
    return writer


def _flat_head(writer: GraphWriter, trained: Trained, value: str) -> None:
    raise NotImplementedError


def _convolve(
    writer: GraphWriter, index: int, value: str, conv: Conv, extra: list[int] | None = None, sign: float = 1.0
) -> str:
    """Append the convolution with padded outputs; ``extra`` repeats channels, times ``sign``, in the padding."""
    extra = extra or []
    weight = np.concatenate([conv.weight, sign * conv.weight[extra]])
    bias = np.concatenate([conv.bias, sign * conv.bias[extra]])
    space = padded(len(bias)) - len(bias)
    weight = np.pad(weight, ((0, space), (0, 0), (0, 0), (0, 0)))
    bias = np.pad(bias, (0, space))
    if index == 1:
        return writer.conv("conv1", value, pixel_kernel(weight), bias, strides=(1, 3))
    return writer.conv(f"conv{index}", value, weight, bias)


def _depthwise(diagonal: DoubleArray) -> DoubleArray:
    return diagonal.reshape(-1, 1, 1, 1)


def _pair(writer: GraphWriter, index: int, value: str, conv: Conv) -> tuple[str, DoubleArray]:
    """Conv, PReLU as a depthwise pair, pool.

    A slope above 1 makes PReLU concave, which ``a x + relu(...)`` cannot say. Such a channel passes unchanged, its relu takes
    a padding channel, and the next layer mixes both: ``w a x + w (1 - a) relu(x)``. Both commute with the pool.
    """
    channels = len(conv.slope)
    steep = [int(item) for item in np.flatnonzero(conv.slope > 1)]
    total = padded(channels + len(steep))
    value = _convolve(writer, index, value, conv, extra=steep)
    linear, bent = np.zeros(total), np.zeros(total)
    linear[:channels], bent[:channels] = conv.slope, 1 - conv.slope
    spread = np.eye(channels, total)
    for place, channel in enumerate(steep, start=channels):
        linear[channel], bent[channel] = 1, 0
        linear[place], bent[place] = 0, 1
        spread[channel, channel] = conv.slope[channel]
        spread[channel, place] = 1 - conv.slope[channel]
    name = f"prelu{index}"
    straight = writer.conv(f"{name}.linear", value, _depthwise(linear), group=total)
    curved = writer.conv(f"{name}.bent", value, _depthwise(bent), group=total)
    value = writer.node("Add", name, [straight, writer.node("Relu", f"{name}.relu", [curved])])
    if conv.pool is not None:
        value = writer.pool(f"pool{index}", value, conv.pool)
    return value, spread


def _pool_first(writer: GraphWriter, index: int, value: str, conv: Conv) -> tuple[str, DoubleArray]:
    """Conv, pool, then PReLU on a quarter of the values.

    For ``a >= 0`` PReLU is monotone and commutes with the maximum. For ``a < 0`` it is a V, whose maximum over a window is
    ``max(P, |a| P')`` with ``P`` the pooled channel and ``P'`` the pooled negated channel, so negated copies take padding
    channels: ``P + relu(|a| P' - P)``. A channel with ``a > 1`` is computed negated, ``-a P + relu((a - 1) P)``, and the next
    layer's weights take the sign back.
    """
    assert conv.pool is not None
    channels, slope = len(conv.slope), conv.slope
    negative = [int(item) for item in np.flatnonzero(slope < 0)]
    total = padded(channels + len(negative))
    value = _convolve(writer, index, value, conv, extra=negative, sign=-1.0)
    value = writer.pool(f"pool{index}", value, conv.pool)
    outputs = padded(channels)
    linear, bent = np.zeros((outputs, total)), np.zeros((outputs, total))
    spread = np.eye(channels, outputs)
    for channel, a in enumerate(slope):
        if a > 1:
            linear[channel, channel], bent[channel, channel] = -a, a - 1
            spread[channel, channel] = -1
        elif a >= 0:
            linear[channel, channel], bent[channel, channel] = a, 1 - a
        else:
            linear[channel, channel], bent[channel, channel] = 1, -1
            bent[channel, channels + negative.index(channel)] = -a
    name = f"prelu{index}"
    if outputs == total:
        straight = writer.conv(f"{name}.linear", value, _depthwise(np.diag(linear)), group=total)
    else:
        straight = writer.conv(f"{name}.linear", value, linear[:, :, None, None])
    curved = writer.conv(f"{name}.bent", value, bent[:, :, None, None])
    value = writer.node("Add", name, [straight, writer.node("Relu", f"{name}.relu", [curved])])
    return value, spread


def _split(writer: GraphWriter, index: int, value: str, conv: Conv, trained: Trained) -> GraphWriter:
    """The last convolution of a fully convolutional network: its PReLU goes into the linear heads.

    ``H prelu(z) = (H diag(a)) z + (H diag(1 - a)) relu(z)``, which saves a depthwise pass.
    """
    value = _convolve(writer, index, value, conv)
    output = output_name(trained.network)
    head = trained.head_weight
    space = padded(len(conv.slope)) - len(conv.slope)
    linear = np.pad(head * conv.slope, ((0, 0), (0, space)))
    bent = np.pad(head * (1 - conv.slope), ((0, 0), (0, space)))
    relu = writer.node("Relu", f"prelu{index}.relu", [value])
    straight = writer.conv(f"{output}.linear", value, linear[:, :, None, None], trained.head_bias)
    curved = writer.conv(f"{output}.bent", relu, bent[:, :, None, None])
    writer.node("Add", output, [straight, curved])
    return writer
