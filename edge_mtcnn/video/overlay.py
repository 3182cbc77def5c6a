"""Draws what a watcher knows into a copy of the frame: faces, persons, and a blind camera.

The selected person is green, the others are white, and faces not found in this frame are grey.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge_mtcnn.images.arrays import checked_array
from edge_mtcnn.images.drawing import Color, text_size, write_text
from edge_mtcnn.options.checks import check_type
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video.presence import Person
from edge_mtcnn.video.snapshot import Snapshot
from edge_mtcnn.video.tracking.tracks import Track

__all__ = ["draw_snapshot"]

_SELECTED: Color = (90, 220, 40)
_OTHER: Color = (255, 255, 255)
_UNSEEN: Color = (150, 150, 150)


def draw_snapshot(image: ImageArray, snapshot: Snapshot) -> ImageArray:
    """Draw boxes, landmarks and, for each person, number and seconds of presence.

        watcher = FaceWatcher(0, keep_frame=True)
        ...
        newest = watcher.frame()
        if newest is not None:
            frame, snapshot = newest
            picture = draw_snapshot(frame.image, snapshot)

    Args:
        image: (H, W, 3) BGR or (H, W) gray, uint8; not changed.
        snapshot: what was known after this frame.

    Returns:
        (H, W, 3) BGR uint8.

    Raises:
        ImageError: ``image`` is not an image.
        OptionsError: ``snapshot`` is not a ``Snapshot``.
    """
    check_type("snapshot", snapshot, Snapshot, "FaceWatcher.snapshot")
    image = checked_array(image)
    picture: ImageArray = (
        cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        if image.ndim == 2 or image.shape[2] == 1
        else np.array(image[..., :3])
    )
    persons = {person.track: person for person in snapshot.persons}
    letters = max(8.0, max(picture.shape[:2]) / 60)
    for track in snapshot.tracks:
        if track.confirmed:
            _draw_track(picture, track, persons.get(track.id), letters)
    if snapshot.state == "blind":
        _write(picture, f"blind: {snapshot.blind_reason}", (4, 4), letters * 1.5, _OTHER)
    return picture


def _draw_track(picture: ImageArray, track: Track, person: Person | None, letters: float) -> None:
    color = _UNSEEN
    if track.seen:
        color = _SELECTED if person is not None and person.selected else _OTHER
    x1, y1, x2, y2 = (round(value) for value in track.face.box)
    line = max(1, round(letters / 6))
    cv2.rectangle(picture, (x1, y1), (x2, y2), (0, 0, 0), line + 2, cv2.LINE_AA)
    cv2.rectangle(picture, (x1, y1), (x2, y2), color, line, cv2.LINE_AA)
    if track.seen:
        for x, y in track.face.landmarks:
            cv2.circle(picture, (round(x), round(y)), line, color, -1, cv2.LINE_AA)
    if person is not None:
        text = f"{person.id}  {person.dwell_seconds:.0f} s"
        _write(picture, text, (x1, round(y1 - 1.9 * letters)), letters, color)


def _write(
    picture: ImageArray, text: str, corner: tuple[int, int], letters: float, color: Color
) -> None:
    """Write a text on a dark field at ``corner``, moved where it would leave the picture."""
    width, height = text_size(text, letters)
    pad = round(letters / 3)
    left = max(0, min(corner[0], picture.shape[1] - width - 2 * pad))
    top = max(0, min(corner[1], picture.shape[0] - height - 2 * pad))
    far = (left + width + 2 * pad, top + height + 2 * pad)
    cv2.rectangle(picture, (left, top), far, (30, 30, 30), -1)
    origin = (left + pad, top + pad + height)
    write_text(picture, text, origin, letters, color)
