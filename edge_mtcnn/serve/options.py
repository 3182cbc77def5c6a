"""``ServeOptions``: where the service listens, who may use it, and its limits.

Imports nothing of the web packages, so that invalid options are reported before those are loaded.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edge_mtcnn.errors import OptionsError
from edge_mtcnn.options import check_bool, check_int, check_number

__all__ = ["ServeOptions", "is_loopback"]

SHORTEST_TOKEN = 16
"""Characters of the shortest token: shorter ones can be guessed over a network."""

_NAME = re.compile(r"(?!-)[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How the service behaves towards its clients.

    Attributes:
        host: address to listen at; an address other than loopback requires a token.
        port: port to listen at, 0..65535; 0 for any free port.
        token: secret that clients must send, at least 16 printable ASCII characters; ``None`` for
            no token.
        hosts: host names that clients may use for the service, beside addresses and ``localhost``.
        origins: web pages of other origins that may use the service, as ``http://host:port``.
        stream: serve the picture of the camera at ``/stream``.
        stream_fps: maximum number of pictures per second of ``/stream``, 0.1..60.
        max_body_bytes: maximum size of an image that is sent, bytes, 1024..2**30.
        max_pixels: maximum number of pixels in the header of such an image, at least 1.
        max_total_body_bytes: maximum size of all bodies that are received, waiting or decoded,
            bytes, 1024..2**40; more are answered with 429. It counts as at least
            ``max_body_bytes``, so that every allowed body fits if it is alone.
        detect_seconds: time limit for decoding and searching one image, without waiting, seconds,
            0.1..3600; an image that takes longer is answered with 503.
        workers: number of images that are searched at the same time, 1..64; each uses all threads.
        waiting: number of images that may wait for that, 0..1024; more are answered with 429.
        uploads: number of bodies that are received at the same time, 1..1024.
        streams: number of readers of ``/events`` and ``/stream`` together, 1..10000.
        connections: number of open connections, 8..100000; above it, idle ones are closed first.
        body_seconds: time for a body to arrive, seconds, 0.1..3600.
        head_seconds: time for a request's head to arrive, and for a connection to be idle, seconds,
            0.1..3600.
        write_seconds: time for which a client may accept no bytes, seconds, 0.1..3600.
        stale_seconds: age of the watcher's heartbeat at which it counts as stuck, seconds, 1..3600.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    stream: bool = False
    stream_fps: float = 10.0
    max_body_bytes: int = 16_000_000
    max_pixels: int = 25_000_000
    max_total_body_bytes: int = 64_000_000
    detect_seconds: float = 10.0
    workers: int = 1
    waiting: int = 4
    uploads: int = 16
    streams: int = 32
    connections: int = 256
    body_seconds: float = 15.0
    head_seconds: float = 10.0
    write_seconds: float = 10.0
    stale_seconds: float = 10.0

    def __post_init__(self) -> None:
        check_int("port", self.port, 0, 65535)
        check_bool("stream", self.stream)
        check_number("stream_fps", self.stream_fps, 0.1, 60)
        check_int("max_body_bytes", self.max_body_bytes, 1024, 2**30)
        check_int("max_pixels", self.max_pixels, 1, None)
        check_int("max_total_body_bytes", self.max_total_body_bytes, 1024, 2**40)
        check_int("workers", self.workers, 1, 64)
        check_int("waiting", self.waiting, 0, 1024)
        check_int("uploads", self.uploads, 1, 1024)
        check_int("streams", self.streams, 1, 10_000)
        check_int("connections", self.connections, 8, 100_000)
        for name in ("detect_seconds", "body_seconds", "head_seconds", "write_seconds"):
            check_number(name, getattr(self, name), 0.1, 3600)
        check_number("stale_seconds", self.stale_seconds, 1, 3600)
        self._check_token()
        for name in self.hosts:
            if not _NAME.fullmatch(name):
                raise OptionsError(
                    f"hosts must be names without port, as kiosk.local; got {name!r}"
                )
        for origin in self.origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in {"http", "https"}
                or f"{parts.scheme}://{parts.netloc}" != origin
            ):
                raise OptionsError(
                    f"origins must be as http://kiosk.local:3000, without a path; got {origin!r}"
                )

    def _check_token(self) -> None:
        """The messages never contain the token."""
        if self.token is None:
            if not is_loopback(self.host):
                raise OptionsError(
                    f"listening at {self.host} lets others on the network see who is here: give a"
                    " token (--token-file, or EDGE_MTCNN_TOKEN in the environment)"
                )
        elif len(self.token) < SHORTEST_TOKEN:
            raise OptionsError(
                f"the token must have at least {SHORTEST_TOKEN} characters; got {len(self.token)}."
                " Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        elif not re.fullmatch(r"[!-~]+", self.token):
            raise OptionsError("the token must be printable ASCII characters without spaces")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
