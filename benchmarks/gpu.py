"""Measure detection on an NVIDIA GPU beside the processor: does it start, is it right, how fast.

    python -m benchmarks.gpu --output gpu.json

Needs an NVIDIA card, ``onnxruntime-gpu`` and the libraries of CUDA and cuDNN; where PyTorch is
installed its libraries are used. ``facenet-pytorch`` runs on the same frames if it is there.
Without the data beside the project it uses the project's samples. ``--device processor`` gives the
processor the shapes and buffers of a device, to try the script where no device is.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np

from benchmarks.common.images import DATA, Pixels, photo_pool, read_rgb
from benchmarks.common.program import BenchmarkError, script, script_parser
from benchmarks.common.results import Result, Target, add_output, document, save, table
from benchmarks.common.timing import interleaved, milliseconds, spread
from benchmarks.gpu_jobs import Cycle, Waiting, facenet_jobs, whole
from benchmarks.gpu_networks import networks
from edge_mtcnn import DetectorOptions, FaceDetector, Faces, RuntimeOptions
from edge_mtcnn.runtime import sessions
from edge_mtcnn.runtime.providers import available_providers

SIZES = {"540p": (960, 540), "720p": (1280, 720), "1080p": (1920, 1080)}
MIN_FACES = (20, 40)
VIDEO = DATA / "video" / "facenet_pytorch_video.mp4"
GRAPH = "cuda graph"
VARIANTS: Mapping[str, Any] = {
    "processor": "cpu",
    GRAPH: (("CUDAExecutionProvider", {"enable_cuda_graph": "1"}), "CPUExecutionProvider"),
}
"""``RuntimeOptions.device`` of what is no name of a device."""
TIMES_THE_PEER = 10.0
"""How many times the batched rate of ``facenet-pytorch`` a device should reach."""
SAME_PIXELS, SAME_CONFIDENCE = 1.0, 2e-3
"""How far a face may be from that of the processor, pixels and probability."""


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = script_parser("benchmarks.gpu", __doc__)
    parser.add_argument(
        "--device", default="cuda", help="device to measure: cuda, tensorrt or processor (cuda)"
    )
    parser.add_argument("--threads", type=int, help="threads of the detectors (all)")
    parser.add_argument("--rounds", type=int, default=12, help="detections of each kind (12)")
    parser.add_argument(
        "--photos", type=int, metavar="N", help="photos for the comparison of faces (all)"
    )
    parser.add_argument(
        "--sizes", type=int, default=200, metavar="N", help="frames of random sizes (200)"
    )
    parser.add_argument(
        "--frames", nargs="+", choices=tuple(SIZES), default=tuple(SIZES), help="sizes (all)"
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=8,
        metavar="N",
        help="frames that take turns, or of a batch (8)",
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    card = prepare()
    results = [*start(options), *parity(options), *shapes(options), *frame_times(options)]
    if options.device == "cuda":
        results += networks(options.rounds)
    print(
        table(
            ((r.name, r.unit, round(r.value, 3), short(r.detail)) for r in results),
            ("figure", "unit", "value", "detail"),
        )
    )
    settings = {
        "card": card,
        "device": options.device,
        "threads": options.threads,
        "rounds": options.rounds,
        "providers": list(available_providers()),
        "libraries": libraries(),
    }
    targets = list(speed_targets(results, options.device))
    save(document("gpu", results, settings=settings, targets=targets), options.output)
    return 0


def prepare() -> str | None:
    """Load PyTorch's libraries of CUDA, which ONNX Runtime then finds; the name of the card."""
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError:
        return None
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


def libraries() -> dict[str, str]:
    """Versions of the packages that only this benchmark uses."""
    found = {}
    for name in ("torch", "facenet_pytorch"):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        found[name] = str(getattr(module, "__version__", "unknown"))
    return found


def detector(
    device: str,
    threads: int | None = None,
    min_face_size: int | None = None,
    preset: str = "default",
) -> FaceDetector:
    """A detector that reports every find; ``threads`` is for other devices than the processor."""
    options = replace(DetectorOptions.from_preset(preset), confidence=0.0)
    if min_face_size is not None:
        options = replace(options, min_face_size=min_face_size)
    runtime = RuntimeOptions(
        device=VARIANTS.get(device, device),
        threads=None if device == "cpu" else threads,
        form="plain" if device == "processor" else "auto",
    )
    sessions.processor_as_device = device == "processor"
    try:
        return FaceDetector(options, runtime)
    finally:
        sessions.processor_as_device = False


def start(options: argparse.Namespace) -> list[Result]:
    """Time until the sessions are open, and of the first frames: each brings new shapes."""
    frame = frames((1280, 720))[0]
    results = []
    for device in dict.fromkeys(("cpu", options.device)):
        begin = time.perf_counter()
        made = detector(device, options.threads)
        opened = (time.perf_counter() - begin) * 1e3
        first, second = milliseconds(lambda d=made: d.detect(frame), 2)  # type: ignore[misc]
        other = milliseconds(lambda d=made: d.detect(frame[:-100, :-60]))[0]  # type: ignore[misc]
        results.append(
            Result(
                name=f"start/{device}",
                unit="ms",
                value=opened,
                detail={
                    "first_720p_ms": first,
                    "second_ms": second,
                    "first_of_other_size_ms": other,
                    "providers": made.info()["providers"],
                    "form": made.info()["form"],
                },
            )
        )
        made.close()
    return results


def parity(options: argparse.Namespace) -> list[Result]:
    """Share of the processor's faces that the device finds too, over the photos."""
    results = []
    files = photo_pool()[: options.photos]
    for preset in ("reference", "default"):
        ours = detector(options.device, options.threads, preset=preset)
        theirs = detector("cpu", preset=preset)
        faces = same = 0
        pixels = confidence = 0.0
        counts = 0
        for file in files:
            image = read_rgb(file)
            expected, found = theirs.detect(image), ours.detect(image)
            faces += len(expected)
            counts += len(expected) == len(found)
            matched, far, apart = matches(expected, found)
            same += matched
            pixels, confidence = max(pixels, far), max(confidence, apart)
        results.append(
            Result(
                name=f"parity/{preset}",
                unit="",
                value=same / max(faces, 1),
                better="higher",
                detail={
                    "photos": len(files),
                    "photos_with_the_same_count": counts,
                    "faces": faces,
                    "same_faces": same,
                    "largest_box_difference_px": pixels,
                    "largest_confidence_difference": confidence,
                },
            )
        )
        ours.close()
        theirs.close()
    return results


def shapes(options: argparse.Namespace) -> list[Result]:
    """Shapes that ONNX Runtime gets for frames of random sizes, and what such a frame takes."""
    rng = np.random.default_rng(7)
    (photo,) = frames((1920, 1080))
    made = detector(options.device, options.threads)
    times = []
    for _ in range(options.sizes):
        height, width = rng.integers(120, 1080), rng.integers(160, 1920)
        frame = np.ascontiguousarray(photo[:height, :width])
        times += milliseconds(partial(made.detect, frame))
    seen = made.info()["shapes"]
    made.close()
    return [
        Result(
            name=f"shapes/{options.sizes} sizes/{options.device}",
            unit="",
            value=sum(map(len, seen.values())),
            detail={
                **{name: len(each) for name, each in seen.items()},
                "median_ms": statistics.median(times),
                "longest_ms": max(times),
            },
        )
    ]


def matches(expected: Faces, found: Faces) -> tuple[int, float, float]:
    """Faces that are the same, and the largest difference of boxes and confidences of all pairs."""
    same, far, apart = 0, 0.0, 0.0
    for face in expected:
        if not len(found):
            break
        distances = np.abs(found.boxes - np.asarray(face.box)).max(axis=1)
        nearest = int(distances.argmin())
        difference = abs(float(found.confidences[nearest]) - face.confidence)
        if distances[nearest] > max(3.0, 0.2 * face.width):
            continue  # another face
        same += bool(distances[nearest] <= SAME_PIXELS and difference <= SAME_CONFIDENCE)
        far, apart = max(far, float(distances[nearest])), max(apart, difference)
    return same, far, apart


def frames(size: tuple[int, int], count: int = 1) -> list[Pixels]:
    """Frames of the crowd video, or the samples, RGB in one size."""
    if not VIDEO.is_file():
        return [cv2.resize(read_rgb(file), size) for file in photo_pool()[:count]]
    capture = cv2.VideoCapture(str(VIDEO))
    found: list[Pixels] = []
    while len(found) < count:
        read, frame = capture.read()
        if not read:
            break
        resized = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        found.append(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB))
    capture.release()
    if not found:
        raise BenchmarkError(f"no frame can be read from {VIDEO}")
    return found


def frame_times(options: argparse.Namespace) -> list[Result]:
    """Time per frame of the device, the processor and facenet-pytorch, in turn."""
    results = []
    kinds = ["cpu", options.device, *([GRAPH] if options.device == "cuda" else [])]
    for name in options.frames:
        images = frames(SIZES[name], options.batch)
        for smallest in MIN_FACES:
            detectors = {
                kind: detector(kind, options.threads, smallest) for kind in dict.fromkeys(kinds)
            }
            waits = {kind: Waiting(made) for kind, made in detectors.items() if kind != "cpu"}
            jobs: dict[str, Callable[[], Any]] = {}
            for kind, made in detectors.items():
                jobs[kind] = Cycle(partial(made.detect, timings=True), images, waits.get(kind))
                jobs[f"{kind} batch"] = partial(made.detect_batch, images)
                if (many := getattr(made, "detect_many", None)) is not None:
                    jobs[f"{kind} many batch"] = partial(whole, many, images)
            jobs |= facenet_jobs(smallest, images)
            times = interleaved(jobs, options.rounds, warm_up=len(images))
            for job, samples in times.items():
                per_call = len(images) if "batch" in job else 1
                each = [sample / per_call for sample in samples]
                detail: dict[str, Any] = {"frames_per_second": 1000 / statistics.median(each)}
                cycle = jobs[job]
                detail |= cycle.described() if isinstance(cycle, Cycle) else {}
                results.append(
                    Result(
                        name=f"frame/{name}/min{smallest}/{job}",
                        unit="ms",
                        value=spread(each).median,
                        samples=tuple(round(sample, 3) for sample in each),
                        detail=detail,
                    )
                )
            for made in detectors.values():
                made.close()
    return results


def speed_targets(results: Sequence[Result], device: str) -> Iterator[Target]:
    """The best rate of the device over that of the peer's batches, for each kind of frame."""
    values = {result.name: result.value for result in results}
    for name, peer in values.items():
        if name.endswith("/facenet-pytorch batch"):
            kind = name.rpartition("/")[0]
            own = min(v for n, v in values.items() if n.startswith(f"{kind}/{device}"))
            yield Target(
                name=f"{kind}: rate / facenet-pytorch's batched rate",
                limit=TIMES_THE_PEER,
                at_least=True,
                value=peer / own,
            )


def short(detail: Mapping[str, Any]) -> str:
    """A detail in one line."""
    words = []
    for name, value in detail.items():
        if isinstance(value, dict):
            value = {key: round(part, 2) for key, part in value.items()}
        words.append(f"{name}={round(value, 5) if isinstance(value, float) else value}")
    return ", ".join(words)


if __name__ == "__main__":
    sys.exit(main())
