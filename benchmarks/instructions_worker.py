"""The process whose instructions ``instructions`` counts.

Run as a module, with the settings as JSON argument. Imports nothing but what an application would.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from edge_mtcnn import FaceDetector, RuntimeOptions
from edge_mtcnn.video import FaceTracker

WARM_UP = 12
"""Frames before the count: a tracker has confirmed its faces by then."""
FRAME_SECONDS = 1 / 30


def main(settings: dict[str, Any]) -> None:
    """Search or follow, with a call of ``getppid`` before and after the frames that count."""
    cv2.setNumThreads(1)
    image = np.load(settings["image"])
    frame = _file_of(settings["file"], image) if settings["file"] else _frame_of(settings, image)
    for _ in range(WARM_UP if settings["follow"] else 1):
        frame()
    # Whether a collection of all that was imported falls into few frames is chance.
    gc.collect()
    gc.freeze()
    os.getppid()
    for _ in range(settings["frames"]):
        frame()
    os.getppid()


def _frame_of(settings: dict[str, Any], image: Any) -> Callable[[], Any]:
    """What is done with a frame by the package."""
    detector = FaceDetector(preset=settings["preset"], runtime=RuntimeOptions(threads=1))
    tracker = FaceTracker(detector)
    ticks = itertools.count()

    def follow() -> None:
        tracker.update(image, next(ticks) * FRAME_SECONDS, color="rgb")

    def search() -> None:
        detector.detect(image)

    return follow if settings["follow"] else search


def _file_of(path: str, image: Any) -> Callable[[], Any]:
    """What is done with a frame by the whole cascade as one file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
