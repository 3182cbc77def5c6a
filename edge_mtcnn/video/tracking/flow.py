"""Optical flow: where known faces went since their last detection, for a tenth of O-Net's cost.

A face is a square of gray samples. Its shift, growth and change of brightness are those that best
explain how the samples differ from those of the last detection, by one step of least squares (Lucas
and Kanade 1981, "An Iterative Image Registration Technique with an Application to Stereo Vision").
What they leave unexplained says whether the same face is still there.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache

import cv2
import numpy as np

from edge_mtcnn.types import Faces, Float32Array, FloatArray, ImageArray, Point

__all__ = ["FaceFlow"]

_SAMPLES = 24
"""Samples along a side, each the mean of four pixels."""
_SMALLEST = 24
"""Smallest side of a face, pixels: fewer samples say too little."""
_UNEXPLAINED = 0.35
"""Largest difference that is left, as a share of the contrast of the face."""
_FARTHEST = 0.06
"""Largest shift from where the face is expected, and growth, as shares of its side: one step of
least squares is right for small ones only."""
_STEPS = 4
"""Times that a face is looked for, each from where the last step saw it."""
_STILL = 0.01
"""Shift up to which a face counts as still, as a share of its side."""
_MOVING_SECONDS, _STILL_SECONDS = 0.16, 0.5
"""Longest time since the last detection of a moving face, which turns too, and of a still one."""


class FaceFlow:
    """Follows all faces of the last detection; where one of them may have changed, none is."""

    def __init__(self) -> None:
        self._faces = Faces.empty((0, 0))
        self._time = 0.0
        self._patches: list[_Patch] | None = None

    def start(self, image: ImageArray, faces: Faces, time: float) -> None:
        """Follow faces from where they were just detected.

        Args:
            image: (H, W), (H, W, 3) or (H, W, 4) uint8, the frame.
            faces: all that were found in it.
            time: of the frame, seconds.
        """
        self._faces, self._time, self._patches = faces, time, []
        for box in faces.boxes.tolist():
            patch = _Patch.of(image, box)
            if patch is None:
                self._patches = None
                return
            self._patches.append(patch)

    def follow(self, image: ImageArray, time: float) -> Faces | None:
        """Find the faces in a later frame.

        Args:
            image: of the same size and channels as that of the detection.
            time: of the frame, seconds.

        Returns:
            The faces where they are now, with the scores of their detection; ``None`` if one may
            have changed, or if the detection is too old.
        """
        age = time - self._time
        if not self._patches or not 0 < age <= _STILL_SECONDS:
            return None
        shifts = []
        for patch in self._patches:
            shift = patch.shift_in(image, age)
            if shift is None or (age > _MOVING_SECONDS and not patch.is_still(shift)):
                self._patches = None  # until the next detection
                return None
            shifts.append(shift)
        faces, moved = self._faces, np.array(shifts)
        return Faces(
            faces.boxes + np.tile(moved, 2),
            faces.scores,
            faces.landmarks + moved[:, None],
            confidences=faces.confidences,
            known_false=faces.known_false,
            image_size=faces.image_size,
        )


class _Patch:
    """The samples of one face in the frame of its detection.

    Args:
        samples: (n, n) float32 gray.
        left, top: their first pixel in the frame.
        step: pixels of the frame from one to the next.
    """

    def __init__(self, samples: Float32Array, left: int, top: int, step: int) -> None:
        self._samples = samples
        self._corner = (left, top)
        self._step = step
        self._side = step * len(samples)
        self._speed = (0.0, 0.0)  # pixels per second

    @classmethod
    def of(cls, image: ImageArray, box: tuple[float, float, float, float]) -> _Patch | None:
        """The inside of a box; ``None`` if it is too small, or partly outside the frame."""
        x1, y1, x2, y2 = box
        side = min(x2 - x1, y2 - y1)
        if side < _SMALLEST:
            return None
        count = min(_SAMPLES, int(side) // 2)
        step = 2 * max(1, round(side / count / 2))
        left, top = (round(middle - step * count / 2) for middle in ((x1 + x2) / 2, (y1 + y2) / 2))
        samples = _sampled(image, left, top, count, step)
        return None if samples is None else cls(samples, left, top, step)

    def shift_in(self, image: ImageArray, age: float) -> Point | None:
        """How far the face moved, x and y in pixels; ``None`` if it may have changed.

        Args:
            image: a later frame.
            age: time since the detection, seconds.
        """
        x, y = (round(speed * age) for speed in self._speed)
        for _ in range(_STEPS):
            samples = self._sampled(image, x, y)
            if samples is None:
                return None
            motion, inverse, contrast = self._motion
            difference = (samples - self._samples).ravel()
            moved = inverse @ (motion.T @ difference)
            unexplained = difference - motion @ moved
            across, down, growth = moved[:3].tolist()
            shift = (x + self._step * across, y + self._step * down)
            same = float(unexplained @ unexplained) <= (_UNEXPLAINED * contrast) ** 2
            if max(abs(across), abs(down), abs(growth)) <= _FARTHEST * len(samples) and same:
                self._speed = (shift[0] / age, shift[1] / age)
                return shift
            x, y = round(shift[0]), round(shift[1])
        return None

    def _sampled(self, image: ImageArray, x: int, y: int) -> Float32Array | None:
        left, top = self._corner
        return _sampled(image, left + x, top + y, len(self._samples), self._step)

    def is_still(self, shift: Point) -> bool:
        """Whether a shift is so small that the face counts as still."""
        return math.hypot(*shift) <= _STILL * self._side

    @cached_property
    def _motion(self) -> tuple[Float32Array, FloatArray, float]:
        """What each motion changes in the samples, (n * n, 4); its inverse; and the contrast.

        The motions are one sample to the right, one down, a growth by one sample on each side, and
        more light.
        """
        ys, xs = np.gradient(self._samples)
        across, down = _coordinates(len(self._samples))
        changes = (-xs, -ys, -(xs * across + ys * down), np.ones_like(xs))
        motion = np.stack([change.ravel() for change in changes], axis=1)
        contrast = float(np.std(self._samples)) * math.sqrt(self._samples.size)
        # A face without contrast has no inverse; a little more than nothing makes it unexplained.
        inverse = np.linalg.inv(motion.T @ motion + 1e-3 * np.eye(4))
        return motion, inverse, contrast


def _sampled(image: ImageArray, left: int, top: int, count: int, step: int) -> Float32Array | None:
    """(count, count) float32 samples of green, of four pixels each; ``None`` outside the frame."""
    bottom, right = top + count * step, left + count * step
    if left < 0 or top < 0 or bottom > image.shape[0] or right > image.shape[1]:
        return None
    pixels = image[top : bottom : step // 2, left : right : step // 2]
    if pixels.ndim == 3:
        pixels = pixels[..., min(1, pixels.shape[2] - 1)]
    small = cv2.resize(np.ascontiguousarray(pixels), (count, count), interpolation=cv2.INTER_AREA)
    samples: Float32Array = small.astype(np.float32)
    return samples


@lru_cache(maxsize=32)
def _coordinates(count: int) -> tuple[Float32Array, Float32Array]:
    """Distance of samples from the middle, as a share of half the side, across and down."""
    places = np.linspace(-1, 1, count, dtype=np.float32)
    return places[None], places[:, None]
