"""``edge-mtcnn warm-up``: what it reports, and sizes that are none."""

from __future__ import annotations

import json

import pytest

from edge_mtcnn.cli import main
from edge_mtcnn.runtime import sessions
from edge_mtcnn.runtime.fixed import BATCHES
from edge_mtcnn.runtime.providers import available_providers


def test_it_says_what_was_prepared_and_that_a_processor_keeps_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["warm-up", "--size", "160x120", "--size", "96X64"]) == 0
    output, messages = capsys.readouterr()
    assert "CPUExecutionProvider, form" in output
    assert "\n160x120: " in output
    assert "\n96x64: " in output
    assert "kept: nothing" in output
    assert "warming up for 160x120" in messages


def test_on_a_device_all_batches_are_prepared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "processor_as_device", True)
    assert main(["warm-up", "--size", "160x120", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [shape[0] for shape in report["shapes"]["rnet"]] == list(BATCHES["rnet"])
    assert [shape[0] for shape in report["shapes"]["onet"]] == list(BATCHES["onet"])
    assert report["shapes"]["pnet"] == [[1, 1, 224, 3 * 256]]
    assert report["engines"] is None
    (size,) = report["sizes"]
    assert (size["width"], size["height"]) == (160, 120)
    assert size["first_ms"] > 0 < size["again_ms"]


@pytest.mark.parametrize("size", ["640", "640x", "0x480", "640*480", "640x480x3", "-1x5"])
def test_a_size_that_is_none_is_a_usage_error(
    size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["warm-up", f"--size={size}"]) == 2
    output, message = capsys.readouterr()
    assert output == ""
    assert "WIDTHxHEIGHT" in message
    assert size in message


@pytest.mark.parametrize("device", ["cuda", "tensorrt", "WarpDriveExecutionProvider?speed=9"])
@pytest.mark.parametrize("command", [["detect", "--json", "-"], ["bench"], ["warm-up"]])
def test_a_device_that_is_not_here_ends_a_command_before_it_writes_anything(
    device: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = {"cuda": "CUDA", "tensorrt": "Tensorrt"}.get(device, "WarpDrive") + "ExecutionProvider"
    if name in available_providers():
        pytest.skip("this ONNX Runtime has it, and it may start")
    assert main([*command, "--device", device]) == 2
    output, message = capsys.readouterr()
    assert output == ""
    assert f"error: {name} is not in the installed ONNX Runtime" in message
    assert "CPUExecutionProvider" in message
