"""Stage 2 of the cascade: R-Net looks at each candidate and refines its box."""

from __future__ import annotations

import numpy as np

from edge_mtcnn.cascade.boxes import nms, regress, square
from edge_mtcnn.cascade.candidates import Candidates
from edge_mtcnn.cascade.networks import Map, Network, probability
from edge_mtcnn.cascade.pyramid import Sampler
from edge_mtcnn.cascade.windows import WindowSpec, window_outputs

__all__ = ["RNET", "refine"]

RNET = WindowSpec(size=24, outputs=5, batch=(8, 32))


def refine(
    candidates: Candidates,
    sampler: Sampler,
    rnet: Network,
    threshold: float,
    overlap: float,
    run: Map,
    *,
    spec: WindowSpec = RNET,
) -> Candidates:
    """Stage 2: R-Net on each candidate's window, NMS, regression.

    Args:
        candidates: what P-Net proposed, and expected places.
        sampler: makes the pixels of the windows.
        rnet: (n, 1, 24, 72) float32 pixels to (n, 5).
        threshold: probability that a candidate must exceed.
        overlap: IoU above which NMS drops a candidate.
        run: shares batches of windows among threads.
        spec: ``RNET``, perhaps for a device.

    Returns:
        Candidates with square boxes of whole numbers, best first.
    """
    if not len(candidates.boxes):
        return candidates
    output = window_outputs(candidates.boxes, sampler, rnet, spec, run)
    scores = probability(output[:, 0])
    passed = np.flatnonzero(scores > threshold)
    boxes, scores, offsets = candidates.boxes[passed], scores[passed], output[passed, 1:5]
    kept = nms(boxes, scores, overlap)
    boxes = np.trunc(square(regress(boxes[kept], offsets[kept])))
    real = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)  # a wild regression can turn a box inside out
    return Candidates(boxes[real], scores[kept][real])
