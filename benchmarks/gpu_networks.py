"""The networks alone on a GPU, at one shape each: fed from memory, bound, and as a CUDA graph.

Called by ``benchmarks.gpu``. Beside them is the copy of a frame to the card, below which no
detection can be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.results import Result
from benchmarks.common.timing import interleaved, milliseconds, spread
from edge_mtcnn.runtime.fixed import BATCHES, CANVAS_SIZES
from edge_mtcnn.runtime.models import load_manifest

__all__ = ["networks"]


def networks(rounds: int) -> list[Result]:
    """Each network at the shapes that it gets on a device."""
    import onnxruntime

    models = load_manifest().models("plain")
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        f"pnet/canvas {width}x{height}": ("pnet", (1, 1, height, 3 * width))
        for height, width in CANVAS_SIZES
    }
    shapes |= {f"rnet/{count}": ("rnet", (count, 1, 24, 72)) for count in BATCHES["rnet"]}
    shapes |= {f"onet/{count}": ("onet", (count, 1, 48, 144)) for count in BATCHES["onet"]}
    results = []
    rng = np.random.default_rng(1)
    for name, (network, shape) in shapes.items():
        pixels = rng.integers(0, 256, shape).astype(np.float32)
        jobs, outputs = network_jobs(onnxruntime, models[network].path, pixels)
        times = interleaved(jobs, rounds, warm_up=5)
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
        "exhaustive, bound, cuda, no TF32": {
            **cuda,
            "use_tf32": "0",
            "cudnn_conv_algo_search": "EXHAUSTIVE",
        },
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
