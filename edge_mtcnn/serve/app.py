"""The application: routes over a detector and, with a source, a watcher.

Images are searched in a separate thread pool, and only a few are accepted at a time. So the event
loop can always answer ``/healthz``, and many clients do not need much memory.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import DetectionTimeout, ImageError
from edge_mtcnn.images.decoding import decode
from edge_mtcnn.images.headers import read_header
from edge_mtcnn.serve import security, state
from edge_mtcnn.serve.events import EventLog, server_sent_events
from edge_mtcnn.serve.limits import ByteBudget, Slots, read_body
from edge_mtcnn.serve.metrics import CONTENT_TYPE, Metrics
from edge_mtcnn.serve.openapi import document
from edge_mtcnn.serve.options import ServeOptions
from edge_mtcnn.serve.page import page_routes
from edge_mtcnn.serve.pictures import BOUNDARY, Pictures
from edge_mtcnn.types import Faces, ImageArray, faces_entry
from edge_mtcnn.video import FaceWatcher, WatchOptions

__all__ = ["Service"]

_READING_SECONDS = 5.0
_SESSION_SECONDS = 30 * 24 * 3600
_ACCEPTED = ("JPEG", "PNG", "WebP")
_MOST_SCANS = 100
"""Most scans of a progressive JPEG. Encoders write about ten. A scan of 25 megapixels takes up to
30 ms, and decoding cannot be stopped."""
_SHORTEST_SECONDS = 0.001
"""Shortest time limit of a detection, the lower bound of ``timeout``."""


class Service:
    """The service and its parts; ``app`` is the ASGI application.

    Args:
        detector: searches the images that are sent; stays the caller's.
        options: access and limits.
        source: what to watch, see ``FaceWatcher``; ``None`` to search images only.
        watch_detector: searches the frames; stays the caller's.
        watch: options of the watcher.

    Raises:
        SourceError: no such file, or no source at all.
    """

    def __init__(
        self,
        detector: FaceDetector,
        options: ServeOptions | None = None,
        *,
        source: Any = None,
        watch_detector: FaceDetector | None = None,
        watch: WatchOptions | None = None,
    ) -> None:
        self.options = options = options or ServeOptions()
        self.device = state.Device()
        self.log = EventLog()
        self._detector = detector
        self.watcher: FaceWatcher | None = None
        self.metrics = Metrics(None if source is None else self._snapshot, lambda: self.device)
        if source is not None:
            self.watcher = FaceWatcher(
                source,
                watch_detector,
                watch,
                on_frame=self.metrics.frame,
                keep_frame=options.stream,
            )
        self.pictures: Pictures | None = None
        if self.watcher is not None and options.stream:
            self.pictures = Pictures(self.watcher, options.stream_fps)
        self._pool = ThreadPoolExecutor(options.workers, thread_name_prefix="edge-mtcnn-detect")
        self._uploads = Slots(options.uploads, "uploads")
        self._bodies = ByteBudget(max(options.max_total_body_bytes, options.max_body_bytes))
        self._detections = Slots(options.workers + options.waiting, "images")
        self._streams = Slots(options.streams, "streams")
        self._jobs: set[asyncio.Future[bytes]] = set()
        self._ending = False
        self._state: tuple[tuple[int, str, state.Device], bytes] | None = None
        self._state_number = 0
        self.app = self._application()

    @property
    def health(self) -> state.Health:
        """Health of the watcher: a fresh heartbeat, and a usable picture."""
        return state.health_of(self.watcher, self.options.stale_seconds)

    def end(self) -> None:
        """Let all readers of events and pictures go, and who waits for faces; in the event loop."""
        self._ending = True
        for job in self._jobs:
            job.cancel()
        self.log.close()
        if self.pictures is not None:
            self.pictures.close()

    def _snapshot(self) -> Any:
        return None if self.watcher is None else self.watcher.snapshot

    def _application(self) -> Starlette:
        options = self.options
        routes = [
            *page_routes(),
            Route("/detect", self._detect, methods=["POST"]),
            Route("/state", self._get_state),
            Route("/events", self._get_events),
            Route("/stream", self._get_stream),
            Route("/healthz", self._get_health),
            Route("/metrics", self._get_metrics),
            Route("/openapi.json", self._get_api),
            Route("/session", self._begin_session, methods=["POST"]),
        ]
        middleware = [
            Middleware(_Counting, metrics=self.metrics, paths=[route.path for route in routes]),
            Middleware(security.BorderCheck, options=options),
        ]
        if options.origins:
            middleware.append(
                Middleware(
                    CORSMiddleware,
                    allow_origins=list(options.origins),
                    allow_methods=["GET", "POST"],
                    allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
                )
            )
        middleware.append(Middleware(security.TokenCheck, token=options.token))
        return Starlette(
            routes=routes,
            middleware=middleware,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _refused},
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self.log.open()
        if self.watcher is not None:
            self.watcher.add_callback(self.log.append)
            await asyncio.to_thread(self.watcher.start)
        # Starlette's own helper: it loads what the first stream would wait for, 100 ms of imports.
        self.device = await run_in_threadpool(state.read_board)
        readings = asyncio.create_task(self._keep_reading())
        try:
            yield
        finally:
            readings.cancel()
            with suppress(asyncio.CancelledError):
                await readings
            self.end()
            self._pool.shutdown(wait=False, cancel_futures=True)
            if self.watcher is not None:
                await asyncio.to_thread(self.watcher.close)

    async def _keep_reading(self) -> None:
        while True:
            self.device = await asyncio.to_thread(state.read_board)
            await asyncio.sleep(_READING_SECONDS)

    async def _detect(self, request: Request) -> Response:
        """Find the faces of the image in the request's body."""
        kind = request.headers.get("content-type", "").lower()
        if kind.startswith(("multipart/", "application/json")):
            raise HTTPException(
                415, "send the bytes of the image as the body: curl --data-binary @photo.jpg ..."
            )
        options = self.options
        self._detections.check()  # before a body is received for nothing
        with self._bodies.share() as share:
            with self._uploads.one():
                body = await read_body(request, options.max_body_bytes, options.body_seconds, share)
            with self._detections.one():
                job = asyncio.get_running_loop().run_in_executor(self._pool, self._search, body)
                self._jobs.add(job)
                job.add_done_callback(self._jobs.discard)
                try:
                    answer = await job
                except asyncio.CancelledError:
                    if not self._ending:
                        raise
                    raise HTTPException(
                        503, "the service is stopping", {"Retry-After": "1"}
                    ) from None
        return Response(answer, media_type="application/json")

    def _search(self, body: io.BytesIO) -> bytes:
        """Decode the image, search it and write the answer, in a thread of the pool.

        ``body`` is closed as soon as it is decoded.
        """
        started = time.perf_counter()
        image = self._decode(body)
        seconds = self.options.detect_seconds
        left = max(seconds - (time.perf_counter() - started), _SHORTEST_SECONDS)
        faces: Faces | None = None
        with suppress(DetectionTimeout):
            faces = self._detector.detect(image, timeout=left)
        del image  # up to 75 MB, which the traceback of an error would keep
        self.metrics.detections.observe(time.perf_counter() - started)
        if faces is None:
            raise HTTPException(
                503,
                f"the detection took longer than {seconds:g} s, the limit of this service; send a"
                " smaller image, or try again when the service is less busy",
                # A client that repeats the same image at once would block the others.
                {"Retry-After": str(math.ceil(seconds))},
            )
        self.metrics.found.inc(len(faces))
        return _answer(faces)

    def _decode(self, received: io.BytesIO) -> ImageArray:
        """Decode the image of a body and free its bytes before the detection starts."""
        body = received.getvalue()
        received.close()
        try:
            header = read_header(body)
            if header.format not in _ACCEPTED:
                raise HTTPException(415, f"a {header.format} image; send JPEG, PNG or WebP")
            pixels = header.width * header.height
            if pixels > self.options.max_pixels:
                raise HTTPException(
                    413,
                    f"{header.width}x{header.height} is more than {self.options.max_pixels}"
                    " pixels, the limit of this service",
                )
            if header.scans > _MOST_SCANS:
                raise HTTPException(
                    413, f"more than {_MOST_SCANS} scans, the limit of this service"
                )
            return decode(header)
        except ImageError as error:
            raise HTTPException(422, f"the image: {error}") from None

    async def _get_state(self, _request: Request) -> Response:
        return Response(self._state_text()[1], media_type="application/json")

    def _state_text(self) -> tuple[int, bytes]:
        """The state as JSON, with a number that changes with it; made once for all readers."""
        health = self.health
        turn = 0 if self.watcher is None else self.watcher.snapshot.turn
        key = (turn, health, self.device)
        if self._state is None or self._state[0] != key:
            entry = state.state_entry(
                self.watcher, health, self.device, stream=self.pictures is not None
            )
            self._state = (key, json.dumps(entry).encode("ascii"))
            self._state_number += 1
        return self._state_number, self._state[1]

    async def _get_events(self, request: Request) -> Response:
        if self.watcher is None:
            raise HTTPException(404, "no source is watched: start the service with one")
        query = request.query_params
        last_id = request.headers.get("last-event-id", query.get("after"))
        live = self._state_text if query.get("live") == "1" else None
        return self._streaming(
            server_sent_events(self.log, last_id, live), "text/event-stream; charset=utf-8"
        )

    async def _get_stream(self, request: Request) -> Response:
        if self.pictures is None:
            raise HTTPException(
                404, "pictures are not offered: start the service with a source and --stream"
            )
        marked = request.query_params.get("boxes") != "0"
        return self._streaming(
            self.pictures.parts(marked=marked), f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        )

    def _streaming(self, parts: AsyncIterator[bytes], media_type: str) -> Response:
        self._streams.check()

        async def held() -> AsyncIterator[bytes]:
            with self._streams.one(), self.metrics.streams.track_inprogress():
                async for part in parts:
                    yield part

        return _Streaming(held(), media_type=media_type, headers={"X-Accel-Buffering": "no"})

    async def _get_health(self, _request: Request) -> Response:
        health = self.health
        watcher = "off" if self.watcher is None else self.watcher.snapshot.state
        status = 503 if health == "failing" else 200
        return JSONResponse({"status": health, "watcher": watcher}, status)

    async def _get_metrics(self, _request: Request) -> Response:
        text = await asyncio.to_thread(self.metrics.text)
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    async def _get_api(self, _request: Request) -> Response:
        return JSONResponse(document(self.options))

    async def _begin_session(self, request: Request) -> Response:
        """Give a browser a cookie, because its pictures and events cannot carry a header."""
        token = self.options.token
        if token is None:
            return Response(status_code=204)
        if not security.has_token(request, token):
            return security.unauthorized()
        response = Response(status_code=204)
        response.set_cookie(
            security.COOKIE,
            security.session_value(token),
            max_age=_SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response


def _answer(faces: Faces) -> bytes:
    """The faces as JSON, encoded one by one: other threads may run between them."""
    entry = faces_entry(faces)
    encode = json.JSONEncoder(separators=(",", ":")).encode
    found = ",".join(encode(face) for face in entry.pop("faces"))
    return f'{encode(entry)[:-1]},"faces":[{found}]}}'.encode("ascii")


class _Streaming(StreamingResponse):
    """A streaming answer that closes its iterator as soon as the client disconnects."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            close: Callable[[], Awaitable[None]] | None = getattr(
                self.body_iterator, "aclose", None
            )
            if close is not None:
                await close()


async def _refused(_request: Request, error: Exception) -> Response:
    """Answer every refusal as JSON."""
    if not isinstance(error, HTTPException):
        raise error
    headers = None if error.headers is None else dict(error.headers)
    return security.error_response(error.status_code, error.detail, headers)


class _Counting:
    """ASGI layer that counts the answers by route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: list[str]) -> None:
        self._app = app
        self._requests = metrics.requests
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope["path"] if scope["path"] in self._paths else "other"
                self._requests.labels(route, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)
