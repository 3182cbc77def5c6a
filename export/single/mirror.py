"""The mirror check and the score, see ``edge_mtcnn.cascade.onet.look_again`` and ``scoring``."""

from __future__ import annotations

import numpy as np

from edge_mtcnn.cascade.onet import LEAST_TILT, MIRROR_TIGHT, TIGHT
from edge_mtcnn.cascade.scoring import ScoreModel
from export.single.geometry import anything, sides, square, truncated
from export.single.graph import Graph
from export.single.networks import Network
from export.single.pixels import Octaves, windows
from export.single.refinement import ONET_BATCH, Finds, in_batches

__all__ = ["landmarks_of", "score"]

MIRRORED = [1, 0, 2, 4, 3]
"""Index of each landmark in the mirror."""
SIZE = 48


def landmarks_of(graph: Graph, boxes: str, output: str) -> str:
    """O-Net's landmarks in source pixels, (n, 5, 2)."""
    shares = graph("Reshape", graph.part(output, 5, 15, axis=1), [-1, 5, 2])
    length = graph("Unsqueeze", graph("Add", sides(graph, boxes), 1.0), [1])
    corner = graph("Unsqueeze", graph("Sub", graph.part(boxes, 0, 2, axis=1), 1.0), [1])
    return graph("Add", graph("Mul", shares, length), corner)


def score(
    graph: Graph, octaves: Octaves, finds: Finds, onet: Network, model: ScoreModel, *, batched: bool
) -> tuple[str, str]:
    """Calibrated scores (n,) and landmarks (n, 5, 2) of what O-Net found."""
    squares = square(graph, finds.boxes)
    around = graph(
        "Concat", _scaled(graph, squares, TIGHT), _scaled(graph, squares, MIRROR_TIGHT), axis=0
    )
    count = graph.length(squares)
    in_mirror = graph("Unsqueeze", graph("GreaterOrEqual", _numbers(graph, around), count), [1])
    tilts = _tilts(graph, landmarks_of(graph, finds.windows, finds.output))
    tilts = graph("Concat", tilts, tilts, axis=0)

    def look(inner: Graph, start: str, stop: str) -> list[str]:
        boxes, tilt, mirrored = (inner.part(v, start, stop) for v in (around, tilts, in_mirror))
        upright = windows(inner, octaves, boxes, SIZE, mirrored)
        pixels = inner.branch(
            anything(inner, tilt),
            lambda g: _with_turned(g, octaves, upright, boxes, tilt, mirrored),
            lambda _: upright,
            np.float32,
        )
        return onet(inner, inner("Unsqueeze", pixels, [1]))

    output, features = in_batches(
        graph, graph.length(around), ONET_BATCH if batched else None, [15, 256], look
    )
    seen = landmarks_of(graph, around, _mirrored_back(graph, output, in_mirror))
    seen = _turned_back(graph, seen, around, tilts)
    landmarks = _sum_of_readings(graph, seen, count)
    size = graph("Max", graph("ReduceMean", sides(graph, finds.boxes), axes=[1], keepdims=1), 1.0)
    lacking = graph(
        "Mul", graph("Unsqueeze", size, [2]), model.landmark_offsets.astype(np.float32)[None]
    )
    landmarks = graph("Add", graph("Mul", landmarks, 0.5), lacking)
    all_features = graph("Add", finds.features, _sum_of_readings(graph, features, count))
    further = _sum_of_readings(graph, graph.part(output, 0, 1, axis=1), count)
    evidence = graph(
        "Concat",
        graph("Div", all_features, 3.0),
        graph.part(finds.output, 0, 1, axis=1),
        graph("Mul", further, 0.5),
        graph("Log", graph("Max", graph("Min", size, 150.0), 40.0)),
        axis=1,
    )
    return _probabilities(graph, evidence, size, model), landmarks


def _probabilities(graph: Graph, evidence: str, size: str, model: ScoreModel) -> str:
    coefficients = model.coefficients.T.astype(np.float32)
    both = graph("Gemm", evidence, coefficients, model.intercepts.astype(np.float32))
    small, large = graph.columns(both, 2)
    smallest, largest = model.sizes
    share = graph(
        "Mul", graph("Sub", size, np.float32(smallest)), np.float32(1 / (largest - smallest))
    )
    share = graph("Max", graph("Min", share, 1.0), 0.0)
    mixed = graph("Add", small, graph("Mul", share, graph("Sub", large, small)))
    log_odds = graph("Max", mixed, 0.0)
    log_odds = graph(
        "Add", log_odds, graph("Mul", graph("Min", mixed, 0.0), np.float32(model.tail))
    )
    odds = graph("Exp", graph("Neg", log_odds))
    return graph("Reshape", graph("Div", 1.0, graph("Add", odds, 1.0)), [-1])


def _sum_of_readings(graph: Graph, values: str, count: str) -> str:
    """Sums of what both readings say of each face; they lie one after the other."""
    tight = graph.part(values, [0], count)
    mirrored = graph.part(values, count, graph("Add", count, count))
    return graph("Add", tight, mirrored)


def _scaled(graph: Graph, boxes: str, factor: float) -> str:
    """Boxes scaled around their centres, whole numbers."""
    first, last = graph.part(boxes, 0, 2, axis=1), graph.part(boxes, 2, 4, axis=1)
    centre = graph("Mul", graph("Add", first, last), 0.5)
    centres = graph("Concat", centre, centre, axis=1)
    moved = graph("Mul", graph("Sub", boxes, centres), np.float32(factor))
    return truncated(graph, graph("Add", centres, moved))


def _numbers(graph: Graph, values: str) -> str:
    """0, 1, 2 ... for each row, int64 (n,)."""
    count = graph("Reshape", graph.length(values), np.zeros(0, dtype=np.int64))
    return graph("Range", np.int64(0), count, np.int64(1))


def _tilts(graph: Graph, landmarks: str) -> str:
    """Clockwise tilt of each head, (n,) radians; 0 if it is small."""
    # Sums of landmarks: across = right eye - left eye, down = half of mouth - eyes.
    across_x, across_y = [-1, 1, 0, 0, 0], [-1, 1, 0, 0, 0]
    down = [-0.5, -0.5, 0, 0.5, 0.5]
    weights = np.zeros((5, 2, 2), dtype=np.float32)
    weights[:, 1, 0], weights[:, 0, 0] = across_y, -np.array(down)  # sine
    weights[:, 0, 1], weights[:, 1, 1] = across_x, down  # cosine
    parts = graph("MatMul", graph("Reshape", landmarks, [-1, 10]), weights.reshape(10, 2))
    sine, cosine = graph.columns(parts, 2)
    # atan2(y, x) = 2 atan(y / (sqrt(x^2 + y^2) + x)); a head upside down is at the seam.
    length = graph("Sqrt", graph("Add", graph("Mul", sine, sine), graph("Mul", cosine, cosine)))
    half = graph("Div", sine, graph("Max", graph("Add", length, cosine), np.float32(1e-6)))
    tilt = graph("Reshape", graph("Mul", graph("Atan", half), 2.0), [-1])
    small = graph("Less", graph("Abs", tilt), np.float32(LEAST_TILT))
    return graph("Where", small, np.float32(0), tilt)


def _with_turned(
    graph: Graph, octaves: Octaves, upright: str, boxes: str, tilts: str, in_mirror: str
) -> str:
    """Replace the windows of tilted heads by turned ones, cut out of windows of twice the side."""
    rows = graph.where(graph.cast(tilts, np.bool_))
    boxes, tilt, mirrored = (graph("Gather", v, rows) for v in (boxes, tilts, in_mirror))
    reach = graph("Mul", graph("Add", sides(graph, boxes), 1.0), 0.5)
    around = graph(
        "Concat",
        graph("Sub", graph.part(boxes, 0, 2, axis=1), reach),
        graph("Add", graph.part(boxes, 2, 4, axis=1), reach),
        axis=1,
    )
    pixels = windows(graph, octaves, around, 2 * SIZE)
    planes = graph("Reshape", pixels, [-1, 2 * SIZE, 2 * SIZE, 3])
    planes = graph("Transpose", planes, perm=[0, 3, 1, 2])
    turned = graph(
        "GridSample", planes, _grid(graph, tilt, mirrored), mode="bilinear", align_corners=0
    )
    turned = graph("Reshape", graph("Transpose", turned, perm=[0, 2, 3, 1]), [-1, SIZE, 3 * SIZE])
    return graph("ScatterND", upright, graph("Unsqueeze", rows, [1]), turned)


def _grid(graph: Graph, tilts: str, in_mirror: str) -> str:
    """Places of turned windows' pixels in windows of twice the side, (n, 48, 48, 2), -1..1."""
    centres = (np.arange(SIZE) - (SIZE - 1) / 2).astype(np.float32)
    across = graph("Unsqueeze", graph("Where", in_mirror, centres[::-1], centres), [1])
    down = centres[None, :, None]
    angle = graph("Reshape", tilts, [-1, 1, 1])
    cosine, sine = graph("Cos", angle), graph("Sin", angle)
    x = graph("Sub", graph("Mul", cosine, across), graph("Mul", sine, down))
    y = graph("Add", graph("Mul", sine, across), graph("Mul", cosine, down))
    both = graph("Concat", graph("Unsqueeze", x, [3]), graph("Unsqueeze", y, [3]), axis=3)
    return graph("Mul", both, np.float32(1 / SIZE))


def _mirrored_back(graph: Graph, output: str, in_mirror: str) -> str:
    """O-Net's output with the landmarks of mirrored windows mirrored back."""
    order = [*range(5), *(5 + 2 * index + axis for index in MIRRORED for axis in range(2))]
    sign = np.array([1] * 5 + [-1, 1] * 5, dtype=np.float32)
    shift = np.array([0] * 5 + [1, 0] * 5, dtype=np.float32)
    swapped = graph("Gather", output, np.array(order), axis=1)
    swapped = graph("Add", graph("Mul", swapped, sign), shift)
    return graph("Where", in_mirror, swapped, output)


def _turned_back(graph: Graph, landmarks: str, boxes: str, tilts: str) -> str:
    """Landmarks in turned windows, turned back about the centres of the windows."""
    first, last = graph.part(boxes, 0, 2, axis=1), graph.part(boxes, 2, 4, axis=1)
    centre = graph("Mul", graph("Sub", graph("Add", first, last), 1.0), 0.5)
    centre = graph("Unsqueeze", centre, [1])
    angle = graph("Reshape", tilts, [-1, 1, 1])
    cosine, sine = graph("Cos", angle), graph("Sin", angle)
    x, y = graph.several("Split", 2, graph("Sub", landmarks, centre), axis=2)
    turned_x = graph("Sub", graph("Mul", cosine, x), graph("Mul", sine, y))
    turned_y = graph("Add", graph("Mul", sine, x), graph("Mul", cosine, y))
    return graph("Add", graph("Concat", turned_x, turned_y, axis=2), centre)
