"""Small videos for the tests: a sample photo that moves over a background, and files of them."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

PHOTO = Path(__file__).resolve().parent.parent / "samples" / "astronaut.jpg"
FACE_WINDOW = (slice(0, 240), slice(120, 360))
"""The part of the photo that shows the face, with some room around it."""


def face_picture(side: int = 160) -> Image:
    """The face of the sample photo and its surroundings, (side, side, 3) BGR."""
    photo = cv2.imread(str(PHOTO))
    assert photo is not None
    return np.asarray(cv2.resize(photo[FACE_WINDOW], (side, side), interpolation=cv2.INTER_AREA))


def background(height: int = 240, width: int = 320) -> Image:
    """A smooth scene without a face, BGR."""
    rows, columns = np.mgrid[0:height, 0:width]
    gray = 90 + 40 * np.sin(rows / 40) + 40 * np.cos(columns / 60)
    return np.repeat(gray[..., None], 3, axis=2).astype(np.uint8)


def scene(places: Sequence[tuple[int, int]], size: tuple[int, int] = (240, 320)) -> Image:
    """The face at each place, its upper left corner ``x, y``, before the background."""
    picture = background(*size)
    face = face_picture()
    for x, y in places:
        part = face[: size[0] - y, max(0, -x) : size[1] - x]
        left = max(0, x)
        picture[y : y + part.shape[0], left : left + part.shape[1]] = part
    return picture


def panned(count: int, step: float = 2.0, size: tuple[int, int] = (240, 320)) -> Iterator[Image]:
    """The face moving to the right and back."""
    room = size[1] - 160
    for index in range(count):
        x = round(index * step) % (2 * room)
        yield scene([(min(x, 2 * room - x), 40)], size)


def write_video(path: Path, frames: Iterable[Image], fps: float = 20.0) -> Path:
    """A Motion JPEG file of the frames."""
    writer = None
    for frame in frames:
        if writer is None:
            size = (frame.shape[1], frame.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
            assert writer.isOpened()
        writer.write(frame)
    assert writer is not None
    writer.release()
    return path


def our_threads() -> list[str]:
    """Names of the package's threads that read, watch or call back."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("edge-mtcnn-")]


def counts() -> tuple[int, int]:
    """Threads of the operating system and open descriptors of this process."""
    gc.collect()
    if not Path("/proc/self/task").is_dir():  # elsewhere than on Linux
        return threading.active_count(), 0
    threads, descriptors = (
        len(tuple(Path("/proc/self", name).iterdir())) for name in ("task", "fd")
    )
    return threads, descriptors


def wait_until(condition: object, seconds: float = 5.0) -> bool:
    """Wait until a function returns something true."""
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
