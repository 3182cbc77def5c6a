"""A function run in a new Python process: for code that may crash, and to measure its memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

__all__ = ["run_in_new_process"]

# The new process looks for packages exactly where this one does.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r};"
    " from {module} import {function}; {function}(*{arguments!r})"
)


def run_in_new_process(
    function: Callable[..., None], *arguments: object, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a function in a new process of this interpreter and wait for its end.

        done = run_in_new_process(print_peak_memory, "images.npz", timeout=60)
        peak = json.loads(done.stdout)

    Args:
        function: a function at the top level of a module; it writes its result to standard output.
        arguments: plain values, of which ``repr`` is Python code: texts, numbers, dicts, lists.
        timeout: seconds after which the process is killed.

    Returns:
        Its exit code (negative for a signal), standard output and standard error.

    Raises:
        subprocess.TimeoutExpired: it took longer than ``timeout``.
        OSError: the interpreter does not start, or this application is frozen and has none.
    """
    if getattr(sys, "frozen", False):  # `sys.executable` would start the application once more
        raise OSError("a frozen application cannot start another Python process")
    program = _PROGRAM.format(
        path=sys.path,
        module=function.__module__,
        function=function.__name__,
        arguments=arguments,
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
