"""``POST /detect``: receives an image, searches it and answers with the faces as JSON.

Images are searched in a thread pool of its own, so the event loop is always free to answer other
requests. The number of images and the bytes of all bodies are limited, so a crowd of clients costs
no memory.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import DetectionTimeout, ImageError
from edge_mtcnn.images.decoding import decode
from edge_mtcnn.images.headers import ImageHeader, read_header
from edge_mtcnn.images.others import UnsupportedFormat
from edge_mtcnn.serve.limits import ByteBudget, Slots, read_body
from edge_mtcnn.serve.metrics import Metrics
from edge_mtcnn.serve.options import ServeOptions
from edge_mtcnn.types import Faces, ImageArray, faces_entry

__all__ = ["DetectionRoute", "faces_json"]

_ACCEPTED = ("JPEG", "PNG", "WebP", "HEIC", "HEIF", "AVIF")  # the last three with the extra heif
_MOST_SCANS = 100
"""Limit of the scans of a JPEG. Encoders write about ten. Each scan of 25 megapixels takes up to
30 ms, and decoding cannot be interrupted."""
_SHORTEST_SECONDS = 0.001
"""The lower bound of ``timeout`` of a detection."""


class DetectionRoute:
    """The route and its limits; used by the event loop's thread.

    Args:
        detector: searches the images; the caller closes it.
        options: the limits.
        metrics: counts detections and faces.

    Attributes:
        bodies: bytes of all bodies that are held.
        images: places for images that are searched or wait for that.
    """

    def __init__(self, detector: FaceDetector, options: ServeOptions, metrics: Metrics) -> None:
        self.bodies = ByteBudget(max(options.max_total_body_bytes, options.max_body_bytes))
        self.images = Slots(options.workers + options.waiting, "images")
        self._uploads = Slots(options.uploads, "uploads")
        self._detector = detector
        self._options = options
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(options.workers, thread_name_prefix="edge-mtcnn-detect")
        self._jobs: set[asyncio.Future[bytes]] = set()
        self._stopping = False

    def stop(self) -> None:
        """Answer the clients that wait for a detection: the service is stopping."""
        self._stopping = True
        for job in self._jobs:
            job.cancel()

    def close(self) -> None:
        """Start no further detection; does not wait for those that run."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def post(self, request: Request) -> Response:
        """Find the faces in the image that is the body."""
        kind = request.headers.get("content-type", "").lower()
        if kind.startswith(("multipart/", "application/json")):
            raise HTTPException(
                415, "send the bytes of the image as the body: curl --data-binary @photo.jpg ..."
            )
        options = self._options
        self.images.check()  # refuse before receiving a body in vain
        with self.bodies.share() as share:
            with self._uploads.one():
                body = await read_body(request, options.max_body_bytes, options.body_seconds, share)
            with self.images.one():
                answer = await self._run(body)
        return Response(answer, media_type="application/json")

    async def _run(self, body: io.BytesIO) -> bytes:
        job = asyncio.get_running_loop().run_in_executor(self._pool, self._search, body)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        try:
            return await job
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            raise HTTPException(503, "the service is stopping", {"Retry-After": "1"}) from None

    def _search(self, body: io.BytesIO) -> bytes:
        """Decode, search and encode the answer, in a thread of the pool; closes ``body``."""
        started = time.perf_counter()
        image = self._decode(body)
        seconds = self._options.detect_seconds
        left = max(seconds - (time.perf_counter() - started), _SHORTEST_SECONDS)
        faces: Faces | None = None
        with suppress(DetectionTimeout):
            faces = self._detector.detect(image, timeout=left)
        del image  # up to 75 MB, which an exception would keep alive
        self._metrics.detections.observe(time.perf_counter() - started)
        if faces is None:
            raise HTTPException(
                503,
                f"the detection took longer than {seconds:g} s, the limit of this service; send a"
                " smaller image, or try again when the service is less busy",
                # A client that sends the same image again at once would slow down all others.
                {"Retry-After": str(math.ceil(seconds))},
            )
        self._metrics.found.inc(len(faces))
        return faces_json(faces)

    def _decode(self, received: io.BytesIO) -> ImageArray:
        """Decode a body; its bytes are freed, as the search may take much longer."""
        body = received.getvalue()
        received.close()
        try:
            header = read_header(body)
            self._check_limits(header)
            return decode(header)
        except UnsupportedFormat as error:
            raise HTTPException(415, f"the image: {error}") from None
        except ImageError as error:
            raise HTTPException(422, f"the image: {error}") from None

    def _check_limits(self, header: ImageHeader) -> None:
        """Refuse an image before any pixel is decoded."""
        if header.format not in _ACCEPTED:
            raise HTTPException(415, f"a {header.format} image; send JPEG, PNG, WebP, HEIC or AVIF")
        most = self._options.max_pixels
        if header.width * header.height > most:
            raise HTTPException(
                413,
                f"{header.width}x{header.height} is more than {most} pixels, the limit of this"
                " service",
            )
        if header.scans > _MOST_SCANS:
            raise HTTPException(413, f"more than {_MOST_SCANS} scans, the limit of this service")


def faces_json(faces: Faces) -> bytes:
    """The faces as JSON. Each is encoded on its own, so that other threads can run in between."""
    entry = faces_entry(faces)
    encode = json.JSONEncoder(separators=(",", ":")).encode
    found = ",".join(encode(face) for face in entry.pop("faces"))
    return f'{encode(entry)[:-1]},"faces":[{found}]}}'.encode("ascii")
