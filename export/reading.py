"""Reads a tf2onnx graph back into arrays, and compares it with the network's table.

The graph is walked from its input, operator by operator; anything other than the expected operator,
constant or shape is a ``GraphError`` that names the place. The arrays come out in the runtime's
orientation: the published networks take images transposed to (width, height), so the spatial
axes of every kernel, and the spatial order of the features of the first dense layer, are transposed
here, once. All arithmetic is float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.networks import PIXEL_MEAN, PIXEL_SCALE, ConvLayer, Network, Pool

DoubleArray = NDArray[np.float64]

# Published order of the landmark head: x1..x5, y1..y5. The runtime's: x1, y1, ..., x5, y5.
LANDMARK_ORDER = [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]


class GraphError(ValueError):
    """The converted graph is not the one this export understands."""


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution with its PReLU and pool.

    Attributes:
        weight: (output, input, height, width) float64.
        bias: (output,) float64.
        slope: (output,) float64, PReLU slope for negative values.
        pool: the max-pool after the PReLU, if any.
    """

    weight: DoubleArray
    bias: DoubleArray
    slope: DoubleArray
    pool: Pool | None


@dataclass(frozen=True, slots=True)
class Dense:
    """The hidden dense layer: ``weight`` (features, output), features by channel, row, column."""

    weight: DoubleArray
    bias: DoubleArray
    slope: DoubleArray


@dataclass(frozen=True, slots=True)
class Trained:
    """A network ready to be written in any runtime form.

    Attributes:
        network: its table.
        convs: convolutions in order; the first takes pixels 0..255 as (output, 3, 3, 3),
            normalisation folded in.
        dense: hidden dense layer or ``None``.
        head_weight: (5 or 15, features) float64: logit difference, four offsets, five interleaved
            landmarks.
        head_bias: (5 or 15,) float64.
    """

    network: Network
    convs: tuple[Conv, ...]
    dense: Dense | None
    head_weight: DoubleArray
    head_bias: DoubleArray


class _Walk:
    """A cursor over a graph; the caller requests one operator after the other."""

    def __init__(self, model: onnx.ModelProto, title: str) -> None:
        self.title = title
        self.constants = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.nodes = list(model.graph.node)

    def fail(self, message: str) -> GraphError:
        return GraphError(f"{self.title}: {message}; is this tf2onnx version the pinned one?")

    def follow(self, value: str, operator: str) -> onnx.NodeProto:
        """The only ``operator`` that reads ``value``."""
        found = [node for node in self.nodes if node.op_type == operator and value in node.input]
        if len(found) != 1:
            readers = sorted(node.op_type for node in self.nodes if value in node.input)
            raise self.fail(f"expected one {operator} after {value!r}, found {readers}")
        node: onnx.NodeProto = found[0]
        return node

    def readers(self, value: str, expected: list[str]) -> None:
        """Check that exactly these operators read ``value``, so that no branch is overlooked."""
        actual = sorted(node.op_type for node in self.nodes if value in node.input)
        if actual != sorted(expected):
            raise self.fail(f"expected {sorted(expected)} after {value!r}, found {actual}")

    def constant(self, node: onnx.NodeProto, shape: tuple[int, ...]) -> DoubleArray:
        """The only constant operand of ``node`` that has ``shape``."""
        found = [
            self.constants[name]
            for name in node.input
            if name in self.constants and self.constants[name].shape == shape
        ]
        if len(found) != 1:
            raise self.fail(f"{node.op_type} {node.name!r} has no single constant of shape {shape}")
        return np.asarray(found[0], dtype=np.float64)

    def prelu(self, value: str, slope_shape: tuple[int, ...]) -> tuple[str, DoubleArray]:
        """Read ``relu(x) + relu(-x) * -slope``; return its output and the slope, flat."""
        self.readers(value, ["Relu", "Neg"])
        positive = self.follow(value, "Relu").output[0]
        negative = self.follow(self.follow(value, "Neg").output[0], "Relu").output[0]
        scaled = self.follow(negative, "Mul")
        total = self.follow(scaled.output[0], "Add")
        if positive not in total.input:
            raise self.fail(f"PReLU after {value!r} does not add up its two halves")
        return total.output[0], -self.constant(scaled, slope_shape).ravel()


def read(network: Network, model: onnx.ModelProto) -> Trained:
    """Take the trained arrays out of a converted network."""
    walk = _Walk(model, network.title)
    (image,) = model.graph.input
    transpose = walk.follow(image.name, "Transpose")
    _expect(walk, transpose, {"perm": [0, 3, 1, 2]})
    value, convs, channels = transpose.output[0], [], 3
    for layer in network.layers:
        value, conv = _read_conv(walk, value, layer, channels)
        convs.append(conv)
        channels = layer.channels
    dense = None
    if network.dense is not None:
        value, dense = _read_dense(walk, value, network, channels)
        channels = network.dense
    heads = {name: _read_head(walk, value, network, name, channels) for name in network.heads}
    head_weight, head_bias = _merge_heads(heads)
    convs[0] = _fold_normalisation(convs[0])
    return Trained(network, tuple(convs), dense, head_weight, head_bias)


def _expect(walk: _Walk, node: onnx.NodeProto, attributes: dict[str, object]) -> None:
    actual = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    for name, value in attributes.items():
        if actual.get(name) != value:
            raise walk.fail(
                f"{node.op_type} {node.name!r} has {name}={actual.get(name)!r}, expected {value!r}"
            )


def _read_conv(walk: _Walk, value: str, layer: ConvLayer, inputs: int) -> tuple[str, Conv]:
    node = walk.follow(value, "Conv")
    _expect(walk, node, {"strides": [1, 1], "dilations": [1, 1], "group": 1, "pads": None})
    weight = walk.constant(node, (layer.channels, inputs, layer.kernel, layer.kernel))
    bias = walk.constant(node, (layer.channels,))
    value, slope = walk.prelu(node.output[0], (1, layer.channels, 1, 1))
    if layer.pool is not None:
        pool = walk.follow(value, "MaxPool")
        _expect(
            walk, pool, {"kernel_shape": [layer.pool.size] * 2, "strides": [layer.pool.stride] * 2}
        )
        value = pool.output[0]
    return value, Conv(weight.transpose(0, 1, 3, 2), bias, slope, layer.pool)


def _read_dense(walk: _Walk, value: str, network: Network, channels: int) -> tuple[str, Dense]:
    # The flatten is Transpose to channels last, then a Reshape whose shape tf2onnx computes from
    # the batch size.
    transpose = walk.follow(value, "Transpose")
    _expect(walk, transpose, {"perm": [0, 2, 3, 1]})
    reshape = walk.follow(transpose.output[0], "Reshape")
    node = walk.follow(reshape.output[0], "MatMul")
    features = map_side(network) ** 2 * channels
    assert network.dense is not None
    weight = walk.constant(node, (features, network.dense))
    add = walk.follow(node.output[0], "Add")
    bias = walk.constant(add, (network.dense,))
    value, slope = walk.prelu(add.output[0], (network.dense,))
    side = map_side(network)
    # Published feature order: image column, image row, channel. Runtime: channel, row, column.
    ordered = weight.reshape(side, side, channels, network.dense).transpose(2, 1, 0, 3)
    return value, Dense(ordered.reshape(features, network.dense), bias, slope)


def _read_head(
    walk: _Walk, value: str, network: Network, name: str, features: int
) -> tuple[DoubleArray, DoubleArray]:
    """Return (outputs, features) weight and (outputs,) bias of a head, traced from its output."""
    outputs = network.heads[name]
    producers = {output: node for node in walk.nodes for output in node.output}
    node = producers[name]
    if network.dense is None:
        _expect(walk, node, {"perm": [0, 2, 3, 1]})
        node = producers[node.input[0]]
    if name == "probability":
        if node.op_type != "Softmax":
            raise walk.fail(f"{name} ends in {node.op_type}, expected Softmax")
        node = producers[node.input[0]]
    if network.dense is None:
        weight = walk.constant(node, (outputs, features, 1, 1)).reshape(outputs, features)
        bias = walk.constant(node, (outputs,))
    else:
        bias = walk.constant(node, (outputs,))
        node = next(producers[item] for item in node.input if item in producers)
        weight = walk.constant(node, (features, outputs)).T
    expected = "Conv" if network.dense is None else "MatMul"
    if node.op_type != expected or node.input[0] != value:
        raise walk.fail(
            f"head {name} is {node.op_type} of {node.input[0]!r}, expected {expected} of {value!r}"
        )
    return weight, bias


def _merge_heads(
    heads: dict[str, tuple[DoubleArray, DoubleArray]],
) -> tuple[DoubleArray, DoubleArray]:
    rows = {
        # softmax(not-face, face)[1] is the sigmoid of the difference: one row instead of two
        "probability": lambda head: head[1:] - head[:1],
        "offsets": lambda head: head,
        "landmarks": lambda head: head[LANDMARK_ORDER],
    }
    weights = [rows[name](weight) for name, (weight, _) in heads.items()]
    biases = [rows[name](bias) for name, (_, bias) in heads.items()]
    return np.concatenate(weights), np.concatenate(biases)


def _fold_normalisation(conv: Conv) -> Conv:
    """Make the first convolution take raw pixels. This is exact because it has no padding."""
    weight = conv.weight * PIXEL_SCALE
    bias = conv.bias - PIXEL_MEAN * weight.sum(axis=(1, 2, 3))
    return Conv(weight, bias, conv.slope, conv.pool)


def map_side(network: Network) -> int:
    """Side of the map that leaves the last convolution, for a network with a fixed window."""
    side = network.window
    for layer in network.layers:
        side -= layer.kernel - 1
        if layer.pool is not None:
            reach = side if layer.pool.same else side - layer.pool.size + 1
            side = -(-reach // layer.pool.stride)
    return side
