"""What passes from one stage of the cascade to the next.

Boxes are as in ``boxes``: source pixels, 1-based and inclusive.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from edge_mtcnn.types import Float32Array, FloatArray

__all__ = ["Candidates", "Found"]


class Candidates(NamedTuple):
    """Boxes on their way through the cascade, best first.

    Attributes:
        boxes: (N, 4) ``x1, y1, x2, y2``, source pixels.
        scores: (N,) float32 0..1, of the stage that gave them.
    """

    boxes: FloatArray
    scores: Float32Array

    def take(self, rows: Any) -> Candidates:
        """Some of the candidates, by slice, mask or indices."""
        return Candidates(self.boxes[rows], self.scores[rows])

    def after(self, boxes: FloatArray) -> Candidates:
        """The same, preceded by (M, 4) boxes that are certain (score 1): square, whole numbers."""
        if not len(boxes):
            return self
        certain = np.ones(len(boxes), dtype=np.float32)
        return Candidates(
            np.concatenate([boxes, self.boxes]), np.concatenate([certain, self.scores])
        )


class Found(NamedTuple):
    """Faces that O-Net found, best first.

    Attributes:
        boxes: (N, 4) ``x1, y1, x2, y2``, source pixels.
        scores: (N,) float32 probabilities 0..1.
        logits: (N,) float32 log odds of a face.
        landmarks: (N, 5, 2) ``x, y``, source pixels.
        features: (N, 256) float32 values of O-Net's hidden layer; (N, 0) if it was not asked for.
    """

    boxes: FloatArray
    scores: Float32Array
    logits: Float32Array
    landmarks: FloatArray
    features: Float32Array

    def take(self, rows: Any) -> Found:
        """Some of the faces, by slice, mask or indices."""
        return Found(*(values[rows] for values in self))
