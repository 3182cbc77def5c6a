"""The calibrated score of a face, from O-Net's readings of it.

A logistic model of the readings' log odds and of the face's size. Its numbers and their origin are
in ``score.json`` beside the models; ``python -m export score`` fits them again. The disagreement of
the landmarks was tried as well: it adds nothing to these two, and ranks small faces in crowds too
low.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_mtcnn.cascade.candidates import Found
from edge_mtcnn.errors import ModelFileError
from edge_mtcnn.types import FloatArray

__all__ = ["FEATURES", "ScoreModel", "evidence", "load_score_model"]

FEATURES = ("logit", "log_size")
"""Columns of ``evidence``."""

_SCHEMA_VERSION = 1
_SIZE_RANGE = (40.0, 150.0)  # pixels; beyond it, size says nothing about what is a face


@dataclass(frozen=True, slots=True)
class ScoreModel:
    """Coefficients of the score and of the landmarks.

    Attributes:
        coefficients: one for each of ``FEATURES``.
        intercept: log odds where all features are 0.
        landmark_offsets: (5, 2) correction of O-Net's landmarks, fractions of the face's size.
    """

    coefficients: tuple[float, ...]
    intercept: float
    landmark_offsets: tuple[tuple[float, float], ...]

    def scores(self, found: Found, readings: Sequence[Found]) -> FloatArray:
        """Probabilities of being a person's face, (N,) float32, 0..1.

        They are rounded to the precision in which they are reported, so that a threshold that was
        read off a report keeps its face.

        Args:
            found: the faces that O-Net found.
            readings: what ``onet.look_again`` returned for them.
        """
        log_odds = evidence(found, readings) @ np.array(self.coefficients) + self.intercept
        probabilities: FloatArray = (1 / (1 + np.exp(-log_odds))).astype(np.float32)
        return probabilities

    def landmarks(self, found: Found, readings: Sequence[Found]) -> FloatArray:
        """Mean landmarks of the further readings, corrected, (N, 5, 2), source pixels."""
        average = np.mean([reading.landmarks for reading in readings], axis=0)
        lacking = np.array(self.landmark_offsets) * _sizes(found.boxes)[:, None, None]
        landmarks: FloatArray = average + lacking
        return landmarks


def evidence(found: Found, readings: Sequence[Found]) -> FloatArray:
    """Inputs of the score model, (N, 2), see ``FEATURES``.

    The first is the mean of the first reading's log odds and the average log odds of the further
    readings. The second is the log of the face's size, limited to 40..150 pixels.
    """
    further = np.mean([reading.logits for reading in readings], axis=0, dtype=np.float64)
    sizes = np.clip(_sizes(found.boxes), *_SIZE_RANGE)
    return np.stack([(found.logits + further) / 2, np.log(sizes)], axis=1)


def load_score_model(path: Path, text: bytes) -> ScoreModel:
    """Read ``score.json``.

    Args:
        path: where it is, for messages.
        text: its content, UTF-8.

    Raises:
        ModelFileError: it cannot be read, or is not a score model of this version.
    """
    try:
        content = json.loads(text)
        version, features = content["schema_version"], tuple(content["features"])
        coefficients = np.array(content["coefficients"], dtype=float)
        intercept = float(content["intercept"])
        offsets = np.array(content["landmark_offsets"], dtype=float)
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"score model {path} cannot be read: {error}") from None
    except KeyError as error:
        raise ModelFileError(f"score model {path} has no {error}; reinstall it") from None
    if version != _SCHEMA_VERSION or features != FEATURES:
        raise ModelFileError(f"score model {path} is not of this version; refit or reinstall it")
    if coefficients.shape != (len(FEATURES),) or offsets.shape != (5, 2):
        raise ModelFileError(
            f"score model {path} must hold {len(FEATURES)} coefficients and 5 x 2 landmark offsets;"
            f" got {coefficients.shape} and {offsets.shape}; reinstall it"
        )
    if not np.isfinite([*coefficients, intercept, *offsets.ravel()]).all():
        raise ModelFileError(f"score model {path} holds numbers that are not finite; reinstall it")
    return ScoreModel(
        coefficients=tuple(coefficients.tolist()),
        intercept=intercept,
        landmark_offsets=tuple((x, y) for x, y in offsets.tolist()),
    )


def _sizes(boxes: FloatArray) -> FloatArray:
    """Mean of width and height, at least one pixel, (N,)."""
    sides: FloatArray = (boxes[:, 2:] - boxes[:, :2]).mean(axis=1)
    return np.maximum(sides, 1)
