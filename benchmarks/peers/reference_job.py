"""A fixed job, the yardstick of ``compare``: the same work in every version of this code.

Small float32 matrix products, as convolutions are, and passes over memory, shared among as many
threads as the detector uses, so that it speeds up and slows down with the machine as the cascade
does. Change nothing here: ratios of old files would lose their meaning.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

CHUNKS = 8
PRODUCTS = 48
SIDE = 64
"""A product of this size stays on one thread in every BLAS."""


class ReferenceJob:
    """Call it to do the work once.

    Args:
        threads: number of threads that share the work.
    """

    def __init__(self, threads: int) -> None:
        rng = np.random.default_rng(7)
        self._left = rng.random((PRODUCTS, SIDE, SIDE), dtype=np.float32)
        self._right = rng.random((SIDE, SIDE), dtype=np.float32)
        self._pool = ThreadPoolExecutor(threads)

    def __call__(self) -> float:
        """The work; the sum keeps it from being skipped."""
        return sum(self._pool.map(self._chunk, range(CHUNKS)))

    def _chunk(self, number: int) -> float:
        products = np.matmul(self._left, self._right)
        for _ in range(4):
            np.maximum(products * np.float32(1.01), np.float32(number), out=products)
        return float(products[0, 0, 0])

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
