"""``RotationFinder`` finds, by the faces in its frames, how a camera is mounted.

The detector hardly finds a face that lies on its side or stands on its head. So the rotation of a
camera is the one in which faces are found, and frames are looked at in all four of them.
"""

from __future__ import annotations

from dataclasses import replace

from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.images.mounting import ROTATIONS, Mounting
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video.source.reader import Frame
from edge_mtcnn.video.source.source import Source
from edge_mtcnn.video.tracking.motion import MotionGate, thumbnail

__all__ = ["RotationFinder"]

_MOUNTINGS = tuple(Mounting(rotate=degrees) for degrees in ROTATIONS)
_PAUSE, _LONG_PAUSE = 0.25, 1.0
"""Seconds from one look to the next: after faces were found, and otherwise. Each look takes as long
as four full searches of a frame."""
_SHORT_PAUSES = 20
"""Looks with faces, in a row, after which pauses are long again: these faces do not decide it."""
_ENOUGH = 2.5
"""Sum of scores that a rotation needs: three looks at one clear face, or fewer at several."""
_LEAST_SHARE = 0.8
"""Share of all scores that a rotation needs. Faces that tell another story, such as a poster on its
side, are outvoted, or leave it undecided."""
_KEPT = 0.9
"""What a look leaves of the scores before it, so that new faces can decide it in the end."""


class RotationFinder:
    """Looks at frames of one source, as they are and turned, until it is clear which is upright.

    Args:
        source: where the frames come from; it is turned when that is clear.
        detector: finds the faces.
        confidence: lowest score of a face that counts, 0..1.
    """

    def __init__(self, source: Source, detector: FaceDetector, confidence: float) -> None:
        self._source = source
        self._detector = detector
        self._confidence = confidence
        self._sums = [0.0] * len(ROTATIONS)
        self._looks = 0  # with faces, in a row
        self._next = float("-inf")
        self._found = True
        self._gate = MotionGate()

    def look(self, frame: Frame) -> Frame | None:
        """Look at the newest frame of the source, unless it is too early for that.

        Returns:
            The frame, turned as the following ones will be; ``None`` if it is not clear yet how.
        """
        if frame.time < self._next:
            return None
        small = thumbnail(frame.image)
        # Where nobody was a moment ago, and nothing has changed, nobody is now.
        if not self._found and not self._gate.changed(small):
            return None
        self._gate.mark(small)
        scores = [self._score(mounting.applied(frame.image)) for mounting in _MOUNTINGS]
        self._found = any(scores)
        self._looks = self._looks + 1 if self._found else 0
        short = self._found and self._looks <= _SHORT_PAUSES
        self._next = frame.time + (_PAUSE if short else _LONG_PAUSE)
        if not self._found:
            return None
        self._sums = [_KEPT * old + new for old, new in zip(self._sums, scores, strict=True)]
        best = max(self._sums)
        if best < _ENOUGH or best < _LEAST_SHARE * sum(self._sums):
            return None
        quarters = self._sums.index(best)
        before = self._source.mounting
        # Frames are mirrored last, and a picture turns the other way in a mirror.
        clockwise = quarters if before.flip is None else -quarters
        rotation = ROTATIONS[(ROTATIONS.index(before.rotate) + clockwise) % len(ROTATIONS)]
        self._source.mounting = replace(before, rotate=rotation)
        return replace(frame, image=_MOUNTINGS[quarters].applied(frame.image))

    def _score(self, image: ImageArray) -> float:
        """Sum of the scores of the faces that count."""
        scores = self._detector.detect(image, color="bgr").scores
        return float(scores[scores >= self._confidence].sum())
