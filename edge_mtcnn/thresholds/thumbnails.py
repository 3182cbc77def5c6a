"""Thumbnails of detections for a report, as data URLs: cropped around the boxes, boxes drawn."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_mtcnn.errors import ImageError
from edge_mtcnn.images.decoding import read_image
from edge_mtcnn.types import FloatArray, ImageArray

if TYPE_CHECKING:
    from edge_mtcnn.thresholds.calibrator import Evidence

__all__ = ["thumbnail"]

_SIDE = 320  # pixels, the longer side
_AROUND = 1.5  # how far the picture reaches from the centre of the box, in sides of the box
_QUALITY = 80
_DETECTED, _ANNOTATED, _OUTLINE = (255, 214, 0), (80, 200, 255), (0, 0, 0)


def thumbnail(found: Evidence) -> str | None:
    """The part around the boxes as JPEG in a data URL; ``None`` if the image is gone.

    The detection is yellow, the annotated face blue. Without either, the whole image is shown.
    """
    try:
        image = found.image.mounting.applied(read_image(found.image.path))
    except (ImageError, OSError):
        return None
    boxes = [box for box in (found.annotated, found.box) if box is not None]
    left, top, right, bottom = _window(image, np.array(boxes)) if boxes else _whole(image)
    cut = image[top:bottom, left:right]
    scale = min(1.0, _SIDE / max(cut.shape[:2]))
    size = [max(1, round(side * scale)) for side in cut.shape[1::-1]]
    small = cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
    for box, color in ((found.annotated, _ANNOTATED), (found.box, _DETECTED)):
        if box is not None:
            corners = np.round((box - [left, top, left, top]) * scale).astype(int).tolist()
            for ink, thickness in ((_OUTLINE, 4), (color, 2)):
                cv2.rectangle(small, corners[:2], corners[2:], ink, thickness)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)
    encoded = base64.b64encode(data.tobytes()).decode("ascii")
    return f"data:image/jpeg;base64,{encoded}" if done else None


def _window(image: ImageArray, boxes: FloatArray) -> tuple[int, int, int, int]:
    """A square around the boxes, clipped to the image; the whole image if they lie outside."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    reach = (high - low).max() * _AROUND
    height, width = image.shape[:2]
    left, top = np.maximum((low + high) / 2 - reach, 0).astype(int).tolist()
    right, bottom = np.minimum((low + high) / 2 + reach, [width, height]).astype(int).tolist()
    inside = right - left >= 1 and bottom - top >= 1
    return (left, top, right, bottom) if inside else _whole(image)


def _whole(image: ImageArray) -> tuple[int, int, int, int]:
    return 0, 0, image.shape[1], image.shape[0]
