"""``FaceTracker`` follows faces through a video for a fraction of the cost of full detections.

Known faces are followed by optical flow for a few frames, and then searched for where they are
expected, by O-Net alone. If that misses one, and a few times per second to score them again, R-Net
and the mirror check are used too. New faces are found
by searching a part of the image pyramid in each frame, in turn, and by full searches when the scene
changes.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.images.arrays import checked_array
from edge_mtcnn.options.checks import check_int, check_number, check_options, check_type
from edge_mtcnn.types import Faces, FloatArray, ImageArray
from edge_mtcnn.video.tracking.budget import Budget
from edge_mtcnn.video.tracking.flow import FaceFlow
from edge_mtcnn.video.tracking.motion import MotionGate, thumbnail
from edge_mtcnn.video.tracking.tracks import Track, TrackBook

if TYPE_CHECKING:
    from edge_mtcnn.cascade.search import Search

__all__ = ["FaceTracker", "TrackerCounts", "TrackerOptions"]

_GAIN_SHARE = 0.1
"""Weight of the newest frame in the reported gain."""
_ASKED_WHEN_MISSED = (1, 2, 3, 5, 8, 12, 20)
"""Numbers of misses in a row after which a track asks for a search, less and less often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerOptions:
    """How faces are followed.

        careful = TrackerOptions(discovery_seconds=0.3, budget_ms=8)

    Attributes:
        discovery_seconds: time within which all levels of the pyramid are searched once, seconds,
            0.05..60. It is the maximum time until a new face is found, unless a budget is set.
        full_every: number of frames after which a full search is always made, at least 1.
        search_gap: minimum time between two full searches because of motion or of a new or lost
            track, seconds, 0..60.
        score_gap: maximum time until a known face is scored again by the mirror check, seconds,
            0..60; every frame that is searched anyway scores it too.
        confirm_hits: number of detections after which a track is confirmed, 1..100.
        keep_seconds: time for which a confirmed track is kept without a detection, seconds, 0..60.
        max_tracks: maximum number of faces followed at the same time, 1..10,000. It limits the cost
            of a frame full of false faces: each track is looked for in up to ten places.
        budget_ms: average wall time per frame, milliseconds, 0.1..60,000; ``None`` for no limit. If
            it is short, new faces are found later, and known faces are looked at in fewer frames.
        budget_share: the same limit as a share of one core, 0.01..64: processor time of the
            detector's threads per second of video.
    """

    discovery_seconds: float = 1.0
    full_every: int = 150
    search_gap: float = 0.25
    score_gap: float = 0.5
    confirm_hits: int = 2
    keep_seconds: float = 1.0
    max_tracks: int = 500
    budget_ms: float | None = None
    budget_share: float | None = None

    def __post_init__(self) -> None:
        check_number("discovery_seconds", self.discovery_seconds, 0.05, 60)
        check_int("full_every", self.full_every, 1, None)
        check_number("search_gap", self.search_gap, 0, 60)
        check_number("score_gap", self.score_gap, 0, 60)
        check_int("confirm_hits", self.confirm_hits, 1, 100)
        check_number("keep_seconds", self.keep_seconds, 0, 60)
        check_int("max_tracks", self.max_tracks, 1, 10_000)
        if self.budget_ms is not None:
            check_number("budget_ms", self.budget_ms, 0.1, 60_000)
        if self.budget_share is not None:
            check_number("budget_share", self.budget_share, 0.01, 64)


@dataclass(slots=True)
class TrackerCounts:
    """What a tracker has done so far, in frames; but the last two are in faces.

    Attributes:
        frames: all frames.
        full: frames with a full search.
        rotating: frames with a search of a part of the pyramid.
        near: frames in which known faces were searched for where they were expected.
        flow: frames in which optical flow followed known faces, without a search.
        skipped: frames that were not searched.
        untracked: faces that were not followed, because there were ``max_tracks`` tracks.
        known_false: known false faces that were left out, of all frames.
    """

    frames: int = 0
    full: int = 0
    rotating: int = 0
    near: int = 0
    flow: int = 0
    skipped: int = 0
    untracked: int = 0
    known_false: int = 0


class FaceTracker:
    """Follows the faces of one video. It may be used by one thread at a time.

        tracker = FaceTracker(FaceDetector(preset="kiosk"))
        for frame in open_source("entrance.mp4"):
            for track in tracker.update(frame.image, frame.time):
                print(track.id, track.face.box)

    Args:
        detector: finds the faces; it may be shared and is not closed by the tracker. Its ``angles``
            must be ``()``: they would take several times as long for each frame. A track begins
            with a score of at least its ``confidence``, and goes on with any: a known face may have
            a low score in some frames.
        options: how they are followed.

    Attributes:
        gain: mean gain of the recent frames, see ``DetectorOptions.exposure``; 1 in the light.

    Raises:
        OptionsError: the detector has ``angles``, or an argument is of the wrong type.
    """

    def __init__(self, detector: FaceDetector, options: TrackerOptions | None = None) -> None:
        check_type("detector", detector, FaceDetector)
        if detector.options.angles:
            raise OptionsError(
                "angles are for photos, and cannot be used for a video; got a detector with angles"
                f" {shown(detector.options.angles)}: use one with angles=(), and"
                " SourceOptions(rotate=...) for a camera that is not mounted upright"
            )
        self.options = check_options("options", options, TrackerOptions)
        self.counts = TrackerCounts()
        self._detector = detector
        self._book = TrackBook(
            self.options.confirm_hits,
            self.options.keep_seconds,
            self.options.max_tracks,
            detector.options.confidence,
        )
        self._every_find = detector.options.every_find()
        self._gate = MotionGate()
        self._flow = FaceFlow()
        self.gain = 1.0
        threads = int(detector.info()["threads"])
        self._budget = Budget(self.options.budget_ms, self.options.budget_share, threads)
        self._last: float | None = None
        self._begin((0, 0), 0)

    def reset(self) -> None:
        """Remove all tracks, for example after a cut; their ids are not used again."""
        self._book.clear()
        self._begin((0, 0), 0)

    def drop(self, track: int) -> None:
        """Remove the track with this id, if there is one. A face found there begins a new one."""
        self._book.drop(track)

    def update(
        self,
        image: ImageArray,
        time: float | None = None,
        *,
        color: Literal["bgr", "rgb"] = "bgr",
        small: ImageArray | None = None,
    ) -> tuple[Track, ...]:
        """Follow the faces into the next frame.

        Args:
            image: (H, W, 3), (H, W) gray or (H, W, 4), uint8. All tracks end if the size changes.
            time: time of the frame, seconds, not before that of the last frame; now if omitted.
            color: order of the channels.
            small: ``thumbnail(image)``, if it has been made already.

        Returns:
            All tracks, confirmed or not; the one that is known longest comes first.
        """
        started = clock.perf_counter()
        if time is not None:
            check_number("time", time, -1e300, 1e300)
        if small is not None:
            checked_array(small)
        now = clock.monotonic() if time is None else time
        search = self._detector.search(image, options=self._every_find, color=color)
        size = (image.shape[0], image.shape[1])
        if size != self._size:
            self._book.clear()
            self._begin(size, search.level_count)
        step = max(now - self._last, 0.0) if self._last is not None else 0.0
        self._last = now
        self.counts.frames += 1
        self._budget.frame(step)

        # Made where it is needed: most frames with a known face do without.
        frame = _Frame(image, search, now, lambda: thumbnail(image) if small is None else small)
        faces = self._look(frame, step)
        self._budget.spent((clock.perf_counter() - started) * 1e3)
        self.counts.known_false += len(search.left_out)
        self._book.exclude(search.left_out.boxes, now)
        if faces is None:
            self.counts.skipped += 1
            return self._book.tracks(now)
        tracks = self._book.update(faces, now, scored=self._scored == now)
        self.counts.untracked = self._book.untracked
        return tracks

    def _begin(self, size: tuple[int, int], levels: int) -> None:
        """Start again, with frames of this size and number of pyramid levels."""
        self._size = size
        self._nothing = Faces.empty(size)
        self._parts = _parts(levels)
        self._last = None
        self._turn = 0  # next part of the rotation, and how many are due
        self._due = 0.0
        self._since_full = self.options.full_every
        self._full_time = self._scored = -np.inf
        self._gate = MotionGate()
        self._flow = FaceFlow()
        self._budget.forget()

    def _look(self, frame: _Frame, step: float) -> Faces | None:
        """Find the faces of this frame; ``None`` if nothing was searched.

        The cheapest way that suffices is taken: optical flow, then O-Net alone at the known faces,
        then also R-Net and a part of the pyramid, then the whole pyramid. All share the prepared
        frame.
        """
        boxes = self._book.windows(frame.time)
        self._since_full += 1
        self._due += step * len(self._parts) / self.options.discovery_seconds
        if self._full_is_due(frame, boxes) and self._budget.allows_search(1.0):
            return self._full(frame, boxes)

        levels = self._rotated()
        if not levels and len(boxes) and (moved := self._moved(frame)) is not None:
            return moved
        # The two have separate costs: the budget may cover a part of the pyramid when it does not
        # cover a crowd of known faces.
        if len(boxes) and not self._budget.allows_near():
            boxes = boxes[:0]
        if not len(boxes) and not levels:
            # With tracks the frame is skipped, so that they do not count as missed.
            return None if len(self._book) else self._searched(frame, self._nothing)
        self.counts.near += bool(len(boxes))
        self.counts.rotating += bool(levels)
        started = clock.perf_counter()
        # If a part of the pyramid is due, the known faces go through its stages with it.
        known = self._known(frame, boxes) if not levels and len(boxes) else None
        if known is not None:
            self._budget.near_took((clock.perf_counter() - started) * 1e3)
            return known
        self._scored = frame.time
        faces = self._searched(frame, frame.search.near(boxes, levels))
        if not levels:
            self._budget.near_took((clock.perf_counter() - started) * 1e3)
        if not len(boxes):
            # The places of the tracks were not searched, but a face that was found may be theirs.
            return faces if len(faces) or not len(self._book) else None
        if self._lost(faces, frame.time) and self._budget.allows_search(1.0):
            return self._full(frame, boxes)
        return faces

    def _full_is_due(self, frame: _Frame, boxes: FloatArray) -> bool:
        """Whether to search all levels: after a time, for a new track, or in a changed scene."""
        if self._since_full >= self.options.full_every or self._due >= max(len(self._parts), 1):
            return True
        if frame.time - self._full_time < self.options.search_gap:
            return False
        # A new track may not be alone; an empty scene may have changed.
        if len(boxes):
            return self._book.born_since(self._full_time)
        return self._gate.changed(frame.small(), frame.search.gain)

    def _moved(self, frame: _Frame) -> Faces | None:
        """Find all known faces by optical flow; ``None`` if it may miss one or is not enough."""
        if self._must_score(frame):
            return None
        faces = self._flow.follow(frame.image, frame.time)
        if faces is None or not self._book.all_in(faces, frame.time):
            return None
        self.counts.flow += 1
        return faces

    def _must_score(self, frame: _Frame) -> bool:
        """Whether R-Net and the mirror check have to look at the known faces again."""
        late = frame.time - self._scored >= self.options.score_gap
        return late or not self._book.settled

    def _searched(self, frame: _Frame, faces: Faces) -> Faces:
        """Note what was found in a frame, and return it."""
        self._flow.start(frame.image, faces, frame.time)
        self.gain += _GAIN_SHARE * (frame.search.gain - self.gain)
        return faces

    def _known(self, frame: _Frame, boxes: FloatArray) -> Faces | None:
        """Find all known faces by O-Net alone; ``None`` if that misses one or is not enough."""
        if self._must_score(frame):
            return None
        faces = self._searched(frame, frame.search.quick(boxes))
        return faces if self._book.all_in(faces, frame.time) else None

    def _full(self, frame: _Frame, boxes: FloatArray) -> Faces:
        """Search all levels and the expected places."""
        started = clock.perf_counter()
        faces = self._searched(frame, frame.search.everywhere(boxes))
        self._budget.full_took((clock.perf_counter() - started) * 1e3)
        self.counts.full += 1
        self._since_full, self._full_time, self._scored = 0, frame.time, frame.time
        self._turn, self._due = 0, 0.0
        self._gate.mark(frame.small())
        return faces

    def _lost(self, faces: Faces, now: float) -> bool:
        """Whether a track was just lost, long enough after the last full search."""
        if now - self._full_time < self.options.search_gap:
            return False
        return any(count in _ASKED_WHEN_MISSED for count in self._book.missing(faces, now))

    def _rotated(self) -> tuple[int, ...]:
        """The levels to search in this frame."""
        levels: list[int] = []
        for _ in self._parts:
            if self._due < 1:
                break
            part = self._parts[self._turn]
            # The share of a full search that this part costs, roughly: with the usual scale factor
            # each level costs half of the level before.
            if not self._budget.allows_search(0.5 ** min(self._turn + 1, len(self._parts) - 1)):
                self._due = min(self._due, float(len(self._parts)))
                break
            levels.extend(part)
            self._turn = (self._turn + 1) % len(self._parts)
            self._due -= 1
        return tuple(levels)


class _Frame(NamedTuple):
    """The frame that is searched.

    Attributes:
        image: its pixels.
        search: the prepared search of the frame.
        time: time of the frame, seconds.
        small: function that makes its thumbnail.
    """

    image: ImageArray
    search: Search
    time: float
    small: Callable[[], ImageArray]


def _parts(levels: int) -> list[tuple[int, ...]]:
    """Split the pyramid into parts of similar cost: large levels alone, the others together."""
    alone = min(levels, 2)
    parts: list[tuple[int, ...]] = [(level,) for level in range(alone)]
    return parts + [tuple(range(alone, levels))] * (levels > alone)
