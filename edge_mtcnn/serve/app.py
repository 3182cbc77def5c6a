"""``Service``: the routes, around a detector and, with a source, a watcher."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
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
from starlette.types import Receive, Scope, Send

from edge_mtcnn.calibration import load_calibration
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options.checks import check_options, check_path, check_type
from edge_mtcnn.serve import security, state
from edge_mtcnn.serve.detection import DetectionRoute
from edge_mtcnn.serve.events import EventLog, server_sent_events
from edge_mtcnn.serve.limits import Slots
from edge_mtcnn.serve.marking import MarkingRoute
from edge_mtcnn.serve.metrics import CONTENT_TYPE, Metrics, RequestCounter
from edge_mtcnn.serve.openapi import document
from edge_mtcnn.serve.options import ServeOptions
from edge_mtcnn.serve.page import page_routes
from edge_mtcnn.serve.pictures import BOUNDARY, Pictures
from edge_mtcnn.serve.query import QueryCheck, query_of
from edge_mtcnn.serve.rotation import RotationRoute
from edge_mtcnn.video import FaceWatcher, WatchOptions

__all__ = ["Service"]

_BOARD_SECONDS = 5.0
"""Time between two readings of the board's sensors."""
_SESSION_SECONDS = 30 * 24 * 3600


class Service:
    """The service and its parts.

    Args:
        detector: searches the images that clients send; the caller closes it.
        options: access and limits.
        source: what to watch, see ``FaceWatcher``; ``None`` to search images only.
        watch_detector: searches the frames of the source; the caller closes it.
        watch: options of the watcher.
        calibration: file of ``edge-mtcnn calibrate``, with whose known false faces the detectors
            were made. Persons can be marked as none on the page, and are written to it; without a
            file they cannot.

    Attributes:
        app: the ASGI application.
        options: as given, or the defaults.
        watcher: watches the source; ``None`` without one.

    Raises:
        SourceError: the source is a file that does not exist, or not a source at all.
        OptionsError: the calibration file cannot be read, or another argument is of the wrong type.
    """

    def __init__(
        self,
        detector: FaceDetector,
        options: ServeOptions | None = None,
        *,
        source: Any = None,
        watch_detector: FaceDetector | None = None,
        watch: WatchOptions | None = None,
        calibration: str | os.PathLike[str] | None = None,
    ) -> None:
        if not callable(getattr(detector, "detect", None)):  # not its class: it may be wrapped
            raise OptionsError(f"detector must be a FaceDetector; got {shown(detector)}")
        self.options = options = check_options("options", options, ServeOptions)
        if watch_detector is not None:
            check_type("watch_detector", watch_detector, FaceDetector)
        watch = check_options("watch", watch, WatchOptions)
        file = None if calibration is None else check_path("calibration", calibration)
        if file is not None:
            load_calibration(file)
            check_type("detector", detector, FaceDetector)
        self.watcher: FaceWatcher | None = None
        self._device = state.Device()
        self._log = EventLog()
        self._metrics = Metrics(None if source is None else self._snapshot, lambda: self._device)
        self._sizes = detector.options
        self._detection = DetectionRoute(detector, options, self._metrics)
        if source is not None:
            self.watcher = FaceWatcher(
                source,
                watch_detector,
                watch,
                on_frame=self._metrics.frame,
                keep_frame=options.stream or file is not None,
            )
        self._marking = MarkingRoute(
            file,
            self.watcher,
            [detector] if self.watcher is None else [detector, self.watcher.detector],
            token_needed=options.token is not None,
        )
        self._rotation = RotationRoute(self.watcher, token_needed=options.token is not None)
        self._pictures: Pictures | None = None
        if self.watcher is not None and options.stream:
            self._pictures = Pictures(self.watcher, options.stream_fps)
        self._streams = Slots(options.streams, "streams")
        self._state: tuple[tuple[int, str, state.Device], bytes] | None = None
        self._state_number = 0
        self.app = self._application()

    @property
    def health(self) -> state.Health:
        """Health of the watcher: whether its heartbeat is fresh and its picture is usable."""
        return state.health_of(self.watcher, self.options.stale_seconds)

    def end(self) -> None:
        """End all streams and answer the clients that wait for faces; called in the event loop."""
        self._detection.stop()
        self._log.close()
        if self._pictures is not None:
            self._pictures.close()

    def _snapshot(self) -> Any:
        return None if self.watcher is None else self.watcher.snapshot

    def _application(self) -> Starlette:
        options = self.options
        routes = [
            *page_routes(docs=options.docs),
            Route("/detect", self._detection.post, methods=["POST"]),
            Route("/known-false", self._marking.get),
            Route("/known-false", self._marking.post, methods=["POST"]),
            Route("/known-false", self._marking.delete, methods=["DELETE"]),
            Route("/rotation", self._rotation.post, methods=["POST"]),
            Route("/state", self._get_state),
            Route("/events", self._get_events),
            Route("/stream", self._get_stream),
            Route("/healthz", self._get_health),
            Route("/metrics", self._get_metrics),
            Route("/openapi.json", self._get_openapi),
            Route("/session", self._post_session, methods=["POST"]),
        ]
        # From the outside in: every answer is counted, those of the checks too, and a preflight
        # request, which carries no token, is answered before the token is checked.
        paths = [route.path for route in routes]
        operations = [
            f"{method} {route.path}" for route in routes for method in route.methods or ()
        ]
        middleware = [
            Middleware(RequestCounter, metrics=self._metrics, paths=paths),
            Middleware(security.OriginCheck, options=options),
        ]
        if options.origins:
            middleware.append(
                Middleware(
                    CORSMiddleware,
                    allow_origins=list(options.origins),
                    allow_methods=["GET", "POST", "DELETE"],
                    allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
                )
            )
        middleware.append(Middleware(security.TokenCheck, token=options.token))
        middleware.append(Middleware(QueryCheck, operations=operations))
        return Starlette(
            routes=routes,
            middleware=middleware,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _error_as_json},
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._log.open()
        if self.watcher is not None:
            self.watcher.add_callback(self._log.append)
            await asyncio.to_thread(self.watcher.start)
        # Starlette's own helper, so that its imports (100 ms) do not delay the first stream.
        self._device = await run_in_threadpool(state.read_board)
        reading = asyncio.create_task(self._keep_reading_board())
        try:
            yield
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            self.end()
            self._detection.close()
            if self.watcher is not None:
                await asyncio.to_thread(self.watcher.close)

    async def _keep_reading_board(self) -> None:
        while True:
            self._device = await asyncio.to_thread(state.read_board)
            await asyncio.sleep(_BOARD_SECONDS)

    async def _get_state(self, _request: Request) -> Response:
        return Response(self._state_json()[1], media_type="application/json")

    def _state_json(self) -> tuple[int, bytes]:
        """The state and a number that changes with it; encoded once for all readers."""
        health = self.health
        turn = 0 if self.watcher is None else self.watcher.snapshot.turn
        key = (turn, health, self._device)
        if self._state is None or self._state[0] != key:
            entry = state.state_entry(
                self.watcher,
                health,
                self._device,
                stream=self._pictures is not None,
                marking=self._marking.offered,
            )
            self._state = (key, json.dumps(entry).encode("ascii"))
            self._state_number += 1
        return self._state_number, self._state[1]

    async def _get_events(self, request: Request) -> Response:
        if self.watcher is None:
            raise HTTPException(404, "no source is watched: start the service with one")
        query = query_of(request.scope)
        last_id = request.headers.get("last-event-id", query.get("after"))
        live = self._state_json if query.get("live") else None
        return self._streaming(
            server_sent_events(self._log, last_id, live), "text/event-stream; charset=utf-8"
        )

    async def _get_stream(self, request: Request) -> Response:
        if self._pictures is None:
            raise HTTPException(
                404, "pictures are not offered: start the service with a source and --stream"
            )
        marked = query_of(request.scope).get("boxes", True)
        return self._streaming(
            self._pictures.parts(marked=marked), f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        )

    def _streaming(self, parts: AsyncIterator[bytes], media_type: str) -> Response:
        self._streams.check()

        async def counted() -> AsyncIterator[bytes]:
            with self._streams.one(), self._metrics.streams.track_inprogress():
                async for part in parts:
                    yield part

        # The header asks nginx not to buffer the stream.
        return _Streaming(counted(), media_type=media_type, headers={"X-Accel-Buffering": "no"})

    async def _get_health(self, _request: Request) -> Response:
        health = self.health
        watcher = "off" if self.watcher is None else self.watcher.snapshot.state
        status = 503 if health == "failing" else 200
        return JSONResponse({"status": health, "watcher": watcher}, status)

    async def _get_metrics(self, _request: Request) -> Response:
        text = await asyncio.to_thread(self._metrics.text)
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    async def _get_openapi(self, _request: Request) -> Response:
        return JSONResponse(document(self.options, self._sizes))

    async def _post_session(self, request: Request) -> Response:
        """Set a cookie, as a browser cannot send a header with its requests for streams."""
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


class _Streaming(StreamingResponse):
    """A stream that closes its iterator at once when the client leaves."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            close: Callable[[], Awaitable[None]] | None = getattr(
                self.body_iterator, "aclose", None
            )
            if close is not None:
                await close()


async def _error_as_json(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = None if error.headers is None else dict(error.headers)
    return security.error_response(error.status_code, error.detail, headers)
