"""R-Net and O-Net on windows, see ``edge_mtcnn.cascade.rnet`` and ``onet``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from edge_mtcnn.options import DetectorOptions
from export.single.geometry import (
    nms,
    nms_by_smaller_area,
    probability,
    regressed,
    square,
    truncated,
)
from export.single.graph import Graph
from export.single.networks import Network
from export.single.pixels import Octaves, windows
from export.single.proposals import NO_LIMIT

__all__ = ["Finds", "finish", "in_batches", "refine"]

RNET_BATCH, ONET_BATCH = 64, 16
"""Windows that a network sees at once: they bound the memory."""


def in_batches(
    graph: Graph,
    count: str,
    batch: int | None,
    widths: list[int],
    look: Callable[[Graph, str, str], list[str]],
) -> list[str]:
    """Outputs of a network for many windows, some at a time.

    Args:
        graph: what is written to.
        count: how many windows, int64 (1,).
        batch: most windows at a time; ``None`` for all.
        widths: columns of the outputs.
        look: writes the outputs for the windows from one index to another, each int64 (1,).
    """
    if batch is None:
        return look(graph, graph.constant([0]), count)
    most = batch  # for the type checker, which does not see it in the function below

    def round_(inner: Graph, index: str, *before: str) -> list[str]:
        start = inner("Reshape", inner("Mul", index, most), [1])
        outputs = look(inner, start, inner("Add", start, most))
        return [inner("Concat", *pair, axis=0) for pair in zip(before, outputs, strict=True)]

    rounds = graph("Div", graph("Add", count, batch - 1), batch)
    nothing = [(graph.constant(np.zeros((0, w), dtype=np.float32)), np.float32) for w in widths]
    return graph.loop(rounds, nothing, round_)


def _read(
    graph: Graph,
    octaves: Octaves,
    boxes: str,
    size: int,
    batch: int | None,
    network: Network,
    widths: list[int],
) -> list[str]:
    def look(inner: Graph, start: str, stop: str) -> list[str]:
        pixels = windows(inner, octaves, inner.part(boxes, start, stop), size)
        return network(inner, inner("Unsqueeze", pixels, [1]))

    return in_batches(graph, graph.length(boxes), batch, widths, look)


def refine(
    graph: Graph,
    octaves: Octaves,
    candidates: str,
    rnet: Network,
    options: DetectorOptions,
    *,
    batched: bool,
) -> str:
    """Candidates that R-Net kept, (n, 4), worst first."""
    (output,) = _read(graph, octaves, candidates, 24, RNET_BATCH if batched else None, rnet, [5])
    logits, offsets = graph.several("Split", 2, output, [1, 4], axis=1)
    scores = probability(graph, graph("Reshape", logits, [-1]))
    passed = graph.where(graph("Greater", scores, np.float32(options.thresholds[1])))
    boxes, scores, offsets = (graph("Gather", v, passed) for v in (candidates, scores, offsets))
    kept = graph.reversed(nms(graph, boxes, scores, options.nms[1], NO_LIMIT))
    boxes, offsets = graph("Gather", boxes, kept), graph("Gather", offsets, kept)
    boxes = truncated(graph, square(graph, regressed(graph, boxes, offsets)))
    if options.max_candidates:
        boxes = graph.part(boxes, -options.max_candidates[1], np.array([2**31]))
    left, top, right, bottom = graph.columns(boxes, 4)
    real = graph("And", graph("GreaterOrEqual", right, left), graph("GreaterOrEqual", bottom, top))
    return graph("Gather", boxes, graph.where(graph("Reshape", real, [-1])))


class Finds(NamedTuple):
    """What O-Net found, best first.

    Attributes:
        boxes: (n, 4), regressed.
        confidences: (n,) probabilities.
        windows: (n, 4) boxes that O-Net saw.
        output: (n, 15) log odds, offsets and landmarks.
        features: (n, 256) values of the hidden layer.
    """

    boxes: str
    confidences: str
    windows: str
    output: str
    features: str


def finish(
    graph: Graph,
    octaves: Octaves,
    candidates: str,
    onet: Network,
    options: DetectorOptions,
    *,
    batched: bool,
) -> Finds:
    """O-Net decides, and its finds are suppressed by the smaller area."""
    output, features = _read(
        graph, octaves, candidates, 48, ONET_BATCH if batched else None, onet, [15, 256]
    )
    scores = probability(graph, graph("Reshape", graph.part(output, 0, 1, axis=1), [-1]))
    passed = graph.where(graph("Greater", scores, np.float32(options.thresholds[2])))
    best, order = graph.several("TopK", 2, graph("Gather", scores, passed), graph.length(passed))
    rows = graph("Gather", passed, order)
    boxes = graph("Gather", candidates, rows)
    moved = regressed(graph, boxes, graph.part(graph("Gather", output, rows), 1, 5, axis=1))
    kept = nms_by_smaller_area(graph, moved, options.nms[2])
    if options.max_candidates:
        kept = graph.part(kept, 0, options.max_candidates[2])
    rows = graph("Gather", rows, kept)
    return Finds(
        boxes=graph("Gather", moved, kept),
        confidences=graph("Gather", best, kept),
        windows=graph("Gather", boxes, kept),
        output=graph("Gather", output, rows),
        features=graph("Gather", features, rows),
    )
