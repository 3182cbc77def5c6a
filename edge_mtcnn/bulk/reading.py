"""The images of a shard, one by one: of files, archives, tables and videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from edge_mtcnn.bulk.archives import read_members
from edge_mtcnn.bulk.options import BulkOptions, Every
from edge_mtcnn.bulk.places import local_copy, read_place, source_of
from edge_mtcnn.bulk.plan import Shard
from edge_mtcnn.bulk.tables import read_rows
from edge_mtcnn.errors import SourceError
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video.source.captures import SourceOptions, SourceSpec
from edge_mtcnn.video.source.source import Source

__all__ = ["Picture", "pictures_of"]

_VIDEO = SourceOptions(pace="fast", open_timeout=60, frame_timeout=60, give_up_after=0)
"""Every frame, however slow the disk is; and never from the beginning again."""
_MISSING = 0.1
"""Share of the announced frames that a whole video may lack: containers often only estimate it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image to search.

    Attributes:
        source: the input that it belongs to, as tables have it.
        content: gives the bytes of its file, or raises what reading them raises; or a frame,
            (H, W, 3) BGR uint8.
        frame: number of the frame in its video.
        position: place of the frame, seconds.
    """

    source: str
    content: Callable[[], bytes] | ImageArray
    frame: int | None = None
    position: float | None = None


def pictures_of(shard: Shard, options: BulkOptions) -> Iterator[Picture]:
    """Read a shard.

    Raises:
        OSError: an archive, table or video cannot be read, or not to its end; the pictures before
            it are whole. The message begins with the source.
    """
    if shard.kind == "files":
        for place in shard.places:
            yield Picture(source_of(place), partial(read_place, place))
    elif shard.kind == "tar":
        for source, data in read_members(shard):
            yield Picture(source, partial(bytes, data))
    elif shard.kind == "rows":
        for source, value in read_rows(shard):
            read = partial(read_place, value) if isinstance(value, str) else partial(bytes, value)
            yield Picture(source, read)
    elif shard.kind == "video":
        yield from _frames(shard.places[0], options.every)
    else:
        raise OSError(f"{source_of(shard.places[0])}: {shard.detail}")


def _frames(place: str, every: Every) -> Iterator[Picture]:
    source = source_of(place)
    with local_copy(place) as path:
        try:
            with Source(SourceSpec(path), _VIDEO) as video:
                due = 0.0
                last = -1
                for frame in video:
                    last = frame.number
                    position = frame.position_seconds or 0.0
                    if every.frames is not None:
                        wanted = frame.number % every.frames == 0
                    else:
                        assert every.seconds is not None
                        # A microsecond, since sums of tenths are not exact.
                        wanted = position + 1e-6 >= due
                        if wanted:
                            due += every.seconds * max(1, (position - due) // every.seconds + 1)
                    if wanted:
                        yield Picture(source, frame.image, frame.number, frame.position_seconds)
        except SourceError as error:
            raise OSError(f"{source}: {str(error).replace(path, source)}") from None
        announced = _announced_frames(path)
    if last + 1 < announced * (1 - _MISSING):
        raise OSError(f"{source}: the video breaks off after {last + 1} of {announced} frames")


def _announced_frames(path: str) -> int:
    """Frames that the video has by its header; 0 where it does not say so."""
    import cv2

    capture = cv2.VideoCapture(path)
    try:
        return max(0, round(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        capture.release()
