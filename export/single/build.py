"""Puts the graph together: an image in, faces out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge_mtcnn.cascade.scoring import load_score_model
from edge_mtcnn.options import DetectorOptions
from export.single.exposure import light_of
from export.single.folding import fold
from export.single.graph import Graph
from export.single.mirror import landmarks_of, score
from export.single.networks import Network
from export.single.pixels import MOST_OCTAVES, Size, store_octaves
from export.single.proposals import (
    cell_count,
    most_octaves,
    propose_dynamic,
    propose_fixed,
    used_octaves,
)
from export.single.refinement import finish, refine

FEW_CELLS = 4000
"""Cells of P-Net up to which all windows go through a network at once: memory is bounded anyway."""
OUTPUTS: dict[str, list[str | int]] = {
    "boxes": ["faces", 4],
    "scores": ["faces"],
    "confidences": ["faces"],
    "landmarks": ["faces", 5, 2],
}


def build(
    models: Path,
    options: DetectorOptions,
    size: Size | None,
    max_faces: int | None,
    form: str,
    metadata: dict[str, str],
) -> onnx.ModelProto:
    """Write the cascade as one graph.

    Args:
        models: folder of the networks and the score model.
        options: what to look for; ``angles`` and known false faces are not part of it.
        size: height and width of the images; ``None`` for any.
        max_faces: most faces; ``None`` for all.
        form: of the networks.
        metadata: entries of the file.
    """
    graph = Graph()
    suffix = "" if form == "plain" else f".{form}"
    pnet, rnet, onet = (
        Network(models / f"{name}{suffix}.onnx") for name in ("pnet", "rnet", "onet")
    )
    count = most_octaves(options, size) if size else MOST_OCTAVES
    used = graph.constant([count]) if size else used_octaves(graph, "image", options)
    light = light_of(graph, "image") if options.exposure == "auto" else None
    octaves = store_octaves(graph, "image", count, used, size, light)
    if size:
        proposed = propose_fixed(graph, octaves, pnet, options, size)
    else:
        proposed = propose_dynamic(graph, "image", octaves, pnet, options)
    batched = size is None or cell_count(options, size) > FEW_CELLS
    finalists = refine(graph, octaves, proposed, rnet, options, batched=batched)
    finds = finish(graph, octaves, finalists, onet, options, batched=batched)
    if options.mirror:
        path = models / "score.json"
        model = load_score_model(path, path.read_bytes())
        scores, landmarks = score(graph, octaves, finds, onet, model, batched=batched)
    else:
        scores, landmarks = finds.confidences, landmarks_of(graph, finds.windows, finds.output)
    best, order = graph.several("TopK", 2, scores, graph.length(scores))
    if options.confidence > 0:
        rows = graph.where(graph("GreaterOrEqual", best, np.float32(options.confidence)))
        order = graph("Gather", order, rows)
    if max_faces is not None:
        order = graph.part(order, 0, max_faces)
    values = (finds.boxes, scores, finds.confidences, landmarks)
    for name, value in zip(OUTPUTS, values, strict=True):
        graph.nodes.append(helper.make_node("Gather", [value, order], [name], name=name))
    shape: list[Any] = [*(size or ("height", "width")), 3]
    whole = graph.model(
        "edge_mtcnn",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in OUTPUTS.items()],
        metadata,
    )
    return fold(whole) if size else whole
