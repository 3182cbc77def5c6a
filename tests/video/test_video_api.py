"""The public face of ``edge_mtcnn.video``: names, members, signatures, options.

A change here is a change for users.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

import edge_mtcnn.video as video

NAMES = [
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
    "open_source",
]
MEMBERS = {
    "EventReader": {"close", "closed", "get"},
    "FaceTracker": {"reset", "update"},
    "FaceWatcher": {
        "add_callback",
        "callback_errors",
        "close",
        "events",
        "failure",
        "frame",
        "heartbeat",
        "name",
        "remove_callback",
        "running",
        "snapshot",
        "start",
        "stop",
        "wait",
    },
    "Source": {
        "close",
        "dropped",
        "error",
        "fps",
        "last_loss",
        "read",
        "reconnects",
        "state",
        "stuck",
    },
}
SIGNATURES = {
    "FaceTracker": ["detector", "options"],
    "FaceTracker.update": ["self", "image", "time", "*", "color", "small"],
    "FaceWatcher": ["spec", "detector", "options", "*", "on_frame", "keep_frame"],
    "FaceWatcher.events": ["self", "*", "size", "after"],
    "FaceWatcher.wait": ["self", "after", "timeout"],
    "EventReader.get": ["self", "timeout"],
    "Source.read": ["self", "timeout"],
    "draw_snapshot": ["image", "snapshot"],
    "open_source": ["spec", "options"],
}
FIELDS = {
    "Person": ["id", "track", "face", "since", "last_seen", "seen", "selected"],
    "Track": [
        "id",
        "face",
        "confirmed",
        "seen",
        "first_seen",
        "last_seen",
        "hits",
        "mean_score",
    ],
    "Frame": ["image", "time", "number", "live"],
    "Event": ["sequence", "time", "wall_time"],
    "TrackerCounts": ["frames", "full", "rotating", "near", "skipped", "untracked"],
    "TrackerOptions": [
        "discovery_seconds",
        "full_every",
        "search_gap",
        "score_gap",
        "confirm_hits",
        "keep_seconds",
        "max_tracks",
        "budget_ms",
        "budget_share",
    ],
    "WatchOptions": ["source", "tracker", "presence", "blind"],
}


def find(path: str) -> Any:
    value: Any = video
    for name in path.split("."):
        value = getattr(value, name)
    return value


def parameters_of(function: Any) -> list[str]:
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in names:
            names.append("*")
        names.append(parameter.name)
    return names


def test_the_package_exports_exactly_these_names() -> None:
    assert video.__all__ == sorted(video.__all__)
    assert sorted(video.__all__) == sorted(NAMES)
    assert all(getattr(video, name) is not None for name in NAMES)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_class_has_these_members_only(name: str) -> None:
    members = {member for member in dir(find(name)) if not member.startswith("_")}
    assert members == MEMBERS[name]


def test_signatures() -> None:
    assert {path: parameters_of(find(path)) for path in SIGNATURES} == SIGNATURES


def test_fields() -> None:
    assert {
        name: [field.name for field in dataclasses.fields(find(name))] for name in FIELDS
    } == FIELDS
