"""Sets in smaller number formats, calibrated on the samples, run and find the face."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_mtcnn import DetectorOptions, FaceDetector, RuntimeOptions
from edge_mtcnn.images.decoding import read_image

pytest.importorskip("onnx", reason="onnx is in the environment of the export")

from export import quantise

FLOAT16_PIXELS = 2.0
"""Float16 has eleven bits: offsets are right to a thousandth of a window."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sample_path: Callable[[str], Path]) -> Path:
    """A float16 set, and one with int8 dense layers."""
    output = tmp_path_factory.mktemp("sets")
    samples = [str(sample_path(name)) for name in ("astronaut", "coffee")]
    sets = ["--sets", "float16", "int8-dense", "--output", str(output)]
    assert quantise.main([*samples, *sets]) == 0
    return output


@pytest.mark.parametrize("name", ["float16", "int8-dense"])
def test_a_set_is_smaller_and_finds_the_same_face(
    name: str, folder: Path, sample_path: Callable[[str], Path]
) -> None:
    photo = read_image(sample_path("astronaut"))
    with (
        FaceDetector(runtime=RuntimeOptions(form="plain")) as shipped,
        FaceDetector(DetectorOptions(), RuntimeOptions(models=folder / name)) as smaller,
    ):
        assert smaller.info()["form"] == "plain"
        (expected,), (found,) = shipped.detect(photo), smaller.detect(photo)
    difference = np.abs(np.subtract(found.box, expected.box)).max()
    assert 0 < difference < (FLOAT16_PIXELS if name == "float16" else 0.1 * expected.width)
    manifest = json.loads((folder / name / "manifest.json").read_text())
    sizes = [entry["forms"]["plain"]["bytes"] for entry in manifest["networks"].values()]
    assert sum(sizes) < 1_100_000  # half of what the float32 weights take


def test_nothing_to_calibrate_with_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        quantise.main([str(tmp_path)])
    assert ended.value.code == 2
    assert "no photos" in capsys.readouterr().err
