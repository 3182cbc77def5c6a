"""The process that ``memory`` measures: detects in the images that come through its standard input.

Run as a module, with the settings as JSON argument. Imports nothing but what an application would.
"""

from __future__ import annotations

import io
import json
import queue
import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common.arguments import detector_options, runtime_options
from benchmarks.common.timing import anonymous_mb, peak_rss_mb, rss_mb
from edge_mtcnn import FaceDetector


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Detect until the input ends, and return the measured memory."""
    options = detector_options(settings["preset"], settings["changes"])
    runtime = runtime_options(settings["threads"])
    detectors = [FaceDetector(options, runtime) for _ in range(settings["detectors"])]
    start, own_start = rss_mb(), anonymous_mb()
    seen = _Seen(settings["sample_every"])
    waiting: queue.Queue[Any] = queue.Queue(maxsize=1)

    def serve(caller: int) -> None:
        while (image := waiting.get()) is not None:
            faces = detectors[caller % len(detectors)].detect(image)
            seen.add(len(faces))
            del image  # otherwise it stays in memory until the next one arrives

    if settings["callers"] == 1:
        while (image := receive()) is not None:
            seen.add(len(detectors[0].detect(image)))
            del image
    else:
        callers = [
            threading.Thread(target=serve, args=(caller,)) for caller in range(settings["callers"])
        ]
        for thread in callers:
            thread.start()
        while (image := receive()) is not None:
            waiting.put(image)
            del image
        for _ in callers:
            waiting.put(None)
        for thread in callers:
            thread.join()
    return {
        "start_mb": start,
        "start_anonymous_mb": own_start,
        "end_anonymous_mb": anonymous_mb(),
        "end_mb": rss_mb(),
        "held_mb": seen.last,
        "peak_mb": peak_rss_mb(),
        "samples": seen.samples,
        "faces": seen.faces,
    }


class _Seen:
    """Memory after every so many images, while the last image is still held."""

    def __init__(self, every: int) -> None:
        self.samples: list[tuple[int, float]] = []
        self.faces = self.count = 0
        self.last = 0.0
        self._every = every
        self._lock = threading.Lock()

    def add(self, faces: int) -> None:
        """Record one more image."""
        with self._lock:
            self.count += 1
            self.faces += faces
            self.last = rss_mb()
            if self.count % self._every == 0:
                self.samples.append((self.count, self.last))


_INPUT = io.BufferedReader(io.FileIO(0, closefd=False))


def receive() -> npt.NDArray[np.uint8] | None:
    """The next image of standard input; ``None`` after the last."""
    header = _INPUT.read(8)
    if not header:
        return None
    height, width = np.frombuffer(header, dtype="<u4").tolist()
    image = np.empty((height, width, 3), dtype=np.uint8)
    view = image.data.cast("B")
    while len(view):  # straight into the image: a copy would count as memory of the detector
        got = _INPUT.readinto(view)
        if not got:
            raise EOFError("the image ends early")
        view = view[got:]
    return image


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
