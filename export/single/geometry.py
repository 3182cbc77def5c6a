"""Box geometry of ``edge_mtcnn.cascade.boxes`` as nodes, with the same conventions.

Boxes are (n, 4) float32, source pixels, 1-based and inclusive. Where the runtime lists candidates
best first and lets the later of two equal scores win, the graph lists them worst first, because
NonMaxSuppression prefers the earlier.
"""

from __future__ import annotations

import numpy as np

from export.single.graph import Graph, Operand

__all__ = [
    "anything",
    "nms",
    "nms_by_smaller_area",
    "probability",
    "regressed",
    "square",
    "truncated",
]

INCLUSIVE = np.array([[0, 0, 1, 1]], dtype=np.float32)
"""What is added to a box so that differences of edges are its sides."""


def probability(graph: Graph, logits: str) -> str:
    """Probability of a face, float32; high scores are equal at 1.0, as in the runtime."""
    return graph("Div", 1.0, graph("Add", graph("Exp", graph("Neg", logits)), 1.0))


def sides(graph: Graph, boxes: str) -> str:
    """``x2 - x1, y2 - y1`` of boxes, (n, 2)."""
    return graph("Sub", graph.part(boxes, 2, 4, axis=1), graph.part(boxes, 0, 2, axis=1))


def regressed(graph: Graph, boxes: str, offsets: str, *, inclusive: bool = True) -> str:
    """Move each edge by the regression of the stage that scored the box."""
    lengths = sides(graph, boxes)
    if inclusive:
        lengths = graph("Add", lengths, 1.0)
    both = graph("Concat", lengths, lengths, axis=1)
    return graph("Add", boxes, graph("Mul", offsets, both))


def square(graph: Graph, boxes: str) -> str:
    """Extend the shorter side to the length of the longer one, around the same centre."""
    lengths = sides(graph, boxes)
    side = graph("ReduceMax", lengths, axes=[1], keepdims=1)
    spare = graph("Mul", graph("Sub", lengths, side), 0.5)
    corners = graph("Add", graph.part(boxes, 0, 2, axis=1), spare)
    return graph("Concat", corners, graph("Add", corners, side), axis=1)


def truncated(graph: Graph, values: str) -> str:
    """Whole numbers, rounded toward zero."""
    return graph.cast(graph.cast(values, np.int32), np.float32)


def anything(graph: Graph, values: str) -> str:
    """Whether one of (n,) float32 is not 0, bool scalar; n may be 0."""
    # Older versions of ONNX Runtime refuse to reduce nothing.
    some = graph("Concat", graph("Abs", values), np.zeros(1, dtype=np.float32), axis=0)
    return graph("Greater", graph("ReduceMax", some, keepdims=0), 0.0)


def nms(graph: Graph, boxes: str, scores: str, threshold: float, most: Operand) -> str:
    """Greedy suppression by IoU: rows of the kept boxes, best first, at most ``most``."""
    selected = graph(
        "NonMaxSuppression",
        graph("Unsqueeze", graph("Add", boxes, INCLUSIVE), [0]),
        graph("Unsqueeze", scores, [0, 1]),
        most,
        np.float32(threshold),
    )
    return graph("Reshape", graph.part(selected, 2, 3, axis=1), [-1])


def nms_by_smaller_area(graph: Graph, boxes: str, threshold: float) -> str:
    """Greedy suppression where overlap is the intersection over the smaller area.

    Args:
        graph: what is written to.
        boxes: (n, 4), best first.
        threshold: overlap above which the worse of two boxes is dropped.

    Returns:
        Rows of the kept boxes, ascending.
    """
    columns = graph.columns(graph("Add", boxes, INCLUSIVE), 4)
    left, top, right, bottom = columns
    left_b, top_b, right_b, bottom_b = (graph("Transpose", c, perm=[1, 0]) for c in columns)
    width = graph("Sub", graph("Min", right, right_b), graph("Max", left, left_b))
    height = graph("Sub", graph("Min", bottom, bottom_b), graph("Max", top, top_b))
    shared = graph("Mul", graph("Max", width, 0.0), graph("Max", height, 0.0))
    area = graph("Mul", graph("Sub", right, left), graph("Sub", bottom, top))
    smaller = graph("Min", area, graph("Transpose", area, perm=[1, 0]))
    over = graph.cast(
        graph("Greater", graph("Div", shared, smaller), np.float32(threshold)), np.float32
    )
    # Row drops column: only better boxes drop others.
    drops = graph("Trilu", over, np.int64(1), upper=1)

    def round_(inner: Graph, _: str, kept: str) -> list[str]:
        """Who is not dropped by those who were kept in the last round; the end changes nothing."""
        hits = inner("MatMul", kept, drops)
        now = inner.cast(inner("Less", hits, 0.5), np.float32)
        return [anything(inner, inner("Reshape", inner("Sub", now, kept), [-1])), now]

    everyone = graph("Unsqueeze", graph("Expand", 1.0, graph.length(boxes)), [0])
    (kept,) = graph.loop(None, [(everyone, np.float32)], round_, until_false=True)
    return graph.where(graph("Reshape", kept, [-1]))
