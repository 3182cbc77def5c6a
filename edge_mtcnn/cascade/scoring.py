"""The calibrated score of a face, from what O-Net knows of it in three readings.

O-Net's hidden layer knows more than its one number for "face": a linear model of it tells persons
from animals and dolls much better. In small faces these features say little, and the log odds of
the readings rank crowds better, so there are two models of the same evidence, for small and for
large faces; between the two sizes their log odds are interpolated. The numbers and their origin are
in ``score.json`` beside the models; ``python -m export score`` fits them again.
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

__all__ = ["EVIDENCE", "ScoreModel", "evidence", "load_score_model", "share_of_large", "sizes"]

EVIDENCE = 256 + 3
"""Columns of ``evidence``."""

_SCHEMA_VERSION = 2
_SIZE_RANGE = (40.0, 150.0)  # pixels; beyond it, size says nothing about what is a face


@dataclass(frozen=True, slots=True, eq=False)
class ScoreModel:
    """Coefficients of the score and of the landmarks.

    Attributes:
        coefficients: (2, 259) of the columns of ``evidence``, for small and for large faces.
        intercepts: (2,) log odds where all evidence is 0.
        sizes: largest size of a small face and smallest of a large one, pixels.
        tail: factor of log odds below 0, at most 1: weak faces keep scores that can be told apart.
        landmark_offsets: (5, 2) correction of O-Net's landmarks, fractions of the face's size.
    """

    coefficients: FloatArray
    intercepts: FloatArray
    sizes: tuple[float, float]
    tail: float
    landmark_offsets: FloatArray

    def scores(self, found: Found, readings: Sequence[Found]) -> FloatArray:
        """Probabilities of being a person's face, (N,) float32, 0..1.

        They are rounded to the precision in which they are reported, so that a threshold that was
        read off a report keeps its face.

        Args:
            found: the faces that O-Net found.
            readings: what ``onet.look_again`` returned for them.
        """
        log_odds = self.log_odds(evidence(found, readings), sizes(found.boxes))
        probabilities: FloatArray = (1 / (1 + np.exp(-log_odds))).astype(np.float32)
        return probabilities

    def log_odds(self, evidence: FloatArray, sizes: FloatArray) -> FloatArray:
        """Log odds of being a person's face, (N,), of evidence (N, 259) and sizes (N,)."""
        of_both = evidence @ self.coefficients.T + self.intercepts
        large = share_of_large(sizes, self.sizes)
        mixed = of_both[:, 0] + large * (of_both[:, 1] - of_both[:, 0])
        log_odds: FloatArray = np.where(mixed < 0, self.tail * mixed, mixed)
        return log_odds

    def landmarks(self, found: Found, readings: Sequence[Found]) -> FloatArray:
        """Mean landmarks of the further readings, corrected, (N, 5, 2), source pixels."""
        total: FloatArray = np.add.reduce([reading.landmarks for reading in readings])
        lacking = self.landmark_offsets * sizes(found.boxes)[:, None, None]
        return total / len(readings) + lacking


def evidence(found: Found, readings: Sequence[Found]) -> FloatArray:
    """Inputs of the score model, (N, 259) float64.

    The first 256 are O-Net's features, averaged over all three readings. Then come the log odds of
    the first reading, the average log odds of the further ones, and the log of the face's size,
    limited to 40..150 pixels.
    """
    features = np.add.reduce([found.features, *(reading.features for reading in readings)])
    further = np.add.reduce([reading.logits for reading in readings])
    inputs = np.empty((len(found.boxes), EVIDENCE))
    inputs[:, :256] = features / (1 + len(readings))
    inputs[:, 256] = found.logits
    inputs[:, 257] = further / len(readings)
    inputs[:, 258] = np.log(np.clip(sizes(found.boxes), *_SIZE_RANGE))
    return inputs


def sizes(boxes: FloatArray) -> FloatArray:
    """Mean of width and height, at least one pixel, (N,)."""
    left, top, right, bottom = boxes.T
    sides: FloatArray = np.maximum((right - left + bottom - top) / 2, 1)
    return sides


def share_of_large(sizes: FloatArray, between: tuple[float, float]) -> FloatArray:
    """The part of the model for large faces in the score of each size, 0..1."""
    smallest, largest = between
    share: FloatArray = np.clip((sizes - smallest) / (largest - smallest), 0, 1)
    return share


def load_score_model(path: Path, content: bytes) -> ScoreModel:
    """Read ``score.json``.

    Args:
        path: where it was read, for messages.
        content: the file.

    Raises:
        ModelFileError: it cannot be read, or is not a score model of this version.
    """
    try:
        entries = json.loads(content)
        version = entries["schema_version"]
        if version != _SCHEMA_VERSION:
            raise ModelFileError(
                f"score model {path} is not of this version; refit or reinstall it"
            )
        model = ScoreModel(
            coefficients=np.array(entries["coefficients"], dtype=np.float64),
            intercepts=np.array(entries["intercepts"], dtype=np.float64),
            sizes=(float(entries["sizes"][0]), float(entries["sizes"][1])),
            tail=float(entries["tail"]),
            landmark_offsets=np.array(entries["landmark_offsets"], dtype=np.float64),
        )
    except (ValueError, TypeError, IndexError) as error:
        raise ModelFileError(f"score model {path} cannot be read: {error}") from None
    except KeyError as error:
        raise ModelFileError(f"score model {path} has no {error}; reinstall it") from None
    shapes = (model.coefficients.shape, model.intercepts.shape, model.landmark_offsets.shape)
    expected = ((2, EVIDENCE), (2,), (5, 2))
    if shapes != expected:
        raise ModelFileError(
            f"score model {path} must hold arrays of the shapes {expected}; got {shapes};"
            " reinstall it"
        )
    numbers = (
        *(model.coefficients, model.intercepts, model.landmark_offsets),
        *(model.sizes, model.tail),
    )
    if not all(np.isfinite(values).all() for values in numbers):
        raise ModelFileError(f"score model {path} holds numbers that are not finite; reinstall it")
    if not model.sizes[0] < model.sizes[1]:
        raise ModelFileError(f"score model {path}: sizes must rise; got {model.sizes}")
    return model
