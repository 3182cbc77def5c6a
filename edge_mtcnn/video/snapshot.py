"""What a watcher knows at one moment, without images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_mtcnn.images.mounting import Rotation
from edge_mtcnn.video.blind import BlindReason
from edge_mtcnn.video.presence import Person
from edge_mtcnn.video.source.reader import SourceState
from edge_mtcnn.video.tracking.tracks import Track

__all__ = ["RotationState", "Snapshot", "WatcherState"]

RotationState = Literal["fixed", "looking", "found"]
WatcherState = Literal["starting", "watching", "blind", "lost", "ended", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The newest result of a watcher.

    Attributes:
        turn: number that increases with every change.
        state: ``starting`` before the first frame; ``watching``; ``blind`` when frames show
            nothing; ``lost`` when there are none; ``ended`` after the last one; ``stopped``;
            ``failed``.
        time: time of the newest frame, or at which it was noticed missing, monotonic seconds.
        position_seconds: place of the newest frame in a video file, see ``Frame``.
        frame: number of the newest frame, ``None`` before the first.
        frame_size: height and width of the newest frame, pixels.
        rotation: degrees by which frames are turned clockwise.
        rotation_state: ``fixed`` by ``SourceOptions.rotate``; with ``"auto"``, ``looking`` until it
            is ``found``.
        tracks: the faces that are followed.
        persons: who is present, longest first; as last known if the state is blind or lost.
        blind_reason: why the frames show nothing.
        source_state, source_error: state and error of the source.
        source_fps: frames per second, if the source reports it.
        frames, dropped, reconnects: number of frames searched, of frames dropped because they came
            too fast, and of returns of the source.
        untracked: faces of all frames that were not followed, see ``TrackerOptions.max_tracks``.
        known_false: known false faces of all frames that were left out, see ``Calibration``.
        gain: mean gain of the recent frames, see ``DetectorOptions.exposure``; 1 in the light.
        fps: frames searched per second, recently.
        latency_ms: time for the newest frame, milliseconds.
    """

    turn: int = 0
    state: WatcherState = "stopped"
    time: float = 0.0
    position_seconds: float | None = None
    frame: int | None = None
    frame_size: tuple[int, int] | None = None
    rotation: Rotation = 0
    rotation_state: RotationState = "fixed"
    tracks: tuple[Track, ...] = ()
    persons: tuple[Person, ...] = ()
    blind_reason: BlindReason | None = None
    source_state: SourceState = "closed"
    source_error: str | None = None
    source_fps: float | None = None
    frames: int = 0
    dropped: int = 0
    reconnects: int = 0
    untracked: int = 0
    known_false: int = 0
    gain: float = 1.0
    fps: float = 0.0
    latency_ms: float = 0.0

    @property
    def answer(self) -> Literal["someone", "nobody", "unknown"]:
        """Whether anyone is present; ``"nobody"`` only if the frames show it."""
        if self.state == "watching" and self.persons:
            return "someone"
        # A camera that is not mounted upright shows people on their side, who are not found.
        if self.state != "watching" or self.rotation_state == "looking":
            return "unknown"
        return "nobody"

    @property
    def selected(self) -> Person | None:
        """The selected person; ``None`` if no person is selected."""
        return next((person for person in self.persons if person.selected), None)
