"""The process that ``hostile`` measures: one detection in the second image of its standard input.

The first image is small and warms the detector up. Run as a module, with the settings as JSON
argument. Imports nothing but what an application would.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

from benchmarks.common.arguments import detector_options, runtime_options
from benchmarks.common.timing import peak_rss_mb
from benchmarks.memory_worker import receive
from edge_mtcnn import FaceDetector


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Detect once, and return the time, the peak memory and the amount of work."""
    limit = int(settings["limit_mb"] * 1e6)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    options = detector_options(settings["preset"], settings["changes"])
    detector = FaceDetector(options, runtime_options(settings["threads"]))
    small, image = receive(), receive()
    if small is None or image is None:
        raise EOFError("two images must come through standard input")
    detector.detect(small)
    start = time.perf_counter()
    faces = detector.detect(image, timings=True)
    seconds = time.perf_counter() - start
    timings = faces.timings
    assert timings is not None  # asked for; for mypy
    return {
        "seconds": round(seconds, 4),
        "peak_mb": round(peak_rss_mb() - image.nbytes / 1e6, 1),
        "faces": len(faces),
        "levels": timings.levels,
        "rnet_windows": timings.rnet_windows,
        "onet_windows": timings.onet_windows,
        "capped": timings.capped,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
