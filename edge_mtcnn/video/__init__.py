"""Faces in video: sources that fail and come back, tracks over frames, and who is present.

    from edge_mtcnn.video import FaceWatcher

    with FaceWatcher(0) as watcher:  # camera 0; also files, RTSP and HTTP addresses, pipelines
        for event in watcher.events():
            ...  # FaceAppeared, FaceLeft, PersonChanged, SourceLost, SourceBack

``source`` delivers frames, ``tracking`` follows faces, ``presence`` turns them into persons, and
``watcher`` does all of this in a thread. No frame is written or sent unless the caller asks for it.
What is not listed in ``__all__`` is private and may change.
"""

from edge_mtcnn.video.blind import BlindOptions, BlindReason
from edge_mtcnn.video.events import (
    Event,
    EventReader,
    FaceAppeared,
    FaceLeft,
    PersonChanged,
    RotationFound,
    SourceBack,
    SourceLost,
    ViewBlocked,
    ViewCleared,
)
from edge_mtcnn.video.loop import WatchOptions, load_watch_options
from edge_mtcnn.video.overlay import draw_snapshot
from edge_mtcnn.video.presence import Person, PresenceOptions
from edge_mtcnn.video.snapshot import RotationState, Snapshot, WatcherState
from edge_mtcnn.video.source.captures import SourceOptions
from edge_mtcnn.video.source.reader import Frame, SourceState
from edge_mtcnn.video.source.source import Source, open_source
from edge_mtcnn.video.tracking.tracker import FaceTracker, TrackerCounts, TrackerOptions
from edge_mtcnn.video.tracking.tracks import Track
from edge_mtcnn.video.watcher import FaceWatcher

__all__ = [
    "BlindOptions",
    "BlindReason",
    "Event",
    "EventReader",
    "FaceAppeared",
    "FaceLeft",
    "FaceTracker",
    "FaceWatcher",
    "Frame",
    "Person",
    "PersonChanged",
    "PresenceOptions",
    "RotationFound",
    "RotationState",
    "Snapshot",
    "Source",
    "SourceBack",
    "SourceLost",
    "SourceOptions",
    "SourceState",
    "Track",
    "TrackerCounts",
    "TrackerOptions",
    "ViewBlocked",
    "ViewCleared",
    "WatchOptions",
    "WatcherState",
    "draw_snapshot",
    "load_watch_options",
    "open_source",
]
