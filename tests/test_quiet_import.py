"""Importing the package changes nothing in the process that imports it.

Each look is taken in a fresh process, after NumPy was imported: OpenBLAS starts threads and NumPy
adds warnings filters, and both are there anyway for whoever hands us an array.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROBE = """
import json, logging, os, signal, sys, threading, warnings
import numpy

def state():
    names = [None, *logging.Logger.manager.loggerDict]
    loggers = [logging.getLogger(name) for name in names]
    tasks = "/proc/self/task"
    return {
        "python threads": threading.active_count(),
        "native threads": len(os.listdir(tasks)) if os.path.isdir(tasks) else 0,
        "logging handlers": sum(len(logger.handlers) for logger in loggers),
        "logging level": logging.getLogger().level,
        "warnings filters": [str(entry) for entry in warnings.filters],
        "environment": sorted(os.environ.items()),
        "signal handlers": [str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)],
        "recursion limit": sys.getrecursionlimit(),
        "excepthook": str(sys.excepthook),
    }

before = state()
import edge_mtcnn
after = state()
report = {"before": before, "after": after, "modules": sorted(sys.modules)}
with open(sys.argv[1], "w") as file:
    json.dump(report, file)
"""
# NumPy is the one dependency that importing may load: results are arrays, and types name them.
LOADED_AT_FIRST_USE = ("onnxruntime", "cv2", "matplotlib", "tensorflow", "keras", "PIL", "tqdm")


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("import")
    home = folder / "home"
    work = folder / "work"
    home.mkdir()
    work.mkdir()
    answer = folder / "answer.json"
    kept = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env |= {
        "HOME": str(home),
        "TMPDIR": str(work),
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "always",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(answer)],
        env=env,
        cwd=work,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(answer.read_text())
    report["output"] = done.stdout + done.stderr
    report["created"] = sorted(
        str(path.relative_to(folder)) for top in (home, work) for path in top.rglob("*")
    )
    return report


def test_importing_changes_no_threads_logging_warnings_environment_or_signals(
    probe: dict[str, Any],
) -> None:
    assert probe["before"]["python threads"] == 1
    assert probe["after"] == probe["before"]


def test_importing_creates_no_files_or_folders(probe: dict[str, Any]) -> None:
    assert probe["created"] == []


def test_importing_prints_nothing(probe: dict[str, Any]) -> None:
    assert probe["output"] == ""


@pytest.mark.parametrize("module", LOADED_AT_FIRST_USE)
def test_importing_does_not_load(probe: dict[str, Any], module: str) -> None:
    assert "edge_mtcnn" in probe["modules"]
    assert "numpy" in probe["modules"]
    assert module not in probe["modules"]
