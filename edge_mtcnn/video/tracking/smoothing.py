"""Smoothing of a face's box and landmarks over time, with prediction.

An alpha-beta filter predicts each point from its velocity and corrects it by a part of the error.
The part grows with the error, which is measured in face sizes. So trembling is smoothed, a real
movement is followed at once, and a steady movement has no lag.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_mtcnn.types import Point

__all__ = ["Box", "Expected", "FaceFilter"]

Box = tuple[float, float, float, float]
Points = npt.NDArray[np.float64]

_TREMBLING = 0.35
"""Part of a very small error that is corrected."""
_MOVEMENT = 0.06
"""Error from which on all of it is corrected, face sizes."""
_HORIZON = 0.3
"""Longest time for which a velocity is used without a measurement, seconds."""
_GROWTH_HORIZON = 0.1
"""The same for growing and shrinking, which is slower and harder to measure."""


class Expected(NamedTuple):
    """Expected position of a face.

    Attributes:
        box: ``x1, y1, x2, y2``, pixels.
        landmarks: five ``x, y``, pixels.
    """

    box: Box
    landmarks: tuple[Point, ...]


class FaceFilter:
    """Position and velocity of a box (centre and sides) and five landmarks.

    Args:
        box: ``x1, y1, x2, y2``, pixels.
        landmarks: five ``x, y``, pixels.
        time: time of the measurement, seconds.
    """

    def __init__(self, box: Box, landmarks: Sequence[Point], time: float) -> None:
        self._points = _packed(box, landmarks)
        self._velocity = np.zeros_like(self._points)
        self._time = time
        self._fresh = True
        self._expected: tuple[float, Expected] | None = None

    def expected(self, time: float) -> Expected:
        """Predict the face at ``time``; at the time of the last measurement, smooth it."""
        if self._expected is None or self._expected[0] != time:
            (x, y), (width, height), *landmarks = self._moved(time).tolist()
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            self._expected = (time, Expected(box, tuple((px, py) for px, py in landmarks)))
        return self._expected[1]

    def correct(self, box: Box, landmarks: Sequence[Point], time: float) -> None:
        """Use a measurement."""
        points = self._moved(time)
        error = _packed(box, landmarks) - points
        size = max(float(self._points[1].max()), 1.0)
        share = np.hypot(error[:, :1], error[:, 1:]) / (size * _MOVEMENT)
        alpha = np.minimum(_TREMBLING + (1 - _TREMBLING) * share, 1.0)
        # Critically damped; only the second measurement shows a velocity at all.
        beta = alpha if self._fresh else alpha**2 / (2 - alpha)
        points += alpha * error
        np.maximum(points[1], 1.0, out=points[1])
        step = min(max(time - self._time, 1e-3), _HORIZON)
        self._velocity += beta * error / step
        self._points, self._time, self._fresh = points, time, False
        self._expected = None

    def _moved(self, time: float) -> Points:
        step = max(time - self._time, 0.0)
        points: Points = self._points + self._velocity * min(step, _HORIZON)
        points[1] = self._points[1] + self._velocity[1] * min(step, _GROWTH_HORIZON)
        np.maximum(points[1], 0.5 * self._points[1], out=points[1])  # never inside out
        return points


def _packed(box: Box, landmarks: Sequence[Point]) -> Points:
    """(7, 2): centre, sides, five landmarks."""
    x1, y1, x2, y2 = box
    return np.array([((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1, y2 - y1), *landmarks])
