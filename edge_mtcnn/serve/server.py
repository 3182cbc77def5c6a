"""Runs the service: the socket, uvicorn with limits, and the messages to systemd."""

from __future__ import annotations

import asyncio
import socket

import uvicorn

from edge_mtcnn.options.checks import check_int, check_type
from edge_mtcnn.serve.app import Service
from edge_mtcnn.serve.connections import protocol_for
from edge_mtcnn.serve.notify import notify, watchdog_seconds

__all__ = ["ServiceServer", "address_of", "listen"]

_STOP_SECONDS = 3
"""Time for answers under way after a signal. They are cut off after it."""
_BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes any free port.

    Raises:
        OSError: the address is in use, or does not belong to this machine.
    """
    check_type("host", host, str)
    check_int("port", port, 0, 65535)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def address_of(listener: socket.socket) -> str:
    """The address for a browser, such as ``http://127.0.0.1:8080/``."""
    check_type("listener", listener, socket.socket, "listen")
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class ServiceServer(uvicorn.Server):
    """Serves one service with uvicorn.

    ``run(sockets=[listen(host, port)])`` serves until SIGINT or SIGTERM.

    Args:
        service: the service.
    """

    def __init__(self, service: Service) -> None:
        check_type("service", service, Service)
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
                timeout_graceful_shutdown=_STOP_SECONDS,
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
        """Stop; streams are ended first, as uvicorn would wait for them."""
        notify("STOPPING=1")
        if self._feeding is not None:
            self._feeding.cancel()
        self._service.end()
        await super().shutdown(sockets)

    async def _feed_watchdog(self) -> None:
        # Nothing is sent while the watcher is stuck, so that systemd restarts the service.
        seconds = watchdog_seconds()
        last = ""
        while seconds is not None:
            health = self._service.health
            states = [f"STATUS=health: {health}"] if health != last else []
            last = health
            if health != "failing":
                states.append("WATCHDOG=1")
            if states:
                notify(*states)
            await asyncio.sleep(seconds / 3)
