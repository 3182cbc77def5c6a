"""One run of a watcher, from start to stop, in one thread."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import SourceError
from edge_mtcnn.options import load_section
from edge_mtcnn.options.checks import check_type
from edge_mtcnn.video.blind import BlindCheck, BlindOptions, BlindReason
from edge_mtcnn.video.events import (
    Event,
    RotationFound,
    SourceBack,
    SourceLost,
    ViewBlocked,
    ViewCleared,
)
from edge_mtcnn.video.presence import Presence, PresenceOptions
from edge_mtcnn.video.rotation import RotationFinder
from edge_mtcnn.video.snapshot import Snapshot, WatcherState
from edge_mtcnn.video.source.captures import SourceOptions, SourceSpec
from edge_mtcnn.video.source.reader import Frame
from edge_mtcnn.video.source.source import Source
from edge_mtcnn.video.tracking.motion import thumbnail
from edge_mtcnn.video.tracking.tracker import FaceTracker, TrackerOptions

__all__ = ["WatchLoop", "WatchOptions", "load_watch_options"]

_log = logging.getLogger(__name__)

_TURN_SECONDS = 0.2
"""Maximum time the loop waits for a frame, seconds."""
_RATE_SHARE = 0.1
"""Weight of the newest interval in the reported frame rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """All options of a watcher.

        options = WatchOptions(presence=PresenceOptions(select="central"))

    Attributes:
        source: how the source is opened and read.
        tracker: how faces are followed.
        presence: when a person counts as present.
        blind: when a camera counts as blind.
    """

    source: SourceOptions = field(default_factory=SourceOptions)
    tracker: TrackerOptions = field(default_factory=TrackerOptions)
    presence: PresenceOptions = field(default_factory=PresenceOptions)
    blind: BlindOptions = field(default_factory=BlindOptions)

    def __post_init__(self) -> None:
        check_type("source", self.source, SourceOptions)
        check_type("tracker", self.tracker, TrackerOptions)
        check_type("presence", self.presence, PresenceOptions)
        check_type("blind", self.blind, BlindOptions)


def load_watch_options(path: str | os.PathLike[str]) -> WatchOptions:
    """Read the tables ``source``, ``tracking``, ``presence`` and ``blind`` of an options file.

        options = load_watch_options("kiosk.toml")
        watcher = FaceWatcher(0, FaceDetector(config="kiosk.toml"), options)

    Args:
        path: file as for ``edge_mtcnn.options.load_options``; ``edge-mtcnn config --init`` writes
            one. Tables and options that it does not name have their defaults.

    Raises:
        OptionsError: the file cannot be read or parsed, or holds an unknown or invalid option.
    """
    return WatchOptions(
        source=load_section(path, "source", SourceOptions()),
        tracker=load_section(path, "tracking", TrackerOptions()),
        presence=load_section(path, "presence", PresenceOptions()),
        blind=load_section(path, "blind", BlindOptions()),
    )


class WatchLoop(threading.Thread):
    """Reads the source, follows the faces, and reports what changed.

    Args:
        spec: the source.
        detector: finds the faces.
        options: all options.
        first_person: number of the first person to appear.
        send: receives every event.
        publish: receives every new snapshot, and its frame if there is one.
        before: the snapshot before the start; its rotation stays.
    """

    def __init__(
        self,
        spec: SourceSpec,
        detector: FaceDetector,
        options: WatchOptions,
        *,
        first_person: int,
        send: Callable[[Event], None],
        publish: Callable[[Snapshot, Frame | None], None],
        before: Snapshot,
    ) -> None:
        super().__init__(name="edge-mtcnn-watcher", daemon=True)
        self.heartbeat = time.monotonic()
        self.failure: Exception | None = None
        self._options = options
        self._send_event = send
        self._publish = publish
        self._stopping = threading.Event()
        self._dismissed: deque[int] = deque()
        self._look_again = threading.Event()
        self._source = Source(spec, options.source)
        self._detector = detector
        self._finder: RotationFinder | None = None
        self._tracker = FaceTracker(detector, options.tracker)
        self._blind = BlindCheck(options.blind, detector.options.largest_gain)
        self.presence = Presence(options.presence, first_person)
        self._lost_since: float | None = None
        self._blocked_since: float | None = None
        self._reconnects = 0
        self._position: float | None = None
        self._last_turn: float | None = None
        self._source.mounting = replace(self._source.mounting, rotate=before.rotation)
        if before.rotation_state == "looking":
            self.find_rotation()
        self._snapshot = Snapshot(
            turn=before.turn + 1,
            state="starting",
            rotation=before.rotation,
            rotation_state=before.rotation_state,
        )
        self._publish(self._snapshot, None)

    def stop(self) -> None:
        """Stop after the current frame; returns at once, whatever the source does."""
        self._stopping.set()
        self._source.close()

    def dismiss(self, person: int) -> None:
        """Let a person leave before the next frame; from any thread."""
        self._dismissed.append(person)

    def find_rotation(self) -> None:
        """Look for the rotation of the frames again; from any thread."""
        self._look_again.set()

    def run(self) -> None:
        """Watch until the end, a failure, or ``stop``."""
        state: WatcherState = "failed"
        try:
            self._watch()
            state = "stopped" if self._stopping.is_set() else "ended"
        except Exception as error:  # noqa: BLE001 - kept as `failure` and reported
            if self._stopping.is_set():
                state = "stopped"  # the detector may have been closed during the last frame
            else:
                self.failure = error
                if not isinstance(error, SourceError):
                    _log.exception("watching %s failed", self._source.name)
        finally:
            self._source.close()
            self._send(
                self.presence.end(self._snapshot.time, "ended" if state == "ended" else "stopped")
            )
            error_text = None if self.failure is None else str(self.failure)
            self._update(state=state, persons=(), tracks=(), source_error=error_text)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            # If reading threads are stuck for good, the heartbeat stops, and the watchdog restarts
            # the process.
            if not self._source.stuck:
                self.heartbeat = time.monotonic()
            frame = self._source.read(_TURN_SECONDS)
            while self._dismissed:
                self._dismiss(self._dismissed.popleft())
            if self._look_again.is_set():
                self._look_again.clear()
                self._finder = RotationFinder(
                    self._source, self._detector, self._options.presence.confidence
                )
                self._update(rotation_state="looking")
            if frame is not None:
                self._position = frame.position_seconds
                self._regained(frame.time)
                self._look(self._upright(frame))
            elif self._source.state == "closed":
                return
            elif self._source.state == "lost":
                self._lost(time.monotonic())

    def _upright(self, frame: Frame) -> Frame:
        """The frame, turned if its rotation is found now."""
        upright = None if self._finder is None else self._finder.look(frame)
        if upright is None:
            return frame
        self._finder = None
        self._tracker.reset()
        self._blind.reset()
        previous, rotation = self._snapshot.rotation, self._source.mounting.rotate
        self._send([RotationFound(time=frame.time, rotation=rotation, previous=previous)])
        self._update(rotation=rotation, rotation_state="found")
        return upright

    def _look(self, frame: Frame) -> None:
        started = time.perf_counter()
        small = thumbnail(frame.image)
        reason = self._blind.check(frame.image, small, frame.time, live=frame.live)
        size = (frame.image.shape[0], frame.image.shape[1])
        if reason is None and self._blind.suspects:  # then it is unknown who is present
            tracks = self._snapshot.tracks
            self._send(self.presence.unknown(frame.time))
        elif reason is None:
            self._cleared(frame.time)
            tracks = self._tracker.update(frame.image, frame.time, small=small)
            self._send(self.presence.update(tracks, frame.time, size))
        else:
            tracks = ()
            self._blocked(reason, frame.time)
            self._send(self.presence.unknown(frame.time))
        ended = time.perf_counter()
        self._update(
            frame,
            state="watching" if reason is None else "blind",
            time=frame.time,
            position_seconds=frame.position_seconds,
            frame=frame.number,
            frame_size=size,
            tracks=tracks,
            blind_reason=reason,
            frames=self._snapshot.frames + 1,
            fps=self._rate(ended),
            latency_ms=(ended - started) * 1e3,
        )

    def _dismiss(self, person: int) -> None:
        here = next((here for here in self.presence.persons() if here.id == person), None)
        if here is None:
            return
        self._tracker.drop(here.track)
        self._send(self.presence.dismiss(person, self._snapshot.time))
        self._update(tracks=tuple(t for t in self._snapshot.tracks if t.id != here.track))

    def _lost(self, now: float) -> None:
        if self._lost_since is None:
            self._lost_since = now
            self._tracker.reset()
            self._blind.reset()
            self._send([SourceLost(time=now, reason=self._source.last_loss or "no frames")])
        self._send(self.presence.unknown(now))
        self._update(state="lost", time=now, tracks=(), blind_reason=None, fps=0.0)
        self._last_turn = None

    def _regained(self, now: float) -> None:
        if self._source.reconnects > self._reconnects and self._lost_since is None:
            self._lost(now)  # lost and back within one turn of the loop
        self._reconnects = self._source.reconnects
        if self._lost_since is not None:
            seconds = round(max(now - self._lost_since, 0.0), 3)
            self._send([SourceBack(time=now, lost_seconds=seconds)])
            self._lost_since = None

    def _blocked(self, reason: BlindReason, now: float) -> None:
        if self._blocked_since is None:
            self._blocked_since = now
            self._tracker.reset()
            self._send([ViewBlocked(time=now, reason=reason)])

    def _cleared(self, now: float) -> None:
        if self._blocked_since is not None:
            seconds = round(now - self._blocked_since, 3)
            self._send([ViewCleared(time=now, blocked_seconds=seconds)])
            self._blocked_since = None

    def _send(self, events: Sequence[Event]) -> None:
        for event in events:
            self._send_event(replace(event, position_seconds=self._position))

    def _rate(self, now: float) -> float:
        last, self._last_turn = self._last_turn, now
        before = self._snapshot.fps
        if last is None:
            return before
        rate = 1 / max(now - last, 1e-6)
        # Intervals are averaged, not rates, so that a burst of frames does not count too much.
        return rate if before == 0 else 1 / ((1 - _RATE_SHARE) / before + _RATE_SHARE / rate)

    def _update(self, frame: Frame | None = None, /, **changes: object) -> None:
        changes.setdefault("persons", self.presence.persons())
        changes.setdefault("source_error", self._source.error)
        self._snapshot = replace(
            self._snapshot,
            turn=self._snapshot.turn + 1,
            source_state=self._source.state,
            source_fps=self._source.fps,
            dropped=self._source.dropped,
            reconnects=self._source.reconnects,
            untracked=self._tracker.counts.untracked,
            known_false=self._tracker.counts.known_false,
            gain=self._tracker.gain,
            **changes,  # type: ignore[arg-type]
        )
        self._publish(self._snapshot, frame)
