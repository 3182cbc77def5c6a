"""Copies a network of ``models/`` into a graph, with the weights that the runtime uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.single.graph import Graph

__all__ = ["Network"]


class Network:
    """A runtime form of one network.

    Args:
        path: its file; external data lies beside it.
    """

    def __init__(self, path: Path) -> None:
        model = onnx.load(path)
        self._nodes = list(model.graph.node)
        self._input = model.graph.input[0].name
        self._outputs = [output.name for output in model.graph.output]
        self._constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }

    def __call__(self, graph: Graph, pixels: str) -> list[str]:
        """Append the network, and return its outputs."""
        values = {self._input: pixels}
        for node in self._nodes:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            inputs: list[str | NDArray[Any]] = [
                values[name] if name in values else self._constants[name] for name in node.input
            ]
            (values[node.output[0]],) = graph.several(node.op_type, 1, *inputs, **attributes)
        return [values[name] for name in self._outputs]
