"""ONNX Runtime sessions of the networks. No other module imports ``onnxruntime``.

A network is a callable from pixels to its output. Sessions run on the calling thread and keep no
memory pattern per input shape: the jobs of the cascade bring parallelism and bounded memory, and
each thread has sessions of its own.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import io
import itertools
import os
import platform
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from edge_mtcnn.errors import MissingRuntimeError, ModelFileError, ProviderError
from edge_mtcnn.runtime.models import Model
from edge_mtcnn.types import Float32Array

__all__ = [
    "SessionNetwork",
    "SessionNetworks",
    "available_providers",
    "open_networks",
    "preferred_form",
    "runtime_version",
    "unused_device",
    "why_not",
]

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_LIBRARIES = {
    _CUDA: "libonnxruntime_providers_cuda.so",
    "TensorrtExecutionProvider": "libonnxruntime_providers_tensorrt.so",
}
"""Library of each provider that ONNX Runtime loads when it is first asked for."""
_PROBE = base64.b64decode(
    "CAc6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0="
)
"""A model of one Identity operator."""
_CUDA_LIBRARIES = (
    "pip install 'onnxruntime-gpu[cuda,cudnn]' brings the libraries of CUDA and cuDNN; the driver"
    " comes from NVIDIA"
)

_PROVIDER_OPTIONS: Mapping[str, Mapping[str, str]] = {
    # Levels differ in shape from image to image, and an exhaustive search per shape takes seconds.
    _CUDA: {
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    },
}


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

    def _run(self, outputs: list[str], pixels: Float32Array) -> list[Float32Array]:
        try:
            run = self._mine.run
        except AttributeError:
            run = self._mine.run = next(self._dealt)
        results: list[Float32Array] = run(outputs, {self._input: pixels})
        return results


class SessionNetworks(NamedTuple):
    """The three networks of the cascade."""

    pnet: SessionNetwork
    rnet: SessionNetwork
    onet: SessionNetwork

    @property
    def onet_features(self) -> Callable[[Float32Array], Float32Array]:
        """O-Net's output and its features."""
        return self.onet.with_features


def runtime_version() -> str:
    """Version of the installed ONNX Runtime.

    Raises:
        MissingRuntimeError: none is installed.
    """
    return str(_onnxruntime().__version__)


def available_providers() -> tuple[str, ...]:
    """Execution providers compiled into the installed ONNX Runtime, best first.

    Raises:
        MissingRuntimeError: none is installed.
    """
    return tuple(_onnxruntime().get_available_providers())


@lru_cache(maxsize=8)
def why_not(provider: str) -> str | None:
    """Why an execution provider does not start on this machine; ``None`` if it starts.

    Args:
        provider: one of ``available_providers``.
    """
    onnxruntime = _onnxruntime()
    if provider == _CPU:
        return None
    if provider == _CUDA and hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    # The reason is logged, not raised; it is found out below.
    options.log_severity_level = 4
    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(_PROBE, options, providers=[provider])
    except Exception as error:  # noqa: BLE001 -- ONNX Runtime has no common base
        return str(error).strip().splitlines()[-1]
    finally:
        onnxruntime.set_default_logger_severity(2)
    if session.get_providers()[0] == provider:
        return None
    library = Path(str(onnxruntime.__file__)).parent / "capi" / _LIBRARIES.get(provider, "")
    if library.is_file():
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            return str(error)
    return "there is no such device, or no driver for it"


def unused_device() -> tuple[str, str] | None:
    """What keeps ``device="auto"`` on the processor though this ONNX Runtime was made for CUDA.

    Returns:
        The provider and why it does not start, and what to do; ``None`` if there is nothing to do.
    """
    if _CUDA not in available_providers() or (reason := why_not(_CUDA)) is None:
        return None
    return f"{_CUDA}: {reason}", _CUDA_LIBRARIES


def preferred_form(forms: tuple[str, ...], device: str | tuple[str, ...]) -> str:
    """The form of the networks that suits the processor or device.

    ONNX Runtime keeps convolutions in a channel-blocked layout on x86-64 only, for which the form
    ``blocked`` is made; everywhere else ``plain`` is faster.
    """
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if device == "auto":
        device = tuple(_providers(device))
    wanted = "blocked" if x86 and device in ("cpu", (_CPU,)) else "plain"
    return wanted if wanted in forms else forms[0]


def open_networks(
    models: Mapping[str, Model], device: str | tuple[str, ...], threads: int = 1
) -> SessionNetworks:
    """Load the networks on a device.

    Args:
        models: model by network name, see ``models.Manifest.models``.
        device: see ``RuntimeOptions.device``.
        threads: threads that will call them side by side, for processors.

    Raises:
        MissingRuntimeError: no ONNX Runtime is installed.
        ProviderError: a named device or provider is not available or did not start.
        ModelFileError: ONNX Runtime cannot read a model.
    """
    providers = _providers(device)
    if device == "auto" and (unused := unused_device()) is not None:
        what, advice = unused
        warnings.warn(
            f"a provider did not start, so the networks run on the processor: {what}. {advice};"
            " device='cpu' ends this warning",
            stacklevel=4,
        )
    count = threads if providers == [_CPU] else 1
    # The largest comes first: the memory that its loading leaves behind serves the next.
    onet, rnet, pnet = (
        SessionNetwork(
            [_open(models[name], providers, fallback=device == "auto") for _ in range(count)]
        )
        for name in ("onet", "rnet", "pnet")
    )
    return SessionNetworks(pnet, rnet, onet)


def _providers(device: str | tuple[str, ...]) -> list[str]:
    available = available_providers()
    if device == "auto":
        return [name for name in (_CUDA, _CPU) if name in available and why_not(name) is None]
    wanted = {"cpu": (_CPU,), "cuda": (_CUDA, _CPU)}[device] if isinstance(device, str) else device
    if wanted[0] not in available:
        raise ProviderError(
            f"{wanted[0]} is not in the installed ONNX Runtime {runtime_version()}; available:"
            f" {', '.join(available)}. Install the extra that brings it (edge-mtcnn[gpu] for CUDA)"
            " or use device='auto'"
        )
    reason = why_not(wanted[0])
    if reason is not None:
        advice = _CUDA_LIBRARIES if wanted[0] in _LIBRARIES else "Check its driver and libraries"
        raise ProviderError(
            f"{wanted[0]} did not start: {reason}. Available: {', '.join(available)}."
            f" {advice}; or use device='auto'"
        )
    return [name for name in wanted if name in available]


def _open(model: Model, providers: list[str], *, fallback: bool) -> Any:
    """An ONNX Runtime session."""
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A memory pattern is kept for every input shape ever seen, and levels bring ever new ones.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # a provider that fails is reported below, as an error
    # Arm boards with SME leaked memory in every convolution before ONNX Runtime 1.27.
    options.add_session_config_entry("mlas.disable_kleidiai", "1")
    source = _source(model, options)
    configured = [(name, dict(_PROVIDER_OPTIONS.get(name, {}))) for name in providers]
    try:
        session = onnxruntime.InferenceSession(source, options, providers=configured)
    except Exception as error:  # ONNX Runtime raises several types without a common base
        if providers[0] == _CPU:
            raise ModelFileError(f"ONNX Runtime cannot load {model.path}: {error}") from error
        raise ProviderError(f"{providers[0]} did not start: {error}") from error
    started = session.get_providers()[0]
    if started != providers[0] and not fallback:
        # ONNX Runtime only logs it when a provider cannot start, and runs on the CPU.
        raise ProviderError(
            f"{providers[0]} did not start, ONNX Runtime would run on {started};"
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


def _onnxruntime() -> ModuleType:
    # From 1.32 on, Linux builds report their use and leave a device id in the home folder.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime  # a plain import, which programs that freeze applications see
    except ImportError as error:
        raise MissingRuntimeError(
            "no ONNX Runtime is installed. Install exactly one: pip install 'edge-mtcnn[cpu]'"
            " (processors), pip install 'edge-mtcnn[gpu]' (NVIDIA cards), or on a Jetson the"
            f" onnxruntime-gpu wheel for its JetPack ({error})"
        ) from error
    module: ModuleType = onnxruntime
    return module
