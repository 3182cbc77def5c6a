"""Keras to plain ONNX with tf2onnx.

The result is the faithful, unoptimised conversion: channels last at the edges, one output per head,
PReLU as several operators. It is written to a build folder, compared by ``verify``, and never
shipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from export.networks import Network

if TYPE_CHECKING:
    import keras

OPSET = 15  # ONNX Runtime 1.16 and older Jetson builds read it


def convert(network: Network, model: keras.Model, path: Path) -> onnx.ModelProto:
    """Convert ``model`` and write it to ``path``.

    The graph has one input ``image`` and one output per head, float32 and channels last as in
    Keras, batch dynamic.
    """
    import tensorflow as tf
    import tf2onnx

    side = None if network.dense is None else network.window
    signature = (tf.TensorSpec((None, side, side, 3), tf.float32, name="image"),)
    heads = list(network.heads)

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = model(image, training=False)
        return {head: tf.identity(outputs[head], name=head) for head in heads}

    function = tf.function(call, input_signature=signature)
    converted: onnx.ModelProto
    converted, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    onnx.checker.check_model(converted)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(converted.SerializeToString(deterministic=True))
    return converted
