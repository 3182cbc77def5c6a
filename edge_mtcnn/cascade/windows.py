"""Windows of candidates through R-Net or O-Net, in batches of a size that suits the network.

The number of batches does not depend on the threads, and so neither do the results.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_mtcnn.cascade.networks import Map, Network, network_input
from edge_mtcnn.cascade.pyramid import Sampler
from edge_mtcnn.types import Float32Array, FloatArray

__all__ = ["WindowSpec", "window_outputs"]

BATCH_MULTIPLE = 4
"""The number of batches is a multiple of this, so that two or four threads share them evenly."""
TOGETHER = 64
"""Batches that a device sees together at most, which limits the memory of their pixels."""


class WindowSpec(NamedTuple):
    """What a network takes and returns.

    Attributes:
        size: side of a window, pixels.
        outputs: numbers that the network returns for a window.
        batch: minimum and maximum number of windows in a batch. Smaller batches cost more to
            dispatch than they save; what larger ones compute does not stay in the cache.
        together: the batches are only sampled apart; the network, on a device, sees them together.
    """

    size: int
    outputs: int
    batch: tuple[int, int]
    together: bool = False


def window_outputs(
    boxes: FloatArray,
    sampler: Sampler,
    network: Network,
    spec: WindowSpec,
    run: Map,
    in_mirror: npt.NDArray[np.bool_] | None = None,
    tilts: FloatArray | None = None,
) -> Float32Array:
    """The network's output for the window of each box.

    Windows that are cheap to sample together go into one batch.

    Args:
        boxes: (N, 4) square, source pixels.
        sampler: makes the pixels of the windows.
        network: R-Net or O-Net.
        spec: of the network.
        run: shares the batches among threads.
        in_mirror: (N,) windows that are mirrored first; ``None`` for none.
        tilts: (N,) radians by which each window is turned clockwise about its centre before it is
            mirrored, so that a face that is tilted by as much is upright in it; ``None`` for none.

    Returns:
        (N, ``spec.outputs``) float32.
    """

    def pixels_of(rows: Any) -> Float32Array:
        pixels = sampler.windows(boxes[rows], spec.size)
        if tilts is not None and (tilted := np.flatnonzero(tilts[rows])).size:
            pixels[tilted] = _turned(
                sampler, boxes[rows][tilted], spec.size, tilts[rows][tilted].tolist()
            )
        if in_mirror is not None:
            flipped = in_mirror[rows]
            pixels[flipped] = pixels[flipped, :, ::-1]
        return network_input(pixels)

    def outputs_of(rows: Any) -> Float32Array:
        return network(pixels_of(rows))

    if not len(boxes):
        return np.zeros((0, spec.outputs), dtype=np.float32)
    if len(boxes) < 2 * spec.batch[0]:  # one batch, in any order
        return outputs_of(slice(None))
    order = np.argsort(sampler.groups(boxes, spec.size), kind="stable")
    batches = [order[start:stop] for start, stop in _batches(len(order), *spec.batch)]
    if spec.together:
        chunks = [batches[start : start + TOGETHER] for start in range(0, len(batches), TOGETHER)]
        parts = [network(np.concatenate(run(pixels_of, chunk))) for chunk in chunks]
    else:
        parts = run(outputs_of, batches)
    output = np.concatenate(parts)
    in_order = np.empty_like(output)
    in_order[order] = output
    return in_order


def _turned(sampler: Sampler, boxes: FloatArray, size: int, tilts: Sequence[float]) -> Float32Array:
    """Windows turned clockwise, cut out of upright ones of twice the side, which hold them."""
    reach = (boxes[:, 2:] - boxes[:, :2] + 1) / 2
    around = sampler.windows(np.hstack([boxes[:, :2] - reach, boxes[:, 2:] + reach]), 2 * size)
    turned = np.empty((len(boxes), size, size, 3), dtype=np.float32)
    for window, pixels, tilt in zip(turned, around, tilts, strict=True):
        # OpenCV's angles are counterclockwise; the centre of the first pixel is 0.
        matrix = cv2.getRotationMatrix2D((size - 0.5, size - 0.5), math.degrees(tilt), 1.0)
        matrix[:, 2] -= size / 2
        cv2.warpAffine(pixels, matrix, (size, size), dst=window)
    return turned


def _batches(count: int, fewest: int, most: int) -> Iterator[tuple[int, int]]:
    """Split ``0..count`` into nearly equal parts of ``fewest`` to ``most``, as (start, stop).

    There are a multiple of ``BATCH_MULTIPLE`` parts where ``count`` allows it.
    """
    chunks = math.ceil(count / most)
    chunks = max(min(chunks + -chunks % BATCH_MULTIPLE, count // fewest), 1)
    return pairwise(count * chunk // chunks for chunk in range(chunks + 1 if count else 0))
