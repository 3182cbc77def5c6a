"""Every script: its help, and one line where it cannot run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from figures import result, saved

from benchmarks import accuracy, compare, latency, scaling
from benchmarks.common import plots
from benchmarks.common.program import CANNOT_RUN, script
from benchmarks.limit import __main__ as limit
from benchmarks.limit import operators
from benchmarks.peers import __main__ as peers
from endurance import faults

SCRIPTS = (
    "benchmarks.__main__", "benchmarks.accuracy", "benchmarks.bulk", "benchmarks.common.plots",
    "benchmarks.compare", "benchmarks.gpu", "benchmarks.hostile", "benchmarks.import_time",
    "benchmarks.instructions", "benchmarks.latency",
    "benchmarks.limit.__main__", "benchmarks.limit.operators", "benchmarks.many",
    "benchmarks.memory", "benchmarks.peers.__main__", "benchmarks.peers.agreement",
    "benchmarks.scaling", "benchmarks.tracking",
    "endurance.faults", "endurance.serve_load", "endurance.soak",
)  # fmt: skip


@pytest.mark.parametrize("module", SCRIPTS)
def test_help_names_the_script_and_says_what_it_needs(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(module).main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python -m {module.removesuffix('.__main__')} ")
    assert "Needs " in " ".join(text.split())


def test_every_script_is_in_the_list(project_root: Path) -> None:
    programs = {
        ".".join(path.relative_to(project_root).with_suffix("").parts)
        for folder in ("benchmarks", "endurance")
        for path in (project_root / folder).rglob("*.py")
        if 'ArgumentParser(prog="python -m' in (text := path.read_text(encoding="utf-8"))
        or 'script_parser("' in text
    }
    assert programs == set(SCRIPTS)


def refused(main: Callable[[list[str]], int], capsys: Any, *arguments: str | Path) -> str:
    """The one line with which a script ends that cannot run."""
    assert main([*map(str, arguments)]) == CANNOT_RUN == 2
    message: str = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1, message
    return message


def test_a_missing_package_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    file = saved(tmp_path, "scaling.json", result("scaling/time/faces/0"), benchmark="scaling")
    assert "pip install matplotlib" in refused(plots.main, capsys, file)
    plot = tmp_path / "plot.png"
    # Known before the measurement, which takes minutes.
    assert "pip install matplotlib" in refused(scaling.main, capsys, "--plot", plot)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "onnxruntime" in refused(latency.main, capsys, "astronaut", "--rounds", "1")
    assert "onnxruntime" in refused(operators.main, capsys, "--peak", "100")


def test_a_module_of_ours_that_is_missing_keeps_its_traceback() -> None:
    @script
    def main() -> int:
        import_module("benchmarks.no_such_module")
        return 0

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        main()


def test_missing_images_videos_and_results_are_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nobody" in refused(latency.main, capsys, "nobody")
    assert "nobody" in refused(limit.main, capsys, "nobody")
    absent = tmp_path / "absent"
    assert str(absent) in refused(accuracy.main, capsys, "--data", absent)
    assert str(absent) in refused(compare.main, capsys, absent, absent)
    assert str(absent) in refused(peers.main, capsys, "--video", absent)
    monkeypatch.setattr(faults, "DEBIAN_PYTHON", str(absent))
    assert faults.main(["--only", "rtsp-killed"]) == CANNOT_RUN
    assert "rtsp_server.py" in capsys.readouterr().err
