"""Server-sent events: one log that all readers read at their own pace.

The watcher's thread appends. Each reader is only a position in the log, so a slow one delays nobody
and costs no memory, and a client that reconnects continues where it was. Ids are ``RUN-NUMBER``,
because the numbers start again at 1 with every start of the service.

The watcher keeps its latest events too, for its own readers. This log keeps them as encoded bytes:
each event is encoded once, and read by the event loop without a lock or a thread per client.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

from edge_mtcnn.video import Event

__all__ = ["EventLog", "server_sent_events"]

_PING_SECONDS = 15.0
_STATE_SECONDS = 0.1
"""Shortest time between two states sent to one reader."""
_AT_ONCE = 100
"""Limit of the events in one write."""


class EventLog:
    """The latest events, for the event loop's thread; ``append`` may be called from any thread.

    Args:
        remembered: number of events kept for readers that are slow or reconnect.

    Attributes:
        run: the part of the ids that is new with every start.
        last: number of the newest event.
        ended: whether the log is closed.
        changed: set at the next event or at the end; a new ``asyncio.Event`` then takes its place.
    """

    def __init__(self, remembered: int = 1000) -> None:
        self.run = secrets.token_hex(4)
        self.last = 0
        self.ended = False
        self._entries: deque[tuple[int, bytes]] = deque(maxlen=remembered)
        self.changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Start to accept events; called in the event loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """End the streams of all readers; called in the event loop."""
        self.ended = True
        self._wake()

    def append(self, event: Event) -> None:
        """Add an event, from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._add, event)

    def position(self, text: str | None) -> int | None:
        """The number of the event that a reader has seen last.

        Args:
            text: the id that the reader sent.

        Returns:
            The number in an id of this run; 0 for an id of another run and for ``"0"``; ``None``
            for anything else, which means that the reader wants new events only.
        """
        match = re.fullmatch(r"(?:([0-9a-f]{8})-)?([0-9]{1,18})", text or "")
        if match is None:
            return None
        return min(int(match[2]), self.last) if match[1] == self.run else 0

    def after(self, position: int) -> tuple[int, list[tuple[int, bytes]]]:
        """The number of events that the reader missed, and the events after its position."""
        found = [entry for entry in self._entries if entry[0] > position]
        first = found[0][0] if found else self.last + 1
        return max(first - position - 1, 0), found

    def _add(self, event: Event) -> None:
        entry = event.to_dict()
        self.last = event.sequence
        message = _message(entry["event"], entry, f"{self.run}-{event.sequence}")
        self._entries.append((event.sequence, message))
        self._wake()

    def _wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


async def server_sent_events(
    log: EventLog,
    last_id: str | None,
    state: Callable[[], tuple[int, bytes]] | None,
) -> AsyncGenerator[bytes, None]:
    """The bytes of one reader's stream, until the log is closed.

    Args:
        log: the events.
        last_id: id of the last event that the reader has seen, ``"0"`` for all remembered events,
            ``None`` for new ones only.
        state: returns the current state as JSON, with a number that changes with it. The state is
            sent whenever it changes; ``None`` to send events only.
    """
    position = log.position(last_id)
    resumed = last_id is not None and last_id.startswith(f"{log.run}-")
    if position is None:
        position = log.last
    # Browsers reconnect 1 s after a restart, and `hello` tells them that it was a restart.
    yield b"retry: 1000\n" + _message("hello", {"run": log.run, "resumed": resumed})
    clock = asyncio.get_running_loop().time
    sent_turn, written = -1, clock()
    while not log.ended:
        changed = log.changed  # before reading the log, so that no event in between is overlooked
        missed, entries = log.after(position)
        entries = entries[:_AT_ONCE]
        parts = [_message("missed", {"events": missed})] if missed and position else []
        parts += [message for _, message in entries]
        if entries:
            position = entries[-1][0]
        if state is not None:
            turn, text = state()
            if turn != sent_turn:
                sent_turn = turn
                parts.append(b"event: state\ndata: " + text + b"\n\n")
        if not parts and clock() - written > _PING_SECONDS:
            parts.append(b": still here\n\n")
        if parts:
            yield b"".join(parts)
            written = clock()
        if len(entries) < _AT_ONCE:
            if state is not None:
                await asyncio.sleep(_STATE_SECONDS)
            else:
                with suppress(asyncio.TimeoutError, TimeoutError):  # two types until Python 3.11
                    await asyncio.wait_for(changed.wait(), _PING_SECONDS)


def _message(name: str, data: dict[str, Any], number: str | None = None) -> bytes:
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode("ascii")
