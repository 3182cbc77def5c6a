"""Copies a network of ``models/`` into a graph, with the weights that the runtime uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.single.graph import Graph

__all__ = ["Network"]


class Network:
    """A runtime form of one network.

    Args:
        path: its file; external data lies beside it.
        planar: take pixels as (n, 3, h, w) instead of rows of interleaved pixels.
    """

    def __init__(self, path: Path, *, planar: bool = False) -> None:
        model = onnx.load(path)
        self._nodes = list(model.graph.node)
        self._input = model.graph.input[0].name
        self._outputs = [output.name for output in model.graph.output]
        self._constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self._planar = planar

    def __call__(self, graph: Graph, pixels: str) -> list[str]:
        """Append the network, and return its outputs."""
        values = {self._input: pixels}
        for node in self._nodes:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            inputs: list[str | NDArray[Any]] = [
                values[name] if name in values else self._constants[name] for name in node.input
            ]
            if self._planar and node.input[0] == self._input:
                kernel = np.asarray(inputs[1])
                inputs[1] = _planar_kernel(kernel)
                attributes |= {"kernel_shape": [kernel.shape[2]] * 2, "strides": [1, 1]}
            (values[node.output[0]],) = graph.several(node.op_type, 1, *inputs, **attributes)
        return [values[name] for name in self._outputs]


def _planar_kernel(weight: NDArray[Any]) -> NDArray[Any]:
    """The opposite of ``export.graph.pixel_kernel``: (o, 1, h, 3 w) to (o, 3, h, w)."""
    outputs, _, height, row = weight.shape
    return weight.reshape(outputs, height, row // 3, 3).transpose(0, 3, 1, 2)
