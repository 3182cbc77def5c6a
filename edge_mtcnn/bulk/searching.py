"""``Searchers``: threads that read, decode and search images, with a bounded number in memory.

Some threads read ahead, which waits for disks and networks. As many as there are processors decode
and search, each with a detector of its own that uses one thread: images need no common step, so
this is the division of the work with the least waiting.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from edge_mtcnn.bulk.options import BulkOptions
from edge_mtcnn.bulk.reading import Picture
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import ImageError
from edge_mtcnn.images.arrays import as_rgb
from edge_mtcnn.images.crops import aligned_faces
from edge_mtcnn.images.decoding import MAX_PIXELS, decode_image
from edge_mtcnn.images.headers import read_header
from edge_mtcnn.images.reading import IMAGE_FAILURES
from edge_mtcnn.images.writing import encode_image
from edge_mtcnn.known_false import KnownFalse
from edge_mtcnn.options import DetectorOptions, RuntimeOptions
from edge_mtcnn.types import Faces

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Abandoned", "Found", "Model", "Searchers"]

_RGB: Literal["rgb", "bgr"] = "rgb"
_BGR: Literal["rgb", "bgr"] = "bgr"
_READ_AHEAD = 4
"""Images per thread that are read ahead; they are in memory as the bytes of their files."""
_DECODED_PIXELS = 25_000_000
"""Pixels per thread that may be decoded at once, a photo of most cameras."""


class Abandoned(Exception):  # noqa: N818 -- nothing went wrong
    """The work was given up, because the run ends at once."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a detector is made of, in plain values, so that other processes can make it.

    Attributes:
        options: what to look for.
        runtime: how to run the networks.
        known_false: known false faces.
    """

    options: DetectorOptions
    runtime: RuntimeOptions
    known_false: tuple[KnownFalse, ...] = ()

    @classmethod
    def of(cls, detector: FaceDetector) -> Self:
        """The model of a detector."""
        return cls(detector.options, detector.runtime, detector.known_false)

    def detector(self) -> FaceDetector:
        """A detector that uses the calling thread only."""
        runtime = replace(self.runtime, threads=1)
        return FaceDetector(self.options, runtime, known_false=self.known_false)


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one picture.

    Attributes:
        picture: the picture.
        faces: its faces; ``None`` when it failed.
        error: why it failed, without its source.
        milliseconds: time of decoding and searching.
        crops: PNG files of the faces, if they are asked for.
    """

    picture: Picture
    faces: Faces | None
    error: str | None
    milliseconds: float
    crops: tuple[bytes, ...] = ()


class Searchers:
    """Threads that search pictures; several threads may give them work at the same time.

    Args:
        model: the detector.
        threads: images that are searched at the same time.
        options: how images are turned, and whether faces are cut out.
        limit_rate: most images per second; ``None`` for no limit.
    """

    def __init__(
        self, model: Model, threads: int, options: BulkOptions, limit_rate: float | None = None
    ) -> None:
        self._threads = threads
        self._options = options
        self._turned = options.mounting.applied
        self._model = model
        self._mine = threading.local()
        self._abandoned = threading.Event()
        self._pace = _Pace(limit_rate, self._abandoned)
        self._memory = _Budget(max(MAX_PIXELS, threads * _DECODED_PIXELS))
        self._readers = ThreadPoolExecutor(
            _READ_AHEAD * threads, thread_name_prefix="edge-mtcnn-reader"
        )
        self._workers = ThreadPoolExecutor(
            threads, thread_name_prefix="edge-mtcnn-bulk", initializer=self._open
        )

    def search(self, pictures: Iterator[Picture]) -> Iterator[Found]:
        """Search pictures; the results are in their order.

        Raises:
            Abandoned: ``abandon`` was called.
            OSError: what ``pictures`` raises, after the results of those before it.
        """
        waiting: deque[Future[Found]] = deque()
        failure: OSError | None = None
        while True:
            try:
                picture = next(pictures, None)
            except OSError as error:
                picture, failure = None, error
            if picture is None:
                break
            self._pace.wait()
            if self._abandoned.is_set():
                raise Abandoned
            waiting.append(self._submitted(picture))
            # Frames are decoded already, so only a few are held.
            held = self._threads * (_READ_AHEAD if callable(picture.content) else 1)
            while waiting and (len(waiting) > held or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failure is not None:
            raise failure

    def abandon(self) -> None:
        """Give up all work that has not begun."""
        self._abandoned.set()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._workers.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the threads after their work."""
        self._readers.shutdown()
        self._workers.shutdown()

    def _open(self) -> None:
        self._mine.detector = self._model.detector()

    def _submitted(self, picture: Picture) -> Future[Found]:
        content = picture.content
        data = self._readers.submit(content) if callable(content) else None
        return self._workers.submit(self._searched, picture, data)

    def _searched(self, picture: Picture, data: Future[bytes] | None) -> Found:
        """Decode and search one picture. Every failure that concerns it alone is its result."""
        encoded = b"" if data is None else _result_of(data)
        begin = time.perf_counter()
        faces: Faces | None = None
        crops: tuple[bytes, ...] = ()
        reason: str | None = None
        pixels = 0 if isinstance(encoded, Exception) else _pixels_of(encoded)
        self._memory.take(pixels)
        try:
            if isinstance(encoded, Exception):
                raise encoded
            faces, crops = self._faces_of(picture, encoded)
        except IMAGE_FAILURES as error:
            reason = (str(error) or type(error).__name__).removeprefix(f"{picture.source}: ")
        finally:
            self._memory.give_back(pixels)
        milliseconds = (time.perf_counter() - begin) * 1e3
        return Found(picture, faces, reason, milliseconds, crops)

    def _faces_of(self, picture: Picture, encoded: bytes) -> tuple[Faces, tuple[bytes, ...]]:
        frame = picture.content
        if callable(frame):
            image, color = decode_image(encoded, name=picture.source), _RGB
        else:
            image, color = frame, _BGR
        image = self._turned(image)
        detector: FaceDetector = self._mine.detector
        faces = detector.detect(image, color=color)
        if not self._options.crops or not len(faces):
            return faces, ()
        rgb = as_rgb(image, color)
        return faces, tuple(encode_image(crop, ".png") for crop in aligned_faces(rgb, faces))


def _result_of(data: Future[bytes]) -> bytes | Exception:
    """What was read, or why it was not."""
    try:
        return data.result()
    except IMAGE_FAILURES as error:
        return error


def _pixels_of(encoded: bytes) -> int:
    """Pixels that decoding will take; 0 for a file that decoding refuses, and for a frame."""
    try:
        header = read_header(encoded)
    except ImageError:
        return 0
    return min(header.width * header.height, MAX_PIXELS)


class _Budget:
    """Limits the pixels that are decoded at once; one image that exceeds it alone may pass."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._changed = threading.Condition()

    def take(self, pixels: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= self._most)
            self._taken += pixels

    def give_back(self, pixels: int) -> None:
        with self._changed:
            self._taken -= pixels
            self._changed.notify_all()


class _Pace:
    """Lets callers pass at most so many times a second."""

    def __init__(self, rate: float | None, stop: threading.Event) -> None:
        self._seconds = None if rate is None else 1 / rate
        self._next = 0.0
        self._lock = threading.Lock()
        self._stop = stop

    def wait(self) -> None:
        if self._seconds is None:
            return
        with self._lock:
            now = time.monotonic()
            mine = max(self._next, now)
            self._next = mine + self._seconds
        self._stop.wait(mine - now)
