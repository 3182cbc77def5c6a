"""Measure detection on an NVIDIA GPU beside the processor: does it start, is it right, how fast.

    python -m benchmarks.gpu --output gpu.json

Needs an NVIDIA card, ``onnxruntime-gpu`` and the libraries of CUDA and cuDNN; where PyTorch is
installed its libraries are used. ``facenet-pytorch`` runs on the same frames if it is there.
Without the data beside the project it uses the project's samples.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common.images import DATA, Pixels, photo_pool, read_rgb
from benchmarks.common.program import BenchmarkError, script, script_parser
from benchmarks.common.results import Result, add_output, document, save, table
from benchmarks.common.timing import interleaved, milliseconds, spread
from edge_mtcnn import DetectorOptions, FaceDetector, Faces, RuntimeOptions
from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.providers import available_providers
from edge_mtcnn.speed.timing import STAGES

SIZES = {"540p": (960, 540), "720p": (1280, 720), "1080p": (1920, 1080)}
MIN_FACES = (20, 40)
VIDEO = DATA / "video" / "facenet_pytorch_video.mp4"
FRAMES = 8
SAME_PIXELS, SAME_CONFIDENCE = 1.0, 2e-3
"""How far a face may be from that of the processor, pixels and probability."""


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = script_parser("benchmarks.gpu", __doc__)
    parser.add_argument("--device", default="cuda", help="device to measure (cuda)")
    parser.add_argument("--threads", type=int, help="threads of the detectors (all)")
    parser.add_argument("--rounds", type=int, default=20, help="detections of each kind (20)")
    parser.add_argument(
        "--photos", type=int, metavar="N", help="photos for the comparison of faces (all)"
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    card = prepare()
    results = [*start(options), *parity(options), *frame_times(options), *networks(options)]
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
    save(document("gpu", results, settings=settings), options.output)
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
    return FaceDetector(
        options, RuntimeOptions(device=device, threads=None if device == "cpu" else threads)
    )


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


def frames(size: tuple[int, int]) -> list[Pixels]:
    """Frames of the crowd video, or the samples, RGB in one size."""
    if not VIDEO.is_file():
        return [cv2.resize(read_rgb(file), size) for file in photo_pool()[:FRAMES]]
    capture = cv2.VideoCapture(str(VIDEO))
    found: list[Pixels] = []
    while len(found) < FRAMES:
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
    for name, size in SIZES.items():
        images = frames(size)
        for smallest in MIN_FACES:
            detectors = {
                device: detector(device, options.threads, smallest)
                for device in ("cpu", options.device)
            }
            jobs: dict[str, Callable[[], Any]] = {
                device: Cycle(partial(made.detect, timings=True), images)
                for device, made in detectors.items()
            }
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


class Cycle:
    """A detection of the next of some images at each call, with the stages of all calls."""

    def __init__(self, function: Callable[[Pixels], Any], images: Sequence[Pixels]) -> None:
        self._function, self._images, self._calls = function, images, 0
        self._found: list[Any] = []

    def __call__(self) -> None:
        """Detect in the next image."""
        self._found.append(self._function(self._images[self._calls % len(self._images)]))
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


def networks(options: argparse.Namespace) -> list[Result]:
    """Each network alone at one shape: fed from memory, bound to the device, and as a graph.

    Beside them the copy of a frame to the card, below which no detection can be.
    """
    import onnxruntime

    if options.device != "cuda":
        return []
    models = load_manifest().models("plain")
    shapes = {
        "pnet/canvas 1280x1280": ("pnet", (1, 1, 1280, 3 * 1280)),
        "pnet/canvas 640x640": ("pnet", (1, 1, 640, 3 * 640)),
        "pnet/tile 138x522": ("pnet", (1, 1, 138, 3 * 522)),
        "rnet/256": ("rnet", (256, 1, 24, 72)),
        "rnet/1024": ("rnet", (1024, 1, 24, 72)),
        "onet/64": ("onet", (64, 1, 48, 144)),
        "onet/256": ("onet", (256, 1, 48, 144)),
    }
    results = []
    rng = np.random.default_rng(1)
    for name, (network, shape) in shapes.items():
        pixels = rng.integers(0, 256, shape).astype(np.float32)
        jobs, outputs = network_jobs(onnxruntime, models[network].path, pixels)
        times = interleaved(jobs, options.rounds, warm_up=5)
        exact = outputs["fed, cpu"]
        for job, samples in times.items():
            results.append(
                Result(
                    name=f"network/{name}/{job}",
                    unit="ms",
                    value=spread(samples).median,
                    samples=tuple(round(sample, 4) for sample in samples),
                    detail={
                        "largest_difference_to_cpu": float(np.abs(outputs[job] - exact).max())
                        if job in outputs
                        else None
                    },
                )
            )
    for label, size in (("720p", (720, 1280, 3)), ("1080p", (1080, 1920, 3))):
        frame = rng.integers(0, 256, size).astype(np.uint8)
        value = onnxruntime.OrtValue.ortvalue_from_numpy(frame, "cuda", 0)
        samples = milliseconds(lambda p=frame, v=value: v.update_inplace(p), 50)  # type: ignore[misc]
        results.append(
            Result(name=f"copy to the card/{label}", unit="ms", value=spread(samples).median)
        )
    return results


def network_jobs(
    onnxruntime: Any, model: Path, pixels: np.ndarray[Any, Any]
) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """Ways to run one network at one shape, by name, and what each computes."""
    cuda = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
    kinds: Mapping[str, Mapping[str, str]] = {
        "fed, cuda": cuda,
        "fed, cuda, no TF32": {**cuda, "use_tf32": "0"},
        "bound, cuda, no TF32": {**cuda, "use_tf32": "0"},
        "graph, cuda, no TF32": {**cuda, "use_tf32": "0", "enable_cuda_graph": "1"},
    }
    cpu = session(onnxruntime, model, None)
    source, target = cpu.get_inputs()[0].name, cpu.get_outputs()[0].name
    jobs: dict[str, Callable[[], Any]] = {
        "fed, cpu": lambda: cpu.run([target], {source: pixels}),
    }
    outputs = {"fed, cpu": cpu.run([target], {source: pixels})[0]}
    for name, configured in kinds.items():
        opened = session(onnxruntime, model, configured)
        if name.startswith("fed"):
            jobs[name] = lambda s=opened: s.run([target], {source: pixels})  # type: ignore[misc]
            outputs[name] = opened.run([target], {source: pixels})[0]
            continue
        binding = opened.io_binding()
        given = onnxruntime.OrtValue.ortvalue_from_numpy(pixels, "cuda", 0)
        made = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            outputs["fed, cpu"].shape, np.float32, "cuda", 0
        )
        binding.bind_ortvalue_input(source, given)
        binding.bind_ortvalue_output(target, made)

        def run(s: Any = opened, b: Any = binding) -> None:
            s.run_with_iobinding(b)
            b.synchronize_outputs()

        run()
        jobs[name] = run
        outputs[name] = made.numpy()
    return jobs, outputs


def session(onnxruntime: Any, model: Path, cuda: Mapping[str, str] | None) -> Any:
    """A session on the processor, or on CUDA with options."""
    providers: list[Any] = ["CPUExecutionProvider"]
    if cuda is not None:
        providers.insert(0, ("CUDAExecutionProvider", dict(cuda)))
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), settings, providers=providers)


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
