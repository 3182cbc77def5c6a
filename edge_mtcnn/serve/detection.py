"""``POST /detect``: receives images, searches them and answers with the faces as JSON or a picture.

Images are searched in a thread pool of its own, so the event loop is always free to answer other
requests. The number of requests and the bytes of all bodies and answers are limited, so a crowd of
clients costs no memory. The images of one request are searched one after the other, and share the
time that one image alone would have.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import DetectionTimeout, ImageError
from edge_mtcnn.images.crops import aligned_faces
from edge_mtcnn.images.decoding import decode
from edge_mtcnn.images.drawing import draw_faces
from edge_mtcnn.images.headers import ImageHeader, read_header
from edge_mtcnn.images.others import UnsupportedFormat
from edge_mtcnn.images.writing import encode_image
from edge_mtcnn.options import DetectorOptions
from edge_mtcnn.serve.bodies import image_bytes, images_in
from edge_mtcnn.serve.limits import ByteBudget, HeldAnswer, Slots, read_body
from edge_mtcnn.serve.metrics import Metrics
from edge_mtcnn.serve.options import ServeOptions
from edge_mtcnn.serve.wanted import DRAWN, Wanted, wanted_by
from edge_mtcnn.types import Faces, ImageArray, faces_entry

__all__ = ["DetectionRoute", "faces_json"]

_ACCEPTED = ("JPEG", "PNG", "WebP", "HEIC", "HEIF", "AVIF")  # the last three with the extra heif
_MOST_SCANS = 100
"""Limit of the scans of a JPEG. Encoders write about ten. Each scan of 25 megapixels takes up to
30 ms, and decoding cannot be interrupted."""
_MOST_CROPS = 100
"""Crops of one image, the best faces first. Each takes up to 50 kB of the answer."""
_SHORTEST_SECONDS = 0.001
"""The lower bound of ``timeout`` of a detection."""


class DetectionRoute:
    """The route and its limits; used by the event loop's thread.

    Args:
        detector: searches the images; the caller closes it.
        options: the limits.
        metrics: counts detections and faces.

    Attributes:
        bodies: bytes of all bodies and answers that are held.
        images: places for requests whose images are searched or wait for that.
    """

    def __init__(self, detector: FaceDetector, options: ServeOptions, metrics: Metrics) -> None:
        self.bodies = ByteBudget(max(options.max_total_body_bytes, options.max_body_bytes))
        self.images = Slots(options.workers + options.waiting, "images")
        self._uploads = Slots(options.uploads, "uploads")
        self._detector = detector
        self._options = options
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(options.workers, thread_name_prefix="edge-mtcnn-detect")
        self._jobs: set[asyncio.Future[tuple[bytes, str]]] = set()
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
        """Find the faces in the images of the body."""
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding not in {"identity", ""}:
            raise HTTPException(
                415,
                f"Content-Encoding {coding[:40]} is not supported: send the bytes of the image as"
                " they are, since image files are compressed already",
                {"Accept-Encoding": "identity"},
            )
        wanted = wanted_by(request, self._detector.options)
        kind = request.headers.get("content-type", "")
        options = self._options
        self.images.check()  # refuse before receiving a body in vain
        with ExitStack() as held:
            share = held.enter_context(self.bodies.share())
            with self._uploads.one():
                body = await read_body(request, options.max_body_bytes, options.body_seconds, share)
            with self.images.one():
                answer, media_type = await self._run(body, kind, wanted)
            share.release()
            share.take(len(answer))
            return HeldAnswer(answer, media_type, held.pop_all(), options.body_seconds)

    async def _run(self, body: io.BytesIO, kind: str, wanted: Wanted) -> tuple[bytes, str]:
        job = asyncio.get_running_loop().run_in_executor(
            self._pool, self._answer, body, kind, wanted
        )
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        try:
            return await job
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            raise HTTPException(503, "the service is stopping", {"Retry-After": "1"}) from None

    def _answer(self, received: io.BytesIO, kind: str, wanted: Wanted) -> tuple[bytes, str]:
        """The answer and its type, in a thread of the pool; closes ``received``."""
        end = time.perf_counter() + self._options.detect_seconds
        upload = images_in(received.getvalue(), kind, self._options.max_images)
        received.close()
        images = upload.images
        if not upload.several:
            return self._search(images.pop(), wanted, end)
        if wanted.picture is not None:
            raise HTTPException(400, "annotate=1 answers with one picture: send one image")
        images.reverse()
        results = []
        while images:
            try:
                result = self._search(images.pop(), wanted, end)[0]
            except HTTPException as error:
                result = _encoded({"error": error.detail, "status": error.status_code})
            results.append(result)
        return b'{"results":[' + b",".join(results) + b"]}", "application/json"

    def _search(self, sent: bytes | str, wanted: Wanted, end: float) -> tuple[bytes, str]:
        """Decode, search and encode the answer for one image."""
        started = time.perf_counter()
        if started > end:
            raise self._too_slow()
        image = wanted.mounting.applied(self._decode(sent))
        del sent  # the search may take much longer
        left = max(end - time.perf_counter(), _SHORTEST_SECONDS)
        faces: Faces | None = None
        with suppress(DetectionTimeout):
            faces = self._faces(image, wanted.options, left)
        self._metrics.detections.observe(time.perf_counter() - started)
        if faces is None:
            del image  # up to 75 MB, which an exception would keep alive
            raise self._too_slow()
        self._metrics.found.inc(len(faces))
        if faces.timings is not None:
            self._metrics.known_false.inc(faces.timings.known_false)
        faces = faces[: wanted.limit]
        if wanted.picture is not None:
            image = draw_faces(image, faces)
            return self._drawn(image, wanted.picture), wanted.picture
        crops = _crops(image, faces[:_MOST_CROPS]) if wanted.crops else ()
        return faces_json(faces, crops), "application/json"

    def _faces(self, image: ImageArray, options: DetectorOptions, timeout: float) -> Faces:
        try:
            return self._detector.detect(image, options=options, timings=True, timeout=timeout)
        except ImageError as error:  # it cannot be turned by one of the angles
            raise HTTPException(422, str(error)) from None

    def _drawn(self, picture: ImageArray, media_type: str) -> bytes:
        try:
            return encode_image(picture, DRAWN[media_type])
        except ImageError as error:  # JPEG has no room for sides above 65,535 pixels
            raise HTTPException(422, f"the drawn picture: {error}") from None

    def _too_slow(self) -> HTTPException:
        seconds = self._options.detect_seconds
        return HTTPException(
            503,
            f"the detection took longer than {seconds:g} s, the limit of this service for one"
            " request; send a smaller image, or try again when the service is less busy",
            # A client that sends the same image again at once would slow down all others.
            {"Retry-After": str(math.ceil(seconds))},
        )

    def _decode(self, sent: bytes | str) -> ImageArray:
        try:
            header = read_header(image_bytes(sent))
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


def faces_json(faces: Faces, crops: Iterable[str] = ()) -> bytes:
    """The faces as JSON. Each is encoded on its own, so that other threads can run in between.

    Args:
        faces: of one image.
        crops: base64 for the first of them.
    """
    entry = faces_entry(faces)
    found = entry.pop("faces")
    for face, crop in zip(found, crops, strict=False):
        face["crop"] = crop
    return _encoded(entry)[:-1] + b',"faces":[' + b",".join(map(_encoded, found)) + b"]}"


def _encoded(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode("ascii")


def _crops(image: ImageArray, faces: Faces) -> Iterator[str]:
    """Aligned crops as PNG, so that a network reads the very pixels, in base64."""
    for crop in aligned_faces(image, faces):
        yield base64.b64encode(encode_image(crop, ".png")).decode("ascii")
