"""Environments of the peers, and the processes in which they run."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.results import ROOT
from benchmarks.peers.specs import Peer

WORKER = Path(__file__).with_name("worker.py")
ENVIRONMENTS = ROOT / ".venv-peers"
OPENING_SECONDS, DETECTING_SECONDS = 180.0, 120.0


class PeerError(Exception):
    """A peer cannot be installed, started or used; the others continue."""


def set_up(name: str, peer: Peer, environments: Path, python: str) -> None:
    """Create the peer's environment, unless it is complete.

    Raises:
        PeerError: pip failed; the message is its last line.
    """
    folder = environments / name
    stamp = folder / ".finished"
    wanted = "\n".join((*peer.packages, *peer.alone))
    if not wanted or (stamp.is_file() and stamp.read_text() == wanted):
        return
    install = [str(_python(folder)), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    _run([python, "-m", "venv", "--clear", str(folder)])
    if peer.packages:
        _run([*install, *peer.packages])
    if peer.alone:
        _run([*install, "--no-deps", *peer.alone])
    stamp.write_text(wanted)


def interpreter(name: str, peer: Peer, environments: Path) -> str:
    """The Python that runs the peer; the project's own if the peer needs no package.

    Raises:
        PeerError: its environment does not exist.
    """
    if not (peer.packages or peer.alone):
        return sys.executable
    python = _python(environments / name)
    if not (environments / name / ".finished").is_file():
        raise PeerError("its environment is missing; create it with --setup")
    return str(python)


class PeerProcess:
    """A program that detects in its own process, which runs only during a request.

    Between requests the process is stopped, because threads of some programs spin long after their
    work and would slow down the program that is measured. Windows has no such signal.

    Args:
        python: interpreter of its environment.
        threads: number of threads that it may use.

    Raises:
        PeerError: the process does not start.
    """

    def __init__(self, python: str, threads: int) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the process
        self._process = subprocess.Popen(
            [python, str(WORKER)],
            cwd=ROOT,
            env=_environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._signal("SIGSTOP")

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises:
            PeerError: the program failed, ended or took too long.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: PT018 -- for mypy
        self._signal("SIGCONT")
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(stdout, selectors.EVENT_READ)
                if not selector.select(seconds):
                    raise PeerError(f"no answer within {seconds:g} s")
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            self._signal("SIGSTOP")
        if not line:
            raise PeerError(f"the process ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _signal(self, name: str) -> None:
        number = getattr(signal, name, None)
        if number is not None:
            self._process.send_signal(number)  # nothing happens once it has ended

    def _last_words(self) -> str:
        self._process.wait(timeout=10)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"


def _environment(threads: int) -> dict[str, str]:
    count = str(threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "GLOG_minloglevel": "2",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        errors = [line for line in said.splitlines() if line.startswith("ERROR")]
        raise PeerError((errors or said.strip().splitlines())[0]) from None
