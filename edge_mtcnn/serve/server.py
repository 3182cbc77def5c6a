"""Runs the service: the socket, uvicorn with its limits, and the messages to systemd."""

from __future__ import annotations

import asyncio
import socket

import uvicorn

from edge_mtcnn.serve.app import Service
from edge_mtcnn.serve.connections import protocol_for
from edge_mtcnn.serve.notify import notify, watchdog_seconds

__all__ = ["ServiceServer", "address_of", "listen"]

_END_SECONDS = 3
_BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        OSError: the address is taken, or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def address_of(listener: socket.socket) -> str:
    """The address for a browser, such as ``http://127.0.0.1:8080/``."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class ServiceServer(uvicorn.Server):
    """uvicorn around one service; ``run(sockets=[listen(...)])`` serves until a signal comes.

    Args:
        service: what to serve.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(
            uvicorn.Config(
                service.app,
                http=protocol_for(service.options),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=round(min(service.options.head_seconds, 5)) or 1,
                timeout_graceful_shutdown=_END_SECONDS,
            )
        )
        self._service = service
        self._feeding: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and notify systemd."""
        await super().startup(sockets)
        if self.started:
            notify("READY=1", "STATUS=serving")
            self._feeding = asyncio.create_task(self._feed_watchdog())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, after closing the connections that would stay open for long."""
        notify("STOPPING=1")
        if self._feeding is not None:
            self._feeding.cancel()
        self._service.end()
        await super().shutdown(sockets)

    async def _feed_watchdog(self) -> None:
        """Feed the watchdog while the watcher has a heartbeat; a stuck service is restarted."""
        seconds = watchdog_seconds()
        last = ""
        while seconds is not None:
            health = self._service.health
            lines = [f"STATUS=health: {health}"] if health != last else []
            last = health
            if health != "failing":
                lines.append("WATCHDOG=1")
            if lines:
                notify(*lines)
            await asyncio.sleep(seconds / 3)
