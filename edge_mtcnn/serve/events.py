"""Server-sent events: one log that all readers read at their own pace.

The watcher's thread appends; each reader is a position in the log, so a slow one delays nobody and
costs nothing, and a client that comes back goes on where it was. Ids are ``RUN-NUMBER``, as the
numbers begin anew with every start of the service.
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
"""Shortest time between two states for one reader."""
_AT_ONCE = 100
"""Most events in one write."""


class EventLog:
    """The latest events, for the event loop's thread; ``append`` may be called from any thread.

    Args:
        remembered: events that are kept for readers that are slow or come back.

    Attributes:
        run: names this run in the ids.
        last: number of the newest event.
        ended: nothing more will come.
        news: set when something comes; then there is another one to wait for.
    """

    def __init__(self, remembered: int = 1000) -> None:
        self.run = secrets.token_hex(4)
        self.last = 0
        self.ended = False
        self._entries: deque[tuple[int, bytes]] = deque(maxlen=remembered)
        self.news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Begin; called in the event loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Let all readers end; called in the event loop."""
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
        told = event.to_dict()
        self.last = event.sequence
        message = _message(told["event"], told, f"{self.run}-{event.sequence}")
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
    """The bytes of one reader's stream, until the log ends.

    Args:
        log: the events.
        last_id: id of the last event that the reader knows, ``"0"`` for all that are remembered;
            ``None`` for new ones only.
        state: what is known now as JSON and its number, to be sent whenever it changes; ``None``
            to send events only.
    """
    position = log.position(last_id)
    resumed = last_id is not None and last_id.startswith(f"{log.run}-")
    if position is None:
        position = log.last
    # The browser shall ask again soon when the service is restarted, and know that it was.
    yield b"retry: 1000\n" + _message("hello", {"run": log.run, "resumed": resumed})
    clock = asyncio.get_running_loop().time
    told, written = -1, clock()
    while not log.ended:
        news = log.news  # taken before looking, so that nothing comes unnoticed in between
        missed, entries = log.after(position)
        entries = entries[:_AT_ONCE]
        parts = [_message("missed", {"events": missed})] if missed and position else []
        parts += [message for _, message in entries]
        if entries:
            position = entries[-1][0]
        if state is not None:
            turn, text = state()
            if turn != told:
                told = turn
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
