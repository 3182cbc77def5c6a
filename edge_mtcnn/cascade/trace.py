"""``Trace``: what one look at an image does, for its ``Timings``; and the caps on candidates."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TypeVar

from edge_mtcnn.cascade.candidates import Candidates, Found
from edge_mtcnn.cascade.pnet import Cells, best_cells
from edge_mtcnn.options import DetectorOptions
from edge_mtcnn.types import NETWORKS, Timings

__all__ = ["Trace"]

_Boxes = TypeVar("_Boxes", Candidates, Found)


class Trace:
    """What one search does: time by stage, windows, and where a cap was reached."""

    levels: tuple[tuple[int, int], ...] = ()
    rnet_windows = 0
    onet_windows = 0
    known_false = 0

    def __init__(self, options: DetectorOptions) -> None:
        caps: Iterable[int | None] = options.max_candidates or (None, None, None)
        self._caps = dict(zip(NETWORKS, caps, strict=True))
        self._cells = options.max_cells
        self._capped: list[str] = []
        self._start = self._last = time.perf_counter()
        self._laps = dict.fromkeys(
            ("pyramid_ms", "pnet_ms", "rnet_ms", "onet_ms", "mirror_ms"), 0.0
        )

    def lap(self, name: str) -> None:
        """A stage has ended."""
        now = time.perf_counter()
        self._laps[name] += (now - self._last) * 1e3
        self._last = now

    def best(self, network: str, candidates: _Boxes) -> _Boxes:
        """The candidates that go on from a network."""
        cap = self._caps[network]
        if cap is None or len(candidates.boxes) <= cap:
            return candidates
        self._has_capped(network)
        return candidates.take(slice(cap))

    def best_cells(self, cells: Cells) -> Cells:
        """The cells of P-Net that go into NMS."""
        if self._cells is None:
            return cells
        best = best_cells(cells, *self._cells)
        if best is not cells:
            self._has_capped("cells")
        return best

    def _has_capped(self, cap: str) -> None:
        if cap not in self._capped:
            self._capped.append(cap)

    def timings(self, gain: float) -> Timings:
        """All of it."""
        return Timings(
            **self._laps,
            total_ms=(time.perf_counter() - self._start) * 1e3,
            levels=self.levels,
            rnet_windows=self.rnet_windows,
            onet_windows=self.onet_windows,
            capped=tuple(self._capped),
            known_false=self.known_false,
            gain=gain,
        )
