"""``FaceDetector``: an image through the cascade, where options, sessions and stages meet."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from edge_mtcnn._version import __version__
from edge_mtcnn.boxes import square
from edge_mtcnn.calibration import load_calibration
from edge_mtcnn.checks import check_number
from edge_mtcnn.errors import DetectionTimeout, EdgeMTCNNError, ImageError, OptionsError
from edge_mtcnn.image import as_rgb
from edge_mtcnn.options import DetectorOptions, RuntimeOptions, load_options
from edge_mtcnn.pyramid import AreaSampler, OctaveSampler, Sampler, pyramid_scales
from edge_mtcnn.scoring import ScoreModel, load_score_model
from edge_mtcnn.sessions import Networks, open_networks, preferred_form, runtime_version
from edge_mtcnn.stages import (
    ONET_CHUNKS,
    RNET_CHUNKS,
    Candidates,
    Cells,
    Found,
    Map,
    best_cells,
    finish,
    look_again,
    propose,
    refine,
)
from edge_mtcnn.types import Faces, FloatArray, ImageArray, Timings
from edge_mtcnn.weights import NETWORKS, load_manifest
from edge_mtcnn.workers import Workers, available_threads

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
        self.options = _of_type(
            DetectorOptions, "options", saved_options if options is None else options
        )
        self.runtime = _of_type(
            RuntimeOptions, "runtime", saved_runtime if runtime is None else runtime
        )

        manifest = load_manifest(self.runtime.models)
        if calibration is not None:
            self.options = _calibrated(self.options, calibration, manifest.version)
        self._form = (
            preferred_form(manifest.forms, self.runtime.device)
            if self.runtime.form == "auto"
            else self.runtime.form
        )
        self._manifest = manifest
        self._loaded_score: ScoreModel | None = None
        if self.options.mirror:
            self._score_model()
        threads = self.runtime.threads or available_threads()
        self._networks: Networks | None = open_networks(
            manifest.models(self._form), self.runtime.device, threads
        )
        self._workers = Workers(threads)

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
        deadline = None if timeout is None else _Deadline(timeout)
        return self._cascade(as_rgb(image, color), timings, deadline=deadline)

    def detect_near(
        self,
        image: Any,
        boxes: npt.ArrayLike,
        *,
        levels: Iterable[int] = (),
        quick: bool = False,
        color: Literal["rgb", "bgr"] = "rgb",
        timings: bool = False,
    ) -> Faces:
        """Find the faces at expected places, without or with a part of the image pyramid.

        R-Net and O-Net look at the boxes and at what P-Net proposes on the levels named: following
        known faces through a video costs a fraction of a full detection.

        Args:
            image: as for ``detect``.
            boxes: (M, 4) ``x1, y1, x2, y2``, source pixels, where faces are expected; M may be 0.
                A box beside the image, or more than twice as large, is left out.
            levels: indices of the pyramid's levels to search, 0 the largest; see ``level_count``.
            quick: only O-Net looks at the boxes, of faces known from the frame before, and
                ``Face.score`` is its confidence: no mirror check.
            color: as for ``detect``.
            timings: as for ``detect``.

        Returns:
            The faces found, best first.

        Raises:
            ImageError: as for ``detect``.
            OptionsError: ``boxes`` is not of shape (M, 4), or not of finite numbers.
            IndexError: there is no such level.
        """
        pixels = as_rgb(image, color)
        places = _places(boxes, *pixels.shape[:2])
        return self._cascade(pixels, timings, places, levels, quick)

    def level_count(self, height: int, width: int) -> int:
        """Levels of the pyramid of an image, see ``detect_near``.

        Args:
            height: of the image, pixels.
            width: of the image, pixels.
        """
        return len(self._scales(height, width))

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
            "model_version": self._manifest.version,
            "onnxruntime": runtime_version(),
            "providers": list(self._open().pnet.providers),
            "form": self._form,
            "threads": self._workers.threads,
            "options": self.options.to_dict(),
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

    def _score_model(self) -> ScoreModel:
        if self._loaded_score is None:
            self._loaded_score = load_score_model(self._manifest.score_model())
        return self._loaded_score

    def _scales(self, height: int, width: int) -> list[float]:
        options = self.options
        return pyramid_scales(
            height, width, options.min_face_size, options.scale_factor, options.max_face_size
        )

    def _cascade(
        self,
        image: ImageArray,
        timings: bool,
        places: FloatArray | None = None,
        searched: Iterable[int] | None = None,
        quick: bool = False,
        deadline: _Deadline | None = None,
    ) -> Faces:
        """The stages on an upright RGB image; the rest as in ``detect_near``."""
        options, networks = self.options, self._open()
        run = self._workers.map if deadline is None else deadline.kept_by(self._workers.map)
        rules = dict(zip(NETWORKS, zip(options.thresholds, options.nms, strict=True), strict=True))
        clock = _Clock()

        height, width = image.shape[:2]
        scales = self._scales(height, width)
        smallest = scales[-1] if scales else 1.0
        if searched is not None:
            scales = [scales[level] for level in searched]
        sampler: Sampler
        if options.resampling == "area":
            sampler = AreaSampler(image)
            levels = run(sampler.level, scales)
        else:
            sampler = OctaveSampler(image, smallest)
            levels = [sampler.level(scale) for scale in scales]  # cheaper than sharing them
        clock.lap("pyramid_ms")

        caps = _Caps(options)
        candidates = propose(levels, scales, networks.pnet, *rules["pnet"], run, caps.best_cells)
        near = np.zeros((0, 4)) if places is None else np.trunc(square(places))
        windows = caps.best("pnet", candidates).after(near[: 0 if quick else None])
        clock.lap("pnet_ms")

        candidates = refine(windows, sampler, networks.rnet, *rules["rnet"], run)
        finalists = caps.best("rnet", candidates).after(near[: None if quick else 0])
        clock.lap("rnet_ms")

        found = finish(finalists, sampler, networks.onet, *rules["onet"], run)
        found = caps.best("onet", found)
        clock.lap("onet_ms")

        scores: FloatArray = found.scores
        landmarks = found.landmarks
        if options.mirror and not quick:
            readings = look_again(found, sampler, networks.onet, run)
            model = self._score_model()
            scores, landmarks = model.scores(found, readings), model.landmarks(found, readings)
        clock.lap("mirror_ms")

        best_first = np.argsort(-scores, kind="stable")
        rows = best_first[scores[best_first] >= options.confidence]
        return Faces(
            found.boxes[rows],
            scores[rows],
            landmarks[rows],
            confidences=found.scores[rows],
            image_size=(height, width),
            timings=Timings(
                **clock.laps,
                total_ms=clock.total_ms(),
                levels=tuple(level.shape[:2] for level in levels),
                rnet_windows=len(windows.boxes),
                onet_windows=len(finalists.boxes),
                capped=tuple(caps.hit),
            )
            if timings
            else None,
        )


def _calibrated(
    options: DetectorOptions, file: str | os.PathLike[str], model_version: str
) -> DetectorOptions:
    """The options with the threshold of a calibration; a warning where it may not hold."""
    if options.confidence > 0:
        raise OptionsError(
            f"give confidence or calibration, not both; got confidence {options.confidence} and"
            f" the calibration {os.fspath(file)}"
        )
    calibration = load_calibration(file)
    differences = calibration.differences(options.to_dict(), model_version)
    if differences:
        warnings.warn(
            f"the threshold of {os.fspath(file)} was measured with another detector, so it may not"
            f" hold here: {'; '.join(differences)}",
            stacklevel=3,
        )
    return replace(options, confidence=calibration.threshold)


_Boxes = TypeVar("_Boxes", Candidates, Found)


class _Caps:
    """The caps of one detection, and where they were reached."""

    def __init__(self, options: DetectorOptions) -> None:
        caps = options.max_candidates
        self._caps = dict(zip(NETWORKS, caps, strict=True)) if caps is not None else {}
        self._cells = options.max_cells
        self.hit: list[str] = []

    def best_cells(self, cells: Cells) -> Cells:
        if self._cells is None:
            return cells
        best = best_cells(cells, *self._cells)
        if best is not cells and "cells" not in self.hit:
            self.hit.append("cells")
        return best

    def best(self, network: str, candidates: _Boxes) -> _Boxes:
        cap = self._caps.get(network)
        if cap is None or len(candidates.boxes) <= cap:
            return candidates
        self.hit.append(network)
        return candidates.take(slice(cap))


def _places(boxes: npt.ArrayLike, height: int, width: int) -> FloatArray:
    """The expected places that can show a face of an image of this size, (M, 4)."""
    places = np.asarray(boxes, dtype=np.float64)
    if places.size == 0:
        return np.zeros((0, 4))
    if places.ndim != 2 or places.shape[1] != 4 or not np.isfinite(places).all():
        raise OptionsError(
            "boxes must be finite numbers of shape (M, 4), x1, y1, x2, y2; got the shape"
            f" {places.shape}"
        )
    first, last = places[:, :2], places[:, 2:]
    sides = last - first
    visible = (first < (width, height)) & (last > 0)
    plausible = (sides > 0) & (sides <= 2 * max(height, width))
    seen: FloatArray = places[(visible & plausible).all(axis=1)]
    return seen


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


class _Clock:
    """Wall time of the stages, milliseconds."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = (now - self._last) * 1e3
        self._last = now

    def total_ms(self) -> float:
        return (time.perf_counter() - self._start) * 1e3


_Options = TypeVar("_Options")


def _of_type(kind: type[_Options], name: str, value: object) -> _Options:
    if not isinstance(value, kind):
        raise OptionsError(f"{name} must be {kind.__name__}; got {value!r}")
    return value
