"""What a watcher knows at one moment, without any image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_mtcnn.video.blind import BlindReason
from edge_mtcnn.video.presence import Person
from edge_mtcnn.video.source.reader import SourceState
from edge_mtcnn.video.tracking.tracks import Track

__all__ = ["Snapshot", "WatcherState"]

WatcherState = Literal["starting", "watching", "blind", "lost", "ended", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The newest result of a watcher.

    Attributes:
        turn: goes up with every change.
        state: ``starting`` before the first frame; ``watching``; ``blind`` when frames show
            nothing; ``lost`` when there are none; ``ended`` after the last one; ``stopped``;
            ``failed``.
        time: of the newest frame, or of the notice that there is none, monotonic seconds.
        frame: number of the newest frame, ``None`` before the first.
        frame_size: height and width of the newest frame, pixels.
        tracks: the faces as they are followed.
        persons: who is here, longest first; as last known where the state is blind or lost.
        blind_reason: why nothing can be seen.
        source_state, source_error: of the source.
        source_fps: frames per second, where the source tells.
        frames, dropped, reconnects: frames looked at, frames that came too fast, returns of the
            source.
        untracked: faces of all frames that were not followed, see ``TrackerOptions.max_tracks``.
        fps: frames looked at per second, lately.
        latency_ms: time that the newest frame took.
    """

    turn: int = 0
    state: WatcherState = "stopped"
    time: float = 0.0
    frame: int | None = None
    frame_size: tuple[int, int] | None = None
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
    fps: float = 0.0
    latency_ms: float = 0.0

    @property
    def answer(self) -> Literal["someone", "nobody", "unknown"]:
        """Who is here: nobody only where that was seen."""
        if self.state != "watching":
            return "unknown"
        return "someone" if self.persons else "nobody"

    @property
    def selected(self) -> Person | None:
        """The person whose turn it is."""
        return next((person for person in self.persons if person.selected), None)
