"""The process that ``many`` measures: searches the photos that its argument names in one way.

Run as a module, with the settings as JSON argument. Imports nothing but what an application would.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.common.arguments import detector_options, runtime_options
from benchmarks.common.timing import peak_rss_mb, rss_mb
from edge_mtcnn import FaceDetector, Faces, ImageError


def search(
    detector: FaceDetector, paths: list[Path], way: str, ahead: int | None
) -> Iterable[Faces | ImageError]:
    """The results, in the way asked for."""
    if way == "detect_batch":
        return detector.detect_batch(paths)
    if way == "detect_many":
        return detector.detect_many(paths, ahead=ahead)
    return [detector.detect(path) for path in paths]


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Search all photos once, and return what that took."""
    options = detector_options(settings["preset"], settings["changes"])
    detector = FaceDetector(options, runtime_options(settings["threads"]))
    detector.warm_up()
    before = rss_mb()
    paths = [Path(path) for path in settings["paths"]]
    faces = 0
    start, own = time.perf_counter(), time.process_time()
    for found in search(detector, paths, settings["way"], settings["ahead"]):
        faces += 0 if isinstance(found, ImageError) else len(found)
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - own,
        "before_mb": before,
        "peak_mb": peak_rss_mb(),
        "faces": faces,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
