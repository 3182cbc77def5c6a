"""Average precision by the protocol of WIDER FACE, and recall at a number of false positives.

Boxes as in ``matching``. Only the matching works image by image; everything after it works on the
detections of all images at once. Imports NumPy and ``matching``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_mtcnn.errors import OptionsError
from edge_mtcnn.options.checks import check_share
from edge_mtcnn.thresholds.matching import BoolArray, match
from edge_mtcnn.types import FloatArray

__all__ = [
    "PrecisionRecall",
    "ScoredBoxes",
    "Verdicts",
    "average_precision",
    "judge",
    "precision_recall",
    "recall_at_false_positives",
]

STEPS = 1000  # thresholds of the official evaluation: 0.999, 0.998, ... 0

ScoredBoxes = tuple[FloatArray, FloatArray]
"""(N, 4) boxes and (N,) scores of one image."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """The detections of a set of images as hits and false positives.

    Attributes:
        scores: (K,) scores, highest first, without the detections on ignored faces.
        hits: (K,) whether the detection is a hit; any other is a false positive.
        faces: number of counted faces in all images.
        images: number of images.
        lowest, highest: range of the scores of all detections, including ignored ones; 0 and 1
            if there are none.
    """

    scores: FloatArray
    hits: BoolArray
    faces: int
    images: int
    lowest: float = 0.0
    highest: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """The curve of the official evaluation.

    Attributes:
        thresholds: (1000,) thresholds for the scores scaled to 0..1, highest first.
        precision: (1000,) share of the detections that are hits; 0 where there are none.
        recall: (1000,) share of the counted faces that are found.
    """

    thresholds: FloatArray
    precision: FloatArray
    recall: FloatArray

    @property
    def average_precision(self) -> float:
        """Area under the curve, after raising precision to its maximum at any higher recall."""
        recall = np.concatenate([[0.0], self.recall, [1.0]])
        precision = np.concatenate([[0.0], self.precision, [0.0]])
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        return float((np.diff(recall) * envelope[1:]).sum())


def judge(
    detections: Sequence[ScoredBoxes],
    ground_truth: Sequence[FloatArray],
    counted: Sequence[BoolArray | Sequence[int]],
    iou: float = 0.5,
) -> Verdicts:
    """Match the detections of all images.

    Args:
        detections: per image (N, 4) ``x1, y1, x2, y2`` and (N,) scores.
        ground_truth: per image (M, 4) ``x1, y1, x2, y2`` of all annotated faces.
        counted: per image the faces that count, as (M,) mask or as indices; the rest is ignored.
        iou: smallest overlap of a hit, 0..1.

    Raises:
        ValueError: the three have different numbers of images, or a mask has the wrong length.
    """
    scores, hits, faces = [], [], 0
    lowest, highest = np.inf, -np.inf
    for (boxes, given), truth, chosen in zip(detections, ground_truth, counted, strict=True):
        truth = np.asarray(truth, dtype=np.float64).reshape(-1, 4)
        mask = _mask(chosen, len(truth))
        boxes, given = np.asarray(boxes).reshape(-1, 4), np.asarray(given, dtype=np.float64)
        found = match(boxes, given, truth, mask, iou)
        scores.append(given[~found.ignored])
        hits.append(found.hit[~found.ignored])
        lowest = min(lowest, given.min(initial=np.inf))
        highest = max(highest, given.max(initial=-np.inf))
        faces += int(mask.sum())
    if not scores:
        return Verdicts(np.zeros(0), np.zeros(0, dtype=bool), 0, 0)
    flat = np.concatenate(scores)
    order = np.argsort(-flat, kind="stable")
    span = (float(lowest), float(highest)) if lowest <= highest else (0.0, 1.0)
    return Verdicts(flat[order], np.concatenate(hits)[order], faces, len(scores), *span)


def precision_recall(verdicts: Verdicts) -> PrecisionRecall:
    """The curve of the official evaluation: scores scaled to 0..1 over the whole set."""
    thresholds = 1 - np.arange(1, STEPS + 1) / STEPS
    span = verdicts.highest - verdicts.lowest
    scaled = (
        (verdicts.scores - verdicts.lowest) / span if span > 0 else np.ones_like(verdicts.scores)
    )
    reached = np.searchsorted(-scaled, -thresholds, side="right")
    hits = np.concatenate([[0], np.cumsum(verdicts.hits)])[reached]
    return PrecisionRecall(thresholds, hits / np.maximum(reached, 1), hits / max(verdicts.faces, 1))


def average_precision(
    detections: Sequence[ScoredBoxes],
    ground_truth: Sequence[FloatArray],
    counted: Sequence[BoolArray | Sequence[int]],
    iou: float = 0.5,
) -> float:
    """Average precision as WIDER FACE's own evaluation computes it.

    Images without a counted face still add their false positives. It is 0 if no face counts.

        average_precision([(faces.boxes, faces.scores)], [[[30, 40, 90, 110]]], [[0]])

    Args:
        detections: per image (N, 4) ``x1, y1, x2, y2`` and (N,) scores.
        ground_truth: per image (M, 4) ``x1, y1, x2, y2`` of all annotated faces.
        counted: per image the faces that count, as (M,) mask or as indices; the rest is ignored.
        iou: smallest overlap of a hit, 0..1.
    """
    check_share("iou", iou)
    try:
        verdicts = judge(detections, ground_truth, counted, iou)
    except (TypeError, ValueError, IndexError) as error:
        raise OptionsError(
            "detections, ground_truth and counted must have one entry for each image, of the shapes"
            f" in the description of average_precision: {error}"
        ) from None
    return precision_recall(verdicts).average_precision


def recall_at_false_positives(verdicts: Verdicts, per_image: float) -> tuple[float, float | None]:
    """The best recall with at most ``per_image`` false positives per image.

    Args:
        verdicts: verdicts on the whole set.
        per_image: number of false positives allowed, mean over the images.

    Returns:
        Recall 0..1 and the lowest score to report for it; ``None`` if no threshold does.
    """
    allowed = per_image * verdicts.images * (1 + 1e-12)
    # A threshold can only separate different scores.
    last = np.flatnonzero(np.diff(verdicts.scores, append=-np.inf))
    within = last[np.cumsum(~verdicts.hits)[last] <= allowed]
    if not len(within):
        return 0.0, None
    found = int(verdicts.hits[: within[-1] + 1].sum())
    return found / max(verdicts.faces, 1), float(verdicts.scores[within[-1]])


def _mask(chosen: BoolArray | Sequence[int], count: int) -> BoolArray:
    rows = np.asarray(chosen)
    if rows.dtype == np.bool_:
        if len(rows) != count:
            raise ValueError(f"a mask of {count} faces must have that length; got {len(rows)}")
        return rows
    mask = np.zeros(count, dtype=bool)
    mask[rows.astype(np.intp)] = True
    return mask
