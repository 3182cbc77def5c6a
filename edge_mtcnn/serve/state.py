"""The contents of ``/state`` and ``/healthz``: who is here, frame rates and health."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_mtcnn.board.memory import resident_mb
from edge_mtcnn.board.sensors import Readings, read_device
from edge_mtcnn.types import face_entry
from edge_mtcnn.video import FaceWatcher, Snapshot

__all__ = ["Device", "Health", "health_of", "read_board", "rotation_entry", "state_entry"]

Health = Literal["ok", "degraded", "failing"]


@dataclass(frozen=True, slots=True)
class Device:
    """Memory of this process, MB of 10**6 bytes, and readings of the board's sensors."""

    memory_mb: float | None = None
    readings: Readings = field(default_factory=Readings)

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON: memory, the highest temperature, and what slows the board down."""
        temperatures = self.readings.temperatures
        return {
            "memory_mb": None if self.memory_mb is None else round(self.memory_mb, 1),
            "temperature_celsius": max(temperatures.values()) if temperatures else None,
            "limits": list(self.readings.limits),
        }


def read_board() -> Device:
    """Read memory and sensors; may take some milliseconds."""
    return Device(resident_mb(), read_device())


def health_of(watcher: FaceWatcher | None, stale_seconds: float) -> Health:
    """``failing`` if only a restart can help, ``degraded`` if nothing can be seen at the moment.

    Args:
        watcher: ``None`` for a service without a source.
        stale_seconds: age of the heartbeat, seconds, above which the watcher counts as stuck.
    """
    if watcher is None:
        return "ok"
    state = watcher.snapshot.state
    if state == "failed":
        return "failing"
    if state in {"ended", "stopped"}:
        return "degraded"
    if time.monotonic() - watcher.heartbeat > stale_seconds:
        return "failing"
    return "ok" if state == "watching" else "degraded"


def state_entry(
    watcher: FaceWatcher | None, health: Health, device: Device, *, stream: bool, marking: bool
) -> dict[str, Any]:
    """The contents of ``/state``.

    Args:
        watcher: watches the source; without one, ``state`` is ``off`` and ``answer`` ``unknown``.
        health: see ``health_of``.
        device: the newest readings.
        stream: whether ``/stream`` is available.
        marking: whether persons can be marked as none.
    """
    snapshot = Snapshot() if watcher is None else watcher.snapshot
    height, width = snapshot.frame_size or (None, None)
    return {
        "state": "off" if watcher is None else snapshot.state,
        "answer": snapshot.answer,
        "blind_reason": snapshot.blind_reason,
        "turn": snapshot.turn,
        "frame": snapshot.frame,
        "position_seconds": snapshot.position_seconds,
        "width": width,
        "height": height,
        "rotation": rotation_entry(snapshot),
        "persons": _persons(snapshot),
        "faces": [
            {"track": track.id, "seen": track.seen, **face_entry(track.face)}
            for track in snapshot.tracks
            if track.confirmed
        ],
        "source": {
            "name": None if watcher is None else watcher.name,
            "state": snapshot.source_state,
            "error": snapshot.source_error,
        },
        "stream": stream,
        "marking": marking,
        "rates": {
            "fps": round(snapshot.fps, 2),
            "latency_ms": round(snapshot.latency_ms, 2),
            "gain": round(snapshot.gain, 2),
            "frames": snapshot.frames,
            "dropped": snapshot.dropped,
            "reconnects": snapshot.reconnects,
        },
        "health": health,
        "device": device.to_dict(),
    }


def rotation_entry(snapshot: Snapshot) -> dict[str, Any]:
    """How frames are turned, for JSON."""
    return {"degrees": snapshot.rotation, "state": snapshot.rotation_state}


def _persons(snapshot: Snapshot) -> list[dict[str, Any]]:
    now = time.time()
    return [
        {
            "person": person.id,
            "track": person.track,
            "selected": person.selected,
            "seen": person.seen,
            "since": round(now - (snapshot.time - person.since), 3),
            "dwell_seconds": person.dwell_seconds,
        }
        for person in snapshot.persons
    ]
