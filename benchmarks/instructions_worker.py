"""The process whose instructions ``instructions`` counts.

Run as a module, with the settings as JSON argument. Imports nothing but what an application would.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_mtcnn import FaceDetector, RuntimeOptions
from edge_mtcnn.video import FaceTracker

WARM_UP = 12
"""Frames before the count: a tracker has confirmed its faces by then."""
FRAME_SECONDS = 1 / 30


def main(settings: dict[str, Any]) -> None:
    """Search or follow, with a call of ``getppid`` before and after the frames that count."""
    image = np.load(settings["image"])
    detector = FaceDetector(preset=settings["preset"], runtime=RuntimeOptions(threads=1))
    tracker = FaceTracker(detector)
    ticks = itertools.count()

    def follow() -> None:
        tracker.update(image, next(ticks) * FRAME_SECONDS, color="rgb")

    def search() -> None:
        detector.detect(image)

    frame: Callable[[], None] = follow if settings["follow"] else search
    for _ in range(WARM_UP if settings["follow"] else 2):
        frame()
    os.getppid()
    for _ in range(settings["frames"]):
        frame()
    os.getppid()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
