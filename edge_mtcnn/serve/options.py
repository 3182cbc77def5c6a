"""``ServeOptions``: where the service listens, who may use it, and its limits.

Imports no web package, so that invalid options are reported before those are loaded.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options import load_section
from edge_mtcnn.options.checks import check_bool, check_int, check_number

__all__ = ["ServeOptions", "is_loopback", "load_serve_options"]

SHORTEST_TOKEN = 16
"""Minimum length of the token. Shorter ones can be guessed over a network."""

_NAME = re.compile(r"(?!-)[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Address, access and limits of the service.

    Attributes:
        host: address to listen on; any but a loopback address needs a token.
        port: 0..65535; 0 for any free port.
        token: secret that clients must send, at least 16 printable ASCII characters; ``None`` for
            no token.
        hosts: names by which clients may call the service, besides IP addresses and ``localhost``.
        origins: other origins whose web pages may use the service, such as ``http://host:port``.
        stream: make the picture of the camera available at ``/stream``.
        stream_fps: most pictures per second of ``/stream``, 0.1..60.
        docs: offer the interactive documentation at ``/docs``.
        max_body_bytes: limit of the bytes of a body, with one image or several, 1024..2**30.
        max_images: limit of the images in one body, 1..1000.
        max_pixels: limit of the pixels that the header of an image may claim, at least 1.
        max_total_body_bytes: limit of the bytes of all bodies, from their arrival to the end of the
            search, and of all answers of ``/detect`` until they are sent, together, 1024..2**40;
            more are answered with 429. A single body or answer always fits.
        detect_seconds: longest time to decode and search the images of one request, without
            waiting, seconds, 0.1..3600; what takes longer is answered with 503.
        workers: requests whose images are searched at the same time, 1..64; each search uses all
            threads.
        waiting: requests that may wait for a worker, 0..1024; more are answered with 429.
        uploads: bodies received at the same time, 1..1024.
        streams: readers of ``/events`` and ``/stream`` together, 1..10000.
        connections: open connections, 8..100000; above the limit, idle ones are closed first.
        body_seconds: time in which a body must arrive, and in which a client must receive the
            answer of ``/detect``, seconds, 0.1..3600.
        head_seconds: time in which the head of a request must arrive, and longest time for which a
            connection may be idle, seconds, 0.1..3600.
        write_seconds: longest time for which a client may refuse to read, seconds, 0.1..3600.
        stale_seconds: age of the watcher's heartbeat above which the watcher counts as stuck,
            seconds, 1..3600.

    Example::

        ServeOptions(host="0.0.0.0", token=token, hosts=("kiosk.local",))
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    stream: bool = False
    stream_fps: float = 10.0
    docs: bool = True
    max_body_bytes: int = 16_000_000
    max_images: int = 16
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
        check_bool("docs", self.docs)
        check_int("max_images", self.max_images, 1, 1000)
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
        if not isinstance(self.host, str):
            raise OptionsError(f"host must be an address or a name; got {shown(self.host)}")
        self._check_token()
        for place in ("hosts", "origins"):
            names = getattr(self, place)
            if not isinstance(names, (tuple, list)) or not all(isinstance(n, str) for n in names):
                raise OptionsError(f"{place} must be a list of texts; got {shown(names)}")
            object.__setattr__(self, place, tuple(names))
        for name in self.hosts:
            if not _NAME.fullmatch(name):
                raise OptionsError(
                    f"hosts must be names without a port, such as kiosk.local; got {shown(name)}"
                )
        for origin in self.origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in {"http", "https"}
                or f"{parts.scheme}://{parts.netloc}" != origin
            ):
                raise OptionsError(
                    "origins must be like http://kiosk.local:3000, without a path;"
                    f" got {shown(origin)}"
                )

    def _check_token(self) -> None:
        # The messages must not contain the token.
        if self.token is None:
            if not is_loopback(self.host):
                raise OptionsError(
                    f"listening on {self.host} lets others on the network see who is here: give a"
                    " token (--token-file, or EDGE_MTCNN_TOKEN in the environment)"
                )
        elif not isinstance(self.token, str):
            raise OptionsError(f"the token must be a text; got {type(self.token).__name__}")
        elif len(self.token) < SHORTEST_TOKEN:
            raise OptionsError(
                f"the token must have at least {SHORTEST_TOKEN} characters; got {len(self.token)}."
                " Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        elif not re.fullmatch(r"[!-~]+", self.token):
            raise OptionsError("the token must be printable ASCII characters without spaces")


def load_serve_options(path: str | os.PathLike[str], *, token: str | None = None) -> ServeOptions:
    """Read the table ``service`` of an options file.

    Args:
        path: file as for ``edge_mtcnn.options.load_options``; ``edge-mtcnn config --init`` writes
            one. Options that it does not name have their defaults.
        token: the token, instead of one in the file.

    Raises:
        OptionsError: the file cannot be read or parsed, or holds an unknown or invalid option.
    """
    keep = () if token is None else ("token",)
    return load_section(path, "service", ServeOptions(token=token), keep=keep)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
