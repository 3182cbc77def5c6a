"""Where TensorRT keeps the engines that it builds, which takes minutes.

An engine belongs to one GPU, one TensorRT, one ONNX Runtime and one set of models: the folder is
named after all of them, so that what another one built is never used. ONNX Runtime fails on an
engine that was cut short, so the folder has a list of what was complete, and anything else in it is
removed and built again.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_mtcnn.errors import ProviderError
from edge_mtcnn.files import write_whole
from edge_mtcnn.runtime.models import Model
from edge_mtcnn.runtime.providers import Provider, runtime_version

__all__ = ["EngineFolder", "cache_folder", "engine_folder"]

_LIST = "complete.json"
_TENSORRT_MAJORS = range(12, 7, -1)
_SEPARATORS = re.compile(r"[^A-Za-z0-9.]+")


@dataclass(frozen=True, slots=True)
class EngineFolder:
    """The folder for one combination of GPU, TensorRT, ONNX Runtime and models."""

    path: Path

    def provider(self, provider: Provider) -> Provider:
        """The provider with options that make it keep engines here, unless the caller says else."""
        kept = {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(self.path),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(self.path),
        }
        return Provider(provider.name, {**kept, **provider.options})

    @property
    def files(self) -> list[Path]:
        """The engines and the timing cache."""
        if not self.path.is_dir():
            return []
        return [f for f in sorted(self.path.iterdir()) if f.is_file() and f.name != _LIST]

    def prepare(self) -> None:
        """Make the folder, and remove what is not complete in it.

        Raises:
            ProviderError: the folder cannot be made or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            listed = self._listed()
            for file in self.files:
                if listed.get(file.name) != _digest(file):
                    file.unlink(missing_ok=True)
        except OSError as error:
            raise ProviderError(
                f"the engines of TensorRT cannot be kept in {self.path}: {error}; set"
                " EDGE_MTCNN_CACHE to a folder that can be written to"
            ) from error

    def complete(self) -> None:
        """Note down that what is in the folder now is complete."""
        listed = {file.name: _digest(file) for file in self.files}
        if listed != self._listed():
            with contextlib.suppress(OSError):  # without the list they are built again
                write_whole(self.path / _LIST, json.dumps(listed, indent=1).encode())

    def _listed(self) -> dict[str, str]:
        try:
            listed = json.loads((self.path / _LIST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return listed if isinstance(listed, dict) else {}


def cache_folder() -> Path:
    """The folder for what can be made again: ``EDGE_MTCNN_CACHE``, or the user's cache folder."""
    if own := os.environ.get("EDGE_MTCNN_CACHE"):
        return Path(own)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "edge-mtcnn"


def engine_folder(models: Mapping[str, Model], provider: Provider) -> EngineFolder:
    """The folder for these models on this machine.

    Args:
        models: model by network name.
        provider: TensorRT with its options, such as float16, which engines depend on.
    """
    gpu = _gpu(provider.options.get("device_id", "0"))
    tensorrt = _tensorrt_version()
    digest = hashlib.sha256()
    for part in (
        gpu,
        tensorrt,
        runtime_version(),
        *map("=".join, sorted(provider.options.items())),
    ):
        digest.update(part.encode() + b"\0")
    for _, model in sorted(models.items()):
        digest.update(model.content)
        for _, weights in sorted(model.data.items()):
            digest.update(weights)
    name = _SEPARATORS.sub("-", f"{gpu.split(',')[0]}-tensorrt-{tensorrt}").strip("-")
    return EngineFolder(cache_folder() / "engines" / f"{name}-{digest.hexdigest()[:16]}")


def _gpu(device_id: str) -> str:
    """Name, compute capability and driver of a GPU, or the model of a Jetson."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout.splitlines()
        if int(device_id) < len(told):
            return told[int(device_id)].strip()
    with contextlib.suppress(OSError):
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")
    return "unknown GPU"


def _tensorrt_version() -> str:
    """Version of TensorRT's library, such as 101300; ``unknown`` where it cannot be loaded."""
    for major in _TENSORRT_MAJORS:
        name = f"nvinfer_{major}.dll" if sys.platform == "win32" else f"libnvinfer.so.{major}"
        with contextlib.suppress(OSError, AttributeError):
            return str(int(ctypes.CDLL(name).getInferLibVersion()))
    return "unknown"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
