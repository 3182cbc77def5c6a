"""Captures: one small class each for cameras, files and streams, for picamera2, and for iterables.

Opening and reading a capture may block for any time. So only the reading thread of a source uses
it, and that thread also closes it. Frames are (H, W, 3) BGR uint8.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any

import cv2
import numpy as np

from edge_mtcnn.errors import SourceError
from edge_mtcnn.video.source.captures import (
    Capture,
    Captured,
    SourceOptions,
    SourceSpec,
    mounting_of,
)

__all__ = ["open_capture"]

_log = logging.getLogger(__name__)


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


_FFMPEG_OPTIONS = "rtsp_transport;tcp|fpsprobesize;0"
"""TCP, which is OpenCV's default too; and no second of frames is used to estimate their rate."""


class _OpenCVCapture:
    """Cameras, files, streams and pipelines through ``cv2.VideoCapture``."""

    turned = False

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
            raise SourceError(f"cannot open {spec.name}{_why(spec)}")
        if spec.kind == "camera":
            self._request(options)
        self.live = spec.kind != "file"
        self.paced = options.pace == "file" and (spec.kind == "file" or self._comes_in_pieces())
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
            if not self._count:
                raise SourceError(f"no frame of {self._spec.name} can be read{_why(self._spec)}")
            if self.live:
                raise SourceError(f"{self._spec.name} delivers no more frames")
            return None
        self._count += 1
        return Captured(image, self._next_position() if self.paced or not self.live else None)

    def close(self) -> None:
        self._capture.release()

    def _comes_in_pieces(self) -> bool:
        """Whether a stream arrives faster than it plays: a film over HTTP, or HLS and DASH.

        Servers of RTSP send each frame when it is due, whatever length they announce.
        """
        if self._spec.kind != "stream" or re.match("rtsp", self._spec.target, re.IGNORECASE):
            return False
        segmented = re.search(r"\.(m3u8|mpd)\b", self._spec.target, re.IGNORECASE)
        return segmented is not None or self._capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0

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
        if sys.platform == "linux" and (options.size is not None or options.fps is not None):
            # Many cameras deliver large frames at their full rate as JPEG only. Those without JPEG
            # keep their format.
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        if options.size is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.size[1])
        if options.fps is not None:
            self._capture.set(cv2.CAP_PROP_FPS, options.fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        size = tuple(round(self._capture.get(side)) for side in sides)
        if options.size is not None and size != options.size:
            _log.warning(
                "%s delivers frames of %dx%d instead of %dx%d pixels; edge-mtcnn doctor lists the"
                " sizes of each camera",
                *(self._spec.name, *size, *options.size),
            )


class _Picamera2Capture:
    """A Raspberry Pi camera module."""

    live = True
    paced = False
    turned = False

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
            more: dict[str, Any] = {}
            if options.fps is not None:
                more["controls"] = {"FrameRate": options.fps}
            flips = _flips(options)
            if any(flips):
                from libcamera import Transform  # a dependency of picamera2

                more["transform"] = Transform(hflip=flips[0], vflip=flips[1])
            self._camera.configure(self._camera.create_video_configuration(main=main, **more))
            if any(flips):  # a sensor that cannot do it goes on without
                made = self._camera.camera_configuration()["transform"]
                self.turned = (bool(made.hflip), bool(made.vflip)) == flips
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


def _flips(options: SourceOptions) -> tuple[bool, bool]:
    """Whether the camera module mirrors left and right, and top and bottom.

    It can turn frames by 180 degrees, but not by 90.
    """
    mounting = mounting_of(options)
    if options.rotate == "auto" or mounting.rotate in (90, 270):
        return False, False
    over = mounting.rotate == 180
    return over != (mounting.flip == "horizontal"), over != (mounting.flip == "vertical")


class _FramesCapture:
    """Arrays from an iterable or from a function that returns one; each array is copied."""

    paced = False
    turned = False

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


def _why(spec: SourceSpec) -> str:
    """Why it cannot be opened, after a colon, where that can be found out; may take seconds."""
    from edge_mtcnn.video.source import advice  # only needed then

    if spec.kind == "camera":
        return f": {advice.camera_reason(spec.target)}"
    if spec.kind == "stream":
        return f": {advice.address_reason(spec.target)}"
    return f": {advice.file_reason(spec.target)}" if spec.kind == "file" else ""


def _reason(error: cv2.error) -> str:
    """OpenCV's message, without addresses, because they may contain a password."""
    return re.sub(r"\S+://\S+", "...", str(error.err or error))


def _error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
