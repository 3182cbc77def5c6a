"""``MTCNN``: the drop-in for the class of the package ``mtcnn`` 0.1.x, on preset ``reference``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options import PRESETS, RuntimeOptions

__all__ = ["MTCNN"]

_REFERENCE = PRESETS["reference"]


class MTCNN:
    """MTCNN face detection with the arguments and results of ``mtcnn`` 0.1.x.

    Args:
        weights_file: not supported; pass other models as ``RuntimeOptions(models=...)``.
        min_face_size: side of the smallest face to look for, pixels, a whole number.
        steps_threshold: minimum face probability of a candidate of P-Net, R-Net and O-Net.
        scale_factor: ratio of two neighbouring levels of the image pyramid.
        runtime: how to run the networks (not in ``mtcnn``).

    Raises:
        OptionsError: an argument is out of range, or ``weights_file`` is given.
    """

    def __init__(
        self,
        weights_file: str | None = None,
        min_face_size: float = _REFERENCE.min_face_size,
        steps_threshold: Sequence[float] | npt.NDArray[Any] | None = None,
        scale_factor: float = _REFERENCE.scale_factor,
        *,
        runtime: RuntimeOptions | None = None,
    ) -> None:
        if weights_file is not None:
            raise OptionsError(
                "weights_file is not supported: the networks come as ONNX files with a manifest."
                " Omit it for the same weights as mtcnn 0.1.x, or pass"
                f" runtime=RuntimeOptions(models=FOLDER) for others; got {shown(weights_file)}"
            )
        thresholds: Any = _REFERENCE.thresholds
        if isinstance(steps_threshold, np.ndarray):
            thresholds = steps_threshold.tolist()
        elif steps_threshold is not None:
            thresholds = steps_threshold
        smallest: Any = min_face_size
        if isinstance(smallest, float) and smallest.is_integer():
            smallest = int(smallest)
        self._detector = FaceDetector(
            replace(
                _REFERENCE,
                min_face_size=smallest,
                thresholds=thresholds,
                scale_factor=scale_factor,
            ),
            runtime,
        )

    @property
    def min_face_size(self) -> int:
        """Side of the smallest face to look for, pixels.

        A fraction is cut off, as in ``mtcnn``. Setting something else than a number is an
        ``OptionsError``.
        """
        return self._detector.options.min_face_size

    @min_face_size.setter
    def min_face_size(self, size: float) -> None:
        try:
            whole = int(size)
        except (TypeError, ValueError, OverflowError):
            raise OptionsError(f"min_face_size must be a number; got {shown(size)}") from None
        before = self._detector
        # A detection under way in another thread keeps the detector that it began with.
        self._detector = FaceDetector(replace(before.options, min_face_size=whole), before.runtime)

    def detect_faces(self, img: Any) -> list[dict[str, Any]]:
        """Find the faces of one image.

        Args:
            img: (H, W, 3) uint8 RGB.

        Returns:
            One dictionary per face, best first: ``box`` ``[x, y, w, h]``, ``confidence`` 0..1 and
            ``keypoints``, a dictionary of ``(x, y)`` for ``left_eye``, ``right_eye``, ``nose``,
            ``mouth_left`` and ``mouth_right``; pixels, plain ints and floats.

        Raises:
            ImageError: ``img`` is no such image.
        """
        return self._detector.detect(img).to_dicts()
