"""The content of ``/state`` and ``/healthz`` as plain values: persons, rates and health."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_mtcnn.board.memory import resident_mb
from edge_mtcnn.board.sensors import Readings, read_device
from edge_mtcnn.types import face_entry
from edge_mtcnn.video import FaceWatcher, Snapshot

__all__ = ["Device", "Health", "health_of", "read_board", "state_entry"]

Health = Literal["ok", "degraded", "failing"]


@dataclass(frozen=True, slots=True)
class Device:
    """Memory of this process, MB of 10**6 bytes, and the readings of the board's sensors."""

    memory_mb: float | None = None
    readings: Readings = field(default_factory=Readings)

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON: memory, the highest temperature, and reasons for throttling."""
        temperatures = self.readings.temperatures
        return {
            "memory_mb": None if self.memory_mb is None else round(self.memory_mb, 1),
            "temperature_celsius": max(temperatures.values()) if temperatures else None,
            "limits": list(self.readings.limits),
        }


def read_board() -> Device:
    """Read the sensors; may take some milliseconds."""
    return Device(resident_mb(), read_device())


def health_of(watcher: FaceWatcher | None, stale_seconds: float) -> Health:
    """``failing`` if only a restart can help, ``degraded`` if there is no usable picture.

    Args:
        watcher: ``None`` for a service without source.
        stale_seconds: age at which the watcher's heartbeat shows that it is stuck.
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
    watcher: FaceWatcher | None, health: Health, device: Device, *, stream: bool
) -> dict[str, Any]:
    """The answer of ``/state``; without a source, ``state`` is ``off`` and nobody can be known.

    Args:
        watcher: of the source.
        health: see ``health_of``.
        device: newest readings.
        stream: whether the picture is offered.
    """
    snapshot = Snapshot() if watcher is None else watcher.snapshot
    height, width = snapshot.frame_size or (None, None)
    return {
        "state": "off" if watcher is None else snapshot.state,
        "answer": snapshot.answer,
        "blind_reason": snapshot.blind_reason,
        "turn": snapshot.turn,
        "frame": snapshot.frame,
        "width": width,
        "height": height,
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
        "rates": {
            "fps": round(snapshot.fps, 2),
            "latency_ms": round(snapshot.latency_ms, 2),
            "frames": snapshot.frames,
            "dropped": snapshot.dropped,
            "reconnects": snapshot.reconnects,
        },
        "health": health,
        "device": device.to_dict(),
    }


def _persons(snapshot: Snapshot) -> list[dict[str, Any]]:
    now = time.time()
    return [
        {
            "person": person.id,
            "track": person.track,
            "selected": person.selected,
            "seen": person.seen,
            "since": round(now - (snapshot.time - person.since), 3),
            "dwell_seconds": round(person.dwell_seconds, 3),
        }
        for person in snapshot.persons
    ]
