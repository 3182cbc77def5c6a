"""``MTCNN``, with the arguments of ``mtcnn`` 0.1.x and 1.0.0.

Arguments that only 1.0.0 has select its rules, which are those of ``predict``; everything else
follows 0.1.x.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_mtcnn.compat.results import JUSTIFICATIONS, ImageFaces, in_stack, table
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import ImageError, OptionsError, shown
from edge_mtcnn.options import PRESETS, DetectorOptions, RuntimeOptions
from edge_mtcnn.options.checks import check_bool, check_choice, check_int, check_number
from edge_mtcnn.types import mtcnn_entry

__all__ = ["MTCNN"]

_REFERENCE = PRESETS["reference"]
_ONET_THRESHOLD = 0.8
"""Of 1.0.0; the other defaults of its search are those of 0.1.x."""
_STAGES = ("face_and_landmarks_detection", "face_detection_only")


class MTCNN:
    """MTCNN face detection with the arguments and results of ``mtcnn``, 0.1.x and 1.0.0.

        MTCNN(min_face_size=40).detect_faces(image)  # as 0.1.x
        MTCNN(device="CPU:0").detect_faces(image)  # as 1.0.0
        MTCNN().detect_faces([image, image], box_format="xyxy")  # as 1.0.0
        MTCNN().predict(image)  # as 1.0.0

    The rules of 1.0.0 hold for every call where ``stages`` or ``device`` is given here, and
    otherwise for calls of ``predict`` and calls of ``detect_faces`` with a list of images or with
    any argument besides the image. Arguments of both forms may be mixed: what is given here is then
    the default of the calls.

    Args:
        weights_file: not supported; pass other models as ``RuntimeOptions(models=...)``.
        min_face_size: side of the smallest face to look for, pixels, a whole number.
        steps_threshold: minimum face probability of a candidate of P-Net, R-Net and O-Net; by
            default 0.6, 0.7 and 0.7, and 0.8 for O-Net by the rules of 1.0.0.
        scale_factor: ratio of two neighbouring levels of the image pyramid.
        stages: ``"face_and_landmarks_detection"`` or ``"face_detection_only"``, which is faster,
            but without O-Net: boxes are square, there are no landmarks and more false finds.
        device: ``"CPU:0"`` or ``"GPU:0"``, which is ``RuntimeOptions(device="cuda")``.
        runtime: how to run the networks (not in ``mtcnn``).

    As in 1.0.0, ``stages`` and ``device`` may be the first and second argument by position.

    Raises:
        OptionsError: an argument is out of range, ``weights_file`` is given, ``stages`` is anything
            else, such as a list of stage objects, or ``device`` is another device.
        ProviderError: CUDA does not start for ``"GPU:0"``. (``mtcnn`` uses the processor then.)
    """

    def __init__(
        self,
        weights_file: str | None = None,
        min_face_size: float | str = _REFERENCE.min_face_size,
        steps_threshold: Sequence[float] | npt.NDArray[Any] | None = None,
        scale_factor: float = _REFERENCE.scale_factor,
        *,
        stages: str | None = None,
        device: str | None = None,
        runtime: RuntimeOptions | None = None,
    ) -> None:
        if stages is None and _is_stages(weights_file):
            stages, weights_file = weights_file, None
            if device is None and isinstance(min_face_size, str):
                device, min_face_size = min_face_size, _REFERENCE.min_face_size
        if weights_file is not None:
            raise OptionsError(
                "weights_file is not supported: the networks come as ONNX files with a manifest."
                " Omit it for the same weights as mtcnn 0.1.x, or pass"
                f" runtime=RuntimeOptions(models=FOLDER) for others; got {shown(weights_file)}"
            )
        if stages is not None and not (isinstance(stages, str) and stages in _STAGES):
            raise OptionsError(
                f"stages must be {' or '.join(map(repr, _STAGES))}; got {shown(stages)}."
                " Stage classes and objects cannot be used, because the networks run in ONNX"
                " Runtime; pass runtime=RuntimeOptions(models=FOLDER) for other networks"
            )
        if device is not None:
            if runtime is not None:
                raise OptionsError(
                    "give device or runtime, not both; runtime=RuntimeOptions(device=...) has it"
                )
            runtime = RuntimeOptions(device=_provider(device))
        thresholds: Any = steps_threshold
        if steps_threshold is None:
            thresholds = _REFERENCE.thresholds
        elif isinstance(steps_threshold, np.ndarray):
            thresholds = steps_threshold.tolist()
        self._options = replace(
            _REFERENCE,
            min_face_size=_whole(min_face_size),
            thresholds=thresholds,
            scale_factor=scale_factor,
        )
        self._onet_threshold = (
            _ONET_THRESHOLD if steps_threshold is None else self._options.thresholds[2]
        )
        self._always_as_1 = stages is not None or device is not None
        self._landmarks = stages != "face_detection_only"
        self._detector = FaceDetector(self._options, runtime)

    @property
    def min_face_size(self) -> int:
        """Side of the smallest face to look for, pixels.

        A fraction is cut off, as in ``mtcnn``. Setting something else than a number is an
        ``OptionsError``.
        """
        return self._options.min_face_size

    @min_face_size.setter
    def min_face_size(self, size: float) -> None:
        try:
            whole = int(size)
        except (TypeError, ValueError, OverflowError):
            raise OptionsError(f"min_face_size must be a number; got {shown(size)}") from None
        self._options = replace(self._options, min_face_size=whole)

    def detect_faces(
        self,
        img: Any = None,
        fit_to_image: bool | None = None,
        limit_boundaries_landmarks: bool | None = None,
        box_format: Literal["xywh", "xyxy"] | None = None,
        output_type: Literal["json", "numpy"] | None = None,
        postprocess: bool | None = None,
        batch_stack_justification: str | None = None,
        *,
        image: Any = None,
        min_face_size: float | None = None,
        min_size: float | None = None,
        scale_factor: float | None = None,
        threshold_pnet: float | None = None,
        threshold_rnet: float | None = None,
        threshold_onet: float | None = None,
        nms_pnet1: float | None = None,
        nms_pnet2: float | None = None,
        nms_rnet: float | None = None,
        nms_onet: float | None = None,
    ) -> Any:
        """Find the faces of one image, or of a list of images.

        ``img`` is all that ``FaceDetector.detect`` takes: (H, W, 3) uint8 RGB, a path, the bytes of
        a file or a binary file; or a list of such images, of any sizes. ``image`` is its name in
        1.0.0. All other arguments are those of ``predict``: with any of them, the call is one of
        ``predict``, and so it is with a list.

        Returns:
            One dictionary per face, best first: ``box`` ``[x, y, w, h]``, ``confidence`` 0..1 and
            ``keypoints``, a dictionary of ``(x, y)`` for ``left_eye``, ``right_eye``, ``nose``,
            ``mouth_left`` and ``mouth_right``; pixels, plain ints and floats. Numbers are cut off,
            the corner is not below 0, and a box may leave the image on the right and below. By the
            rules of 1.0.0, what ``predict`` returns.

        Raises:
            ImageError: ``img`` is no such image.
            OptionsError: an argument is out of range.
        """
        given = {
            name: value
            for name, value in locals().items()
            if value is not None and name not in ("self", "img")
        }
        if "image" in given and img is not None:
            raise OptionsError("give img or image, not both: they are the same argument")
        if given or isinstance(img, list) or self._always_as_1:
            return self.predict(given.pop("image", img), **given)
        return [mtcnn_entry(face) for face in self._detector.detect(img, options=self._options)]

    def predict(
        self,
        image: Any,
        fit_to_image: bool = True,
        limit_boundaries_landmarks: bool = False,
        box_format: Literal["xywh", "xyxy"] = "xywh",
        output_type: Literal["json", "numpy"] = "json",
        postprocess: bool = True,
        batch_stack_justification: str = "center",
        *,
        min_face_size: float | None = None,
        min_size: float = 12,
        scale_factor: float | None = None,
        threshold_pnet: float | None = None,
        threshold_rnet: float | None = None,
        threshold_onet: float | None = None,
        nms_pnet1: float | None = None,
        nms_pnet2: float | None = None,
        nms_rnet: float | None = None,
        nms_onet: float | None = None,
    ) -> Any:
        """Find the faces of one image, or of a list of images, by the rules of 1.0.0.

        Args:
            image: as for ``detect_faces``. The faces of an image in a list are those of the image
                alone.
            fit_to_image: move the edges of boxes that leave the image to its border.
            limit_boundaries_landmarks: move landmarks outside the image to its border too, where
                ``fit_to_image`` holds.
            box_format: ``"xywh"`` for left, top, width and height; ``"xyxy"`` for left, top, right
                and bottom.
            output_type: ``"json"`` or ``"numpy"``.
            postprocess: ``False`` leaves boxes and landmarks as the networks gave them. For a list
                of images of several sizes, they are then places in the stack of images of
                ``mtcnn``, where smaller images are padded to the largest.
            batch_stack_justification: place of an image within the padding: ``"center"``,
                ``"top"``, ``"topleft"``, ``"topright"``, ``"bottom"``, ``"bottomleft"``,
                ``"bottomright"``, ``"left"`` or ``"right"``.
            min_face_size: as in the constructor; by default its value.
            min_size: a whole number of pixels, at least 1. It has no effect, as in 1.0.0.
            scale_factor: as in the constructor; by default its value.
            threshold_pnet: minimum face probability of a candidate of P-Net, 0..1; by default that
                of the constructor.
            threshold_rnet: the same of R-Net.
            threshold_onet: the same of O-Net.
            nms_pnet1: IoU above which the worse of two candidates of P-Net is dropped, 0..1, within
                one level of the image pyramid; 0.5.
            nms_pnet2: the same among all levels; 0.7.
            nms_rnet: the same of R-Net; 0.7.
            nms_onet: the same of O-Net, of the intersection over the smaller area; 0.7.

        Returns:
            ``"json"``: one dictionary per face, best first: ``box``, four ints, ``confidence`` 0..1
            and ``keypoints``, a dictionary of ``[x, y]`` for ``nose``, ``mouth_right``,
            ``right_eye``, ``left_eye`` and ``mouth_left``, rounded, pixels. There are no
            ``keypoints`` with ``stages="face_detection_only"``. For a list of images, a list of
            such lists.

            ``"numpy"``: a float64 array with a row per face, (N, 16): index of the image, the box,
            ``confidence``, five x and five y in the order of ``LANDMARK_NAMES``; (N, 6) without
            landmarks.

        Raises:
            ImageError: ``image``, or an image of the list, is no such image.
            OptionsError: an argument is out of range.
        """
        for name, flag in (
            ("fit_to_image", fit_to_image),
            ("limit_boundaries_landmarks", limit_boundaries_landmarks),
            ("postprocess", postprocess),
        ):
            check_bool(name, flag)
        check_choice("box_format", box_format, ("xywh", "xyxy"))
        check_choice("output_type", output_type, ("json", "numpy"))
        check_choice("batch_stack_justification", batch_stack_justification, tuple(JUSTIFICATIONS))
        check_int("min_size", _whole(min_size), 1, None)
        of_pnet, of_rnet, _ = self._options.thresholds
        options = replace(
            self._options,
            min_face_size=self.min_face_size if min_face_size is None else _whole(min_face_size),
            scale_factor=self._options.scale_factor if scale_factor is None else scale_factor,
            thresholds=(
                _share("threshold_pnet", threshold_pnet, of_pnet),
                _share("threshold_rnet", threshold_rnet, of_rnet),
                _share("threshold_onet", threshold_onet, self._onet_threshold),
            ),
            level_nms=_share("nms_pnet1", nms_pnet1, _REFERENCE.level_nms),
            nms=(
                _share("nms_pnet2", nms_pnet2, _REFERENCE.nms[0]),
                _share("nms_rnet", nms_rnet, _REFERENCE.nms[1]),
                _share("nms_onet", nms_onet, _REFERENCE.nms[2]),
            ),
        )
        is_list = isinstance(image, list)
        found = self._in_list(image, options) if is_list else [self._in_image(image, options)]
        if not postprocess:
            found = in_stack(found, batch_stack_justification)
        elif fit_to_image:
            found = [one.within_image(landmarks=limit_boundaries_landmarks) for one in found]
        if box_format == "xywh":
            found = [one.as_xywh() for one in found]
        if output_type == "numpy":
            return table(found, landmarks=self._landmarks)
        faces = [one.dictionaries() for one in found]
        return faces if is_list else faces[0]

    def _in_list(self, images: list[Any], options: DetectorOptions) -> list[ImageFaces]:
        if self._landmarks:
            return list(map(ImageFaces.of, self._detector.detect_batch(images, options=options)))
        found = []
        for index, image in enumerate(images):
            try:
                found.append(self._in_image(image, options))
            except ImageError as error:  # noqa: PERF203 -- each is a detection
                raise ImageError(f"images[{index}]: {error}") from None
        return found

    def _in_image(self, image: Any, options: DetectorOptions) -> ImageFaces:
        if self._landmarks:
            return ImageFaces.of(self._detector.detect(image, options=options))
        search = self._detector.search(image, options=options)
        candidates = search.without_onet()
        rows = np.column_stack([candidates.boxes, candidates.scores]).astype(np.float64)
        return ImageFaces(rows, search.size)


def _is_stages(value: object) -> bool:
    """Whether the first argument is ``stages`` of 1.0.0: it is never the path of a file."""
    if isinstance(value, str):
        return value in _STAGES
    return value is not None and not isinstance(value, os.PathLike)


def _provider(device: object) -> str:
    """The device of ``RuntimeOptions`` for a device name of TensorFlow."""
    name = re.fullmatch(r"/?(?:device:)?(CPU|GPU)(?::(\d+))?", str(device), re.IGNORECASE)
    if name is None or not isinstance(device, str):
        raise OptionsError(
            "device must be 'CPU:0' or 'GPU:0'; for others, pass"
            f" runtime=RuntimeOptions(device=...) instead; got {shown(device)}"
        )
    if name[1].upper() == "CPU":
        return "cpu"
    if int(name[2] or 0) > 0:
        raise OptionsError(
            f"device must be 'GPU:0'; got {shown(device)}. To use another card, set the environment"
            f" variable CUDA_VISIBLE_DEVICES={int(name[2])}, which makes it the first"
        )
    return "cuda"


def _whole(number: Any) -> Any:
    """A float such as 40.0 as an int; other values as they are, for the checks to judge."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _share(name: str, value: float | None, default: float) -> float:
    """A number in 0..1, checked under the name that the caller used."""
    if value is None:
        return default
    check_number(name, value, 0.0, 1.0)
    return value
