"""systemd's notification socket: ready, alive, stopping. Without systemd nothing happens."""

from __future__ import annotations

import contextlib
import os
import socket

__all__ = ["notify", "watchdog_seconds"]


def notify(*states: str) -> bool:
    """Tell systemd, as ``READY=1``; whether there was someone to tell."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto("\n".join(states).encode(), address)
        return True
    return False


def watchdog_seconds() -> float | None:
    """Seconds within which systemd wants to hear ``WATCHDOG=1``; ``None`` for no watchdog."""
    wanted = os.environ.get("WATCHDOG_USEC", "")
    for_me = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(wanted) / 1e6 if wanted.isdecimal() and int(wanted) > 0 and for_me else None
