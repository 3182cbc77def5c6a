"""The benchmark for GPUs, run on the processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.common.program import CANNOT_RUN
from benchmarks.common.results import Result
from edge_mtcnn.runtime.providers import available_providers

MOST_SHAPES = 12


@pytest.mark.slow
def test_on_the_processor_as_a_device_every_face_is_the_same_in_few_shapes(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    few = ["--rounds", "1", "--photos", "2", "--sizes", "4", "--frames", "540p"]
    few += ["--batch", "2", "--threads", "1"]
    assert gpu.main(["--device", "processor", *few, "--output", str(output)]) == 0
    results = {entry["name"]: entry for entry in json.loads(output.read_text())["results"]}
    for preset in ("reference", "default"):
        assert results[f"parity/{preset}"]["value"] == 1
        assert results[f"parity/{preset}"]["detail"]["faces"] > 0
    assert 3 <= results["shapes/4 sizes/processor"]["value"] <= MOST_SHAPES
    frame = results["frame/540p/min40/processor"]
    assert frame["detail"]["levels"] > 0
    assert 0 < frame["detail"]["in_networks_ms"] < frame["value"] * 2
    assert frame["detail"]["faces"] == results["frame/540p/min40/cpu"]["detail"]["faces"]
    assert results["frame/540p/min40/processor batch"]["value"] > 0


def test_the_target_is_the_best_rate_over_the_batched_rate_of_the_peer() -> None:
    times = {"cuda": 9.0, "cuda batch": 3.0, "cpu batch": 1.0, "facenet-pytorch batch": 60.0}
    results = [
        Result(name=f"frame/720p/min20/{job}", unit="ms", value=value)
        for job, value in times.items()
    ]
    (target,) = gpu.speed_targets(results, "cuda")
    assert target.value == 20
    assert target.reached


@pytest.mark.skipif("CUDAExecutionProvider" in available_providers(), reason="CUDA is here")
def test_without_cuda_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--photos", "1"]) == CANNOT_RUN
    assert "CUDAExecutionProvider is not in the installed ONNX Runtime" in capsys.readouterr().err
