"""The camera's picture as MJPEG; each frame is drawn and encoded once for all viewers.

Nothing is encoded while nobody looks. A slow viewer skips pictures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import cv2

from edge_mtcnn.errors import EdgeMTCNNError
from edge_mtcnn.video import FaceWatcher, Frame, Snapshot
from edge_mtcnn.video.overlay import draw_snapshot

__all__ = ["BOUNDARY", "Pictures"]

BOUNDARY = "frame"
_LONGEST_SIDE = 1280
_QUALITY = 80


class Pictures:
    """The newest picture, encoded. Used by the event loop's thread only.

    Args:
        watcher: one that keeps its frame.
        fps: most pictures per second.
    """

    def __init__(self, watcher: FaceWatcher, fps: float) -> None:
        self.ended = False
        self._watcher = watcher
        self._interval = 1 / fps
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="edge-mtcnn-stream")
        self._locks = {True: asyncio.Lock(), False: asyncio.Lock()}
        self._newest: dict[bool, tuple[int, bytes]] = {}

    def close(self) -> None:
        """End the streams of all viewers."""
        self.ended = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def parts(self, *, marked: bool) -> AsyncIterator[bytes]:
        """The parts of one viewer's ``multipart/x-mixed-replace`` stream.

        Args:
            marked: draw the faces.
        """
        clock = asyncio.get_running_loop().time
        shown, due = -1, clock()
        while not self.ended:
            turn, jpeg = await self._picture(marked)
            if turn != shown and jpeg:
                shown = turn
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                yield head.encode("ascii") + b"\r\n\r\n" + jpeg + b"\r\n"
            due = max(due + self._interval, clock())
            await asyncio.sleep(due - clock())

    async def _picture(self, marked: bool) -> tuple[int, bytes]:
        async with self._locks[marked]:
            newest = self._watcher.frame()
            known = self._newest.get(marked, (-1, b""))
            if newest is None or newest[1].turn == known[0] or self.ended:
                return known
            loop = asyncio.get_running_loop()
            jpeg = await loop.run_in_executor(self._pool, encoded, *newest, marked)
            self._newest[marked] = (newest[1].turn, jpeg)
            return self._newest[marked]


def encoded(frame: Frame, snapshot: Snapshot, marked: bool) -> bytes:
    """A frame as JPEG, at most 1280 pixels on its longer side.

    Args:
        frame: the frame; left as it is.
        snapshot: what is known after it.
        marked: draw the faces and persons into it.
    """
    picture = draw_snapshot(frame.image, snapshot) if marked else frame.image
    scale = _LONGEST_SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise EdgeMTCNNError("OpenCV cannot encode the frame as JPEG")
    return jpeg.tobytes()
