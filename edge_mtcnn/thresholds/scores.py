"""Two classes of scores, faces and non-faces, and their statistics.

A score is that of the best detection of one face or image, and NaN without a detection. No
threshold finds such a face, and such a non-face is never reported. Imports NumPy and ``types``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_mtcnn.types import FloatArray

__all__ = ["Bin", "Curve", "Reliability", "ScoreSet", "Summary", "curve", "reliability", "summary"]

BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class ScoreSet:
    """The scores of both classes.

    Attributes:
        faces: (F,) 0..1 or NaN, one per face, or per image that shows one.
        nonfaces: (N,) 0..1 or NaN, one per image: its best detection that is not a face.
    """

    faces: FloatArray
    nonfaces: FloatArray

    def reached(self, threshold: float) -> tuple[int, int]:
        """The number of faces and of non-faces with at least this score."""
        return int((self.faces >= threshold).sum()), int((self.nonfaces >= threshold).sum())


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of the detected members of a class, as ``DataFrame.describe`` computes them.

    NaN if no member was detected.
    """

    count: int
    detected: int
    mean: float
    std: float
    min: float
    q25: float
    median: float
    q75: float
    max: float


def summary(scores: FloatArray) -> Summary:
    """The statistics of one class; the standard deviation is that of a sample (n - 1)."""
    found = scores[~np.isnan(scores)].astype(np.float64)
    if not len(found):
        return Summary(len(scores), 0, *[float("nan")] * 7)
    quartiles = [float(value) for value in np.quantile(found, [0, 0.25, 0.5, 0.75, 1])]
    std = float(found.std(ddof=1)) if len(found) > 1 else float("nan")
    return Summary(len(scores), len(found), float(found.mean()), std, *quartiles)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Both rates at every distinct score, highest first.

    Attributes:
        thresholds: (K,) the distinct scores.
        recall: (K,) share of the faces with at least that score.
        false_positive_rate: (K,) share of the non-faces with at least that score.
        precision: (K,) share of faces among all with at least that score.
    """

    thresholds: FloatArray
    recall: FloatArray
    false_positive_rate: FloatArray
    precision: FloatArray

    @property
    def area(self) -> float:
        """Area under the ROC curve; members without a detection are tied at the last rank."""
        recall = np.concatenate([[0.0], self.recall, [1.0]])
        rate = np.concatenate([[0.0], self.false_positive_rate, [1.0]])
        return float((np.diff(rate) * (recall[1:] + recall[:-1]) / 2).sum())

    @property
    def average_precision(self) -> float:
        """Precision averaged over the steps of recall."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())


def curve(scores: ScoreSet) -> Curve:
    """The ROC and the precision-recall curve; each class must have at least one member."""
    faces, nonfaces = _ascending(scores.faces), _ascending(scores.nonfaces)
    thresholds = np.unique(np.concatenate([faces, nonfaces]))[::-1]
    kept = len(faces) - np.searchsorted(faces, thresholds)
    shown = len(nonfaces) - np.searchsorted(nonfaces, thresholds)
    return Curve(
        thresholds,
        kept / len(scores.faces),
        shown / len(scores.nonfaces),
        kept / np.maximum(kept + shown, 1),
    )


@dataclass(frozen=True, slots=True)
class Bin:
    """Detections with a score from ``low`` to ``high``, their mean score and share of faces."""

    low: float
    high: float
    count: int
    mean_score: float
    share_of_faces: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Whether a score can be read as a probability, over the detections of both classes.

    It holds for the mix of faces and non-faces that was measured, and for no other.

    Attributes:
        brier: mean squared distance between score and truth, 0 is best; NaN without detections.
        ece: expected calibration error: mean distance between mean score and share of faces over
            equally wide bins of 0..1, weighted by count; NaN without detections.
        bins: the bins that have a detection.
    """

    brier: float
    ece: float
    bins: tuple[Bin, ...]


def reliability(scores: ScoreSet, bins: int = BINS) -> Reliability:
    """Compare the scores with the share of faces among detections of such scores."""
    given = np.concatenate([scores.faces, scores.nonfaces]).astype(np.float64)
    truth = np.repeat([1.0, 0.0], [len(scores.faces), len(scores.nonfaces)])
    detected = ~np.isnan(given)
    given, truth = given[detected], truth[detected]
    if not len(given):
        return Reliability(float("nan"), float("nan"), ())
    place = np.minimum((given * bins).astype(np.intp), bins - 1)
    filled = []
    for index in np.unique(place):
        inside = place == index
        count, mean, share = int(inside.sum()), float(given[inside].mean()), truth[inside].mean()
        filled.append(Bin(index / bins, (index + 1) / bins, count, mean, float(share)))
    ece = sum(part.count * abs(part.mean_score - part.share_of_faces) for part in filled)
    return Reliability(float(((given - truth) ** 2).mean()), ece / len(given), tuple(filled))


def _ascending(scores: FloatArray) -> FloatArray:
    return np.sort(scores[~np.isnan(scores)])
