"""Tracks: the same face from frame to frame under one id.

``TrackBook`` assigns the faces found in a frame to tracks. Its rules use boxes and times only, no
images and no detector. Boxes are ``x1, y1, x2, y2``, source pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_mtcnn.types import Face, Faces, FloatArray, Landmarks
from edge_mtcnn.video.tracking.smoothing import Box, FaceFilter

__all__ = ["Track", "TrackBook", "continuous_iou"]

# A face continues the track that overlaps it or whose centre is this near, in face sizes.
_LEAST_OVERLAP = 0.15
_FARTHEST_CENTRE = 0.6
_LARGEST_SIZE_RATIO = 1.8
# An unseen track that overlaps a seen one this much is most likely the same face.
_SAME_FACE = 0.45
_SCALES_OF_A_MISSED_FACE = (1.35, 0.8)
# If no movement is known, or it was wrong, the face is searched for at the sides, in face sizes.
_SIDESTEP = 0.35
_SCORES_OF_A_MEAN = 4
_KNOWN_SECONDS = 2.0
"""Time for which the place of a known false face counts as that after it was recognised, seconds.
It is not recognised in every frame."""
_RECOGNISED = 2
"""Number of times in ``_KNOWN_SECONDS`` from which on a track is that thing. Once may be a
mistake."""
_FEW = 16
"""Number of faces up to which comparing all of them is faster than finding the near ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One face that is followed, in its state at the newest frame.

    Attributes:
        id: number of the track, from 1; numbers are not used again.
        face: smoothed box and landmarks, source pixels. The score is that of the last detection
            that was scored, at most some tenths of a second ago.
        confirmed: whether it was found often enough to count as a face.
        seen: whether it was found in this frame; otherwise box and landmarks are predicted.
        first_seen, last_seen: monotonic times of the first and the last detection, seconds.
        hits: number of frames in which it was found.
        mean_score: mean score of the recent detections, 0..1.
    """

    id: int
    face: Face
    confirmed: bool
    seen: bool
    first_seen: float
    last_seen: float
    hits: int
    mean_score: float


class TrackBook:
    """Assigns found faces to tracks.

    Args:
        confirm_hits: number of detections after which a track is confirmed, at least 1.
        keep_seconds: time for which a confirmed track is kept without a detection, seconds.
        max_tracks: maximum number of tracks, at least 1.
        start_score: minimum score of a face that begins a track, 0..1.

    Attributes:
        untracked: faces of all frames so far that were not followed because of ``max_tracks``.
    """

    def __init__(
        self,
        confirm_hits: int = 2,
        keep_seconds: float = 1.0,
        max_tracks: int = 500,
        start_score: float = 0.0,
    ) -> None:
        self.untracked = 0
        self._confirm_hits = confirm_hits
        self._keep_seconds = keep_seconds
        self._max_tracks = max_tracks
        self._start_score = start_score
        self._followed: list[_Followed] = []
        self._known: list[tuple[Box, float]] = []
        self._paired: tuple[Faces, float, list[tuple[int, int]]] | None = None  # the last
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._followed)

    def clear(self) -> None:
        """Remove all tracks; their ids are not used again."""
        self._followed.clear()
        self._known.clear()
        self._paired = None

    def drop(self, number: int) -> None:
        """Remove the track with this id, if there is one."""
        self._followed = [followed for followed in self._followed if followed.id != number]
        self._paired = None

    def exclude(self, boxes: FloatArray, time: float) -> None:
        """Note where known false faces were recognised, so that they are not followed.

        Args:
            boxes: (N, 4); N may be 0.
            time: monotonic time of the frame, seconds.
        """
        self._known = [known for known in self._known if time - known[1] <= _KNOWN_SECONDS]
        if not len(boxes):
            return
        self._known += [(tuple(box), time) for box in boxes.tolist()]
        self._followed = [
            followed
            for followed in self._followed
            if self._times_known(followed.filter.expected(time).box) < _RECOGNISED
        ]
        self._paired = None

    def _times_known(self, box: Box) -> int:
        """How often a known false face was recognised at this box, a moment ago."""
        return sum(continuous_iou(box, known) > _SAME_FACE for known, _ in self._known)

    def windows(self, time: float) -> FloatArray:
        """Boxes in which to look for tracks, (N, 4); several for a track just found or missed."""
        boxes: list[Box] = []
        for followed in self._followed:
            box = followed.filter.expected(time).box
            boxes.append(box)
            if followed.hits == 1:
                step = _SIDESTEP * (followed.missed + 1) * (box[2] - box[0])
                boxes.extend(_beside(box, step, 0.0))
            if followed.missed:
                step = _SIDESTEP * (box[2] - box[0])
                boxes.extend(
                    (followed.last_box, *_beside(box, step, 0.0), *_beside(box, 0.0, step))
                )
                boxes.extend(_scaled(box, scale) for scale in _SCALES_OF_A_MISSED_FACE)
        return np.array(boxes).reshape(-1, 4)

    def born_since(self, time: float) -> bool:
        """Whether a confirmed track was first seen at this time or later."""
        return any(
            followed.first_seen >= time and followed.hits >= self._confirm_hits
            for followed in self._followed
        )

    def all_in(self, faces: Faces, time: float) -> bool:
        """Whether every track has a face in ``faces``."""
        return len(self._pairs(faces, time)) == len(self._followed)

    def missing(self, faces: Faces, time: float) -> list[int]:
        """Number of misses in a row of each confirmed track without a face in ``faces``."""
        found = {row for row, _ in self._pairs(faces, time)}
        return [
            followed.missed + 1
            for row, followed in enumerate(self._followed)
            if row not in found and followed.hits >= self._confirm_hits
        ]

    @property
    def settled(self) -> bool:
        """Whether all were seen just now, and their scores are means of several detections."""
        return all(
            followed.missed == 0 and followed.scored >= _SCORES_OF_A_MEAN
            for followed in self._followed
        )

    def update(self, faces: Faces, time: float, *, scored: bool = True) -> tuple[Track, ...]:
        """Use the faces of a frame; a track without a face counts as missed.

        Known tracks stay. New faces are followed in the given order, up to ``max_tracks``.

        Args:
            faces: all faces that were found, best first; some may be new.
            time: monotonic time of the frame, seconds.
            scored: whether their scores count; otherwise known tracks keep theirs.

        Returns:
            The tracks, longest known first.
        """
        pairs = self._pairs(faces, time)
        self._paired = None
        for row, column in pairs:
            self._followed[row].update(faces[column], time, scored)
        known = {column for _, column in pairs}
        paired = {row for row, _ in pairs}
        for row, followed in enumerate(self._followed):
            if row not in paired:
                followed.missed += 1
        self._followed = [followed for followed in self._followed if self._kept(followed, time)]
        starting = np.flatnonzero(faces.scores >= self._start_score).tolist()
        new = [
            column
            for column in starting
            if column not in known and not self._times_known(tuple(faces.boxes[column].tolist()))
        ]
        room = self._max_tracks - len(self._followed)
        for column in new[:room]:
            self._followed.append(_Followed(self._next_id, faces[column], time))
            self._next_id += 1
        self.untracked += len(new[room:])
        return self.tracks(time)

    def tracks(self, time: float) -> tuple[Track, ...]:
        """Predict the tracks at ``time``, without new faces.

        Each unseen track is compared with each seen one; ``max_tracks`` bounds the number of pairs.
        """
        tracks = [followed.track(time, self._confirm_hits) for followed in self._followed]
        seen = [track.face.box for track in tracks if track.seen]
        return tuple(
            track
            for track in tracks
            if track.seen or all(continuous_iou(track.face.box, box) <= _SAME_FACE for box in seen)
        )

    def _kept(self, followed: _Followed, time: float) -> bool:
        if followed.missed == 0:
            return True
        if followed.hits < self._confirm_hits:  # not confirmed: it may be missed once
            return followed.missed < 2
        return time - followed.last_seen <= self._keep_seconds

    def _pairs(self, faces: Faces, time: float) -> list[tuple[int, int]]:
        """Match tracks and faces greedily, best fit first; pairs of their row numbers."""
        last = self._paired
        if last is not None and last[0] is faces and last[1] == time:
            return last[2]
        near = _Nearby(faces.boxes)
        fits = []
        for row, followed in enumerate(self._followed):
            expected = followed.filter.expected(time).box
            reach = _FARTHEST_CENTRE * (followed.missed + 1 if followed.hits == 1 else 1)
            # A track that was missed may have stopped where it was.
            places = (expected, followed.last_box) if followed.missed else (expected,)
            for column, box in near.to(places, reach):
                fit = max(_fit(place, box, reach) for place in places)
                if fit > 0:  # of two equal fits, the track that was seen more recently
                    fits.append((fit - 0.02 * min(followed.missed, 10), row, column))
        fits.sort(reverse=True)
        rows: set[int] = set()
        columns: set[int] = set()
        pairs = []
        for _, row, column in fits:
            if row not in rows and column not in columns:
                pairs.append((row, column))
                rows.add(row)
                columns.add(column)
        self._paired = (faces, time, pairs)
        return pairs


def _beside(box: Box, x: float, y: float) -> tuple[Box, Box]:
    """The box moved one way and the other, pixels."""
    x1, y1, x2, y2 = box
    return (x1 - x, y1 - y, x2 - x, y2 - y), (x1 + x, y1 + y, x2 + x, y2 + y)


def _scaled(box: Box, scale: float) -> Box:
    """The box, larger or smaller about its centre."""
    x1, y1, x2, y2 = box
    x, y = (x2 - x1) * (scale - 1) / 2, (y2 - y1) * (scale - 1) / 2
    return (x1 - x, y1 - y, x2 + x, y2 + y)


def continuous_iou(box: Box, other: Box) -> float:
    """Intersection over union of two boxes ``x1, y1, x2, y2`` of width ``x2 - x1``.

    Smoothed and predicted boxes have continuous coordinates. ``cascade/boxes.py`` counts pixels
    instead, so that a width is ``x2 - x1 + 1``.
    """
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = box, other
    inner = max(min(ax2, bx2) - max(ax1, bx1), 0) * max(min(ay2, by2) - max(ay1, by1), 0)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inner
    return inner / union if union > 0 else 0.0


class _Followed:
    """A track (mutable, internal)."""

    def __init__(self, number: int, face: Face, time: float) -> None:
        self.id = number
        self.filter = FaceFilter(face.box, face.landmarks, time)
        self.first_seen = self.last_seen = time
        self.hits = self.scored = 1
        self.missed = 0
        self._last = face
        self._mean_score = face.score

    def update(self, face: Face, time: float, scored: bool) -> None:
        self.filter.correct(face.box, face.landmarks, time)
        self.last_seen = time
        self.hits += 1
        self.missed = 0
        if scored:
            self.scored += 1
            self._last = face
            self._mean_score += (face.score - self._mean_score) / min(self.scored, 10)

    @property
    def last_box(self) -> Box:
        """The smoothed box of the last detection."""
        return self.filter.expected(self.last_seen).box

    def track(self, time: float, confirm_hits: int) -> Track:
        expected = self.filter.expected(time)
        return Track(
            id=self.id,
            face=Face(
                box=expected.box,
                score=self._last.score,
                landmarks=Landmarks(*expected.landmarks),
                confidence=self._last.confidence,
            ),
            confirmed=self.hits >= confirm_hits,
            seen=self.missed == 0,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            hits=self.hits,
            mean_score=self._mean_score,
        )


class _Nearby:
    """Index of the faces of a frame: finds those near a place without comparing all of them.

    Args:
        boxes: boxes of the faces, (N, 4).
    """

    def __init__(self, boxes: FloatArray) -> None:
        self._boxes: list[Box] = [tuple(box) for box in boxes.tolist()]
        exact = boxes.astype(np.float64)
        self._centres = (exact[:, :2] + exact[:, 2:]) / 2
        self._sides = exact[:, 2:] - exact[:, :2]

    def to(self, places: Sequence[Box], reach: float) -> Iterable[tuple[int, Box]]:
        """Number and box of each face that may fit one of the places; some others are included."""
        if len(self._boxes) <= _FEW:
            return enumerate(self._boxes)
        near = np.zeros(len(self._boxes), dtype=bool)
        for x1, y1, x2, y2 in places:
            apart = np.abs(self._centres - ((x1 + x2) / 2, (y1 + y2) / 2))
            sides = self._sides + np.array((x2 - x1, y2 - y1))
            # Half of both sides where the boxes meet; `reach` is in sizes of the larger.
            farthest = np.maximum(sides / 2, reach * sides.sum(axis=1, keepdims=True) / 2)
            near |= (apart <= farthest + 1).all(axis=1)
        return [(column, self._boxes[column]) for column in np.flatnonzero(near).tolist()]


def _fit(track: Box, face: Box, reach: float) -> float:
    """How well a face continues a track, 0..1.5; 0 if it cannot be the same face."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = track, face
    a_size, b_size = (ax2 - ax1 + ay2 - ay1) / 2, (bx2 - bx1 + by2 - by1) / 2
    smaller, larger = min(a_size, b_size), max(a_size, b_size, 1e-9)
    if larger > _LARGEST_SIZE_RATIO * smaller:
        return 0.0
    distance = math.hypot(ax1 + ax2 - bx1 - bx2, ay1 + ay2 - by1 - by2) / 2 / larger
    overlap = continuous_iou(track, face)
    if overlap < _LEAST_OVERLAP and distance > reach:
        return 0.0
    return overlap + max(1 - distance, 0.01) * 0.5
