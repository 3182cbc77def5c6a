"""Server-sent events: one log, which every reader reads at its own pace.

The watcher's thread appends events. A reader is only a position in the log, so a slow reader delays
no other, and a client that reconnects continues where it was. Ids are ``RUN-NUMBER``, because the
numbers start again with every start of the service.
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
"""Minimum time between two states for one reader, seconds."""
_AT_ONCE = 100
"""Maximum number of events in one write."""


class EventLog:
    """The latest events, for the event loop's thread; ``append`` may be called from any thread.

    Args:
        remembered: number of events that are kept for readers that are slow or reconnect.

    Attributes:
        run: name of this run in the ids.
        last: number of the newest event.
        ended: whether no more events will come.
        news: set when an event comes; it is then replaced by a new one.
    """

    def __init__(self, remembered: int = 1000) -> None:
        self.run = secrets.token_hex(4)
        self.last = 0
        self.ended = False
        self._entries: deque[tuple[int, bytes]] = deque(maxlen=remembered)
        self.news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Start; called in the event loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """End all readers; called in the event loop."""
        self.ended = True
        self._wake()

    def append(self, event: Event) -> None:
        """Add an event, from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._add, event)

    def position(self, text: str | None) -> int | None:
        """What to read on from, by an id of this run; 0 for one of another run, or for ``"0"``.

        ``None`` for text that is no id: then only new events are wanted.
        """
        match = re.fullmatch(r"(?:([0-9a-f]{8})-)?([0-9]{1,18})", text or "")
        if match is None:
            return None
        return min(int(match[2]), self.last) if match[1] == self.run else 0

    def after(self, position: int) -> tuple[int, list[tuple[int, bytes]]]:
        """Events after a position, and how many before them are no longer known."""
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
        news, self.news = self.news, asyncio.Event()
        news.set()


async def server_sent_events(
    log: EventLog,
    last_id: str | None,
    state: Callable[[], tuple[int, bytes]] | None,
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of one reader's stream, until the log ends.

    Args:
        log: the events.
        last_id: id of the last event that the reader knows, ``"0"`` for all that are remembered;
            ``None`` for new ones only.
        state: returns the number of the current state and its JSON, which is sent whenever the
            number changes; ``None`` to send events only.
    """
    position = log.position(last_id)
    resumed = last_id is not None and last_id.startswith(f"{log.run}-")
    if position is None:
        position = log.last
    # The browser reconnects soon after a restart of the service, and learns that there was one.
    yield b"retry: 1000\n" + _message("hello", {"run": log.run, "resumed": resumed})
    clock = asyncio.get_running_loop().time
    sent_turn, written = -1, clock()
    while not log.ended:
        news = log.news  # before looking, so that no event is missed in between
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
                    await asyncio.wait_for(news.wait(), _PING_SECONDS)


def _message(name: str, data: dict[str, Any], number: str | None = None) -> bytes:
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode("ascii")
