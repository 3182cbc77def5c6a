"""Faces in video: sources that come and go, tracks over frames, and who is here since when.

    from edge_mtcnn.video import FaceWatcher

    with FaceWatcher(0) as watcher:  # camera 0; also files, RTSP and HTTP addresses, pipelines
        for event in watcher.events():
            ...  # FaceAppeared, FaceLeft, PersonChanged, SourceLost, SourceBack

``sources`` gives frames, ``tracker`` follows faces, ``presence`` tells persons, ``watcher`` does
all three in a thread. No frame is written or sent unless the caller asks for it.
"""

from edge_mtcnn.video.blind import BlindOptions
from edge_mtcnn.video.events import (
    Event,
    EventReader,
    FaceAppeared,
    FaceLeft,
    PersonChanged,
    SourceBack,
    SourceLost,
    ViewBlocked,
    ViewCleared,
)
from edge_mtcnn.video.loop import WatchOptions
from edge_mtcnn.video.overlay import draw_snapshot
from edge_mtcnn.video.presence import Person, PresenceOptions
from edge_mtcnn.video.snapshot import Snapshot
from edge_mtcnn.video.source.captures import SourceOptions
from edge_mtcnn.video.source.reader import Frame
from edge_mtcnn.video.source.source import Source, open_source
from edge_mtcnn.video.tracking.tracker import FaceTracker, TrackerOptions
from edge_mtcnn.video.tracking.tracks import Track
from edge_mtcnn.video.watcher import FaceWatcher

__all__ = [
    "BlindOptions",
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
    "Snapshot",
    "Source",
    "SourceBack",
    "SourceLost",
    "SourceOptions",
    "Track",
    "TrackerOptions",
    "ViewBlocked",
    "ViewCleared",
    "WatchOptions",
    "draw_snapshot",
    "open_source",
]
