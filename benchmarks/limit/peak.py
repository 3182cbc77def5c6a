"""This machine's float32 matrix-multiply peak, the yardstick of ``limit``.

It is measured in a fresh process with a fixed number of threads, by NumPy's BLAS and by ONNX
Runtime; the faster one counts. Environment variables that select an older BLAS kernel are removed
for that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.common.program import BenchmarkError, last_words
from benchmarks.common.results import ROOT
from edge_mtcnn.speed.timing import percentile

SIDES = (512, 1024, 1536)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SLOWING_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def measure_peak(threads: int, seconds: float = 2.0) -> dict[str, float]:
    """GFLOP/s of each library in a fresh process.

    Args:
        threads: number of threads of the multiplication.
        seconds: measuring time for each library and size.
    """
    environment = {k: v for k, v in os.environ.items() if k not in _SLOWING_VARIABLES}
    environment |= {name: str(threads) for name in _THREAD_VARIABLES}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.limit.peak", str(threads), str(seconds)],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BenchmarkError(last_words(done.stderr, done.returncode))
    peaks: dict[str, float] = json.loads(done.stdout)
    return peaks


def main(threads: int, seconds: float) -> dict[str, float]:
    """Measure in this process."""
    import numpy as np

    peaks: dict[str, float] = {}
    rng = np.random.default_rng(0)
    for side in SIDES:
        a, b = (rng.random((side, side), dtype=np.float32) for _ in range(2))
        out = np.empty_like(a)
        multiplications: dict[str, Callable[[], object]] = {
            "numpy": lambda a=a, b=b, out=out: np.matmul(a, b, out=out),  # type: ignore[misc]
            "onnxruntime": _onnx_matmul(a, b, threads),
        }
        for name, multiply in multiplications.items():
            speed = 2 * side**3 / _best_seconds(multiply, seconds) / 1e9
            peaks[name] = max(peaks.get(name, 0.0), speed)
    return peaks


def _best_seconds(function: Callable[[], object], seconds: float) -> float:
    """The fastest tenth, because the peak is the speed without disturbance by other programs."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 10 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return percentile(times, 0.1)


def _onnx_matmul(a: Any, b: Any, threads: int) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        _matmul_model(), options, providers=["CPUExecutionProvider"]
    )
    # A constant on the right, such as weights, would be packed only once. Here both are inputs, so
    # they are packed in every call, as in NumPy.
    return lambda: session.run(None, {"a": a, "b": b})


def _matmul_model() -> bytes:
    """A model of one MatMul of two inputs, written by hand: ONNX itself is not needed for it."""

    def field(number: int, content: bytes | int) -> bytes:
        if isinstance(content, int):
            return _varint(number << 3) + _varint(content)
        return _varint(number << 3 | 2) + _varint(len(content)) + content

    def value(name: str) -> bytes:
        side = field(2, b"side")
        shape = field(1, side) + field(1, side)
        tensor = field(1, 1) + field(2, shape)  # 1 is float32
        return field(1, name.encode()) + field(2, field(1, tensor))

    node = field(1, b"a") + field(1, b"b") + field(2, b"c") + field(4, b"MatMul")
    graph = field(1, node) + field(2, b"g") + field(11, value("a")) + field(11, value("b"))
    graph += field(12, value("c"))
    return field(1, 7) + field(7, graph) + field(8, field(2, 13))


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), float(sys.argv[2]))))
