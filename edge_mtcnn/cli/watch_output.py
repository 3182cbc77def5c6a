"""Outputs of ``watch``: event lines, the status line of a terminal, a video file, a window."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edge_mtcnn.cli.outputs import output_file
from edge_mtcnn.cli.terminal import UsageError, printable, write_line
from edge_mtcnn.cli.video_file import SUFFIXES, VideoFile, codec_for, open_video_file
from edge_mtcnn.types import score_text

if TYPE_CHECKING:
    from typing_extensions import Self

    from edge_mtcnn.types import ImageArray
    from edge_mtcnn.video import Event, Frame, Snapshot

__all__ = ["EventLines", "LiveLine", "Recording", "Window", "live_text"]

_REFRESH_SECONDS = 0.2
_MPEG4_NOTE = (
    "{name} will be MPEG-4, which browsers do not play: neither OpenCV nor a program ffmpeg writes"
    " H.264 here. Install ffmpeg, or name a .webm file, which takes longer to write."
)
_USUAL_FPS = 25.0
_LONGEST_STILL = 2.0
"""Longest time for which a frame is repeated while a camera pauses, seconds."""


class _Output:
    """An output that is closed at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Complete the output."""


class EventLines(_Output):
    """Events as lines: text on standard output, or JSON in a file or on standard output.

    Args:
        target: ``None`` for text, ``-`` for JSON on standard output, or a file to append to.
        source: as the user named it; it must not be overwritten.

    Raises:
        UsageError: the file cannot be written, or is the source.
    """

    def __init__(self, target: str | None, source: str) -> None:
        self._is_json = target is not None
        self._file: TextIO | None = None
        if target is not None and target != "-":
            _refuse_source("--json", target, source)
            output_file("--json", target)
            try:
                self._file = Path(target).open("a", encoding="utf-8")  # noqa: SIM115 - until close
            except OSError as error:
                raise UsageError(f"cannot write --json {target}: {error.strerror}") from None

    def write_all(self, events: Iterable[Event]) -> None:
        """Write events and flush each of them."""
        for event in events:
            if self._is_json:
                write_line(json.dumps(event.to_dict()), self._file)
            else:
                write_line(_event_text(event))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _event_text(event: Event) -> str:
    """An event for people."""
    values: dict[str, Any] = event.to_dict()
    name = values["event"]
    if name == "FaceAppeared":
        x1, y1, x2, y2 = values["box"]
        text = f"person {values['person']} is here, {x2 - x1:.0f}x{y2 - y1:.0f} at"
        text += f" ({x1:.0f}, {y1:.0f}), score {score_text(values['score'])}"
    elif name == "FaceLeft":
        why = {
            "gone": "",
            "unknown": " (unknown since)",
            "ended": " (the video ended)",
            "stopped": " (watching stopped)",
        }
        text = f"person {values['person']} left after {values['dwell_seconds']:.1f} s"
        text += why[values["reason"]]
    elif name == "PersonChanged":
        person = values["person"]
        text = "no person is selected" if person is None else f"person {person} is selected"
    elif name == "RotationFound":
        text = f"rotation found: frames are turned clockwise by {values['rotation']} degrees"
    elif name == "SourceLost":
        text = f"source lost: {printable(values['reason'])}"
    elif name == "SourceBack":
        text = f"source back after {values['lost_seconds']:.1f} s"
    elif name == "ViewBlocked":
        text = f"view blocked: {values['reason']}"
    else:
        text = f"view clear after {values['blocked_seconds']:.1f} s"
    return f"{_clock(event)} {text}"


def _clock(event: Event) -> str:
    """The place in the video, or the time of day for a camera or stream."""
    if event.position_seconds is None:
        return time.strftime("%H:%M:%S", time.localtime(event.wall_time))
    minutes, seconds = divmod(round(event.position_seconds, 2), 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{seconds:05.2f}"


class LiveLine(_Output):
    """Status line on standard error, if that is a terminal."""

    def __init__(self) -> None:
        self._active = sys.stderr.isatty()
        self._next = 0.0
        self._shown = False

    def show(self, text: str) -> None:
        """Update the line, at most a few times a second."""
        now = time.monotonic()
        if not self._active or (self._shown and now < self._next):
            return
        self._next = now + _REFRESH_SECONDS
        self._shown = True
        width = _terminal_width()
        sys.stderr.write("\r\x1b[K" + text[: width - 1])
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line, so that other lines can be written."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False

    def close(self) -> None:
        """Remove the line."""
        self.clear()


def live_text(snapshot: Snapshot) -> str:
    """The text of the status line."""
    parts: list[str] = [snapshot.state]
    if snapshot.state == "lost" and snapshot.source_error:
        parts.append(printable(snapshot.source_error))
    elif snapshot.state == "blind":
        parts.append(str(snapshot.blind_reason))
    elif snapshot.state == "watching":
        persons = [
            f"{'*' if person.selected else ''}{person.id} for {person.dwell_seconds:.0f} s"
            for person in snapshot.persons
        ]
        parts.append(f"persons {', '.join(persons)}" if persons else snapshot.answer)
    if snapshot.rotation_state == "looking":
        parts.append("looking for faces to find the rotation")
    parts += [f"{snapshot.fps:.1f} fps", f"{snapshot.latency_ms:.1f} ms"]
    if snapshot.dropped:
        parts.append(f"{snapshot.dropped} dropped")
    return " | ".join(parts)


def _terminal_width() -> int:
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
        return max(20, columns) if columns else 80  # 0: unknown
    except (OSError, ValueError):
        return 80


class Recording(_Output):
    """The annotated video, written as ``NAME.part.mp4`` and renamed when it is complete.

    Frames are repeated or skipped so that the video plays at the speed of the source; a frame of a
    file has the same place in it as in the source. When the size of the frames changes, later
    frames are scaled to fit into the first size. With ``--rotate auto`` it begins when the rotation
    is found; a file then stands still until that place.

    Args:
        target: file, ``.mp4``, ``.webm`` or ``.avi``; an existing file is replaced.
        source: as the user named it.

    Attributes:
        note: what to know about the video before it is written, for people; ``None`` for nothing.
        failure: why no more frames are written.

    Raises:
        UsageError: the suffix is another one, the file cannot be written, or it is the source.
    """

    def __init__(self, target: str, source: str) -> None:
        self._place = Path(os.path.realpath(target))
        suffix = self._place.suffix.lower()
        if suffix not in SUFFIXES:
            raise UsageError(f"--annotate writes {' or '.join(SUFFIXES)} files; got {target}")
        _refuse_source("--annotate", target, source)
        self._part = self._place.with_name(f"{self._place.stem}.part{self._place.suffix}")
        try:
            self._part.touch()
            self._part.unlink()
        except OSError as error:
            raise UsageError(f"cannot write --annotate {target}: {error.strerror}") from None
        self._codec = codec_for(suffix)
        self.note = _MPEG4_NOTE.format(name=printable(target)) if self._codec == "mpeg4" else None
        self.failure: str | None = None
        self._video: VideoFile | None = None
        self._has_waited = False
        self._size = (0, 0)
        self._fps = _USUAL_FPS
        self._next = 0.0
        self._closed = False

    def add(self, frame: Frame, snapshot: Snapshot) -> None:
        """Add a frame and the state after it; called in the watching thread."""
        if self._closed:
            return
        try:
            self._add(frame, snapshot)
        except OSError as error:
            self._closed = True
            self.failure = f"the video {self._place} could not be written: {error}"

    def _add(self, frame: Frame, snapshot: Snapshot) -> None:
        from edge_mtcnn.video.overlay import draw_snapshot

        if self._video is None and snapshot.rotation_state == "looking":
            self._has_waited = True
            return
        video = self._video or self._open(frame, snapshot)
        count = 0
        if frame.position_seconds is None:  # a file is written with all its pauses
            self._next = max(self._next, frame.time - _LONGEST_STILL)
        while self._next <= frame.time + 0.5 / self._fps:
            self._next += 1 / self._fps
            count += 1
        if count:
            picture = _fitted(draw_snapshot(frame.image, snapshot), self._size)
            for _ in range(count):
                video.write(picture)

    def close(self) -> None:
        """Complete the video and rename it; without a frame there is no video."""
        self._closed = True
        if self._video is None:
            if self._has_waited:
                raise OSError(
                    f"the video {self._place} was not written: too few faces to find the rotation;"
                    " name it, such as --rotate 90"
                )
            return
        try:
            self._video.close()
        except OSError as error:
            raise OSError(f"the video {self._place} could not be written: {error}") from None
        if not self._part.is_file() or not self._part.stat().st_size:  # OpenCV reports no errors
            raise OSError(f"the video {self._place} could not be written; is the disk full?")
        self._part.replace(self._place)

    def _open(self, frame: Frame, snapshot: Snapshot) -> VideoFile:
        height, width = frame.image.shape[:2]
        self._size = (width + width % 2, height + height % 2)  # as H.264 needs it
        rate = snapshot.source_fps
        self._fps = rate if rate is not None and 1 <= rate <= 120 else _USUAL_FPS
        self._video = open_video_file(self._part, self._codec, self._fps, self._size)
        # The first frame of a file may have been dropped, and times are those of the file.
        self._next = frame.time - (frame.position_seconds or 0.0)
        return self._video


def _fitted(picture: ImageArray, size: tuple[int, int]) -> ImageArray:
    """The picture scaled to fit into this width and height, with black bars to fill them."""
    import cv2

    width, height = size
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(width / picture.shape[1], height / picture.shape[0])
    fitted = cv2.resize(
        picture,
        (
            max(1, min(width, round(picture.shape[1] * scale))),
            max(1, min(height, round(picture.shape[0] * scale))),
        ),
        interpolation=cv2.INTER_AREA,
    )
    right, below = width - fitted.shape[1], height - fitted.shape[0]
    padded: ImageArray = cv2.copyMakeBorder(fitted, 0, below, 0, right, cv2.BORDER_CONSTANT)
    return padded


class Window(_Output):
    """A window with the newest frame; needs a display, and an OpenCV with windows.

    Raises:
        UsageError: one of them is missing; the message says which.
    """

    def __init__(self, title: str) -> None:
        if sys.platform == "linux" and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise UsageError("--show needs a display, and there is none; use --annotate instead")
        self._cv2: Any = importlib.import_module("cv2")
        self._title = printable(title)
        self._last: object = None
        try:
            self._cv2.namedWindow(self._title, self._cv2.WINDOW_NORMAL)
        except self._cv2.error:
            raise UsageError(
                "--show needs an OpenCV with windows: install opencv-python instead of"
                " opencv-python-headless, or use --annotate"
            ) from None

    def show(self, newest: tuple[Frame, Snapshot] | None) -> bool:
        """Show a frame; ``False`` when the user closes the window."""
        from edge_mtcnn.video.overlay import draw_snapshot

        if newest is not None and newest is not self._last:
            self._last = newest
            frame, snapshot = newest
            self._cv2.imshow(self._title, draw_snapshot(frame.image, snapshot))
        return (self._cv2.waitKey(1) & 0xFF) not in (ord("q"), 27)

    def close(self) -> None:
        """Close the window."""
        self._cv2.destroyAllWindows()


def _refuse_source(flag: str, target: str, source: str) -> None:
    if os.path.realpath(target) == os.path.realpath(source):
        raise UsageError(f"{flag} {target} is the source; name another file")
