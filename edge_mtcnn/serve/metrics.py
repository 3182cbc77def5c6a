"""Metrics for Prometheus, in a registry of their own: two services in one process stay separate."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_mtcnn.serve.state import Device
from edge_mtcnn.video import Frame, Snapshot

__all__ = ["CONTENT_TYPE", "Metrics", "RequestCounter"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STATES = ("starting", "watching", "blind", "lost", "ended", "stopped", "failed")


class Metrics:
    """All metrics of one service.

    Args:
        snapshot: returns the watcher's newest snapshot; ``None`` without a source.
        device: returns the newest readings of the board.
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
            "Time to decode and search one image, also when it was stopped at the limit.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.found = Counter(
            "edge_mtcnn_detect_faces", "Faces found by /detect.", registry=registry
        )
        self.known_false = Counter(
            "edge_mtcnn_detect_known_false",
            "Known false faces that /detect left out.",
            registry=registry,
        )
        self.streams = Gauge(
            "edge_mtcnn_streams", "Current readers of /events and /stream.", registry=registry
        )
        self._frames = Histogram(
            "edge_mtcnn_frame_seconds",
            "Time to process one frame of the source.",
            buckets=_SECONDS,
            registry=registry,
        )
        registry.register(_Readings(snapshot, device))

    def frame(self, _frame: Frame, snapshot: Snapshot) -> None:
        """Count a frame; called by the watcher's thread."""
        self._frames.observe(snapshot.latency_ms / 1e3)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class RequestCounter:
    """ASGI middleware: counts the answers by route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: list[str]) -> None:
        self._app = app
        self._requests = metrics.requests
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope["path"] if scope["path"] in self._paths else "other"
                self._requests.labels(route, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, send_and_count if scope["type"] == "http" else send)


class _Readings(Collector):
    """Metrics that are read from the watcher and the board when they are asked for."""

    def __init__(
        self, snapshot: Callable[[], Snapshot] | None, device: Callable[[], Device]
    ) -> None:
        self._snapshot = snapshot
        self._device = device

    def collect(self) -> Iterable[Metric]:
        """Read them now."""
        if self._snapshot is not None:
            yield from _watcher_metrics(self._snapshot())
        readings = self._device().readings
        temperature = GaugeMetricFamily(
            "edge_mtcnn_temperature_celsius", "Temperature by thermal zone.", labels=("zone",)
        )
        for zone, degrees in readings.temperatures.items():
            temperature.add_metric((zone,), degrees)
        yield temperature
        yield GaugeMetricFamily(
            "edge_mtcnn_slowed_down",
            "1 while heat or the power supply slows the processor down.",
            value=float(bool(readings.limits)),
        )


def _watcher_metrics(snapshot: Snapshot) -> Iterable[Metric]:
    counters: tuple[tuple[str, str, float], ...] = (
        ("frames", "Frames that were processed.", snapshot.frames),
        (
            "frames_dropped",
            "Frames skipped because they came too fast.",
            snapshot.dropped,
        ),
        ("reconnects", "Number of times the source was lost and came back.", snapshot.reconnects),
        (
            "known_false",
            "Known false faces of the source that were left out, of all frames.",
            snapshot.known_false,
        ),
    )
    for name, text, value in counters:
        yield CounterMetricFamily(f"edge_mtcnn_{name}", text, value=value)
    confirmed = sum(track.confirmed for track in snapshot.tracks)
    gauges: tuple[tuple[str, str, float], ...] = (
        ("faces", "Faces tracked in the newest frame.", confirmed),
        ("persons", "Persons who are here, as last known.", len(snapshot.persons)),
        ("frames_per_second", "Recent frame rate.", snapshot.fps),
        ("gain", "Mean factor by which recent frames were brightened, 1 to 8.", snapshot.gain),
    )
    for name, text, value in gauges:
        yield GaugeMetricFamily(f"edge_mtcnn_{name}", text, value=value)
    state = GaugeMetricFamily(
        "edge_mtcnn_watcher_state", "1 for the current state of the watcher.", labels=("state",)
    )
    for name in _STATES:
        state.add_metric((name,), float(name == snapshot.state))
    yield state
