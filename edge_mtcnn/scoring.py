"""The calibrated score of a face, from O-Net's readings of it.

A logistic model: how sure the readings are on average, how far their landmarks disagree, and the
size of the face. Its few numbers are in ``score.json`` beside the models, with where they come
from; ``benchmarks/fit_score.py`` fits them again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_mtcnn.errors import ModelFileError
from edge_mtcnn.stages import Found
from edge_mtcnn.types import FloatArray

__all__ = ["FEATURES", "ScoreModel", "evidence", "load_score_model"]

FEATURES = ("logit", "log_disagreement", "log_size")
"""Columns of ``evidence``."""

_SCHEMA_VERSION = 1
_SMALLEST_DISAGREEMENT = 1e-3


@dataclass(frozen=True, slots=True)
class ScoreModel:
    """Coefficients of the score and of the landmarks.

    Attributes:
        coefficients: one for each of ``FEATURES``.
        intercept: log odds where all features are 0.
        landmark_offsets: (5, 2) what O-Net's landmarks lack, fractions of the face's size.
    """

    coefficients: tuple[float, ...]
    intercept: float
    landmark_offsets: tuple[tuple[float, float], ...]

    def scores(self, found: Found, readings: Sequence[Found]) -> FloatArray:
        """(N,) probabilities 0..1 of being a person's face.

        Args:
            found: the faces as O-Net found them.
            readings: of ``stages.look_again``.
        """
        log_odds = evidence(found, readings) @ np.array(self.coefficients) + self.intercept
        probabilities: FloatArray = 1 / (1 + np.exp(-log_odds))
        return probabilities

    def landmarks(self, found: Found, readings: Sequence[Found]) -> FloatArray:
        """(N, 5, 2) the landmarks of the further readings averaged, source pixels."""
        average = np.mean([reading.landmarks for reading in readings], axis=0)
        lacking = np.array(self.landmark_offsets) * _sizes(found.boxes)[:, None, None]
        landmarks: FloatArray = average + lacking
        return landmarks


def evidence(found: Found, readings: Sequence[Found]) -> FloatArray:
    """(N, 3) what the score is made of, see ``FEATURES``.

    The mean of the log odds of all readings; the log of the mean distance of their landmarks from
    the common mean, in sizes of the face; the log of that size, pixels.
    """
    landmarks = np.stack([found.landmarks, *(reading.landmarks for reading in readings)])
    sizes = _sizes(found.boxes)
    distances = np.linalg.norm(landmarks - landmarks.mean(axis=0), axis=3).mean(axis=(0, 2))
    logits = np.mean([found.logits, *(reading.logits for reading in readings)], axis=0)
    disagreement = np.log(distances / sizes + _SMALLEST_DISAGREEMENT)
    return np.stack([logits, disagreement, np.log(sizes)], axis=1)


def load_score_model(path: Path) -> ScoreModel:
    """Read ``score.json``.

    Raises:
        ModelFileError: it cannot be read, or is no score model of this version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema_version"] != _SCHEMA_VERSION or tuple(content["features"]) != FEATURES:
            raise ModelFileError(
                f"score model {path} is not of this version; refit or reinstall it"
            )
        offsets = np.array(content["landmark_offsets"], dtype=float).reshape(5, 2).tolist()
        return ScoreModel(
            coefficients=tuple(map(float, content["coefficients"])),
            intercept=float(content["intercept"]),
            landmark_offsets=tuple((x, y) for x, y in offsets),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"score model {path} cannot be read: {error}") from None


def _sizes(boxes: FloatArray) -> FloatArray:
    """(N,) mean of width and height, at least one pixel."""
    sides: FloatArray = (boxes[:, 2:] - boxes[:, :2]).mean(axis=1)
    return np.maximum(sides, 1)
