"""The networks on the device that the options name, or on the best one.

``device="auto"`` is a wish: a device has to start, to compute what the processor computes, and to
be faster than one thread of it. If it fails later, the processor goes on. A named device is an
order: it runs there, or there is an error.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_mtcnn.errors import ProviderError
from edge_mtcnn.runtime.fixed import BATCHES, CANVAS_SIZES
from edge_mtcnn.runtime.models import Manifest
from edge_mtcnn.runtime.providers import (
    CPU,
    CUDA,
    available_providers,
    preferred_form,
    unused_device,
    why_not,
)
from edge_mtcnn.runtime.sessions import SessionNetworks, open_networks
from edge_mtcnn.types import NETWORKS, Float32Array

__all__ = ["RunningNetworks", "start_networks"]

AUTOMATIC = (CUDA, "MIGraphXExecutionProvider", "DmlExecutionProvider", "OpenVINOExecutionProvider")
"""What ``auto`` tries. TensorRT, which builds engines for minutes, has to be named; so have
providers that are known to compute in half precision."""
SAME = 2e-3
"""Largest difference of an output from the processor's: float32 on an H100 differs by 1.5e-5, TF32,
which moves one face in ten, by 8e-3."""
_WINDOWS = {"rnet": 24, "onet": 48}
_RUNS = 3


class RunningNetworks(Protocol):
    """The networks, and what they run on."""

    @property
    def pnet(self) -> Callable[[Any], Float32Array]:
        """See ``cascade.networks``."""

    @property
    def rnet(self) -> Callable[[Any], Float32Array]:
        """See ``cascade.networks``."""

    @property
    def onet(self) -> Callable[[Any], Float32Array]:
        """See ``cascade.networks``."""

    @property
    def onet_features(self) -> Callable[[Any], Float32Array]:
        """See ``cascade.networks``."""

    @property
    def canvas_sizes(self) -> tuple[tuple[int, int], ...]:
        """See ``cascade.networks``."""

    @property
    def form(self) -> str:
        """Form of the networks."""

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers, the first first."""

    @property
    def batches(self) -> dict[str, tuple[int, ...]]:
        """Sizes of the batches of R-Net and O-Net on a device; {} on the processor."""

    @property
    def runs_on(self) -> dict[str, str]:
        """The execution provider of each network."""

    @property
    def engines(self) -> dict[str, Any] | None:
        """Folder, number and size of TensorRT's engines; ``None`` for other providers."""

    @property
    def shapes(self) -> dict[str, list[tuple[int, ...]]]:
        """The shapes that each network on a device has seen."""


def start_networks(
    manifest: Manifest, form: str, device: str | tuple[str, ...], threads: int
) -> RunningNetworks:
    """Load the networks on a device.

    Args:
        manifest: of the models.
        form: see ``RuntimeOptions.form``.
        device: see ``RuntimeOptions.device``.
        threads: threads that will call them side by side.

    Raises:
        MissingRuntimeError: no ONNX Runtime is installed.
        ProviderError: a named device or provider is not available or did not start.
        ModelFileError: a model file is missing or altered, or ONNX Runtime cannot read it.
        OptionsError: there is no such form.
    """

    def on(device: str | tuple[str, ...], threads: int = threads) -> SessionNetworks:
        chosen = preferred_form(manifest.forms, device) if form == "auto" else form
        return open_networks(manifest.models(chosen), device, threads)._replace(form=chosen)

    if device != "auto":
        return on(device)
    for name in AUTOMATIC:
        if name in available_providers() and why_not(name) is None:
            try:
                networks = on((name, CPU))
                if _is_faster(networks, on("cpu", 1)):
                    return Replaceable(networks, lambda: on("cpu"))
            except ProviderError as error:
                warnings.warn(f"the networks run on the processor: {error}", stacklevel=4)
    if (unused := unused_device()) is not None:
        what, advice = unused
        warnings.warn(
            f"a provider did not start, so the networks run on the processor: {what}. {advice};"
            " device='cpu' ends this warning",
            stacklevel=4,
        )
    return on("cpu")


class Replaceable:
    """Networks on a device, until it fails; then those of the processor take their place.

    Args:
        networks: on the device.
        on_processor: opens the others.
    """

    def __init__(
        self, networks: SessionNetworks, on_processor: Callable[[], SessionNetworks]
    ) -> None:
        self._networks = networks
        self._on_processor = on_processor
        self._lock = threading.Lock()

    def pnet(self, pixels: npt.NDArray[Any]) -> Float32Array:
        """See ``RunningNetworks``."""
        return self._call("pnet", pixels)

    def rnet(self, pixels: npt.NDArray[Any]) -> Float32Array:
        """See ``RunningNetworks``."""
        return self._call("rnet", pixels)

    def onet(self, pixels: npt.NDArray[Any]) -> Float32Array:
        """See ``RunningNetworks``."""
        return self._call("onet", pixels)

    def onet_features(self, pixels: npt.NDArray[Any]) -> Float32Array:
        """See ``RunningNetworks``."""
        return self._call("onet_features", pixels)

    def __getattr__(self, name: str) -> Any:
        """What the networks of the moment say of themselves."""
        return getattr(self._networks, name)

    def _call(self, name: str, pixels: npt.NDArray[Any]) -> Float32Array:
        networks = self._networks
        if networks.canvas_sizes:
            try:
                output: Float32Array = getattr(networks, name)(pixels)
                return output
            except ProviderError as error:
                networks = self._replaced(networks, error)
        # A search that began with the device still brings uint8.
        return getattr(networks, name)(pixels.astype(np.float32, copy=False))  # type: ignore[no-any-return]

    def _replaced(self, failed: SessionNetworks, error: ProviderError) -> SessionNetworks:
        with self._lock:
            if self._networks is failed:  # the first of the threads that saw it fail
                self._networks = self._on_processor()
                warnings.warn(f"the processor goes on: {error}", stacklevel=2)
            return self._networks


def _is_faster(networks: SessionNetworks, theirs: SessionNetworks) -> bool:
    """Whether a device is faster than the processor on one made-up image.

    Raises:
        ProviderError: it computes something else.
    """
    name = networks.pnet.providers[0]
    ours_s = theirs_s = 0.0
    for network, pixels in _samples():
        seconds, output = _timed(getattr(networks, network), pixels)
        their_seconds, expected = _timed(getattr(theirs, network), pixels.astype(np.float32))
        ours_s, theirs_s = ours_s + seconds, theirs_s + their_seconds
        difference = float(np.abs(output - expected).max())
        if not difference <= SAME:  # NaN is no equality either
            raise ProviderError(
                f"{name} starts, but {network} differs there by {difference:.2g}, and {SAME:g} is"
                " the most that may be"
            )
    return ours_s < theirs_s


def _timed(network: Any, pixels: npt.NDArray[Any]) -> tuple[float, Float32Array]:
    """Least time of some runs after the first, seconds, and the output."""
    output: Float32Array = network(pixels)
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        network(pixels)
        times.append(time.perf_counter() - start)
    return min(times), output


def _samples() -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """What each network sees of an image of coarse and fine structure, in shapes of a search."""
    rng = np.random.default_rng(1)
    height, width = CANVAS_SIZES[1]
    coarse = np.kron(rng.integers(0, 200, (height // 16, width // 16, 3)), np.ones((16, 16, 1)))
    image = (coarse + rng.integers(0, 56, coarse.shape)).astype(np.uint8)
    yield NETWORKS[0], image.reshape(1, 1, height, 3 * width)
    for network, side in _WINDOWS.items():
        corners = rng.integers(0, min(height, width) - side, (BATCHES[network][0], 2))
        windows = [image[y : y + side, x : x + side] for y, x in corners.tolist()]
        yield network, np.stack(windows).astype(np.float32).reshape(-1, 1, side, 3 * side)
