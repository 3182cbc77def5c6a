"""Limits of connections: their number, and how long a client may keep the service waiting.

uvicorn limits neither the time in which the head of a request must arrive nor the time for which a
client may refuse to read its answer. ``GuardedProtocol`` checks each connection once a second and
closes those that exceed a limit.

When more requests arrive than can be answered, a client that just got an answer must pause before
its next request is read, so that a monitor asking for ``/healthz`` is not behind all the others.

The class uses attributes of ``H11Protocol`` that uvicorn does not document (``flow``, ``cycle``,
``connections``, ``_unset_keepalive_if_required``), so pyproject.toml pins uvicorn below the first
minor release that was not tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Collection
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_mtcnn.serve.limits import END_BY
from edge_mtcnn.serve.options import ServeOptions

__all__ = ["GuardedProtocol", "protocol_for"]

_CHECK_SECONDS = 1.0
"""Time between two checks of a connection."""
_LAG_SECONDS = 0.05
"""Time between two measurements of the event loop's lag."""
_ON_TIME = 0.005
"""Lag of an event loop that is not overloaded, seconds."""
_READ_BYTES = 65_536
_PAUSE_PER_LAG = 16.0
_LONGEST_PAUSE = 0.5
_LAG_DECAY = 0.8
"""Part of an earlier lag that still counts at the next measurement, so that pauses end slowly."""
_BUSY = (
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: 33\r\n\r\n"
    b'{"error":"too many connections"}\n'
)


def protocol_for(options: ServeOptions) -> type[GuardedProtocol]:
    """Make the protocol class for uvicorn, with these limits."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": options, "pace": _Pace()})


class _Pace:
    """Measures how late the event loop is, and from that the pause of clients after an answer."""

    def __init__(self) -> None:
        self._lag = 0.0
        self._running = False

    def start(self, loop: asyncio.AbstractEventLoop, connections: Collection[object]) -> None:
        """Measure the loop as long as there are connections."""
        if not self._running:
            self._running = True
            loop.call_later(_LAG_SECONDS, self._measure, loop, connections, loop.time())

    @property
    def pause(self) -> float:
        """Pause in seconds; 0 while the loop is on time."""
        return min(_PAUSE_PER_LAG * self._lag, _LONGEST_PAUSE) if self._lag > _ON_TIME else 0.0

    def _measure(
        self, loop: asyncio.AbstractEventLoop, connections: Collection[object], before: float
    ) -> None:
        late = loop.time() - before - _LAG_SECONDS
        self._lag = max(late, _LAG_DECAY * self._lag)
        self._running = False
        if connections:
            self.start(loop, connections)


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with limits of time and number."""

    limits: ClassVar[ServeOptions]
    pace: ClassVar[_Pace]

    _pause: asyncio.TimerHandle | None = None
    _timer: asyncio.TimerHandle | None = None
    _waiting_since = 0.0
    _blocked_since: float | None = None
    _last_cycle: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection; if there are too many, close one that waits for a request."""
        super().connection_made(transport)
        self.access_log = False  # uvicorn would log query strings
        _enable_keepalive(transport)
        # asyncio reads 256 kB at a time, too much for each of many clients that send images.
        transport.max_size = _READ_BYTES  # type: ignore[attr-defined]
        self._waiting_since = self.loop.time()
        if len(self.connections) > self.limits.connections and not self._make_room():
            transport.write(_BUSY)
            transport.close()
        self._timer = self.loop.call_later(_CHECK_SECONDS, self._check)
        self.pace.start(self.loop, self.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in (self._timer, self._pause):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn keeps the timer after a reset

    def on_response_complete(self) -> None:
        """Read the next request now, or after a pause if the service is overloaded."""
        super().on_response_complete()
        seconds = self.pace.pause
        if seconds and not self.transport.is_closing():
            self.flow.pause_reading()
            self._pause = self.loop.call_later(seconds, self.flow.resume_reading)

    def pause_writing(self) -> None:
        """The client has stopped reading."""
        self._blocked_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._blocked_since = None
        super().resume_writing()

    @property
    def waiting(self) -> bool:
        """Whether no request is being answered: none is complete, or all are answered."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> bool:
        others = [
            other
            for other in self.connections
            if isinstance(other, GuardedProtocol)
            and other is not self
            and other.waiting
            and not other.transport.is_closing()
        ]
        if not others:
            return False
        min(others, key=lambda other: other._waiting_since).transport.abort()
        return True

    def _check(self) -> None:
        now, limits = self.loop.time(), self.limits
        self._timer = self.loop.call_later(_CHECK_SECONDS, self._check)
        if self.cycle is not self._last_cycle or not self.waiting:
            self._last_cycle = self.cycle
            self._waiting_since = now
        over = self.waiting and now - self._waiting_since > limits.head_seconds
        blocked = self._blocked_since is not None and (
            now - self._blocked_since > limits.write_seconds
        )
        end_by: Any = now if self.waiting else self.cycle.scope.get(END_BY, now)
        if blocked or now > end_by or (over and self.transport.is_closing()):
            self.transport.abort()  # close() would wait for the client to read the rest
        elif over:
            self.transport.close()


def _enable_keepalive(transport: asyncio.Transport) -> None:
    """Enable TCP keep-alive, so that vanished clients are dropped within a minute."""
    peer = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
