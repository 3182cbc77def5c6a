"""A real service on loopback for the tests: its server in a thread, and a scene that it watches."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from edge_mtcnn import FaceDetector, SourceError, read_image
from edge_mtcnn.serve import ServeOptions, Service, ServiceServer, listen
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video import PresenceOptions, SourceOptions, WatchOptions

TOKEN = "correct-horse-battery-staple"
SECONDS = 20.0
"""What a slow machine may take for anything here; nothing waits this long when all is well."""

QUICK = WatchOptions(
    source=SourceOptions(live=True, retry_first=0.05, retry_longest=0.1),
    presence=PresenceOptions(appear_after=0.1, leave_after=0.3),
)


class Scene:
    """A camera that shows what it is told: a picture with a little noise, or no frames at all."""

    def __init__(self, image: ImageArray | None) -> None:
        self.image = image

    def __call__(self) -> Iterator[ImageArray]:
        noise = np.random.default_rng(1)
        while True:
            image = self.image
            if image is None:
                raise SourceError("the cable is out")
            time.sleep(0.04)  # as a camera's frames come
            yield image ^ noise.integers(0, 2, image.shape, dtype=np.uint8)


def face_bgr(path: Path) -> ImageArray:
    """A sample photo as a camera gives it."""
    return np.ascontiguousarray(read_image(path)[::2, ::2, ::-1])


def empty_bgr() -> ImageArray:
    """A scene without a face that no check takes for a covered lens."""
    rows = np.linspace(40, 200, 256, dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(rows[:, None, None], (256, 256, 3)))


class Running:
    """A service that runs."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, timeout=SECONDS, trust_env=False)


@contextlib.contextmanager
def serving(
    detector: FaceDetector, options: ServeOptions | None = None, **arguments: Any
) -> Iterator[Running]:
    """Run a service; at the end, its threads must have ended."""
    service = Service(detector, options, **arguments)
    listener = listen("127.0.0.1", 0)
    server = ServiceServer(service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        assert server.started, "the service did not start"
        yield Running(service, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        assert not thread.is_alive(), "the service did not end"


def wait_for(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What the condition gives, as soon as that is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"did not come true within {seconds:g} s")


class Reader:
    """Reads server-sent events one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()

    def next(self) -> tuple[str, dict[str, Any], str | None]:
        """Name, data and id of the next event."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line and "event" in fields:
                return fields["event"], json.loads(fields["data"]), fields.get("id")
            name, _, value = line.partition(": ")
            fields[name] = value
        raise AssertionError("the stream ended")

    def until(self, name: str) -> tuple[dict[str, Any], str | None]:
        """The next event of a name, past all others."""
        while True:
            found, data, number = self.next()
            if found == name:
                return data, number
