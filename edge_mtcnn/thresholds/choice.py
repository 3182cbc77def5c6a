"""The threshold for a wanted false-positive rate or recall, and what the images can promise of it.

A detection is reported if its score is at least the threshold. The threshold lies half-way between
two observed scores, in float32 as the scores are, so it separates the images exactly as stated.

The limit that matters is the upper one of the false-positive rate, or the lower one of recall. It
holds although the threshold was chosen on the same images: the true rate at the (k+1)-th highest
score of n has the beta distribution whose quantile is Clopper-Pearson's upper limit for k of n,
whatever the distribution of the scores, and the threshold is no lower than that score.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options.checks import check_bool, check_choice, check_share, check_type, is_number
from edge_mtcnn.thresholds.intervals import Rate, check_level, clopper_pearson, images_to_promise
from edge_mtcnn.thresholds.scores import ScoreSet

__all__ = ["Choice", "Target", "choose"]

_ROUNDING = 1e-9  # 0.07 * 100 is a little above 7


@dataclass(frozen=True, slots=True)
class Target:
    """What the threshold has to reach.

    Attributes:
        kind: ``"fpr"``: at most this share of the images without faces has a detection;
            ``"recall"``: at least this share of the faces is kept.
        value: the share, above 0 and below 1; for ``"recall"`` it may be 1.
        promised: whether the limit of the interval must reach the target, and not only the rate on
            these images.
    """

    kind: Literal["fpr", "recall"]
    value: float
    promised: bool = False

    def __post_init__(self) -> None:
        check_choice("target", self.kind, ("fpr", "recall"))
        check_bool("promised", self.promised)
        if self.kind == "recall":
            check_share("recall", self.value)
        elif not is_number(self.value) or not 0 < self.value < 1:
            raise OptionsError(f"fpr must be between 0 and 1; got {shown(self.value)}")

    def __str__(self) -> str:
        promised = ", promised by the limit of the interval" if self.promised else ""
        if self.kind == "fpr":
            return f"a false-positive rate of at most {self.value:.4g}{promised}"
        return f"a recall of at least {self.value:.4g}{promised}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold and what it does to the images it was chosen on.

    Attributes:
        threshold: lowest score to report; 0 if every detection can be reported.
        recall: share of the faces that are kept.
        false_positive_rate: share of the images with a detection that is not a face.
        warnings: what these images cannot promise, one sentence each.
    """

    threshold: float
    recall: Rate
    false_positive_rate: Rate
    warnings: tuple[str, ...]


def choose(scores: ScoreSet, target: Target, confidence: float = 0.95) -> Choice:
    """Choose the threshold that reaches ``target`` with the fewest mistakes in the other class.

    Args:
        scores: scores of both classes, at least one of each.
        target: what to reach.
        confidence: confidence level of the intervals, 0..1.

    Raises:
        OptionsError: no threshold reaches the target, or these images cannot promise it; the
            message says what can be reached.
    """
    check_type("scores", scores, ScoreSet)
    check_type("target", target, Target)
    check_level(confidence)
    find = _for_rate if target.kind == "fpr" else _for_recall
    threshold = find(scores, target, confidence)
    kept, shown = scores.reached(threshold)
    return Choice(
        threshold,
        Rate(kept, len(scores.faces), confidence),
        Rate(shown, len(scores.nonfaces), confidence),
        _warnings(scores, target, confidence),
    )


def _for_rate(scores: ScoreSet, target: Target, confidence: float) -> float:
    rate, total = target.value, len(scores.nonfaces)
    allowed = math.floor(rate * total + _ROUNDING)
    if target.promised:  # the limit grows with the count
        limits = partial(_limit, 1, total, confidence)
        allowed = bisect_right(range(allowed + 1), rate, key=limits) - 1
        if allowed < 0:
            least = clopper_pearson(0, total, confidence)[1]
            raise OptionsError(
                f"{total} images without faces cannot promise a false-positive rate of {rate:.4g}:"
                f" without a single mistake its limit is still {least:.4g}; at least"
                f" {images_to_promise(rate, confidence)} images are needed"
            )
    shown = np.sort(scores.nonfaces[~np.isnan(scores.nonfaces)])[::-1]
    if len(shown) <= allowed:
        return 0.0
    cut = np.float32(shown[allowed])
    if cut >= 1:
        least = np.count_nonzero(shown >= 1) / len(scores.nonfaces)
        raise OptionsError(
            f"no threshold gives a false-positive rate of {rate:.4g}: {least:.4g} of the images"
            " without faces have a detection with the highest score, 1; look at these images"
        )
    everything = np.concatenate([scores.faces, scores.nonfaces])
    above = everything[everything > cut]
    upper = np.float32(above.min() if len(above) else 1.0)
    middle = np.float32((float(cut) + float(upper)) / 2)
    return float(middle if middle > cut else upper)


def _for_recall(scores: ScoreSet, target: Target, confidence: float) -> float:
    recall, total = target.value, len(scores.faces)
    needed = math.ceil(recall * total - _ROUNDING)
    if target.promised:
        limits = partial(_limit, 0, total, confidence)
        needed += bisect_left(range(needed, total + 1), recall, key=limits)
        if needed > total:
            most = clopper_pearson(total, total, confidence)[0]
            takes = (
                f"at least {images_to_promise(1 - recall, confidence)} faces are needed"
                if recall < 1
                else "no number of faces can; choose a smaller recall"
            )
            raise OptionsError(
                f"{total} faces cannot promise a recall of {recall:.4g}: without a single miss its"
                f" limit is still {most:.4g}; {takes}"
            )
    kept = np.sort(scores.faces[~np.isnan(scores.faces)])[::-1]
    if len(kept) < needed:
        most = len(kept) / len(scores.faces)
        raise OptionsError(
            f"no threshold keeps {needed / total:.4g} of the faces: only {most:.4g} are detected"
            " at all; look at the missed ones, or lower min_face_size or the detector's thresholds"
        )
    lowest = np.float32(kept[needed - 1])
    everything = np.concatenate([scores.faces, scores.nonfaces])
    below = everything[everything < lowest]
    if not len(below):
        return float(lowest)
    middle = np.float32((float(lowest) + float(below.max())) / 2)
    return float(middle if float(below.max()) < middle else lowest)


def _limit(which: int, total: int, confidence: float, count: int) -> float:
    """The lower (0) or upper (1) limit of a share."""
    return clopper_pearson(count, total, confidence)[which]


def _warnings(scores: ScoreSet, target: Target, confidence: float) -> tuple[str, ...]:
    """A warning if there are too few images for any threshold to promise the target."""
    if target.promised:
        return ()
    if target.kind == "fpr":
        wanted, given, what = target.value, len(scores.nonfaces), "images without faces"
        promise = f"a false-positive rate of {target.value:.4g}"
    else:
        wanted, given, what = 1 - target.value, len(scores.faces), "faces"
        promise = f"a recall of {target.value:.4g}"
    if wanted <= 0:
        return ("no number of faces can promise a recall of 1; choose a smaller one",)
    needed = images_to_promise(wanted, confidence)
    if given >= needed:
        return ()
    warning = (
        f"too few {what}: {given} cannot promise {promise}; even without a single mistake"
        f" it needs at least {needed}; look at the interval, or add images"
    )
    return (warning,)
