"""Execution providers of ONNX Runtime: which there are, which start here, and with what options.

Imports ``onnxruntime`` for the whole package, at first use. ``onnx_runtime`` is the module for the
other modules of this folder.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import io
import os
import platform
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import NamedTuple

from edge_mtcnn.errors import MissingRuntimeError, ProviderError
from edge_mtcnn.options.runtime import provider_options

__all__ = [
    "CPU",
    "CUDA",
    "TENSORRT",
    "Provider",
    "available_providers",
    "chosen_providers",
    "keeps_channels_in_blocks",
    "onnx_runtime",
    "preferred_form",
    "reason_of",
    "runtime_version",
    "unused_device",
    "why_not",
]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
_DEVICES = {"cpu": (CPU,), "cuda": (CUDA, CPU), "tensorrt": (TENSORRT, CUDA, CPU)}
_LIBRARIES = {
    CUDA: "libonnxruntime_providers_cuda.so",
    TENSORRT: "libonnxruntime_providers_tensorrt.so",
}
"""Library of each provider that ONNX Runtime loads when it is first asked for."""
_IDENTITY = base64.b64decode(
    "CAc6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0="
)
"""A model of one Identity operator."""
_CONVOLUTION = base64.b64decode(
    "CAcSADqRAQoyCgFzEgF3Ig9Db25zdGFudE9mU2hhcGUqGQoFdmFsdWUqDQgBEAEiBAAAgD9CAXagAQQKDwoBeAoBdxIB"
    "eSIEQ29udhIBZyoNCAQQBzoEICABAUIBc1obCgF4EhYKFAgBEhAKAggBCgIIIAoCCAQKAggEYhsKAXkSFgoUCAESEAoC"
    "CAEKAgggCgIIBAoCCARCBAoAEA0="
)
"""A model of one convolution of 32 channels."""
_ENTERS_BLOCKS = b"ReorderInput"
"""The operator with which ONNX Runtime enters its channel-blocked layout."""
_CUDA_LIBRARIES = (
    "pip install 'onnxruntime-gpu[cuda,cudnn]' brings the libraries of CUDA and cuDNN (1.3 GB), and"
    " so does the extra edge-mtcnn[gpu]; the driver comes from NVIDIA"
)
_TENSORRT_LIBRARIES = (
    "TensorRT's libraries come from NVIDIA or as the package tensorrt, in the version that this"
    " ONNX Runtime was built for"
)
_DRIVER = (
    "NVIDIA's driver is missing, or a container does not see it (docker run --gpus all); the"
    " libraries of CUDA are there"
)
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    # An exhaustive search of cuDNN takes seconds per shape. TF32 moves one face in ten.
    CUDA: {
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    },
}
"""Options of providers that hold unless the caller sets them."""


class Provider(NamedTuple):
    """An execution provider with its options, as ONNX Runtime takes both."""

    name: str
    options: Mapping[str, str] = MappingProxyType({})

    @property
    def is_device(self) -> bool:
        """Whether new shapes cost it much, so that it gets few of them."""
        return self.name != CPU


def runtime_version() -> str:
    """Version of the installed ONNX Runtime.

    Raises:
        MissingRuntimeError: none is installed.
    """
    return str(onnx_runtime().__version__)


def available_providers() -> tuple[str, ...]:
    """Execution providers compiled into the installed ONNX Runtime, best first.

    Raises:
        MissingRuntimeError: none is installed.
    """
    return tuple(onnx_runtime().get_available_providers())


@lru_cache(maxsize=8)
def why_not(provider: str) -> str | None:
    """Why an execution provider does not start on this machine; ``None`` if it starts.

    Args:
        provider: one of ``available_providers``.
    """
    onnxruntime = onnx_runtime()
    if provider == CPU:
        return None
    if provider in _LIBRARIES and hasattr(onnxruntime, "preload_dlls"):
        # The libraries of the wheels that the extra ``gpu`` brings; a system's CUDA needs no help.
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    # The reason is logged, not raised; it is found out below.
    options.log_severity_level = 4
    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(
            _IDENTITY, options, providers=[provider], enable_fallback=0
        )
        if session.get_providers()[0] == provider:
            return None
        reason = "there is no such device, or no driver for it"
    except Exception as error:  # noqa: BLE001 -- ONNX Runtime has no common base
        reason = reason_of(error)
    finally:
        onnxruntime.set_default_logger_severity(2)
    library = Path(str(onnxruntime.__file__)).parent / "capi" / _LIBRARIES.get(provider, "")
    if library.is_file():
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            return str(error)
    return reason


def unused_device() -> tuple[str, str] | None:
    """What keeps ``device="auto"`` on the processor though this ONNX Runtime was made for CUDA.

    Returns:
        The provider and why it does not start, and what to do; ``None`` if there is nothing to do.
    """
    if CUDA not in available_providers() or (reason := why_not(CUDA)) is None:
        return None
    return f"{CUDA}: {reason}", _advice(CUDA, reason)


def _advice(provider: str, reason: str) -> str:
    """What to do about a provider that does not start."""
    if provider in _LIBRARIES and "libcuda.so" in reason:
        return _DRIVER
    if provider == TENSORRT and "nvinfer" in reason:
        return _TENSORRT_LIBRARIES
    return _CUDA_LIBRARIES if provider in _LIBRARIES else "Check its driver and libraries"


def chosen_providers(device: str | tuple[str, ...]) -> list[Provider]:
    """The providers that a device other than ``"auto"`` stands for, with all their options.

    Args:
        device: see ``RuntimeOptions.device``.

    Raises:
        ProviderError: the first of them is not available or does not start.
    """
    wanted = [
        provider_options(text) for text in (_DEVICES[device] if isinstance(device, str) else device)
    ]
    available = available_providers()
    first = wanted[0][0]
    if first not in available:
        raise ProviderError(
            f"{first} is not in the installed ONNX Runtime {runtime_version()}; available:"
            f" {', '.join(available)}. Install the extra that brings it (edge-mtcnn[gpu] for CUDA)"
            " or use device='auto'"
        )
    reason = why_not(first)
    if reason is not None:
        raise ProviderError(
            f"{first} did not start: {reason}. Available: {', '.join(available)}."
            f" {_advice(first, reason)}; or use device='auto'"
        )
    return [
        Provider(name, {**_OPTIONS.get(name, {}), **options})
        for name, options in wanted
        if name in available and (name == first or why_not(name) is None)
    ]


def preferred_form(forms: tuple[str, ...], device: str | tuple[str, ...]) -> str:
    """The form of the networks that suits the processor or device.

    The form ``blocked`` is made for an ONNX Runtime that keeps channels in blocks; for all others
    ``plain`` is faster.
    """
    on_processor = device == "cpu" or provider_options(device[0])[0] == CPU
    wanted = "blocked" if on_processor and keeps_channels_in_blocks() else "plain"
    return wanted if wanted in forms else forms[0]


def reason_of(error: Exception) -> str:
    """What ONNX Runtime says went wrong, without the place in its source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^\S+\.(?:cc|h):\d+ .*?\) (?:const )?", "", lines[-1])


@lru_cache(maxsize=1)
def keeps_channels_in_blocks() -> bool:
    """Whether this ONNX Runtime keeps convolutions in a channel-blocked layout on this processor.

    It is asked, with a small model that it optimises in about 3 ms: that depends on the build and
    on the processor. Where no temporary file can be written, x86-64 is taken to do it.
    """
    import tempfile  # not at import: it loads much

    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # it would warn that the file suits this processor only
    try:
        with tempfile.TemporaryDirectory(prefix="edge-mtcnn-") as folder:
            file = Path(folder) / "optimised.onnx"
            options.optimized_model_filepath = str(file)
            onnxruntime.InferenceSession(_CONVOLUTION, options, providers=[CPU])
            return _ENTERS_BLOCKS in file.read_bytes()
    except Exception:  # noqa: BLE001 -- no place for the file; ONNX Runtime has no common base
        return platform.machine().lower() in ("x86_64", "amd64")


def onnx_runtime() -> ModuleType:
    """The module ``onnxruntime``.

    Raises:
        MissingRuntimeError: it is not installed.
    """
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
