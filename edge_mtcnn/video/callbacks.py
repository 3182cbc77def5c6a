"""Callbacks for events. Each runs in its own thread, so that a slow one does not delay others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from edge_mtcnn.video.events import Event, EventHub, EventReader

__all__ = ["Callbacks"]

_log = logging.getLogger(__name__)

_QUEUE = 256


class Callbacks:
    """The callbacks of a watcher, kept when it stops and starts again.

    Attributes:
        errors: number of exceptions that callbacks raised; all were logged.
    """

    def __init__(self, hub: EventHub) -> None:
        self.errors = 0
        self._hub = hub
        self._lock = threading.Lock()
        self._functions: list[Callable[[Event], object]] = []
        self._running: dict[Callable[[Event], object], tuple[EventReader, threading.Thread]] = {}
        self._started = False

    def add(self, function: Callable[[Event], object]) -> None:
        """Call a function with every event from now on."""
        with self._lock:
            if function not in self._functions:
                self._functions.append(function)
                if self._started:
                    self._run(function)

    def remove(self, function: Callable[[Event], object]) -> None:
        """Stop calling a function."""
        with self._lock:
            if function in self._functions:
                self._functions.remove(function)
            running = self._running.pop(function, None)
        if running is not None:
            running[0].close()

    def start(self) -> None:
        """Start calling the functions."""
        with self._lock:
            self._started = True
            for function in self._functions:
                self._run(function)

    def stop(self, seconds: float) -> None:
        """Stop, after the callbacks have had at most this time for the events that are waiting."""
        with self._lock:
            self._started = False
            running, self._running = list(self._running.values()), {}
        for reader, _ in running:
            reader.close()
        until = time.monotonic() + seconds
        for _, thread in running:
            if thread is not threading.current_thread():  # a callback may stop its watcher
                thread.join(max(until - time.monotonic(), 0))

    def failed(self, what: str) -> None:
        """Report the exception that is being handled."""
        with self._lock:
            self.errors += 1
        _log.exception("%s failed; watching goes on", what)

    def _run(self, function: Callable[[Event], object]) -> None:
        reader = self._hub.reader(_QUEUE, None)
        thread = threading.Thread(
            target=self._call, args=(function, reader), name="edge-mtcnn-callback", daemon=True
        )
        self._running[function] = (reader, thread)
        thread.start()

    def _call(self, function: Callable[[Event], object], reader: EventReader) -> None:
        for event in reader:
            try:
                function(event)
            except Exception:  # noqa: BLE001, PERF203 - the caller's code; logged and counted
                self.failed(f"the callback for {type(event).__name__}")
