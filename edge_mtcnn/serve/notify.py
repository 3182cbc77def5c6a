"""Messages to systemd: ready, alive, stopping. Without systemd, nothing is sent."""

from __future__ import annotations

import contextlib
import os
import socket

__all__ = ["notify", "watchdog_seconds"]


def notify(*states: str) -> bool:
    """Send states such as ``READY=1``; returns whether systemd received them."""
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
    """Time within which systemd expects ``WATCHDOG=1``, seconds; ``None`` without a watchdog."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    this_process = str(os.getpid())
    if os.environ.get("WATCHDOG_PID", this_process) != this_process:
        return None
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None
