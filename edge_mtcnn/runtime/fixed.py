"""A network on a device, which gets few shapes, through buffers that are made once.

A shape that a device has not seen costs milliseconds (CUDA) to minutes (TensorRT), and pixels cost
next to nothing there. So batches are filled up to one of a few sizes, and P-Net's canvases come in
few sizes. Each shape has its buffers on the device, at addresses that never change. Pixels that
come as uint8 become float32 there.
"""

from __future__ import annotations

import base64
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_mtcnn.errors import ProviderError
from edge_mtcnn.runtime.providers import CUDA, TENSORRT, onnx_runtime, reason_of
from edge_mtcnn.types import Float32Array

__all__ = ["BATCHES", "CANVAS_SIZES", "CAST", "FixedNetwork"]

CANVAS_SIZES = ((224, 256), (448, 480), (672, 704), (896, 960), (1344, 1408))
"""Heights and widths of P-Net's canvases. A frame of 16:9 fills four fifths of one: 720p and
``min_face_size`` 20 the fourth, 40 the second; 1080p the last and the third."""
BATCHES: Mapping[str, tuple[int, ...]] = {"pnet": (1,), "rnet": (32, 256), "onet": (8, 64)}
"""Sizes of the batches of each network."""
CAST = base64.b64decode(
    "CAc6XgoXCgF4EgF5IgRDYXN0KgkKAnRvGAGgAQISAWdaHwoBeBIaChgIAhIUCgMSAW4KAxIBYwoDEgFoCgMSAXdiHwoB"
    "eRIaChgIARIUCgMSAW4KAxIBYwoDEgFoCgMSAXdCBAoAEA0="
)
"""A model that turns uint8 into float32."""
_MEMORY = {CUDA: "cuda", TENSORRT: "cuda"}
"""Where the buffers of a provider are, as ONNX Runtime calls it; others take the processor's."""
_GRAPH = "enable_cuda_graph"


class FixedNetwork:
    """One network of the cascade on a device. It may be called from several threads.

    Call it as a ``sessions.SessionNetwork``, with any number of windows, or with uint8 pixels.

    Args:
        session: the network's.
        cast: session of ``CAST`` on the same device.
        batches: sizes of batches, the smallest first.
        for_shape: opens a session that takes one shape only, from the lengths of the dimensions
            that have names; ``None`` where one session takes all shapes.
    """

    def __init__(
        self,
        session: Any,
        cast: Any,
        batches: Sequence[int],
        for_shape: Callable[[Mapping[str, int]], Any] | None = None,
    ) -> None:
        self._session, self._cast = session, cast
        self._for_shape = for_shape
        self._batches = batches
        self._outputs = [output.name for output in session.get_outputs()]
        self._lock = threading.Lock()
        self._bindings: dict[tuple[tuple[int, ...], str], _Binding] = {}
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        options = session.get_provider_options().get(self.providers[0], {})
        self._device_id = int(options.get("device_id") or 0)
        self._graph = options.get(_GRAPH) == "1"

    def __call__(self, pixels: npt.NDArray[Any]) -> Float32Array:
        """Run the network, see the class."""
        return self._run(pixels, 1)[0]

    def with_features(self, pixels: npt.NDArray[Any]) -> Float32Array:
        """The output and, to its right, the features, for networks that have them."""
        return np.concatenate(self._run(pixels, len(self._outputs)), axis=1)

    @property
    def has_features(self) -> bool:
        """Whether the values of the hidden layer are a second output."""
        return len(self._outputs) > 1

    @property
    def runs_on(self) -> str:
        """The provider that runs its operators, and how many if it is not all of them.

        ONNX Runtime before 1.24 does not tell; then it is the provider that was asked for.
        """
        wanted = self.providers[0]
        try:
            groups = self._session.get_provider_graph_assignment_info()
        except Exception:  # noqa: BLE001 -- not there, or not recorded
            return wanted
        counts = Counter[str]()
        for group in groups:
            counts[group.ep_name] += len(group.get_nodes())
        if counts[wanted] == counts.total():
            return wanted
        return f"{wanted} ({counts[wanted]} of {counts.total()} operators)"

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes that ONNX Runtime has seen."""
        return [shape for shape, _ in self._bindings]

    def _run(self, pixels: npt.NDArray[Any], outputs: int) -> list[Float32Array]:
        parts = []
        for start, count, size in self._parts(len(pixels)):
            part = pixels[start : start + count]
            if count < size:
                filled = np.zeros((size, *pixels.shape[1:]), dtype=pixels.dtype)
                filled[:count] = part
                part = filled
            parts.append([output[:count] for output in self._run_batch(part, outputs)])
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def _parts(self, count: int) -> list[tuple[int, int, int]]:
        """Start, windows and size of the batches for so many windows."""
        parts, largest = [], self._batches[-1]
        for start in range(0, count, largest):
            windows = min(count - start, largest)
            parts.append((start, windows, next(s for s in self._batches if s >= windows)))
        return parts

    def _run_batch(self, pixels: npt.NDArray[Any], outputs: int) -> list[Float32Array]:
        key = (pixels.shape, pixels.dtype.str)
        try:
            with self._lock:
                binding = self._bindings.get(key)
                if binding is None:
                    binding = self._bindings[key] = self._bound(pixels)
                return binding.run(pixels, outputs)
        except Exception as error:  # ONNX Runtime raises several types without a common base
            raise ProviderError(
                f"{self.providers[0]} failed while a network ran on it: {reason_of(error)}. It may"
                " be out of memory or disconnected; device='cpu' does without it"
            ) from error

    def _bound(self, pixels: npt.NDArray[Any]) -> _Binding:
        """Buffers for a shape. The first run finds out how large the outputs are."""
        OrtValue = onnx_runtime().OrtValue  # noqa: N806 -- a class
        memory = _MEMORY.get(self.providers[0], "cpu")
        place = (memory, self._device_id if memory != "cpu" else 0)
        given = OrtValue.ortvalue_from_numpy(_owned(pixels), *place)
        runs = []
        floats = given
        if pixels.dtype != np.float32:
            floats = OrtValue.ortvalue_from_shape_and_type(pixels.shape, np.float32, *place)
            cast = self._cast.io_binding()
            cast.bind_ortvalue_input(self._cast.get_inputs()[0].name, given)
            cast.bind_ortvalue_output(self._cast.get_outputs()[0].name, floats)
            runs.append(_Run(self._cast, cast, None))
            runs[0].do()
        session, taken = self._session, self._session.get_inputs()[0]
        if self._for_shape is not None:
            dimensions = zip(taken.shape, pixels.shape, strict=True)
            session = self._for_shape({n: size for n, size in dimensions if isinstance(n, str)})
        network = session.io_binding()
        network.bind_ortvalue_input(taken.name, floats)
        for name in self._outputs:
            network.bind_output(name, *place)
        session.run_with_iobinding(network, self._run_options(-1))
        made = [
            OrtValue.ortvalue_from_shape_and_type(value.shape(), np.float32, *place)
            for value in network.get_outputs()
        ]
        network.clear_binding_outputs()
        for name, value in zip(self._outputs, made, strict=True):
            network.bind_ortvalue_output(name, value)
        # A captured graph belongs to the addresses of one shape, so each shape has its number.
        options = self._run_options(len(self._bindings) + 1)
        runs.append(_Run(session, network, options))
        return _Binding(given, tuple(runs), tuple(made), on_processor=memory == "cpu")

    def _run_options(self, graph: int) -> Any:
        if not self._graph:
            return None
        options = onnx_runtime().RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph))
        return options


class _Run(NamedTuple):
    """One session with its buffers."""

    session: Any
    binding: Any
    options: Any

    def do(self) -> None:
        self.session.run_with_iobinding(self.binding, self.options)
        # Another session, in another stream, or a copy may read the outputs next.
        self.binding.synchronize_outputs()


class _Binding(NamedTuple):
    """The buffers of one shape.

    Attributes:
        given: takes the pixels.
        runs: what runs on them, in order.
        made: the outputs.
        on_processor: whether they are in the processor's memory.
    """

    given: Any
    runs: tuple[_Run, ...]
    made: tuple[Any, ...]
    on_processor: bool

    def run(self, pixels: npt.NDArray[Any], outputs: int) -> list[Float32Array]:
        """Copy the pixels to the device, run, and copy so many outputs back."""
        self.given.update_inplace(np.ascontiguousarray(pixels))
        for run in self.runs:
            run.do()
        found = [value.numpy() for value in self.made[:outputs]]
        # From the processor's memory it is the buffer itself, which the next run overwrites.
        return [array.copy() if self.on_processor else array for array in found]


def _owned(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy: on the processor, ONNX Runtime takes the array itself as its buffer."""
    return np.array(pixels, order="C")
