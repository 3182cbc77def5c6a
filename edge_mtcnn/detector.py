"""``FaceDetector``: an image through the cascade, where options, sessions and stages meet."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from edge_mtcnn._version import __version__
from edge_mtcnn.calibration import load_calibration
from edge_mtcnn.cascade.scoring import load_score_model
from edge_mtcnn.cascade.search import Search
from edge_mtcnn.cascade.stages import ONET_CHUNKS, RNET_CHUNKS, Map
from edge_mtcnn.errors import DetectionTimeout, EdgeMTCNNError, ImageError, OptionsError
from edge_mtcnn.images.arrays import as_rgb, checked_array
from edge_mtcnn.options import (
    DetectorOptions,
    RuntimeOptions,
    check_choice,
    check_number,
    load_options,
)
from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.sessions import Networks, open_networks, preferred_form, runtime_version
from edge_mtcnn.runtime.workers import Workers, available_threads
from edge_mtcnn.types import Faces

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FaceDetector"]


class FaceDetector:
    """Finds faces with the MTCNN cascade. May be called from several threads at once.

    Args:
        options: what to look for; preset ``default`` when left out.
        runtime: how to run it.
        preset: name of a preset, instead of ``options``.
        config: JSON or TOML file of ``options.load_options``, for what is not given here.
        calibration: file of ``edge-mtcnn calibrate``, whose threshold becomes
            ``options.confidence``.

    Raises:
        OptionsError: ``options`` and ``preset`` are both given, or one of them is invalid.
        MissingRuntimeError: no ONNX Runtime is installed.
        ModelFileError: a model file is missing, truncated or altered.
        ProviderError: a named device did not start.
    """

    def __init__(
        self,
        options: DetectorOptions | None = None,
        runtime: RuntimeOptions | None = None,
        *,
        preset: str | None = None,
        config: str | os.PathLike[str] | None = None,
        calibration: str | os.PathLike[str] | None = None,
    ) -> None:
        if options is not None and preset is not None:
            raise OptionsError(
                "give options or preset, not both; to change a preset use"
                " dataclasses.replace(DetectorOptions.from_preset(...), ...)"
            )
        saved_options, saved_runtime = (
            load_options(config) if config is not None else (DetectorOptions(), RuntimeOptions())
        )
        if preset is not None:
            options = DetectorOptions.from_preset(preset)
        options = _of_type(
            DetectorOptions, "options", saved_options if options is None else options
        )
        self._runtime = _of_type(
            RuntimeOptions, "runtime", saved_runtime if runtime is None else runtime
        )

        manifest = load_manifest(self._runtime.models)
        if calibration is not None:
            options = _calibrated(options, calibration, manifest.version)
        self._options = options
        self._form = (
            preferred_form(manifest.forms, self._runtime.device)
            if self._runtime.form == "auto"
            else self._runtime.form
        )
        self._model_version = manifest.version
        self._score = load_score_model(manifest.score_model()) if options.mirror else None
        threads = self._runtime.threads or available_threads()
        self._networks: Networks | None = open_networks(
            manifest.models(self._form), self._runtime.device, threads
        )
        self._workers = Workers(threads)

    @property
    def options(self) -> DetectorOptions:
        """What is looked for; with the threshold of the calibration, where one was given."""
        return self._options

    @property
    def runtime(self) -> RuntimeOptions:
        """How the networks are run."""
        return self._runtime

    def detect(
        self,
        image: Any,
        *,
        color: Literal["rgb", "bgr"] = "rgb",
        timings: bool = False,
        timeout: float | None = None,
    ) -> Faces:
        """Find the faces of one image.

        Args:
            image: (H, W, 3), (H, W) gray or (H, W, 4) with alpha, uint8, of any size from 1x1.
            color: order of the channels; ``"bgr"`` for OpenCV's frames.
            timings: attach ``Timings`` to the result.
            timeout: longest time that the detection may take, seconds above 0; ``None`` for no
                limit. The time is checked before each stage and each batch of a network, so a
                detection stops some milliseconds after it.

        Returns:
            The faces, best first, in source pixels; none is an empty ``Faces``.

        Raises:
            ImageError: the array is no such image; the message says what to do.
            DetectionTimeout: the time was over before the faces were found.
            OptionsError: ``timeout`` is not a positive number.
            EdgeMTCNNError: the detector was closed.
        """
        return self.search(image, color=color, timings=timings, timeout=timeout).everywhere()

    def search(
        self,
        image: Any,
        *,
        color: Literal["rgb", "bgr"] = "rgb",
        timings: bool = False,
        timeout: float | None = None,
    ) -> Search:
        """Prepare the search in one image, to look at expected places before everywhere.

        Following faces through a video needs this; ``detect`` is ``search(image).everywhere()``.

        Args and errors: as for ``detect``. The time of ``timeout`` runs from this call on.

            search = detector.search(frame, color="bgr")
            faces = search.near([face.box for face in known])
            if len(faces) < len(known):
                faces = search.everywhere()
        """
        check_choice("color", color, ("rgb", "bgr"))
        pixels = checked_array(image)
        networks, run = self._open(), self._workers.map
        return Search(
            lambda: as_rgb(pixels, color),
            (pixels.shape[0], pixels.shape[1]),
            self._options,
            networks,
            run if timeout is None else _Deadline(timeout).kept_by(run),
            score=self._score,
            timings=timings,
        )

    def detect_batch(
        self, images: Iterable[Any], *, color: Literal["rgb", "bgr"] = "rgb", timings: bool = False
    ) -> list[Faces]:
        """Find the faces of several images of any sizes, one image per thread.

        Args and errors: as for ``detect``.

        Returns:
            One ``Faces`` per image, in order, the same as ``detect`` gives.
        """
        if isinstance(images, np.ndarray) and images.ndim < 4:
            # Its rows would pass for gray images.
            raise ImageError(
                "detect_batch takes a sequence of images; got one array of the shape"
                f" {images.shape}: use detect for one image, list(images) for gray ones"
            )
        return self._workers.map(
            lambda image: self.detect(image, color=color, timings=timings), images
        )

    def warm_up(self, height: int = 480, width: int = 640) -> None:
        """Pay every first-call cost: threads, ONNX Runtime's memory, OpenCV's code.

        Args:
            height: of the images to come, pixels.
            width: of the images to come, pixels.
        """
        self.detect(np.zeros((height, width, 3), dtype=np.uint8))
        networks = self._open()
        networks.rnet(np.zeros((max(RNET_CHUNKS), 1, 24, 3 * 24), dtype=np.float32))
        networks.onet(np.zeros((max(ONET_CHUNKS), 1, 48, 3 * 48), dtype=np.float32))

    def info(self) -> dict[str, Any]:
        """What really runs: versions, execution providers, form of the networks, threads."""
        return {
            "version": __version__,
            "model_version": self._model_version,
            "onnxruntime": runtime_version(),
            "providers": list(self._open().pnet.providers),
            "form": self._form,
            "threads": self._workers.threads,
            "options": self._options.to_dict(),
        }

    def close(self) -> None:
        """End the threads and free the sessions; a later call raises.

        A detection under way in another thread ends well, in that thread alone.
        """
        self._workers.close()
        self._networks = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> Networks:
        if self._networks is None:
            raise EdgeMTCNNError("this FaceDetector is closed; make a new one")
        return self._networks


def _calibrated(
    options: DetectorOptions, file: str | os.PathLike[str], model_version: str
) -> DetectorOptions:
    """The options with the threshold of a calibration, and a warning where it may not hold."""
    calibration = load_calibration(file)
    calibrated = calibration.applied_to(options)
    mismatch = calibration.mismatch(options.to_dict(), model_version)
    if mismatch is not None:
        warnings.warn(mismatch, stacklevel=3)
    return calibrated


class _Deadline:
    """The time at which a detection must end."""

    def __init__(self, seconds: float) -> None:
        check_number("timeout", seconds, 0.001, 86_400)
        self._seconds = seconds
        self._end = time.perf_counter() + seconds

    def check(self) -> None:
        """Raise ``DetectionTimeout`` when the time is over."""
        if time.perf_counter() > self._end:
            raise DetectionTimeout(
                f"the detection was stopped after {self._seconds:g} s, its timeout. A smaller"
                " image, a larger min_face_size or lower caps (max_candidates) take less time"
            )

    def kept_by(self, run: Map) -> Map:
        """The same map, which checks the time before each job."""

        def checked_run(function: Callable[[Any], Any], items: Iterable[Any], /) -> list[Any]:
            def checked(item: Any) -> Any:
                self.check()
                return function(item)

            self.check()
            return run(checked, items)

        return checked_run


_Options = TypeVar("_Options")


def _of_type(kind: type[_Options], name: str, value: object) -> _Options:
    if not isinstance(value, kind):
        raise OptionsError(f"{name} must be {kind.__name__}; got {value!r}")
    return value
