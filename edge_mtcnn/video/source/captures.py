"""What a source is and how it is read: ``SourceSpec``, ``SourceOptions``, the form of a capture.

``devices`` opens the captures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import cv2

from edge_mtcnn.errors import OptionsError, SourceError, brief, shown
from edge_mtcnn.images.mounting import Flip, Mounting, Rotation
from edge_mtcnn.options.checks import check_bool, check_choice, check_int, check_number
from edge_mtcnn.types import ImageArray

__all__ = [
    "Capture",
    "Captured",
    "Kind",
    "SourceOptions",
    "SourceSpec",
    "Spec",
    "mounting_of",
]

Kind = Literal["camera", "file", "stream", "gstreamer", "picamera2", "frames"]
Spec = int | str | os.PathLike[str] | Iterable[Any] | Callable[[], Iterable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a source is opened, read and reopened.

        patient = SourceOptions(open_timeout=30, retry_longest=60)

    Attributes:
        pace: pace of files: ``"file"`` plays them like a camera, so frames come when they are due,
            and a late reader gets the newest; ``"fast"`` delivers every frame as fast as it is
            read.
        loop: play a file, or frames that can be read again, again and again.
        size: width and height to request from a camera, pixels; ``None`` for its default.
        fps: frames per second to request from a camera, and the rate of frames of an iterable;
            ``None`` for the camera's default, and for frames at the pace of the iterable.
        rotate: degrees by which frames are turned clockwise, 0, 90, 180 or 270, so that people in
            them are upright. ``"auto"`` to find them by the faces of the first seconds; only a
            ``FaceWatcher`` and ``edge-mtcnn collect`` can do that. A video file that says how it is
            to be shown, as those of phones do, is turned accordingly first.
        flip: what is mirrored after that: ``"horizontal"`` exchanges left and right, ``"vertical"``
            exchanges top and bottom; ``None`` for nothing.
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
    loop: bool = False
    size: tuple[int, int] | None = None
    fps: float | None = None
    rotate: Rotation | Literal["auto"] = 0
    flip: Flip | None = None
    live: bool = False
    open_timeout: float = 10.0
    frame_timeout: float = 3.0
    retry_first: float = 0.2
    retry_longest: float = 0.5
    retry_jitter: float = 0.2
    give_up_after: float | None = None

    def __post_init__(self) -> None:
        check_choice("pace", self.pace, ("file", "fast"))
        check_bool("loop", self.loop)
        check_bool("live", self.live)
        if self.size is not None:
            if not isinstance(self.size, (tuple, list)) or len(self.size) != 2:
                raise OptionsError(f"size must be a width and a height; got {shown(self.size)}")
            for side in self.size:
                check_int("each of size", side, 1, 100_000)
            object.__setattr__(self, "size", tuple(self.size))
        if self.fps is not None:
            check_number("fps", self.fps, 0.01, 10_000)
        mounting_of(self)  # checks rotate and flip
        check_number("open_timeout", self.open_timeout, 0.1, 600)
        check_number("frame_timeout", self.frame_timeout, 0.1, 600)
        check_number("retry_first", self.retry_first, 0.01, 3600)
        check_number("retry_longest", self.retry_longest, self.retry_first, 3600)
        check_number("retry_jitter", self.retry_jitter, 0, 1)
        if self.give_up_after is not None:
            check_number("give_up_after", self.give_up_after, 0, 1e9)


def mounting_of(options: SourceOptions) -> Mounting:
    """How frames are turned; before the rotation of ``"auto"`` is found, as for 0."""
    if isinstance(options.rotate, str) and options.rotate == "auto":
        return Mounting(flip=options.flip)
    return Mounting(rotate=options.rotate, flip=options.flip)


class Captured(NamedTuple):
    """One frame of a capture.

    Attributes:
        image: (H, W, 3) or (H, W) uint8.
        position: time since the first frame, seconds, if that decides when the frame is due.
    """

    image: ImageArray
    position: float | None


class Capture(Protocol):
    """An open source of frames.

    Attributes:
        live: whether frames that are not read in time are lost, and the end is a loss.
        paced: whether frames can be read before they are due, so that the reader has to wait.
        turned: whether the device has turned the frames, as ``SourceOptions`` says.
        fps: frames per second, if the source reports it.
    """

    live: bool
    paced: bool
    turned: bool
    fps: float | None

    def read(self) -> Captured | None:
        """Return the next frame, or ``None`` at the end of what is not live; blocks.

        Raises:
            SourceError: the source is lost.
        """

    def close(self) -> None:
        """Give the device back."""


class SourceSpec:
    """Description of a source that is not open yet.

    Args:
        spec: camera index or ``/dev`` path, file, network address such as ``rtsp://`` or
            ``http://``, GStreamer pipeline ending in ``appsink``, ``"picamera2"`` or
            ``"picamera2:NUMBER"``, an iterable of frames, or a function that returns a new one each
            time it is opened.

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
            self.target = _without_file_scheme(os.fspath(spec))
            self.kind = _kind_of_text(self.target)
        elif callable(spec) or (
            isinstance(spec, Iterable) and not isinstance(spec, (bytes, bytearray, Mapping, Set))
        ):
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

    def check(self, options: SourceOptions) -> None:
        """Refuse options that have no meaning for this source.

        Raises:
            OptionsError: naming the option.
        """
        if options.loop and self.kind not in ("file", "frames"):
            raise OptionsError(
                f"loop plays a file again and again, and {self.name} is not a file; it is opened"
                " again without loop whenever it ends"
            )
        if options.loop and not self.reopens:
            raise OptionsError(
                "loop needs frames that can be read again, such as a list or a function that"
                " returns frames; an iterator can be read only once"
            )


def _without_file_scheme(text: str) -> str:
    """The path of a ``file://`` address, since a file ends and an address does not."""
    if not re.match("file:///", text, re.IGNORECASE):
        return text
    from urllib.parse import unquote

    return re.sub(r"^/(?=[A-Za-z]:)", "", unquote(text[len("file://") :]))


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
        raise SourceError(
            f"cannot open the video {brief(text)}: it is a folder; name one video in it"
            " (edge-mtcnn detect searches the images of a folder)"
        )
    if not os.path.exists(text):  # noqa: PTH110
        raise SourceError(
            f"cannot open the video {brief(text)}: there is no such file; a camera is a number such"
            " as 0, an address starts with rtsp:// or http://"
        )
    return "file"
