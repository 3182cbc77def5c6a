"""``FaceDetector``, the front door: here options, images, cascade and runtime meet.

The cascade itself is ``cascade.search``; what runs its networks is ``runtime``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edge_mtcnn._version import __version__
from edge_mtcnn.calibration import load_calibration
from edge_mtcnn.cascade.boxes import overlap_of
from edge_mtcnn.cascade.known import KnownFaces, changed_copies, load_real_faces
from edge_mtcnn.cascade.networks import Map
from edge_mtcnn.cascade.onet import ONET
from edge_mtcnn.cascade.rnet import RNET
from edge_mtcnn.cascade.scoring import load_score_model
from edge_mtcnn.cascade.search import SAME_FIND, Search
from edge_mtcnn.errors import EdgeMTCNNError, ImageError, OptionsError, shown
from edge_mtcnn.images.arrays import as_rgb
from edge_mtcnn.images.inputs import check_batch, load_image
from edge_mtcnn.known_false import KnownFalse, check_loss, encoded, entries_from
from edge_mtcnn.options import DetectorOptions, RuntimeOptions, load_options
from edge_mtcnn.options.checks import check_bool, check_choice, check_int, check_type
from edge_mtcnn.runtime.deadline import Deadline
from edge_mtcnn.runtime.devices import RunningNetworks, start_networks
from edge_mtcnn.runtime.models import Manifest, load_manifest
from edge_mtcnn.runtime.providers import runtime_version
from edge_mtcnn.runtime.workers import Workers, available_threads
from edge_mtcnn.types import Faces, FloatArray, ImageArray

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FaceDetector"]


class FaceDetector:
    """Finds faces with the MTCNN cascade. May be called from several threads at once.

        with FaceDetector() as detector:
            for face in detector.detect(read_image("team.jpg")):
                print(face.box, face.score)

    It may be pickled and copied. The copy has the same options and opens the networks again.

    Args:
        options: what to look for; the preset ``default`` if omitted.
        runtime: how to run the networks.
        preset: name of a preset, instead of ``options``.
        config: JSON or TOML file, see ``options.load_options``, for all that is not given here.
        calibration: file that ``edge-mtcnn calibrate`` wrote. Its threshold becomes
            ``options.confidence``, and its known false faces are left out.
        known_false: further known false faces to leave out of every result.

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
        known_false: Sequence[KnownFalse] = (),
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
        options = check_type(
            "options", saved_options if options is None else options, DetectorOptions
        )
        runtime = check_type(
            "runtime", saved_runtime if runtime is None else runtime, RuntimeOptions
        )
        manifest = load_manifest(runtime.models)
        entries = _checked(known_false)
        if calibration is not None:
            options, known = _calibrated(options, calibration, manifest.version)
            entries += known
        self._start(options, runtime, manifest, _usable(entries, options, manifest.version))

    def _start(
        self,
        options: DetectorOptions,
        runtime: RuntimeOptions,
        manifest: Manifest,
        known_false: tuple[KnownFalse, ...],
    ) -> None:
        """Load the networks and start the workers."""
        if runtime.models is not None:  # so that copies find it from any working directory
            runtime = replace(runtime, models=os.path.abspath(runtime.models))  # noqa: PTH100
        self._options, self._runtime = options, runtime
        self._model_version = manifest.version
        self._score_model = cache(lambda: load_score_model(*manifest.score_model()))
        if options.mirror:
            self._score_model()  # a missing file is an error now
        self._real_faces = cache(lambda: load_real_faces(*manifest.real_faces()))
        self._know(known_false)
        threads = self._runtime.threads or available_threads()
        self._networks: RunningNetworks | None = start_networks(
            manifest, runtime.form, runtime.device, threads
        )
        self._workers = Workers(threads)

    @property
    def options(self) -> DetectorOptions:
        """What to look for, with the threshold of the calibration if one was given."""
        return self._options

    @property
    def runtime(self) -> RuntimeOptions:
        """How to run the networks; the path of ``models`` is absolute."""
        return self._runtime

    @property
    def known_false(self) -> tuple[KnownFalse, ...]:
        """The known false faces that are left out; others can be assigned at any time.

            detector.known_false = [*detector.known_false, poster]

        Nothing is loaded again. A search that runs ends with those it began with.

        Raises:
            OptionsError: they would cost too many real faces, or are of the wrong type.
            EdgeMTCNNError: the detector was closed.
        """
        return self._known_false

    @known_false.setter
    def known_false(self, entries: Sequence[KnownFalse]) -> None:
        self._open()
        self._know(_usable(_checked(entries), self._options, self._model_version))

    def _know(self, entries: tuple[KnownFalse, ...]) -> None:
        """Leave these out from now on."""
        check_loss(entries)
        self._known_false = entries
        self._known = KnownFaces(entries, self._real_faces()) if entries else None

    def detect(
        self,
        image: Any,
        *,
        options: DetectorOptions | None = None,
        color: Literal["rgb", "bgr"] = "rgb",
        timings: bool = False,
        timeout: float | None = None,
        include_known_false: bool = False,
    ) -> Faces:
        """Find the faces of one image.

            detector.detect("team.jpg")
            detector.detect(frame, color="bgr")

        Args:
            image: (H, W, 3), (H, W) gray or (H, W, 4) with alpha, uint8, of any size from 1x1; or
                what ``read_image`` reads: a path, the bytes of a file, or a binary file.
            options: what to look for in this image, instead of the detector's own ``options``.
                Nothing is loaded again, so each call may have others.
            color: order of the channels of an array; ``"bgr"`` for frames of OpenCV. A file is
                decoded to RGB whatever this is.
            timings: attach ``Timings`` to the result.
            timeout: maximum time of the detection, seconds, 0.001..86400; ``None`` for no limit.
                It is checked before each stage and each batch of a network, so a detection stops
                some milliseconds after it.
            include_known_false: return the known false faces too; ``Face.known_false`` is their
                name.

        Returns:
            The faces, best first, in source pixels. An image without a face gives an empty
            ``Faces``.

        Raises:
            ImageError: it is not such an image, or a file cannot be read; the message says why, and
                how to convert it. Or it is too large or too narrow to be turned by one of the
                ``angles`` of the options.
            DetectionTimeout: the time ran out before the search ended.
            OptionsError: ``timeout`` is not a positive number, or ``options`` no
                ``DetectorOptions``.
            EdgeMTCNNError: the detector was closed.
        """
        return self.search(
            image,
            options=options,
            color=color,
            timings=timings,
            timeout=timeout,
            include_known_false=include_known_false,
        ).everywhere()

    def search(
        self,
        image: Any,
        *,
        options: DetectorOptions | None = None,
        color: Literal["rgb", "bgr"] = "rgb",
        timings: bool = False,
        timeout: float | None = None,
        include_known_false: bool = False,
    ) -> Search:
        """Prepare the search in one image, to look at expected places first.

        Use it to follow faces through a video; ``detect`` is ``search(image).everywhere()``. Only
        ``everywhere`` looks at the ``angles`` of the options.

        Args and errors: as for ``detect``. The time of ``timeout`` starts with this call.

            search = detector.search(frame, color="bgr")
            faces = search.near([face.box for face in known])
            if len(faces) < len(known):
                faces = search.everywhere()
        """
        check_choice("color", color, ("rgb", "bgr"))
        check_bool("timings", timings)
        check_bool("include_known_false", include_known_false)
        options = check_type(
            "options", self._options if options is None else options, DetectorOptions
        )
        networks = self._open()
        run: Map = self._workers.map
        if timeout is not None:
            run = Deadline(timeout).checking(run)
        pixels, order = load_image(image, color)
        # The search swaps the colours of what it samples, so a BGR image is not copied.
        bgr = order == "bgr" and pixels.shape[2:] == (3,)
        return Search(
            lambda: as_rgb(pixels, "rgb" if bgr else order),
            (pixels.shape[0], pixels.shape[1]),
            options,
            networks,
            run,
            bgr=bgr,
            score=self._score_model() if options.mirror else None,
            known=self._known,
            include_known=include_known_false,
            timings=timings,
        )

    def detect_batch(
        self,
        images: Iterable[Any],
        *,
        options: DetectorOptions | None = None,
        color: Literal["rgb", "bgr"] = "rgb",
        timings: bool = False,
        include_known_false: bool = False,
    ) -> list[Faces]:
        """Find the faces of several images of any sizes, one image per thread.

            detector.detect_batch(["a.jpg", "b.heic", frame])

        Args and errors: as for ``detect``. Arrays, paths, bytes and files may be mixed; a file is
        read when its turn comes, so that only a few are in memory at once.

        Returns:
            One ``Faces`` per image, in order, equal to what ``detect`` returns.
        """
        check_batch(images, "detect_batch")

        def detect(numbered: tuple[int, Any]) -> Faces:
            index, image = numbered
            try:
                return self.detect(
                    image,
                    options=options,
                    color=color,
                    timings=timings,
                    include_known_false=include_known_false,
                )
            except ImageError as error:
                raise ImageError(f"images[{index}]: {error}") from None

        return self._workers.map(detect, enumerate(images))

    def detect_many(
        self,
        images: Iterable[Any],
        *,
        ahead: int | None = None,
        options: DetectorOptions | None = None,
        color: Literal["rgb", "bgr"] = "rgb",
        timings: bool = False,
        include_known_false: bool = False,
    ) -> Generator[Faces | ImageError, None, None]:
        """Find the faces of any number of images, while the caller uses the results before.

            for path, found in zip(paths, detector.detect_many(paths)):
                if isinstance(found, ImageError):
                    print(f"{path} was left out: {found}")
                else:
                    print(path, len(found))

        Each thread decodes an image and searches it. Only a few images are in memory at once,
        however many there are. Close the generator to stop early; a ``for`` loop that ends with
        ``break`` does so when nothing refers to the generator any longer.

        Args:
            images: arrays, paths, bytes and files of any sizes, as for ``detect``. It may be a
                generator, and is read in the thread of the caller. If it raises an exception, the
                results of the images before it are yielded first.
            ahead: most images that are held beyond the one whose result is yielded next, at least
                1; ``None`` for two per thread. With less than one per thread some threads have
                nothing to do. While one image takes long, up to 256 results wait for it.
            options: as for ``detect``.
            color: as for ``detect``.
            timings: as for ``detect``.
            include_known_false: as for ``detect``.

        Yields:
            For each image, in order, a ``Faces`` equal to what ``detect`` returns, or the
            ``ImageError`` that says why it cannot be searched. The others are still searched.

        Raises:
            ImageError: ``images`` is one image, or no iterable.
            OptionsError: an argument is wrong.
            EdgeMTCNNError: the detector was closed, or the device failed.
        """
        self._open()
        check_batch(images, "detect_many")
        if ahead is None:
            ahead = 2 * self._workers.threads
        check_int("ahead", ahead, 1, None)
        check_choice("color", color, ("rgb", "bgr"))
        check_bool("timings", timings)
        check_bool("include_known_false", include_known_false)
        if options is not None:
            check_type("options", options, DetectorOptions)

        def detect(image: Any) -> Faces | ImageError:
            try:
                return self.detect(
                    image,
                    options=options,
                    color=color,
                    timings=timings,
                    include_known_false=include_known_false,
                )
            except ImageError as error:
                return ImageError(str(error))  # a new one, as the frames of this hold the image
            except MemoryError:
                return ImageError("not enough memory to search this image")

        return self._workers.stream(detect, images, ahead)

    def remember(
        self,
        image: Any,
        box: Sequence[float],
        name: str,
        *,
        color: Literal["rgb", "bgr"] = "rgb",
        at_place: bool = False,
        how: str = "add-false",
        added: str = "",
    ) -> KnownFalse:
        """Learn a thing that was taken for a face, to leave it out from now on.

            face = detector.detect(frame).best()
            poster = detector.remember(frame, face.box, "poster")
            detector.known_false = [*detector.known_false, poster]

        It is looked at in the image and in copies of other light and scale. The detector leaves
        it out only once it is among its ``known_false``.

        Args:
            image: as for ``detect``.
            box: ``x1, y1, x2, y2`` of the find, source pixels.
            name: what to call it.
            color: as for ``detect``.
            at_place: it stands at this place of a fixed camera's frame. It is then recognised more
                surely, and costs fewer real faces.
            how: how it came, one of ``known_false.WAYS``.
            added: when, as text.

        Returns:
            The thing. It holds no picture.

        Raises:
            ImageError: as for ``detect``.
            OptionsError: nothing is found at ``box``, or another argument is wrong.
        """
        check_bool("at_place", at_place)
        check_choice("color", color, ("rgb", "bgr"))
        pixels, order = load_image(image, color)
        rgb = as_rgb(pixels, order)
        height, width = rgb.shape[:2]
        try:
            whole = np.asarray(box, dtype=np.float64)
        except (TypeError, ValueError):
            whole = np.zeros(0)
        if whole.shape != (4,) or not np.isfinite(whole).all():
            raise OptionsError(f"box must be x1, y1, x2, y2; got {shown(box)}")
        options = replace(self._options, mirror=True)
        angle = self._angle_at(rgb, whole, options.every_find()) if options.angles else 0.0
        rows = [
            self.search(copy, options=options).values_at(place, angle)
            for copy, place in changed_copies(rgb, whole)
        ]
        if rows[0] is None:
            raise OptionsError(f"nothing like a face is found at the box {shown(box)}")
        place = whole / (width, height, width, height)
        return KnownFalse(
            name=name,
            vector=encoded(np.mean([row for row in rows if row is not None], axis=0)),
            model_version=self._model_version,
            added=added,
            how=how,
            place=tuple(np.round(place, 4).tolist()) if at_place else None,
        )

    def _angle_at(self, image: ImageArray, box: FloatArray, options: DetectorOptions) -> float:
        """The ``Face.angle`` of the best find at a box (4,); 0 when nothing is found there."""
        faces = self.detect(image, options=options, include_known_false=True)
        overlaps = overlap_of(faces.boxes, box)
        best = faces[overlaps >= SAME_FIND].best()
        return 0.0 if best is None else best.angle

    def warm_up(self, height: int = 480, width: int = 640) -> None:
        """Pay every first-call cost: threads, ONNX Runtime's memory, OpenCV's code.

        Args:
            height: height of the images that will follow, pixels.
            width: width of the images that will follow, pixels.
        """
        check_int("height", height, 1, 100_000)
        check_int("width", width, 1, 100_000)
        self.detect(np.zeros((height, width, 3), dtype=np.uint8))
        networks = self._open()
        for name, spec in (("rnet", RNET), ("onet", ONET)):
            for count in networks.batches.get(name, (max(spec.batch),)):
                getattr(networks, name)(
                    np.zeros((count, 1, spec.size, 3 * spec.size), dtype=np.float32)
                )

    def info(self) -> dict[str, Any]:
        """Report what really runs, as plain values.

        Versions, execution providers, which of them each network runs on, form of the networks,
        threads; and for devices the shapes that each network has seen, and TensorRT's engines.
        """
        networks = self._open()
        return {
            "version": __version__,
            "model_version": self._model_version,
            "onnxruntime": runtime_version(),
            "providers": list(networks.providers),
            "runs_on": networks.runs_on,
            "form": networks.form,
            "shapes": networks.shapes,
            "engines": networks.engines,
            "threads": self._workers.threads,
            "options": self._options.to_dict(),
        }

    def close(self) -> None:
        """Stop the threads and free the sessions. Any later call raises ``EdgeMTCNNError``.

        A detection that is running in another thread still completes, using only its own thread.
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

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle or a copy carries: plain values, no session and no thread."""
        return {
            "version": __version__,
            "model_version": self._model_version,
            "options": self._options.to_dict(),
            "runtime": self._runtime.to_dict(),
            "known_false": [entry.to_dict() for entry in self._known_false],
            "closed": self._networks is None,
            "attributes": {k: v for k, v in vars(self).items() if k not in _OWN_ATTRIBUTES},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the networks again; a closed detector stays closed."""
        try:
            options = DetectorOptions.from_dict(state["options"])
            runtime = RuntimeOptions.from_dict(state["runtime"])
            version, closed = state["model_version"], state["closed"]
            known_false = entries_from(state["known_false"])
            vars(self).update(state["attributes"])
        except (KeyError, OptionsError) as error:
            raise EdgeMTCNNError(
                f"this FaceDetector was pickled by edge-mtcnn {state.get('version', '(unknown)')}"
                f" and cannot be opened by {__version__} ({error}). Use the same version on both"
                " sides, or make the detector where it is used"
            ) from error
        if closed:
            self._options, self._runtime, self._model_version = options, runtime, version
            self._known_false = known_false
            self._networks, self._workers = None, Workers(1)
            return
        manifest = load_manifest(runtime.models)
        if manifest.version != version:
            warnings.warn(
                f"this FaceDetector was pickled with models {version}, and the models here are"
                f" {manifest.version}: scores and thresholds may differ",
                stacklevel=2,
            )
        self._start(options, runtime, manifest, _usable(known_false, options, manifest.version))

    def _open(self) -> RunningNetworks:
        if self._networks is None:
            raise EdgeMTCNNError("this FaceDetector is closed; make a new one")
        return self._networks


def _calibrated(
    options: DetectorOptions, file: str | os.PathLike[str], model_version: str
) -> tuple[DetectorOptions, tuple[KnownFalse, ...]]:
    """The options with the threshold of a calibration, and its known false faces.

    A warning says where the threshold may not hold.
    """
    calibration = load_calibration(file)
    calibrated = calibration.applied_to(options)
    mismatch = calibration.mismatch(options.to_dict(), model_version)
    if mismatch is not None:
        warnings.warn(mismatch, stacklevel=3)
    return calibrated, calibration.known_false


def _checked(entries: Sequence[KnownFalse]) -> tuple[KnownFalse, ...]:
    if not isinstance(entries, Sequence):
        raise OptionsError(f"known_false must be a list; got {shown(entries)}")
    return tuple(check_type("each of known_false", entry, KnownFalse) for entry in entries)


def _usable(
    entries: tuple[KnownFalse, ...], options: DetectorOptions, model_version: str
) -> tuple[KnownFalse, ...]:
    """The entries that this detector can recognise, and a warning if there are others."""
    if not entries:
        return entries
    if not options.mirror:
        warnings.warn(
            "known false faces are not recognised without the mirror check; use mirror=True",
            stacklevel=3,
        )
        return ()
    usable = tuple(e for e in entries if e.model_version in {"", model_version})
    if len(usable) < len(entries):
        warnings.warn(
            f"{len(entries) - len(usable)} of {len(entries)} known false faces were learned with"
            f" other models than {model_version} and are not recognised; add them again",
            stacklevel=3,
        )
    return usable


_OWN_ATTRIBUTES = frozenset(
    (
        *("_options", "_runtime", "_model_version", "_score_model", "_networks"),
        *("_workers", "_known", "_known_false", "_real_faces"),
    )
)
"""What ``FaceDetector`` keeps itself; a subclass may have more, which a pickle carries."""
