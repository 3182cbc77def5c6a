"""The public face of ``edge_mtcnn.video``: names, members, signatures, fields.

A change here is a change for users.
"""

from __future__ import annotations

import dataclasses
import pydoc
from typing import Any, get_args

import pytest
from signatures import parameters_of, public_members

from edge_mtcnn import FaceDetector, video

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
LITERALS = {
    "BlindReason": {"dark", "covered", "frozen"},
    "RotationState": {"fixed", "looking", "found"},
    "SourceState": {"opening", "running", "lost", "closed"},
    "WatcherState": {"starting", "watching", "blind", "lost", "ended", "stopped", "failed"},
}
# What an editor offers on the class; attributes that only an instance has stand below.
MEMBERS = {
    "EventReader": {"close", "closed", "get"},
    "FaceTracker": {"drop", "reset", "update"},
    "FaceWatcher": {
        "add_callback",
        "callback_errors",
        "close",
        "detector",
        "dismiss",
        "events",
        "failure",
        "find_rotation",
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
ATTRIBUTES = {
    "EventReader": {"missed"},
    "FaceTracker": {"counts", "gain", "options"},
    "FaceWatcher": set(),
    "Source": {"mounting", "name"},
}
# Parameters of what a user calls, "*" before those that are keyword-only.
SIGNATURES = {
    "FaceTracker": ["detector", "options"],
    "FaceTracker.drop": ["self", "track"],
    "FaceTracker.reset": ["self"],
    "FaceTracker.update": ["self", "image", "time", "*", "color", "small"],
    "FaceWatcher": ["spec", "detector", "options", "*", "on_frame", "keep_frame"],
    "FaceWatcher.add_callback": ["self", "function"],
    "FaceWatcher.close": ["self"],
    "FaceWatcher.dismiss": ["self", "person"],
    "FaceWatcher.events": ["self", "*", "size", "after"],
    "FaceWatcher.find_rotation": ["self"],
    "FaceWatcher.frame": ["self"],
    "FaceWatcher.remove_callback": ["self", "function"],
    "FaceWatcher.start": ["self"],
    "FaceWatcher.stop": ["self"],
    "FaceWatcher.wait": ["self", "after", "timeout"],
    "Event.to_dict": ["self"],
    "EventReader.close": ["self"],
    "EventReader.get": ["self", "timeout"],
    "Source.close": ["self"],
    "Source.read": ["self", "timeout"],
    "draw_snapshot": ["image", "snapshot"],
    "load_watch_options": ["path"],
    "open_source": ["spec", "options"],
}
EVENT = ["sequence", "time", "wall_time", "position_seconds"]
FIELDS = {
    "BlindOptions": ["dark_level", "covered_spread", "hold_seconds", "frozen_seconds"],
    "Event": EVENT,
    "FaceAppeared": [*EVENT, "person", "box", "score", "eye_distance"],
    "FaceLeft": [*EVENT, "person", "dwell_seconds", "reason"],
    "Frame": ["image", "time", "number", "live", "position_seconds"],
    "Person": ["id", "track", "face", "since", "last_seen", "seen", "selected"],
    "PersonChanged": [*EVENT, "person", "previous"],
    "PresenceOptions": [
        "confidence",
        "appear_after",
        "leave_after",
        "unknown_after",
        "select",
        "switch_margin",
        "switch_after",
        "region",
        "min_height",
        "max_height",
        "min_eye_distance",
        "max_eye_distance",
    ],
    "Snapshot": [
        "turn",
        "state",
        "time",
        "position_seconds",
        "frame",
        "frame_size",
        "rotation",
        "rotation_state",
        "tracks",
        "persons",
        "blind_reason",
        "source_state",
        "source_error",
        "source_fps",
        "frames",
        "dropped",
        "reconnects",
        "untracked",
        "known_false",
        "gain",
        "fps",
        "latency_ms",
    ],
    "RotationFound": [*EVENT, "rotation", "previous"],
    "SourceBack": [*EVENT, "lost_seconds"],
    "SourceLost": [*EVENT, "reason"],
    "SourceOptions": [
        "pace",
        "loop",
        "size",
        "fps",
        "rotate",
        "flip",
        "live",
        "open_timeout",
        "frame_timeout",
        "retry_first",
        "retry_longest",
        "retry_jitter",
        "give_up_after",
    ],
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
    "TrackerCounts": [
        "frames",
        "full",
        "rotating",
        "near",
        "flow",
        "skipped",
        "untracked",
        "known_false",
    ],
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
    "ViewBlocked": [*EVENT, "reason"],
    "ViewCleared": [*EVENT, "blocked_seconds"],
    "WatchOptions": ["source", "tracker", "presence", "blind"],
}
# Members of these classes besides their fields.
COMPUTED = {"Person": {"dwell_seconds"}, "Snapshot": {"answer", "selected"}}
FUNCTIONS = {"draw_snapshot", "load_watch_options", "open_source"}


def find(path: str) -> Any:
    value: Any = video
    for name in path.split("."):
        value = getattr(value, name)
    return value


def test_the_package_exports_exactly_these_names() -> None:
    assert video.__all__ == sorted(video.__all__)
    assert sorted(video.__all__) == sorted(NAMES)
    assert all(getattr(video, name) is not None for name in NAMES)


def test_every_exported_name_is_pinned_below() -> None:
    assert {*LITERALS, *MEMBERS, *FIELDS, *FUNCTIONS} == set(NAMES)
    methods = {path for path in SIGNATURES if "." in path and path != "Event.to_dict"}
    called = {
        f"{name}.{member}"
        for name, members in MEMBERS.items()
        for member in members
        if callable(find(f"{name}.{member}"))
    }
    assert methods == called


@pytest.mark.parametrize("name", MEMBERS)
def test_a_class_has_these_members_only(name: str) -> None:
    assert public_members(find(name)) == MEMBERS[name]


def test_an_instance_has_no_attributes_but_these(default_detector: FaceDetector) -> None:
    source = video.open_source([])
    source.close()
    watcher = video.FaceWatcher([], default_detector)
    made = {
        "EventReader": watcher.events(),
        "FaceTracker": video.FaceTracker(default_detector),
        "FaceWatcher": watcher,
        "Source": source,
    }
    found = {
        name: {attribute for attribute in vars(value) if not attribute.startswith("_")}
        for name, value in made.items()
    }
    assert found == ATTRIBUTES


def test_literals() -> None:
    assert {name: set(get_args(find(name))) for name in LITERALS} == LITERALS


def test_signatures() -> None:
    assert {path: parameters_of(find(path)) for path in SIGNATURES} == SIGNATURES


@pytest.mark.parametrize("name", FIELDS)
def test_fields(name: str) -> None:
    kind = find(name)
    assert [field.name for field in dataclasses.fields(kind)] == FIELDS[name]
    computed = {"to_dict"} if issubclass(kind, video.Event) else COMPUTED.get(name, set())
    assert public_members(kind) - set(FIELDS[name]) == computed


def test_every_public_class_function_and_method_has_a_docstring() -> None:
    members = [f"{name}.{member}" for name in MEMBERS for member in MEMBERS[name]]
    paths = [*FIELDS, *FUNCTIONS, *MEMBERS, *members]
    assert [path for path in paths if not pydoc.getdoc(find(path))] == []
