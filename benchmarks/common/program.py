"""What every script of ``benchmarks`` and ``endurance`` shares: its parser, and how it fails.

A script that cannot run, because a program, a package, a camera or a data folder is missing, prints
one line on standard error and ends with exit code 2. Imports ``edge_mtcnn.errors`` only.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

from edge_mtcnn.errors import EdgeMTCNNError

_Arguments = ParamSpec("_Arguments")

CANNOT_RUN = 2
PACKAGES = {
    "matplotlib": "pip install matplotlib",
    "onnxruntime": "pip install onnxruntime",
    "psutil": "pip install psutil",
    "pyarrow": "pip install 'edge-mtcnn[bulk]'",
    "ray": "pip install 'edge-mtcnn[ray]'",
    "starlette": "pip install 'edge-mtcnn[serve]'",
    "uvicorn": "pip install 'edge-mtcnn[serve]'",
}
"""Packages that only some scripts need, and how to get each."""


class BenchmarkError(Exception):
    """The script cannot run; the message says what to do."""


def script_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of ``python -m module``, described by the docstring of its module."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def script(main: Callable[_Arguments, int]) -> Callable[_Arguments, int]:
    """Decorate the ``main`` of a script: what it cannot run without is one line and exit code 2."""

    @functools.wraps(main)
    def guarded(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except ModuleNotFoundError as error:
            if error.name not in PACKAGES:
                raise  # a module of this project: a bug, whose traceback is needed
            reason = f"{error.name} is not installed: {PACKAGES[error.name]}"
        except (BenchmarkError, EdgeMTCNNError) as error:
            reason = str(error)
        print(f"error: {reason}", file=sys.stderr)
        return CANNOT_RUN

    return guarded


def last_words(errors: str, code: int) -> str:
    """Why a program that was started has failed.

    Args:
        errors: what it wrote to standard error.
        code: its exit code, below 0 for a signal.

    Returns:
        The last line, with the exit code where that line is missing or a signal ended the program,
        as the kernel does when memory runs out.
    """
    words = errors.strip().splitlines()[-1:]
    if code < 0 or not words:
        words.append(f"exit code {code}")
    return ", ".join(words)
