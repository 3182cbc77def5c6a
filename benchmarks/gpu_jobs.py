"""What ``benchmarks.gpu`` times: detections in frames after frames, and the peer's."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.common.images import Pixels
from edge_mtcnn import FaceDetector, Faces
from edge_mtcnn.speed.timing import STAGES

__all__ = ["Cycle", "Waiting", "facenet_jobs", "whole"]


def whole(detect_many: Callable[[Sequence[Pixels]], Any], images: Sequence[Pixels]) -> list[Any]:
    """All results of ``FaceDetector.detect_many``."""
    return list(detect_many(images))


class Waiting:
    """Counts the time that a detector spends in its networks: copies, runs, waiting for a lock.

    What is left of a frame is the processor's work: levels, windows, NMS.
    """

    def __init__(self, made: FaceDetector) -> None:
        self._networks = made._networks
        self.milliseconds = 0.0
        made._networks = self

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._networks, name)
        if name not in ("pnet", "rnet", "onet", "onet_features"):
            return value

        def timed(pixels: Any) -> Any:
            start = time.perf_counter()
            output = value(pixels)
            self.milliseconds += (time.perf_counter() - start) * 1e3
            return output

        return timed


class Cycle:
    """A detection of the next of some images at each call, with the stages of all calls."""

    def __init__(
        self,
        function: Callable[[Pixels], Any],
        images: Sequence[Pixels],
        waits: Waiting | None = None,
    ) -> None:
        self._function, self._images, self._calls = function, images, 0
        self._found: list[Any] = []
        self._waits = waits
        self._in_networks: list[float] = []

    def __call__(self) -> None:
        """Detect in the next image."""
        before = self._waits.milliseconds if self._waits else 0.0
        self._found.append(self._function(self._images[self._calls % len(self._images)]))
        if self._waits:
            self._in_networks.append(self._waits.milliseconds - before)
        self._calls += 1

    def described(self) -> dict[str, Any]:
        """Median time of each stage, faces and windows of the last images."""
        last = self._found[len(self._images) :]
        if not last or not isinstance(last[0], Faces):
            return {}
        timings = [faces.timings for faces in last if faces.timings is not None]
        return {
            "faces": statistics.median(map(len, last)),
            "stages_ms": {
                stage: statistics.median(getattr(t, f"{stage}_ms") for t in timings)
                for stage in STAGES
            },
            "rnet_windows": statistics.median(t.rnet_windows for t in timings),
            "onet_windows": statistics.median(t.onet_windows for t in timings),
            "levels": len(timings[0].levels),
            "in_networks_ms": statistics.median(self._in_networks) if self._in_networks else None,
        }


def facenet_jobs(smallest: int, images: Sequence[Pixels]) -> dict[str, Callable[[], Any]]:
    """facenet-pytorch's MTCNN on the GPU, one frame and all frames at a time; {} without it."""
    try:
        torch, facenet = (importlib.import_module(n) for n in ("torch", "facenet_pytorch"))
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    peer = facenet.MTCNN(keep_all=True, min_face_size=smallest, device="cuda")
    arrays = list(images)
    return {
        "facenet-pytorch": Cycle(peer.detect, arrays),
        "facenet-pytorch batch": lambda: peer.detect(arrays),
    }
