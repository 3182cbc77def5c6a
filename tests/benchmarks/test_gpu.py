"""The benchmark for GPUs, run on the processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.common.program import CANNOT_RUN
from edge_mtcnn.runtime.providers import available_providers


@pytest.mark.slow
def test_on_the_processor_every_face_is_the_same(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    code = gpu.main(["--device", "cpu", "--rounds", "1", "--photos", "3", "--output", str(output)])
    assert code == 0
    results = {entry["name"]: entry for entry in json.loads(output.read_text())["results"]}
    for preset in ("reference", "default"):
        assert results[f"parity/{preset}"]["value"] == 1
        assert results[f"parity/{preset}"]["detail"]["faces"] > 0
    assert results["frame/540p/min40/cpu"]["detail"]["levels"] > 0


@pytest.mark.skipif("CUDAExecutionProvider" in available_providers(), reason="CUDA is here")
def test_without_cuda_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--photos", "1"]) == CANNOT_RUN
    assert "CUDAExecutionProvider is not in the installed ONNX Runtime" in capsys.readouterr().err
