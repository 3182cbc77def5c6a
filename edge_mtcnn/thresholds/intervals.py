"""Rates with their exact confidence interval (Clopper-Pearson).

The limits are quantiles of beta distributions with whole-number parameters. Such a quantile is the
share at which a binomial tail reaches a given probability, so summing that tail and bisecting is
enough: neither SciPy nor the incomplete beta function is needed. Imports NumPy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options.checks import check_int, is_number

__all__ = ["Rate", "clopper_pearson", "images_to_promise"]

_HALVINGS = 60  # from 0..1; the rest is far below the spacing of floats at any useful limit


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of ``total`` with its Clopper-Pearson interval.

    Attributes:
        count: number of cases.
        total: number of all cases, at least 1.
        confidence: confidence level of the two-sided interval, 0..1.
    """

    count: int
    total: int
    confidence: float = 0.95

    @property
    def value(self) -> float:
        """The share itself, 0..1."""
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper limit, 0..1."""
        return clopper_pearson(self.count, self.total, self.confidence)

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.value:.2%} ({self.count} of {self.total};"
            f" {self.confidence:.0%} interval {low:.2%} to {high:.2%})"
        )


def check_level(confidence: object) -> None:
    """Require a confidence level of intervals."""
    if not is_number(confidence) or not 0 < confidence < 1:  # type: ignore[operator]
        raise OptionsError(
            f"the confidence of intervals must be between 0 and 1; got {shown(confidence)}"
        )


def clopper_pearson(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a binomial share.

    Args:
        count: successes, 0..``total``.
        total: trials, at least 1.
        confidence: confidence level, above 0 and below 1.

    Returns:
        Lower and upper limit. Without a success the lower one is 0, without a failure the upper one
        is 1: ``clopper_pearson(0, 300)`` is ``(0.0, 0.0122)``.

    Raises:
        OptionsError: an argument is out of its range.
    """
    check_int("total", total, 1, None)
    check_int("count", count, 0, total)
    check_level(confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else _share_with_tail(count, total, tail)
    # At most `count` successes is at least `total - count` failures.
    high = 1.0 if count == total else 1 - _share_with_tail(total - count, total, tail)
    return low, high


def images_to_promise(rate: float, confidence: float = 0.95) -> int:
    """The fewest images that can promise ``rate``, if the event happens in none of them.

    Args:
        rate: upper limit of the interval, above 0 and below 1.
        confidence: confidence level of the two-sided interval, 0..1.
    """
    # None of n has the upper limit 1 - tail ** (1 / n), so the tail is (1 - rate) ** n.
    tail = (1 - confidence) / 2
    return math.ceil(math.log(tail) / math.log1p(-rate) - 1e-9)


def _share_with_tail(count: int, total: int, tail: float) -> float:
    """The success probability at which ``count`` or more successes have probability ``tail``."""
    successes = np.arange(count, total + 1)
    choices = math.lgamma(total + 1) - np.array(
        [math.lgamma(k + 1) + math.lgamma(total - k + 1) for k in range(count, total + 1)]
    )
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        if not low < share < high:
            break
        terms = choices + successes * math.log(share) + (total - successes) * math.log1p(-share)
        low, high = (share, high) if np.exp(terms).sum() < tail else (low, share)
    return (low + high) / 2
