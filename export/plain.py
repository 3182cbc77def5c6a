"""The ``plain`` form: PReLU as one operator, channels as trained. For arm64 and for GPUs."""

from __future__ import annotations

from export.graph import FEATURES, GraphWriter, output_name, pixel_kernel
from export.reading import Trained


def build_plain(trained: Trained) -> GraphWriter:
    """Write the network in the fewest operators that ONNX has for it."""
    writer = GraphWriter(f"{trained.network.name}.plain")
    value = "pixels"
    for index, conv in enumerate(trained.convs, start=1):
        if index == 1:
            weight, strides = pixel_kernel(conv.weight), (1, 3)
        else:
            weight, strides = conv.weight, (1, 1)
        value = writer.conv(f"conv{index}", value, weight, conv.bias, strides=strides)
        slope = writer.constant(f"prelu{index}.slope", conv.slope.reshape(-1, 1, 1))
        value = writer.node("PRelu", f"prelu{index}", [value, slope])
        if conv.pool is not None:
            value = writer.pool(f"pool{index}", value, conv.pool)
    write_head(writer, trained, value)
    return writer


def write_head(writer: GraphWriter, trained: Trained, value: str) -> None:
    """Append the dense layer, if any, and the merged heads: the same in every form."""
    output = output_name(trained.network)
    if trained.dense is None:
        weight = trained.head_weight[:, :, None, None]
        writer.conv(output, value, weight, trained.head_bias)
        return
    value = writer.node("Flatten", "flatten", [value], axis=1)
    dense = trained.dense
    inputs = [
        writer.constant("dense.weight", dense.weight),
        writer.constant("dense.bias", dense.bias),
    ]
    value = writer.node("Gemm", "dense", [value, *inputs])
    slope = writer.constant("dense_prelu.slope", dense.slope)
    hidden = FEATURES if trained.network.features else "dense_prelu"
    value = writer.node("PRelu", hidden, [value, slope])
    inputs = [
        writer.constant(f"{output}.weight", trained.head_weight.T),
        writer.constant(f"{output}.bias", trained.head_bias),
    ]
    writer.node("Gemm", output, [value, *inputs])
