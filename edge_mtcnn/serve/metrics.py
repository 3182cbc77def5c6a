"""Metrics for Prometheus. Each service has its own registry, so two in one process do not mix."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from edge_mtcnn.serve.state import Device
from edge_mtcnn.video import Frame, Snapshot

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STATES = ("starting", "watching", "blind", "lost", "ended", "stopped", "failed")


class Metrics:
    """All metrics of a service.

    Args:
        snapshot: gives what the watcher knows; ``None`` without a source.
        device: gives the newest readings of the board.
    """

    def __init__(
        self, snapshot: Callable[[], Snapshot] | None, device: Callable[[], Device]
    ) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time, open files
        self.requests = Counter(
            "edge_mtcnn_requests",
            "Requests by route and status.",
            ("route", "status"),
            registry=registry,
        )
        self.detections = Histogram(
            "edge_mtcnn_detect_seconds",
            "Time to decode and search one image that was sent, finished or stopped at the limit.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.found = Counter(
            "edge_mtcnn_detect_faces", "Faces found in images that were sent.", registry=registry
        )
        self.streams = Gauge(
            "edge_mtcnn_streams", "Readers of /events and /stream now.", registry=registry
        )
        self._frames = Histogram(
            "edge_mtcnn_frame_seconds",
            "Time to look at one frame of the source.",
            buckets=_SECONDS,
            registry=registry,
        )
        registry.register(_Readings(snapshot, device))

    def frame(self, _frame: Frame, snapshot: Snapshot) -> None:
        """Count a frame; called in the watching thread."""
        self._frames.observe(snapshot.latency_ms / 1e3)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class _Readings(Collector):
    """Metrics that are read from the watcher and the board when they are asked for."""

    def __init__(
        self, snapshot: Callable[[], Snapshot] | None, device: Callable[[], Device]
    ) -> None:
        self._snapshot = snapshot
        self._device = device

    def collect(self) -> Iterable[Metric]:
        """The current values."""
        if self._snapshot is not None:
            yield from _watched(self._snapshot())
        readings = self._device().readings
        temperature = GaugeMetricFamily(
            "edge_mtcnn_temperature_celsius", "Temperature by thermal zone.", labels=("zone",)
        )
        for zone, degrees in readings.temperatures.items():
            temperature.add_metric((zone,), degrees)
        yield temperature
        yield GaugeMetricFamily(
            "edge_mtcnn_slowed_down",
            "1 when heat or power slows the processor down.",
            value=float(bool(readings.limits)),
        )


def _watched(snapshot: Snapshot) -> Iterable[Metric]:
    counters: tuple[tuple[str, str, float], ...] = (
        ("frames", "Frames that were looked at.", snapshot.frames),
        ("frames_dropped", "Frames that came too fast to be looked at.", snapshot.dropped),
        ("reconnects", "Times that the source was lost and came back.", snapshot.reconnects),
    )
    for name, text, value in counters:
        yield CounterMetricFamily(f"edge_mtcnn_{name}", text, value=value)
    confirmed = sum(track.confirmed for track in snapshot.tracks)
    gauges: tuple[tuple[str, str, float], ...] = (
        ("faces", "Faces that are followed in the newest frame.", confirmed),
        ("persons", "Persons who are here, as last known.", len(snapshot.persons)),
        ("frames_per_second", "Frames looked at per second, lately.", snapshot.fps),
    )
    for name, text, value in gauges:
        yield GaugeMetricFamily(f"edge_mtcnn_{name}", text, value=value)
    state = GaugeMetricFamily(
        "edge_mtcnn_watcher_state", "1 for the state that the watcher is in.", labels=("state",)
    )
    for name in _STATES:
        state.add_metric((name,), float(name == snapshot.state))
    yield state
