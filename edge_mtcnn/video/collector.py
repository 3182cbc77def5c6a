"""``Collector`` saves the finds of a video as pictures in two folders, for ``calibrate``.

It is the only part of ``video`` that writes pictures, and only ``edge-mtcnn collect`` uses it. A
find is whatever the detector takes for a face, whatever its score. Each find becomes a picture of
its own with some surroundings, so that the detector finds it there again. Boxes are
``x1, y1, x2, y2``.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import brief
from edge_mtcnn.files import write_whole
from edge_mtcnn.images.arrays import as_rgb
from edge_mtcnn.images.writing import encode_image
from edge_mtcnn.types import Face, score_text
from edge_mtcnn.video.source.reader import Frame
from edge_mtcnn.video.tracking.smoothing import Box
from edge_mtcnn.video.tracking.tracks import Track, continuous_iou

__all__ = ["INDEX", "SURE", "UNSURE", "Collector"]

SURE, UNSURE = "sure", "unsure"
"""Folders of the pictures: score at least the bound, and below it."""
INDEX = "finds.jsonl"

_MARGINS = (1.0, 0.6, 0.3)
"""Surroundings on each side of a picture, in sides of the box; those that are tried, in order."""
_LEAST_WINDOW = 1.5
"""Smallest side of a picture, in smallest face sizes: below 1 the detector would find nothing."""
_SAME_FIND = 0.3
"""Least overlap of the box in the picture with that in the video, and of two finds at one place."""
_CHANGED_SCORE = 0.3
"""A score that differs this much from those of all recent pictures makes another picture."""
_QUALITY = 95


class _Picture(NamedTuple):
    """A find, cut out with its surroundings.

    Attributes:
        data: the JPEG.
        corner: its upper left corner in the frame, pixels.
        box: of the find, pixels of the picture.
        score, confidence: as the detector sees the find in the picture; as the tracker saw it in
            the video if the detector does not find it in the picture.
        found_again: whether it does.
    """

    data: bytes
    corner: tuple[int, int]
    box: Box
    score: float
    confidence: float
    found_again: bool


class _Saved(NamedTuple):
    """A picture saved a short time ago: with its place and score in the video."""

    track: int
    time: float
    box: Box
    score: float


class Collector:
    """Saves pictures of what a tracker finds, at most so many, and not the same again and again.

    A track gets a picture when it appears, another one after some seconds, and one in between if
    its score changes much. Finds below ``sure`` flicker, so that each gets a new track; they also
    count as the same if they are at the same place.

    Args:
        detector: finds the faces in the pictures; its ``confidence`` should be 0.
        folder: where the folders ``sure`` and ``unsure`` are; what is in them is kept.
        source: name of the source, without credentials.
        prefix: start of the names of pictures of a file, such as its stem; ``None`` for a camera.
        every: time until the next picture of the same find, seconds.
        sure: lowest score of a picture in the folder ``sure``, 0..1.
        most: largest number of pictures to save.

    Attributes:
        sure, unsure: numbers of pictures saved in each folder.
        not_found_again: number of these in which the detector does not find the find again.
    """

    def __init__(
        self,
        detector: FaceDetector,
        folder: Path,
        *,
        source: str,
        prefix: str | None,
        every: float,
        sure: float,
        most: int,
    ) -> None:
        self.sure = self.unsure = self.not_found_again = 0
        self._detector = detector
        self._folder = folder
        self._source = source
        self._prefix = None if prefix is None else re.sub(r"[^\w-]+", "-", prefix)[:60]
        self._every = every
        self._bound = sure
        self._most = most
        self._recent: list[_Saved] = []

    @property
    def full(self) -> bool:
        """Whether as many pictures as allowed are saved."""
        return self.sure + self.unsure >= self._most

    def add(self, frame: Frame, tracks: Sequence[Track]) -> Iterator[Path]:
        """Save what is new in a frame.

        Args:
            frame: of the video.
            tracks: what ``FaceTracker.update`` returned for it.

        Yields:
            The path of each picture, after it was saved.

        Raises:
            OSError: a picture or the index cannot be written; what was saved before is complete.
        """
        self._recent = [saved for saved in self._recent if frame.time - saved.time < self._every]
        for track in tracks:
            # Other tracks are predictions: nobody looked for them in this frame.
            if track.last_seen == frame.time and self._is_new(track) and not self.full:
                yield self._save(frame, track)
                self._recent.append(_Saved(track.id, frame.time, track.face.box, track.face.score))

    def _is_new(self, track: Track) -> bool:
        face = track.face
        return not any(
            abs(face.score - saved.score) < _CHANGED_SCORE
            and (
                track.id == saved.track
                or (face.score < self._bound and continuous_iou(face.box, saved.box) >= _SAME_FIND)
            )
            for saved in self._recent
        )

    def _save(self, frame: Frame, track: Track) -> Path:
        picture = self._picture(frame, track.face)
        is_sure = picture.score >= self._bound
        when = datetime.now().astimezone()
        if frame.position_seconds is None:
            when -= timedelta(seconds=max(time.monotonic() - frame.time, 0.0))
        name = f"{self._stem(frame, when)}_track{track.id}_score{score_text(picture.score)}"
        path = self._unused(SURE if is_sure else UNSURE, name)
        try:
            write_whole(path, picture.data)
        except OSError as error:
            raise _cannot_write(path, error) from None
        self.sure += is_sure
        self.unsure += not is_sure
        self.not_found_again += not picture.found_again
        self._note(
            {
                "file": path.relative_to(self._folder).as_posix(),
                "score": round(picture.score, 6),
                "confidence": round(picture.confidence, 6),
                "box_xyxy": _moved(picture.box, 0, 0),
                "frame_box_xyxy": _moved(picture.box, *picture.corner),
                "frame_size": [frame.image.shape[1], frame.image.shape[0]],
                "track": track.id,
                "time": when.isoformat(timespec="milliseconds"),
                "position_seconds": frame.position_seconds,
                "source": self._source,
                "found_again": picture.found_again,
            }
        )
        return path

    def _picture(self, frame: Frame, wanted: Face) -> _Picture:
        """The widest picture in which the detector's best face is the wanted one.

        ``calibrate`` uses the best face of a picture, so a neighbour must not be better. If there
        always is one, the picture is the widest in which the face is found at all.
        """
        pictures = []
        least = _LEAST_WINDOW * self._detector.options.min_face_size
        for margin in _MARGINS:
            left, top, right, bottom = _window(wanted.box, margin, least, frame.image.shape)
            part = as_rgb(frame.image[top:bottom, left:right], "bgr")
            data = encode_image(part, ".jpg", quality=_QUALITY)
            x1, y1, x2, y2 = wanted.box
            place = (x1 - left, y1 - top, x2 - left, y2 - top)
            faces = self._detector.detect(data)
            fits = [continuous_iou(face.box, place) >= _SAME_FIND for face in faces]
            found = any(fits)
            box, face = place, wanted
            if found:
                face = faces[fits.index(True)]
                box = face.box
            picture = _Picture(data, (left, top), box, face.score, face.confidence, found)
            if found and fits[0]:
                return picture
            pictures.append(picture)
        return next((picture for picture in pictures if picture.found_again), pictures[0])

    def _stem(self, frame: Frame, when: datetime) -> str:
        """Start of the name of a picture, in the order of time."""
        if frame.position_seconds is None or self._prefix is None:
            return f"{when:%Y%m%d-%H%M%S}-{when.microsecond // 1000:03d}"
        seconds, thousandths = divmod(round(frame.position_seconds * 1000), 1000)
        minutes, seconds = divmod(seconds, 60)
        return (
            f"{self._prefix}_{minutes // 60:02d}-{minutes % 60:02d}-{seconds:02d}-{thousandths:03d}"
        )

    def _unused(self, folder: str, name: str) -> Path:
        """The path of a picture that is in neither folder yet, since pictures are moved."""
        unique, number = f"{name}.jpg", 1
        while any(os.path.lexists(self._folder / each / unique) for each in (SURE, UNSURE)):
            number += 1
            unique = f"{name}-{number}.jpg"
        return self._folder / folder / unique

    def _note(self, entry: dict[str, object]) -> None:
        """Append a line to the index, completely or not at all."""
        path = self._folder / INDEX
        rest = json.dumps(entry).encode("ascii") + b"\n"
        try:
            with path.open("a+b", buffering=0) as stream:
                whole = stream.seek(0, os.SEEK_END)
                if whole:  # a line that the power cut short must not spoil this one
                    stream.seek(-1, os.SEEK_END)
                    rest = rest if stream.read(1) == b"\n" else b"\n" + rest
                try:
                    while rest:  # a disk that is nearly full writes only a part
                        rest = rest[stream.write(rest) or 0 :]
                except OSError:
                    stream.truncate(whole)
                    raise
        except OSError as error:
            raise _cannot_write(path, error) from None


def _window(
    box: Box, margin: float, least: float, shape: Sequence[int]
) -> tuple[int, int, int, int]:
    """A square around a box, moved into the frame; ``left, top, right, bottom``.

    Args:
        box: of the find; may leave the frame.
        margin: added on each side, in longer sides of the box.
        least: smallest side, pixels.
        shape: height and width of the frame first.
    """
    longer = max(box[2] - box[0], box[3] - box[1])
    side = round(max((1 + 2 * margin) * longer, least))
    edges = []
    for low, high, length in ((box[0], box[2], shape[1]), (box[1], box[3], shape[0])):
        start = min(max(round((low + high - side) / 2), 0), max(length - side, 0))
        edges.append((start, min(start + side, length)))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def _cannot_write(path: Path, error: OSError) -> OSError:
    return OSError(f"cannot write {brief(os.fspath(path))}: {error.strerror}")


def _moved(box: Box, right: int, down: int) -> list[float]:
    """A box for the index, pixels, moved by whole pixels."""
    x1, y1, x2, y2 = box
    return [round(value, 2) for value in (x1 + right, y1 + down, x2 + right, y2 + down)]
