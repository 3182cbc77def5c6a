"""Captures: one small class each for cameras, files and streams, for picamera2, and for iterables.

Opening and reading a capture may block for any time. So only the reading thread of a source uses
it, and that thread also closes it. Frames are (H, W, 3) BGR uint8.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import numpy as np

from edge_mtcnn.errors import OptionsError, SourceError, shown
from edge_mtcnn.options import check_choice, check_int, check_number
from edge_mtcnn.types import ImageArray

__all__ = ["Capture", "Captured", "Kind", "SourceOptions", "SourceSpec", "Spec", "open_capture"]

Kind = Literal["camera", "file", "stream", "gstreamer", "picamera2", "frames"]
Spec = int | str | os.PathLike[str] | Iterable[Any] | Callable[[], Iterable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a source is opened, read and reopened.

        patient = SourceOptions(open_timeout=30, retry_longest=60)

    Attributes:
        pace: pace of files. ``"file"`` plays them like a camera: frames come when they are due, and
            a late reader gets the newest. ``"fast"`` delivers every frame as fast as it is read.
        size: width and height to request from a camera, pixels; ``None`` for its default.
        fps: frames per second to request from a camera, and the rate of frames of an iterable;
            ``None`` for the camera's default, and for frames at the pace of the iterable.
        live: whether the frames of an iterable come from a camera, so that only the newest counts.
        open_timeout: seconds within which the first frame must come, 0.1..600.
        frame_timeout: seconds after which a missing frame counts as a lost source, 0.1..600.
        retry_first, retry_longest: pause before the first attempt to reopen, and the maximum to
            which it doubles, seconds, 0.01..3600.
        retry_jitter: share by which each pause is randomly longer or shorter, 0..1, so that many
            devices do not reconnect to a camera at the same moment.
        give_up_after: time of failed attempts after which reading raises ``SourceError``, seconds;
            ``None`` for never.
    """

    pace: Literal["file", "fast"] = "file"
    size: tuple[int, int] | None = None
    fps: float | None = None
    live: bool = False
    open_timeout: float = 10.0
    frame_timeout: float = 3.0
    retry_first: float = 0.2
    retry_longest: float = 0.5
    retry_jitter: float = 0.2
    give_up_after: float | None = None

    def __post_init__(self) -> None:
        check_choice("pace", self.pace, ("file", "fast"))
        if self.size is not None:
            if not isinstance(self.size, (tuple, list)) or len(self.size) != 2:
                raise OptionsError(f"size must be a width and a height; got {shown(self.size)}")
            for side in self.size:
                check_int("each of size", side, 1, 100_000)
            object.__setattr__(self, "size", tuple(self.size))
        if self.fps is not None:
            check_number("fps", self.fps, 0.01, 10_000)
        check_number("open_timeout", self.open_timeout, 0.1, 600)
        check_number("frame_timeout", self.frame_timeout, 0.1, 600)
        check_number("retry_first", self.retry_first, 0.01, 3600)
        check_number("retry_longest", self.retry_longest, self.retry_first, 3600)
        check_number("retry_jitter", self.retry_jitter, 0, 1)
        if self.give_up_after is not None:
            check_number("give_up_after", self.give_up_after, 0, 1e9)


class Captured(NamedTuple):
    """One frame of a capture.

    Attributes:
        image: (H, W, 3) or (H, W) uint8.
        position: time since the first frame, seconds, if the source knows it, as a file does.
    """

    image: ImageArray
    position: float | None


class Capture(Protocol):
    """An open source of frames.

    Attributes:
        live: whether frames that are not read in time are lost.
        fps: frames per second, if the source reports it.
    """

    live: bool
    fps: float | None

    def read(self) -> Captured | None:
        """Return the next frame, or ``None`` at the end; blocks.

        Raises:
            SourceError: the source is lost.
        """

    def close(self) -> None:
        """Give the device back."""


class SourceSpec:
    """Description of a source that is not open yet.

    Args:
        spec: camera index or ``/dev`` path, file, ``rtsp://`` or ``http://`` address, GStreamer
            pipeline ending in ``appsink``, ``"picamera2"`` or ``"picamera2:NUMBER"``, an iterable
            of frames, or a function that returns a new one each time it is opened.

    Raises:
        SourceError: the file does not exist, or ``spec`` is none of these.
    """

    def __init__(self, spec: Spec) -> None:
        self.kind: Kind
        self.target: Any = spec
        if isinstance(spec, bool):
            raise SourceError(f"{shown(spec)} is not a video source")
        if isinstance(spec, int) or (isinstance(spec, str) and re.fullmatch(r"\d+", spec)):
            self.kind, self.target = "camera", int(spec)
        elif isinstance(spec, (str, os.PathLike)):
            self.kind = _kind_of_text(os.fspath(spec))
            self.target = os.fspath(spec)
        elif callable(spec) or isinstance(spec, Iterable):
            self.kind = "frames"
        else:
            raise SourceError(
                "a source is a camera number, a path, an address, a GStreamer pipeline or an"
                f" iterable of frames; got {type(spec).__name__}"
            )

    @property
    def name(self) -> str:
        """Name for messages, without user name, password and query of an address."""
        if self.kind == "camera":
            return f"camera {self.target}"
        if self.kind == "frames":
            return f"frames of {type(self.target).__name__}"
        # Greedy, because a password may contain "@" or "/". Some cameras expect it in the query.
        text = re.sub(r"://[^\s\"]*@", "://", self.target)
        text = re.sub(r"(://[^\s\"?]*)\?[^\s\"]*", r"\1", text)
        return re.sub(r"\b(user-(?:id|pw)\s*=\s*)(\"[^\"]*\"|\S+)", r"\1...", text)

    @property
    def reopens(self) -> bool:
        """Whether it can be opened again; an iterator cannot."""
        return self.kind != "frames" or not isinstance(self.target, Iterator)


def open_capture(spec: SourceSpec, options: SourceOptions) -> Capture:
    """Open a source; blocks.

    Raises:
        SourceError: the source cannot be opened now; the message says why.
    """
    if spec.kind == "frames":
        return _FramesCapture(spec, options)
    if spec.kind == "picamera2":
        return _Picamera2Capture(spec, options)
    return _OpenCVCapture(spec, options)


def _kind_of_text(text: str) -> Kind:
    if re.match(r"picamera2(:\d+)?$", text):
        return "picamera2"
    if re.search(r"\s!\s", text):
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise SourceError(
                "this OpenCV cannot play GStreamer pipelines; install one built with GStreamer"
                " (the board maker's, or Debian's python3-opencv)"
            )
        return "gstreamer"
    if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
        return "stream"
    if text.startswith("/dev/"):
        return "camera"  # it may be plugged in later
    # For a name that no file can have, `os.path` returns false where `pathlib` raises.
    if os.path.isdir(text):  # noqa: PTH112
        raise SourceError(f"cannot open the video {text}: it is a folder")
    if not os.path.exists(text):  # noqa: PTH110
        raise SourceError(f"cannot open the video {text}: there is no such file")
    return "file"


_FFMPEG_OPTIONS = "rtsp_transport;tcp|fpsprobesize;0"
"""TCP, which is OpenCV's default too; and no second of frames is used to estimate their rate."""


class _OpenCVCapture:
    """Cameras, files, streams and pipelines through ``cv2.VideoCapture``."""

    def __init__(self, spec: SourceSpec, options: SourceOptions) -> None:
        self._spec = spec
        backend, settings = cv2.CAP_ANY, []
        if spec.kind == "gstreamer":
            backend = cv2.CAP_GSTREAMER
        elif spec.kind == "camera":
            if sys.platform == "linux":
                backend = cv2.CAP_V4L2
        elif spec.kind == "stream":
            backend = cv2.CAP_FFMPEG
            # This variable is OpenCV's only way to pass options to FFmpeg. A value set by the user
            # is kept.
            os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _FFMPEG_OPTIONS)
            settings = [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                round(options.open_timeout * 1e3),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                round(options.frame_timeout * 1e3),
            ]
        try:
            self._capture = cv2.VideoCapture(spec.target, backend, settings)
        except cv2.error as error:
            raise SourceError(f"cannot open {spec.name}: {_reason(error)}") from None
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(f"cannot open {spec.name}")
        if spec.kind == "camera":
            self._request(options)
        frames = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        # A file that is streamed has a frame count; the stream of a camera has none.
        self.live = spec.kind != "file" and not (spec.kind == "stream" and frames > 0)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps: float | None = rate if 0 < rate <= 1000 else None
        self._count = 0
        self._position = -1.0

    def read(self) -> Captured | None:
        try:
            found, image = self._capture.read()
        except cv2.error as error:
            raise SourceError(f"{self._spec.name}: {_reason(error)}") from None
        if not found or image is None:
            if self.live:
                raise SourceError(f"{self._spec.name} delivers no more frames")
            if not self._count:
                raise SourceError(f"{self._spec.name} holds no video that can be read")
            return None
        self._count += 1
        return Captured(image, None if self.live else self._next_position())

    def close(self) -> None:
        self._capture.release()

    def _next_position(self) -> float:
        """Seconds since the start. Some files report times that stand still or jump back."""
        reported = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        step = 1 / (self.fps or 25.0)
        first = self._count == 1
        if first:
            self._start = reported if np.isfinite(reported) else 0.0
        position = reported - self._start
        if first or not position > self._position or position > self._position + 60:
            position = self._position + step if not first else 0.0
        self._position = position
        return position

    def _request(self, options: SourceOptions) -> None:
        if options.size is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.size[1])
        if options.fps is not None:
            self._capture.set(cv2.CAP_PROP_FPS, options.fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)


class _Picamera2Capture:
    """A Raspberry Pi camera module."""

    live = True

    def __init__(self, spec: SourceSpec, options: SourceOptions) -> None:
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise SourceError(
                f"picamera2 cannot be imported ({error}); on a Raspberry Pi install Debian's"
                " python3-picamera2 and make the environment with --system-site-packages"
            ) from None
        except ValueError as error:  # NumPy's ABI check in a compiled module
            raise SourceError(
                f"picamera2 was built for another NumPy ({error}); install the system's version of"
                " numpy in the environment"
            ) from None
        number = int(spec.target.partition(":")[2] or 0)
        self.fps = options.fps
        self._name = spec.name
        self._camera: Any = None
        try:
            self._camera = Picamera2(number)
            main = {"format": "RGB888", "size": options.size or (640, 480)}  # BGR in memory
            controls = {} if options.fps is None else {"FrameRate": options.fps}
            self._camera.configure(
                self._camera.create_video_configuration(main=main, controls=controls)
            )
            self._camera.start()
        except (RuntimeError, IndexError, OSError) as error:
            self.close()
            raise SourceError(f"cannot open {spec.name}: {error}") from None

    def read(self) -> Captured | None:
        try:
            return Captured(self._camera.capture_array("main"), None)
        except (RuntimeError, OSError) as error:
            raise SourceError(f"{self._name}: {error}") from None

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()


class _FramesCapture:
    """Arrays from an iterable or from a function that returns one; each array is copied."""

    def __init__(self, spec: SourceSpec, options: SourceOptions) -> None:
        self.live = options.live
        self.fps = options.fps
        self._name = spec.name
        self._count = 0
        frames = spec.target
        # The caller's own class may raise any exception when it is iterated.
        try:
            self._frames = iter(frames() if callable(frames) else frames)
        except Exception as error:
            raise SourceError(f"cannot open {spec.name}: {_error_text(error)}") from error

    def read(self) -> Captured | None:
        try:
            frame = next(self._frames, None)
        except Exception as error:
            raise SourceError(f"{self._name}: {_error_text(error)}") from error
        if frame is None:
            return None
        image = np.array(frame)
        shaped = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
        if image.dtype != np.uint8 or not shaped or not image.size:
            raise SourceError(
                f"{self._name}: a frame must be (H, W, 3) or (H, W) uint8; got {image.dtype} of"
                f" shape {image.shape}"
            )
        position = None if self.fps is None or self.live else self._count / self.fps
        self._count += 1
        return Captured(image, position)

    def close(self) -> None:
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()


def _reason(error: cv2.error) -> str:
    """OpenCV's message, without addresses, because they may contain a password."""
    return re.sub(r"\S+://\S+", "...", str(error.err or error))


def _error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
