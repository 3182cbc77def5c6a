"""ONNX Runtime sessions of the networks.

A network is a callable from pixels to its output. On processors, sessions run on the calling thread
and keep no memory pattern per input shape: the jobs of the cascade bring parallelism and bounded
memory, and each thread has sessions of its own. On devices one session gets few shapes, see
``fixed``.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edge_mtcnn.errors import ModelFileError, ProviderError
from edge_mtcnn.runtime.fixed import BATCHES, CANVAS_SIZES, CAST, FixedNetwork
from edge_mtcnn.runtime.models import Model
from edge_mtcnn.runtime.providers import (
    CPU,
    TENSORRT,
    Provider,
    available_providers,
    chosen_providers,
    onnx_runtime,
    reason_of,
    runtime_version,
)
from edge_mtcnn.types import NETWORKS, Float32Array

if TYPE_CHECKING:
    from edge_mtcnn.runtime.engines import EngineFolder

__all__ = ["SessionNetwork", "SessionNetworks", "open_networks"]


processor_as_device = False
"""Give the processor few shapes too, as a device gets them; for tests and benchmarks."""


class SessionNetwork:
    """One network of the cascade on ONNX Runtime.

    Call it with float32 pixels (N, 1, H, 3 W), rows of interleaved RGB 0..255. It returns float32
    output as the manifest describes it. It may be called from several threads.

    Args:
        sessions: equal sessions, one for each calling thread. With a session shared by two threads,
            its memory moves between the caches of two cores, which took half as long again.
    """

    def __init__(self, sessions: Sequence[Any]) -> None:
        self._input = sessions[0].get_inputs()[0].name
        self._outputs = [output.name for output in sessions[0].get_outputs()]
        self._dealt = itertools.cycle([session.run for session in sessions])
        self._mine = threading.local()
        self.providers: tuple[str, ...] = tuple(sessions[0].get_providers())

    def __call__(self, pixels: Float32Array) -> Float32Array:
        """Run the network, see the class."""
        output: Float32Array = self._run(self._outputs[:1], pixels)[0]
        return output

    def with_features(self, pixels: Float32Array) -> Float32Array:
        """The output and, to its right, the features, for networks that have them."""
        return np.concatenate(self._run(self._outputs, pixels), axis=1)

    @property
    def has_features(self) -> bool:
        """Whether the values of the hidden layer are a second output."""
        return len(self._outputs) > 1

    @property
    def runs_on(self) -> str:
        """The execution provider."""
        return self.providers[0]

    def _run(self, outputs: list[str], pixels: Float32Array) -> list[Float32Array]:
        try:
            run = self._mine.run
        except AttributeError:
            run = self._mine.run = next(self._dealt)
        results: list[Float32Array] = run(outputs, {self._input: pixels})
        return results


_LOADED = ("onet", "rnet", "pnet")
"""The largest comes first: the memory that its loading leaves behind serves the next."""


class SessionNetworks(NamedTuple):
    """The three networks of the cascade, and the form they are in."""

    pnet: SessionNetwork | FixedNetwork
    rnet: SessionNetwork | FixedNetwork
    onet: SessionNetwork | FixedNetwork
    form: str = ""
    engine_folder: EngineFolder | None = None

    @property
    def onet_features(self) -> Callable[[Float32Array], Float32Array]:
        """O-Net's output and its features."""
        return self.onet.with_features

    @property
    def canvas_sizes(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths of the canvases that P-Net should get; () where any will do."""
        return CANVAS_SIZES if isinstance(self.pnet, FixedNetwork) else ()

    @property
    def batches(self) -> dict[str, tuple[int, ...]]:
        """Sizes of the batches of R-Net and O-Net on a device, which a warm-up runs."""
        return {"rnet": BATCHES["rnet"], "onet": BATCHES["onet"]} if self.canvas_sizes else {}

    @property
    def runs_on(self) -> dict[str, str]:
        """The execution provider of each network; see ``FixedNetwork.runs_on``."""
        return {name: getattr(self, name).runs_on for name in NETWORKS}

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers, the first first."""
        return self.pnet.providers

    @property
    def engines(self) -> dict[str, Any] | None:
        """Folder, number and size of TensorRT's engines; ``None`` for other providers."""
        if self.engine_folder is None:
            return None
        sizes = [file.stat().st_size for file in self.engine_folder.files]
        folder = str(self.engine_folder.path)
        return {"folder": folder, "files": len(sizes), "megabytes": sum(sizes) / 1e6}

    @property
    def shapes(self) -> dict[str, list[tuple[int, ...]]]:
        """The shapes that each network on a device has seen."""
        return {name: getattr(getattr(self, name), "shapes", []) for name in NETWORKS}


def open_networks(
    models: Mapping[str, Model], device: str | tuple[str, ...], threads: int = 1
) -> SessionNetworks:
    """Load the networks on a device.

    Args:
        models: model by network name, see ``models.Manifest.models``.
        device: see ``RuntimeOptions.device``; not ``"auto"``, which is for ``devices``.
        threads: threads that will call them side by side, for processors.

    Raises:
        MissingRuntimeError: no ONNX Runtime is installed.
        ProviderError: a named device or provider is not available or did not start.
        ModelFileError: ONNX Runtime cannot read a model.
    """
    providers = chosen_providers(device)
    if providers[0].is_device or processor_as_device:
        return _on_device(models, providers)
    networks: dict[str, Any] = {
        name: SessionNetwork([_open(models[name], providers) for _ in range(threads)])
        for name in _LOADED
    }
    return SessionNetworks(**networks)


def _on_device(models: Mapping[str, Model], providers: list[Provider]) -> SessionNetworks:
    """The networks on a device."""
    engines: EngineFolder | None = None
    if providers[0].name == TENSORRT:
        from edge_mtcnn.runtime.engines import engine_folder  # few need it

        engines = engine_folder(models, providers[0])
        engines.prepare()
        providers = [engines.provider(providers[0]), *providers[1:]]

    def for_shape(model: Model, dimensions: Mapping[str, int]) -> Any:
        """An engine for one shape, which is faster than one for many and is never built again."""
        session = _open(model, providers, dimensions)
        if engines is not None:
            engines.complete()
        return session

    without_engine = [p for p in providers if p.name != TENSORRT] or [Provider(CPU)]
    cast = _session(CAST, without_engine)
    networks: dict[str, Any] = {
        name: FixedNetwork(
            *(_open(models[name], providers), cast, BATCHES[name]),
            for_shape=None if engines is None else partial(for_shape, models[name]),
        )
        for name in _LOADED
    }
    return SessionNetworks(**networks, engine_folder=engines)


def _open(
    model: Model,
    providers: Sequence[Provider],
    dimensions: Mapping[str, int] = MappingProxyType({}),
) -> Any:
    """An ONNX Runtime session of a network, for any shape or one in which dimensions are fixed."""
    options = _options()
    for name, size in dimensions.items():
        options.add_free_dimension_override_by_name(name, size)
    source = _source(model, options)
    try:
        return _session(source, providers, options)
    except ProviderError:
        raise
    except Exception as error:  # ONNX Runtime raises several types without a common base
        raise ModelFileError(f"ONNX Runtime cannot load {model.path}: {error}") from error


def _options() -> Any:
    options = onnx_runtime().SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A memory pattern is kept for every input shape ever seen, and levels bring ever new ones.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # a provider that fails is reported below, as an error
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    # Arm boards with SME leaked memory in every convolution before ONNX Runtime 1.27.
    options.add_session_config_entry("mlas.disable_kleidiai", "1")
    return options


def _session(source: bytes | str, providers: Sequence[Provider], options: Any = None) -> Any:
    """An ONNX Runtime session that runs on the first of some providers, or a ``ProviderError``."""
    configured = [(provider.name, dict(provider.options)) for provider in providers]
    first = providers[0]
    try:
        # Without its own fallback, which prints, and goes on with another provider.
        session = onnx_runtime().InferenceSession(
            source, options or _options(), providers=configured, enable_fallback=0
        )
    except Exception as error:
        if not first.is_device:
            raise
        given = ", ".join(f"{name}={value}" for name, value in first.options.items())
        raise ProviderError(
            f"{first.name} did not start: {reason_of(error)}. Its options were"
            f" {given or 'none'}; ONNX Runtime {runtime_version()} may not know all of them"
        ) from error
    started = session.get_providers()[0]
    if started != first.name:
        # ONNX Runtime only logs it when a provider cannot start, and runs on the CPU.
        raise ProviderError(
            f"{first.name} did not start, ONNX Runtime would run on {started};"
            f" available: {', '.join(available_providers())}. Check the driver and its libraries,"
            " or use device='auto'"
        )
    return session


def _source(model: Model, options: Any) -> bytes | str:
    """What a session is made from: the bytes that were checked, or their file.

    From memory, because ONNX Runtime opens files with weights through ``/proc`` since 1.31, which
    sandboxes lack. Before 1.24 it takes weights from files only.
    """
    if not hasattr(options, "add_external_initializers_from_files_in_memory"):
        if not model.path.is_file():
            raise ModelFileError(
                f"ONNX Runtime {runtime_version()} cannot load {model.path} from a zip file; unpack"
                " it, or install ONNX Runtime 1.24 or newer"
            )
        return str(model.path)
    options.add_external_initializers_from_files_in_memory(
        list(model.data), list(model.data.values()), list(map(len, model.data.values()))
    )
    return model.content
