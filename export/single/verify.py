"""``python -m export verify-single``: compares a file with ``FaceDetector``, image by image.

The settings are read from the file's metadata. Faces are matched by overlap, best first. A matched
face agrees if box and landmarks are within 1 pixel, or 2 % of a face above 100 pixels, and the score
within 0.02.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME_COUNT, SAME_FACE = 0.98, 0.99
"""Shares of images with the same number of faces, and of matched faces that agree."""
PIXELS, SHARE, LARGE, SCORE = 1.0, 0.02, 100.0, 0.02
SAME_FIND = 0.5
"""Smallest IoU of two boxes of one face."""
BAD_INPUTS = {"1x1": (1, 1), "2000x1": (1, 2000), "1x2000": (2000, 1), "11x11": (11, 11)}


@dataclass
class Agreement:
    """What the comparison of some images gave."""

    images: int = 0
    same_count: int = 0
    faces: int = 0
    matched: int = 0
    agreeing: int = 0
    differences: dict[str, list[float]] = field(
        default_factory=lambda: {"box": [], "landmarks": [], "score": []}
    )
    unlike: list[str] = field(default_factory=list)

    def add(self, name: str, expected: Any, got: dict[str, NDArray[np.float32]]) -> None:
        """Count one image."""
        self.images += 1
        same = len(expected) == len(got["boxes"])
        self.same_count += same
        if not same:
            self.unlike.append(f"{name}: {len(expected)} faces, the file finds {len(got['boxes'])}")
        self.faces += len(expected)
        for row, other in _pairs(expected.boxes, got["boxes"]):
            self.matched += 1
            limit = PIXELS
            size = float((expected.boxes[row, 2:] - expected.boxes[row, :2]).mean())
            if size > LARGE:
                limit = max(limit, SHARE * size)
            box = float(np.abs(expected.boxes[row] - got["boxes"][other]).max())
            landmarks = float(np.abs(expected.landmarks[row] - got["landmarks"][other]).max())
            score = float(abs(expected.scores[row] - got["scores"][other]))
            for key, value in zip(self.differences, (box, landmarks, score), strict=True):
                self.differences[key].append(value)
            self.agreeing += max(box, landmarks) <= limit and score <= SCORE
