"""The video files of ``watch --annotate``: H.264 where this system can write it.

OpenCV's own packages contain no H.264 encoder, so a program ``ffmpeg`` is used where it is there.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from edge_mtcnn.types import ImageArray

__all__ = ["SUFFIXES", "VideoFile", "codec_for", "open_video_file"]

SUFFIXES = (".mp4", ".webm", ".avi")
_TAGS = {"h264": "avc1", "mpeg4": "mp4v", "vp8": "VP80", "mjpeg": "MJPG"}
"""OpenCV's names of the codecs."""
_CLOSE_SECONDS = 60.0


class VideoFile(Protocol):
    """A video that is being written."""

    def write(self, picture: ImageArray) -> None:
        """Add a frame, (H, W, 3) BGR uint8 of the size of the video."""

    def close(self) -> None:
        """Complete the file."""


def codec_for(suffix: str) -> str:
    """What a file of this suffix is written with.

    Args:
        suffix: one of ``SUFFIXES``.

    Returns:
        ``h264``, written by OpenCV; ``ffmpeg``, H.264 written by that program; ``mpeg4``, which
        browsers do not play, where neither works; ``vp8`` or ``mjpeg``.
    """
    if suffix != ".mp4":
        return "vp8" if suffix == ".webm" else "mjpeg"
    return next((codec for codec in ("h264", "ffmpeg") if _works(codec)), "mpeg4")


def open_video_file(path: Path, codec: str, fps: float, size: tuple[int, int]) -> VideoFile:
    """Begin a video.

    Args:
        path: the file.
        codec: see ``codec_for``.
        fps: frames per second.
        size: width and height, pixels; even for H.264.

    Raises:
        OSError: this system cannot write such a video.
    """
    if codec == "ffmpeg":
        return _FfmpegFile(path, fps, size)
    return _OpenCVFile(path, _TAGS[codec], fps, size)


def _works(codec: str) -> bool:
    """Whether a short video of this codec can be written: an encoder may open and then fail."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.mp4"
        try:
            with closing(open_video_file(path, codec, 25.0, (320, 240))) as video:
                for shade in range(0, 250, 50):
                    video.write(np.full((240, 320, 3), shade, dtype=np.uint8))
        except OSError:
            return False
        return path.is_file() and path.stat().st_size > 0


class _OpenCVFile:
    def __init__(self, path: Path, tag: str, fps: float, size: tuple[int, int]) -> None:
        import cv2

        from edge_mtcnn.images.codec_errors import listening

        with listening(exclusive=False):  # its messages are no help: there are other encoders
            self._writer: Any = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*tag), fps, size)
        if not self._writer.isOpened():
            raise OSError(f"this OpenCV cannot write {path.suffix} videos of {size[0]}x{size[1]}")

    def write(self, picture: ImageArray) -> None:
        self._writer.write(picture)

    def close(self) -> None:
        self._writer.release()


class _FfmpegFile:
    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        program = shutil.which("ffmpeg")
        if program is None:
            raise OSError("there is no program ffmpeg")
        raw = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{size[0]}x{size[1]}", "-r", f"{fps}"]
        h264 = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"]
        # In a session of its own, so that Ctrl-C does not end it before the last frame.
        self._process = subprocess.Popen(
            [program, "-v", "quiet", "-y", *raw, "-i", "-", *h264, "-movflags", "+faststart", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )

    def write(self, picture: ImageArray) -> None:
        assert self._process.stdin is not None
        rest = memoryview(picture.tobytes())
        while rest:  # a signal may interrupt a write
            rest = rest[self._process.stdin.write(rest) :]

    def close(self) -> None:
        try:
            self._process.communicate(timeout=_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.returncode != 0:
            raise OSError("ffmpeg could not write the video")
