"""Faces drawn into a copy of their image: box, five landmarks and score, legible at any size.

Imports NumPy, OpenCV and the core's types; stands on what the detector returns.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from edge_mtcnn.image import as_rgb
from edge_mtcnn.types import Faces, ImageArray

__all__ = ["draw_faces"]

Color = tuple[int, int, int]

GREEN: Color = (40, 220, 90)
LANDMARK_COLOR: Color = (255, 70, 70)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LETTER_HEIGHT = 22
"""Height of the font's capital letters at scale 1, pixels."""


def draw_faces(
    image: Any, faces: Faces, *, color: Color = GREEN, scores: bool = True
) -> ImageArray:
    """A new picture with the faces drawn into it.

    Lines, points and letters grow with the picture, and a face's own stay small against it.

    Args:
        image: the image that the faces were found in, see ``FaceDetector.detect``; RGB.
        faces: the faces.
        color: of the boxes, RGB 0..255 each.
        scores: write each face's score at its box.

    Returns:
        (H, W, 3) uint8 RGB; ``image`` is left as it is.

    Raises:
        ImageError: ``image`` is no image.
    """
    picture = as_rgb(image).copy()
    # Weak faces first, so that the best are on top.
    for face in reversed(list(faces)):
        x1, y1, x2, y2 = (round(value) for value in face.box)
        thickness = _thickness(picture, min(x2 - x1, y2 - y1))
        cv2.rectangle(picture, (x1, y1), (x2, y2), color, thickness, cv2.LINE_AA)
        for x, y in face.landmarks:
            centre = (round(x), round(y))
            cv2.circle(picture, centre, thickness + 1, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(picture, centre, thickness, LANDMARK_COLOR, -1, cv2.LINE_AA)
    if scores:
        for face in reversed(list(faces)):
            _label(picture, face.box, _score_text(face.score), color)
    return picture


def _thickness(picture: ImageArray, face_side: int) -> int:
    """Line width in pixels: a few thousandths of the picture, at most a thirtieth of the face."""
    wanted = max(picture.shape[:2]) / 400
    return max(1, round(min(float(wanted), max(face_side, 1) / 30)))


def _score_text(score: float) -> str:
    """Three digits, rounded down: what is written as 1.000 is certain to three digits."""
    return f"{int(score * 1000) / 1000:.3f}"


def _label(
    picture: ImageArray, box: tuple[float, float, float, float], text: str, color: Color
) -> None:
    """Write a text on a filled field above the box, or wherever it fits into the picture."""
    height, width = picture.shape[:2]
    letters = float(np.clip(max(height, width) / 55, 8, 90))
    weight = max(1, round(letters / 10))
    scale = letters / _LETTER_HEIGHT
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, weight)
    if text_width > width:  # a tiny picture: smaller letters, however hard to read
        scale *= width / text_width
        (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, weight)
    pad = max(1, round(letters / 5))
    field_width, field_height = text_width + 2 * pad, text_height + baseline + pad
    left = int(np.clip(box[0], 0, max(0, width - field_width)))
    top = box[1] - field_height
    if top < 0:
        top = box[3]  # no room above: below the box, or inside the picture's edge
    top = int(np.clip(top, 0, max(0, height - field_height)))
    cv2.rectangle(picture, (left, top), (left + field_width, top + field_height), color, -1)
    red, green, blue = color
    dark = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    ink = (0, 0, 0) if dark else (255, 255, 255)
    origin = (left + pad, top + pad // 2 + text_height)
    cv2.putText(picture, text, origin, _FONT, scale, ink, weight, cv2.LINE_AA)
