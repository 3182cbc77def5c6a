"""Computes what depends on constants and on the size of the image only.

So a graph for a fixed size has static shapes up to the candidates, and fewer nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from export.single.graph import OPSET

__all__ = ["fold"]


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace nodes of the outermost graph whose result is known; unused constants go."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    while True:
        shapes = _known_shapes(model)
        open_nodes = []
        for node in nodes:
            value = _value(node, constants, shapes)
            if value is None:
                open_nodes.append(node)
            else:
                constants[node.output[0]] = value
        done = len(open_nodes) == len(nodes)
        nodes = open_nodes
        _replace(model, nodes, constants)
        if done:
            return model


def _known_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Shapes without unknown sides, of values of the outermost graph."""
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {}
    for info in (*inferred.value_info, *inferred.input):
        dims = info.type.tensor_type.shape.dim
        known = info.type.tensor_type.HasField("shape")
        if known and all(dim.HasField("dim_value") for dim in dims):
            shapes[info.name] = [dim.dim_value for dim in dims]
    return shapes


def _value(
    node: onnx.NodeProto, constants: dict[str, NDArray[Any]], shapes: dict[str, list[int]]
) -> NDArray[Any] | None:
    """The result of a node, if it is known."""
    if len(node.output) != 1 or any(a.HasField("g") for a in node.attribute):
        return None
    feeds = {name: constants[name] for name in node.input if name in constants}
    if node.op_type == "Shape" and node.input[0] in shapes:
        feeds = {node.input[0]: np.empty(shapes[node.input[0]], dtype=np.uint8)}
    if set(feeds) != set(filter(None, node.input)):
        return None
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in feeds.items()
    ]
    output = onnx.ValueInfoProto(name=node.output[0])
    graph = helper.make_graph([node], "one", inputs, [output])
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset)
    return np.asarray(ReferenceEvaluator(model).run(None, feeds)[0])


def _replace(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]]
) -> None:
    """Write back the nodes, and the constants that they use."""
    used = set(_inputs(nodes)) | {output.name for output in model.graph.output}
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        for name, value in constants.items()
        if name in used
    )


def _inputs(nodes: list[onnx.NodeProto]) -> list[str]:
    """Names that nodes read, inside loops and branches too."""
    names = []
    for node in nodes:
        names += node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names += [*_inputs(list(attribute.g.node)), *(o.name for o in attribute.g.output)]
    return names
