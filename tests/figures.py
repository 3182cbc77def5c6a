"""Figures, result files and runs of scripts, for the tests of the benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common.results import (
    Result,
    document,
    read,
    write,
)


def result(name: str = "time/a", value: float = 10.0, **more: Any) -> Result:
    return Result(name=name, unit="ms", value=value, **more)


def saved(folder: Path, name: str, *results: Result, benchmark: str = "latency") -> Path:
    file = folder / name
    write(file, document(benchmark, results, settings={"rounds": 1}))
    return file


def run(main: Callable[[list[str]], int], output: Path, *arguments: str | Path) -> dict[str, Any]:
    assert main([*map(str, arguments), "--output", str(output)]) == 0
    return {entry["name"]: entry for entry in read(output)["results"]}
