"""A function in a new process: its output, its arguments, and how a process that fails ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from edge_mtcnn.board.new_process import run_in_new_process


def print_process(*arguments: object) -> None:
    sys.stdout.write(f"{os.getpid()} {arguments!r}")


def fail() -> None:
    raise SystemExit("out of luck")


def hang() -> None:
    time.sleep(60)


def test_a_function_gets_its_arguments_in_another_process() -> None:
    arguments = ("it's", 1.5, None, {"threads": [1, "two"]})
    done = run_in_new_process(print_process, *arguments, timeout=60)
    process, text = done.stdout.split(" ", 1)
    assert done.returncode == 0, done.stderr
    assert int(process) != os.getpid()
    assert text == repr(arguments)


def test_a_failure_is_an_exit_code_with_what_it_wrote() -> None:
    done = run_in_new_process(fail, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "out of luck\n")


def test_a_process_that_hangs_is_killed() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_in_new_process(hang, timeout=0.5)
