"""What a detection returns: ``Faces``, a sequence of frozen ``Face`` values over arrays.

Boxes are ``x1, y1, x2, y2`` and landmarks ``x, y``, both in source pixels, float32, not clipped to
the image. Imports NumPy and ``errors``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from edge_mtcnn.errors import OptionsError, shown

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "LANDMARK_NAMES",
    "NETWORKS",
    "Face",
    "Faces",
    "Float32Array",
    "FloatArray",
    "ImageArray",
    "Landmarks",
    "Timings",
    "face_entry",
    "faces_entry",
    "mtcnn_entry",
    "score_text",
]

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
Float32Array = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

Point = tuple[float, float]

NETWORKS = ("pnet", "rnet", "onet")
"""The networks of the cascade, first to last."""

LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
"""Order of the five landmarks; left and right are the viewer's."""


class Landmarks(NamedTuple):
    """The five points of one face, ``(x, y)`` in source pixels; left and right are the viewer's."""

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face.

    Attributes:
        box: ``x1, y1, x2, y2``, source pixels; may leave the image.
        score: 0..1, the value to compare with a threshold. It equals ``confidence`` unless the
            detector calibrates it.
        landmarks: the five points.
        confidence: 0..1, O-Net's raw probability of a face.
        angle: the one of ``DetectorOptions.angles`` at which the face was found: degrees by which
            the image is turned clockwise to show it upright; 0 for the image as it is.
        known_false: name of the known false face that this is; ``None`` if it is none.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: Landmarks
    confidence: float
    angle: float = 0.0
    known_false: str | None = None

    @property
    def width(self) -> float:
        """Width of the box, pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """Height of the box, pixels."""
        return self.box[3] - self.box[1]

    @property
    def eye_distance(self) -> float:
        """Distance between the two eyes, pixels."""
        (x1, y1), (x2, y2) = self.landmarks.left_eye, self.landmarks.right_eye
        return float(np.hypot(x2 - x1, y2 - y1))

    def to_dict(self) -> dict[str, Any]:
        """The face in the format of ``mtcnn``, with its score and angle.

        Returns:
            ``{"box": [x, y, w, h], "confidence": float, "keypoints": {name: (x, y)}, "score":
            float, "angle": float}``; integers by truncation, the corner not below 0. A known false
            face also has ``"known_false"``, its name.
        """
        known = {} if self.known_false is None else {"known_false": self.known_false}
        return {**mtcnn_entry(self), "score": self.score, "angle": self.angle, **known}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """The time of each stage of one detection, and its amount of work, in all its looks together.

    Attributes:
        pyramid_ms, pnet_ms, rnet_ms, onet_ms, mirror_ms: wall time of the stages, milliseconds.
            A stage includes sampling its windows, NMS and regression.
        total_ms: wall time of the whole call, milliseconds.
        levels: heights and widths of the pyramid's levels, pixels.
        rnet_windows, onet_windows: windows that the network looked at.
        capped: which caps were reached: ``"cells"`` for ``max_cells``, and the names of networks
            for ``max_candidates``.
        known_false: finds that were recognised as known false faces and left out.
        gain: mean factor of the pixels' values, 1..8; 1 in the light, see
            ``DetectorOptions.exposure``.
    """

    pyramid_ms: float
    pnet_ms: float
    rnet_ms: float
    onet_ms: float
    mirror_ms: float
    total_ms: float
    levels: tuple[tuple[int, int], ...]
    rnet_windows: int
    onet_windows: int
    capped: tuple[str, ...] = ()
    known_false: int = 0
    gain: float = 1.0


class Faces(Sequence[Face]):
    """The faces of one image, best first: a sequence of ``Face`` over arrays that stay together.

        faces.largest()
        faces[faces.scores > 0.99].boxes

    Args:
        boxes: (N, 4) ``x1, y1, x2, y2``, source pixels.
        scores: (N,) 0..1.
        landmarks: (N, 5, 2) ``x, y``, source pixels.
        confidences: (N,) raw O-Net probabilities 0..1; the scores when left out.
        angles: (N,) of ``Face.angle``, degrees; 0 when left out.
        known_false: (N,) names of known false faces, ``None`` for all others; all ``None`` when
            left out.
        image_size: height and width of the image, pixels.
        timings: the time of each stage, if it was asked for.

    Raises:
        OptionsError: the arrays do not have the same number of rows or the shapes above, or another
            argument is of the wrong type.
    """

    __slots__ = (
        *("angles", "boxes", "confidences", "image_size", "known_false", "landmarks", "scores"),
        "timings",
    )

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray
    confidences: FloatArray
    angles: FloatArray
    known_false: npt.NDArray[np.object_]
    image_size: tuple[int, int]
    timings: Timings | None

    def __init__(
        self,
        boxes: npt.ArrayLike,
        scores: npt.ArrayLike,
        landmarks: npt.ArrayLike,
        *,
        confidences: npt.ArrayLike | None = None,
        angles: npt.ArrayLike | None = None,
        known_false: Sequence[str | None] | npt.NDArray[np.object_] | None = None,
        image_size: tuple[int, int],
        timings: Timings | None = None,
    ) -> None:
        self.scores = _frozen(scores, ())
        count = len(self.scores)
        self.boxes = _frozen(boxes, (4,), count)
        self.landmarks = _frozen(landmarks, (5, 2), count)
        self.confidences = self.scores if confidences is None else _frozen(confidences, (), count)
        self.angles = _frozen(np.zeros(count) if angles is None else angles, (), count)
        self.known_false = _names(known_false, count)
        self.image_size = _checked_size(image_size)
        if timings is not None and not isinstance(timings, Timings):
            raise OptionsError(f"timings must be Timings or None; got {shown(timings)}")
        self.timings = timings

    @classmethod
    def empty(cls, image_size: tuple[int, int], timings: Timings | None = None) -> Self:
        """No face, in the same shapes with zero rows."""
        return cls(
            np.zeros((0, 4)),
            np.zeros(0),
            np.zeros((0, 5, 2)),
            image_size=image_size,
            timings=timings,
        )

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, index: int) -> Face: ...
    @overload
    def __getitem__(self, index: slice | npt.ArrayLike) -> Faces: ...
    def __getitem__(self, index: int | slice | npt.ArrayLike) -> Face | Faces:
        """One ``Face`` for an integer; ``Faces`` for a slice, a boolean mask or an index array."""
        if isinstance(index, (int, np.integer)):
            return self._face(range(len(self))[int(index)])
        rows = index if isinstance(index, slice) else np.asarray(index)
        if isinstance(rows, np.ndarray) and rows.size == 0:
            rows = rows.astype(np.intp)  # [] is a float array, which NumPy refuses as an index
        return Faces(
            self.boxes[rows],
            self.scores[rows],
            self.landmarks[rows],
            confidences=self.confidences[rows],
            angles=self.angles[rows],
            known_false=self.known_false[rows],
            image_size=self.image_size,
            timings=self.timings,
        )

    def __iter__(self) -> Iterator[Face]:
        return (self._face(row) for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Faces):
            return NotImplemented
        return self.image_size == other.image_size and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("boxes", "scores", "landmarks", "confidences", "angles", "known_false")
        )

    __hash__ = None  # type: ignore[assignment]  # compares by value, over arrays

    def __setstate__(self, state: tuple[dict[str, Any] | None, dict[str, Any]]) -> None:
        # Arrays come writable out of a pickle or a deep copy.
        attributes, slots = state
        for name, value in {**(attributes or {}), **slots}.items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            setattr(self, name, value)

    def __repr__(self) -> str:
        height, width = self.image_size
        best = f", best score {score_text(self.scores.max())}" if len(self) else ""
        return f"Faces({len(self)} in {width}x{height}{best})"

    def largest(self) -> Face | None:
        """The face with the largest box; ``None`` when there is none."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return self._face(int(np.argmax(sides.prod(axis=1)))) if len(self) else None

    def best(self) -> Face | None:
        """The face with the highest score; ``None`` when there is none."""
        return self._face(int(np.argmax(self.scores))) if len(self) else None

    def clipped_boxes(self) -> FloatArray:
        """(N, 4) boxes cut to the image: x within 0..width, y within 0..height."""
        height, width = self.image_size
        return np.clip(self.boxes, 0, np.array([width, height] * 2, dtype=np.float32))

    def to_dicts(self) -> list[dict[str, Any]]:
        """The faces in the format of ``mtcnn``, with score and angle, see ``Face.to_dict``."""
        return [face.to_dict() for face in self]

    def to_supervision(self) -> Any:
        """The faces as ``supervision.Detections`` with scores and landmarks.

        Raises:
            ImportError: the package ``supervision`` is not installed.
        """
        import supervision

        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            data={"landmarks": self.landmarks.copy()},
        )

    def _face(self, row: int) -> Face:
        return Face(
            box=tuple(self.boxes[row].tolist()),
            score=float(self.scores[row]),
            landmarks=Landmarks(*(tuple(point) for point in self.landmarks[row].tolist())),
            confidence=float(self.confidences[row]),
            angle=float(self.angles[row]),
            known_false=self.known_false[row],
        )


def _frozen(values: npt.ArrayLike, row: tuple[int, ...], count: int | None = None) -> FloatArray:
    """A read-only float32 copy of shape (count, *row)."""
    try:
        array = np.array(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise OptionsError(f"expected an array of numbers; got {shown(values)}") from None
    if array.shape[1:] != row or array.ndim == 0 or (count is not None and len(array) != count):
        expected = ("N" if count is None else count, *row)
        raise OptionsError(f"expected an array of shape {expected}, got {array.shape}")
    array.flags.writeable = False
    return array


def _names(values: object, count: int) -> npt.NDArray[np.object_]:
    """A read-only copy of names or ``None``, (count,)."""
    names = np.full(count, None) if values is None else np.array(values, dtype=object)
    if names.shape != (count,) or not all(v is None or isinstance(v, str) for v in names):
        raise OptionsError(f"known_false must be {count} names or None; got {shown(values)}")
    names.flags.writeable = False
    return names


def _checked_size(size: object) -> tuple[int, int]:
    """Height and width as given, if they are two whole numbers."""
    if (
        not isinstance(size, (tuple, list))
        or len(size) != 2
        or not all(isinstance(side, (int, np.integer)) and side >= 0 for side in size)
    ):
        raise OptionsError(f"image_size must be height and width, pixels; got {shown(size)}")
    return size[0], size[1]


def score_text(score: float) -> str:
    """A score for people: four digits, rounded down.

    So only a score of 1 reads 1.0000, and a threshold copied from the text keeps the face.
    """
    return f"{score:.9f}"[:-5]


def mtcnn_entry(face: Face) -> dict[str, Any]:
    """A face exactly as ``mtcnn`` returns it, see ``Face.to_dict``."""
    x1, y1, x2, y2 = face.box
    x, y = max(0, int(x1)), max(0, int(y1))
    points = zip(LANDMARK_NAMES, face.landmarks, strict=True)
    return {
        "box": [x, y, int(x2 - x), int(y2 - y)],
        "confidence": face.confidence,
        "keypoints": {name: (int(px), int(py)) for name, (px, py) in points},
    }


def face_entry(face: Face) -> dict[str, Any]:
    """A face for JSON: ``Face.to_dict`` and ``box_xyxy``; lists for tuples.

    ``box_xyxy`` is ``Face.box``, in floats of three digits, and means the same in every JSON of
    this package. ``box`` is kept for programs that read the format of ``mtcnn``.
    """
    entry = face.to_dict()
    entry["box_xyxy"] = [round(edge, 3) for edge in face.box]
    entry["keypoints"] = {name: list(point) for name, point in entry["keypoints"].items()}
    return entry


def faces_entry(faces: Faces) -> dict[str, Any]:
    """The faces of one image for JSON: ``width``, ``height``, and ``faces``, best first."""
    height, width = faces.image_size
    return {"width": width, "height": height, "faces": [face_entry(face) for face in faces]}
