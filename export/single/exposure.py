"""What is dark in an image is brightened for the networks, see ``edge_mtcnn.cascade.exposure``.

Images in the light take the branches that change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_mtcnn.cascade import exposure
from edge_mtcnn.options import MAX_GAIN
from export.single.graph import Graph

__all__ = ["Light", "light_of"]


@dataclass(frozen=True, slots=True)
class Light:
    """How bright an image is.

    Attributes:
        lacks: whether a part of the image is dark, bool scalar.
        finest: first octave that is sampled, int64 (1,): 1 in the dark.
    """

    lacks: str
    finest: str

    def level(self, graph: Graph, level: str) -> str:
        """A level, (1, 1, h, 3 w) float32 with even sides, brightened where it is dark."""
        return graph.branch(
            self.lacks, lambda g: _brightened(g, level), lambda _: level, np.float32
        )

    def windows(self, graph: Graph, windows: str, size: int, in_mirror: str | None) -> str:
        """Windows, (n, size, 3 size) float32, each brightened by its middle."""
        return graph.branch(
            self.lacks,
            lambda g: _brightened_windows(g, windows, size, in_mirror),
            lambda _: windows,
            np.float32,
        )


def light_of(graph: Graph, image: str) -> Light:
    """Look at a sample of the places of an image, (h, w, 3) uint8."""
    sides = graph.part(graph("Shape", image), 0, 2)
    longer = graph("ReduceMax", sides, keepdims=1)
    step = graph("Max", graph("Div", longer, exposure._SAMPLES), 1)
    first = graph("Min", graph("Div", step, 2), graph("Sub", sides, 1))
    sampled = graph("Slice", image, first, sides, [0, 1], graph("Concat", step, step, axis=0))
    places = graph("ReduceMax", graph.cast(sampled, np.float32), axes=[2], keepdims=0)
    places = _dilated(graph, graph("Unsqueeze", places, [0, 1]))
    lacking = []
    for level, share in exposure.LACK.items():
        darker = graph.cast(graph("Less", places, float(level)), np.float32)
        lacking.append(graph("Greater", graph("ReduceMean", darker, keepdims=0), np.float32(share)))
    lacks = graph("Or", *lacking)
    noisy = graph("Greater", graph("ReduceMean", _gains(graph, places), keepdims=0), exposure.NOISY)
    finest = graph.cast(graph("Unsqueeze", graph("And", lacks, noisy), [0]), np.int64)
    return Light(lacks, finest)


def _gains(graph: Graph, places: str) -> str:
    """Gain by local brightness."""
    gains = graph("Div", float(exposure.BRIGHT), graph("Max", places, 1.0))
    return graph("Max", graph("Min", gains, MAX_GAIN), 1.0)


def _dilated(graph: Graph, values: str) -> str:
    return graph("MaxPool", values, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])


def _brightened(graph: Graph, level: str) -> str:
    """Multiply a level by the gains of its places, which are as coarse as P-Net's window."""
    # Kernels that average 2x2 pixels of each colour: (1, 3, h / 2, w / 2).
    kernel: NDArray[np.float32] = np.zeros((3, 1, 2, 6), dtype=np.float32)
    for colour in range(3):
        kernel[colour, 0, :, colour::3] = 0.25
    half = graph.rounded(graph("Conv", level, kernel, kernel_shape=[2, 6], strides=[2, 6]))
    places = _dilated(graph, graph("ReduceMax", half, axes=[1], keepdims=1))
    places = graph("Pad", places, [0, 0, 3, 3, 0, 0, 3, 3], mode="reflect")
    places = graph("Round", graph("AveragePool", places, kernel_shape=[7, 7], strides=[1, 1]))
    gains = _gains(graph, places)
    dark = graph("Less", graph("ReduceMin", places, keepdims=1), float(exposure.DIM))
    gains = graph("Where", dark, gains, np.float32(1))
    scales = np.array([1, 1, 2, 2], dtype=np.float32)
    gains = graph(
        "Resize",
        *(gains, "", scales),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    # Each gain for the three colours of its pixel.
    gains = graph("Expand", graph("Unsqueeze", gains, [4]), [1, 1, 1, 1, 3])
    gains = graph("Reshape", gains, graph("Shape", level))
    return graph("Min", graph("Round", graph("Mul", level, gains)), float(exposure.WHITE))


def _brightened_windows(graph: Graph, windows: str, size: int, in_mirror: str | None) -> str:
    """Multiply each window by what the middle of it lacks."""
    pixels = graph("Reshape", windows, [-1, size, size, 3])
    first, last, step = size // 4, size - size // 4, size // 12
    light = _light(graph, pixels, [first, first], [last, last], step)
    if in_mirror is not None:
        # The same pixels in the mirror.
        starts = [first, size - 1 - (first + (last - first - 1) // step * step)]
        mirrored = _light(graph, pixels, starts, [last, size - first], step)
        light = graph("Where", in_mirror, mirrored, light)
    gain = graph("Div", float(exposure.MEAN), graph("Max", light, 1.0))
    gain = graph("Max", graph("Min", gain, MAX_GAIN), 1.0)
    brightened = graph("Mul", windows, graph("Unsqueeze", gain, [2]))
    return graph("Min", brightened, float(exposure.WHITE))


def _light(graph: Graph, pixels: str, first: list[int], last: list[int], step: int) -> str:
    """Brightest colour of the mean of a grid of pixels, (n, 1)."""
    middle = graph("Slice", pixels, first, last, [1, 2], [step, step])
    return graph(
        "ReduceMax", graph("ReduceMean", middle, axes=[1, 2], keepdims=0), axes=[1], keepdims=1
    )
