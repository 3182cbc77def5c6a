"""A small writer for runtime graphs: float32 constants, named nodes, external data.

Equal arrays produce equal bytes, so that anyone can check the committed models.

Constants that both forms of a network share go into one ``NAME.weights`` file beside them, because
float32 weights hardly compress and the wheel carries both forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from export.networks import Network, Pool

OPSET = 13  # has all operators of the forms, and ONNX Runtime 1.7 and later read it
IR_VERSION = 7
FEATURES = "features"
"""Name of the second output, the values of the hidden dense layer."""
ALIGNMENT = 4096  # ONNX asks for page-aligned offsets so that the file can be mapped
SHARED_FROM = 4096  # bytes; smaller constants stay inside the model file

DoubleArray = NDArray[np.float64]


@dataclass
class GraphWriter:
    """Collects nodes and constants of one graph in execution order."""

    name: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def constant(self, name: str, value: DoubleArray) -> str:
        """Store ``value`` rounded to float32, once, and return its name."""
        if name in self.constants:
            raise ValueError(f"constant {name!r} is written twice")
        self.constants[name] = np.ascontiguousarray(value, dtype="<f4")
        return name

    def node(self, operator: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node with one output, named like the node."""
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def conv(
        self,
        name: str,
        value: str,
        weight: DoubleArray,
        bias: DoubleArray | None = None,
        *,
        strides: tuple[int, int] = (1, 1),
        group: int = 1,
    ) -> str:
        """Append a valid convolution with ``weight`` (output, input / group, height, width)."""
        inputs = [value, self.constant(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias))
        return self.node(
            "Conv",
            name,
            inputs,
            kernel_shape=list(weight.shape[2:]),
            strides=list(strides),
            group=group,
        )

    def pool(self, name: str, value: str, pool: Pool) -> str:
        """Append a max-pool; ``same`` adds one row below and one column to the right.

        With 2/2 that equals the 'same' of the published networks on odd and on even sides, with 3/2
        on the even ones they are used on: an odd side of a 3/2 pool would need a row above as well.
        """
        end = 1 if pool.same else 0
        return self.node(
            "MaxPool",
            name,
            [value],
            kernel_shape=[pool.size] * 2,
            strides=[pool.stride] * 2,
            pads=[0, 0, end, end],
        )


def pixel_kernel(weight: DoubleArray) -> DoubleArray:
    """Rewrite a kernel over channels for rows of interleaved pixels.

    An (H, W, 3) image in memory is an H x 3W image of one channel; on it, the (output, 3, h, w)
    kernel becomes an (output, 1, h, 3w) kernel that moves by three columns. The runtime therefore
    never transposes an image.
    """
    outputs, channels, height, width = weight.shape
    return weight.transpose(0, 2, 3, 1).reshape(outputs, 1, height, width * channels)


def finish(
    writer: GraphWriter,
    network: Network,
    metadata: dict[str, str],
    shared: dict[str, tuple[str, int]],
) -> bytes:
    """Serialise a model.

    Args:
        writer: the collected graph.
        network: its table, for input and outputs.
        metadata: entries of ``metadata_props``; they are written in sorted order.
        shared: constants in an external file: name -> (file, offset in bytes).
    """
    initializers = [_initializer(name, value, shared) for name, value in writer.constants.items()]
    graph = helper.make_graph(
        writer.nodes,
        writer.name,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, input_shape(network))],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in output_shapes(network).items()
        ],
        initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edge-mtcnn export",
    )
    for key in sorted(metadata):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, metadata[key]
    return bytes(model.SerializeToString(deterministic=True))


def input_shape(network: Network) -> list[int | str]:
    """Shape of the pixels that a runtime form takes; names are dynamic axes."""
    if network.dense is None:
        return ["batch", 1, "height", "row_values"]
    return ["batch", 1, network.window, 3 * network.window]


def output_shapes(network: Network) -> dict[str, list[int | str]]:
    """Shapes of the outputs of a runtime form by name, the first of them always computed."""
    numbers = sum(network.heads.values()) - 1  # the two logits become their difference
    if network.dense is None:
        return {output_name(network): ["batch", numbers, "rows", "columns"]}
    shapes: dict[str, list[int | str]] = {output_name(network): ["batch", numbers]}
    if network.features:
        shapes[FEATURES] = ["batch", network.dense]
    return shapes


def output_name(network: Network) -> str:
    """Name of the first output: P-Net has a map of cells, the others judge windows."""
    return "cells" if network.dense is None else "windows"


def _initializer(
    name: str, value: NDArray[np.float32], shared: dict[str, tuple[str, int]]
) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape)
    if name not in shared:
        tensor.raw_data = value.tobytes()
        return tensor
    file, offset = shared[name]
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in (("location", file), ("offset", str(offset)), ("length", str(value.nbytes))):
        pair = tensor.external_data.add()
        pair.key, pair.value = key, entry
    return tensor


def share(forms: Sequence[GraphWriter], file: str) -> tuple[dict[str, tuple[str, int]], bytes]:
    """Find the constants that have the same bytes in every form.

    Returns:
        Their places, name -> (file, offset in bytes), and the content of that file.
    """
    places: dict[str, tuple[str, int]] = {}
    data = bytearray()
    first, *others = forms
    for name, value in first.constants.items():
        raw = value.tobytes()
        twins = [form.constants.get(name) for form in others]
        if len(raw) < SHARED_FROM or any(twin is None or twin.tobytes() != raw for twin in twins):
            continue
        data.extend(bytes(-len(data) % ALIGNMENT))
        places[name] = (file, len(data))
        data.extend(raw)
    return places, bytes(data)
