"""Faces drawn into a copy of their image: box, five landmarks and score, legible at any size.

Lines and labels grow with the picture, because it is viewed as a whole, but stay small compared
with the face. Imports NumPy, OpenCV and ``types``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.images.inputs import rgb_image
from edge_mtcnn.options.checks import check_bool, check_int, check_type
from edge_mtcnn.types import Face, Faces, ImageArray, score_text

__all__ = ["Color", "draw_faces", "text_size", "write_text"]

Color = tuple[int, int, int]

GREEN: Color = (40, 220, 90)
GRAY: Color = (160, 160, 160)
LANDMARK_COLOR: Color = (255, 70, 70)
BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LETTER_HEIGHT = 22
"""Height of the font's digits at scale 1, pixels."""
_SMALLEST_LETTERS = 8
"""Height of the smallest legible digits, pixels."""
_FARTHEST = 1e6
"""Largest coordinate that is drawn, pixels: outside any picture, but within OpenCV's integers."""
_LABEL_ON_LABEL = 4
"""Cost of covering another label, relative to covering a face."""


def draw_faces(
    image: Any, faces: Faces, *, color: Color = GREEN, scores: bool = True
) -> ImageArray:
    """A copy of the picture with the faces drawn into it, the best on top, known false faces gray.

        write_image("marked.jpg", draw_faces(image, detector.detect(image)))

    Args:
        image: the image that the faces were found in, see ``FaceDetector.detect``; an array is RGB.
        faces: the faces.
        color: color of the boxes, RGB 0..255 each.
        scores: write the score of each face beside its box, with four digits and rounded down, as
            the command line does. A label that does not fit into the picture is omitted.

    Returns:
        (H, W, 3) uint8 RGB; ``image`` is not modified.

    Raises:
        ImageError: ``image`` is not an image.
        OptionsError: ``color`` is not an RGB color.
    """
    color = _checked(color)
    check_type("faces", faces, Faces, "detect")
    check_bool("scores", scores)
    picture = rgb_image(image).copy()
    for face in reversed(list(faces)):
        _mark(picture, face, _color_of(face, color))
    if scores:
        for label in reversed(_labels(picture, faces, color)):
            _write(picture, label)
    return picture


def _color_of(face: Face, color: Color) -> Color:
    return color if face.known_false is None else GRAY


def _checked(color: Any) -> Color:
    if not isinstance(color, (tuple, list)) or len(color) != 3:
        raise OptionsError(f"color must be (red, green, blue), 0..255 each; got {shown(color)}")
    for value in color:
        check_int("each of color", value, 0, 255)
    red, green, blue = map(int, color)
    return red, green, blue


def _mark(picture: ImageArray, face: Face, color: Color) -> None:
    """Draw the box and the landmarks of one face."""
    x1, y1, x2, y2 = map(_pixel, face.box)
    longest, side = max(picture.shape[:2]), max(1, min(x2 - x1, y2 - y1))
    line = max(1, round(min(longest / 250, side / 30)))
    if line > 1:  # a black edge, so that the box is visible on its own color too
        cv2.rectangle(picture, (x1, y1), (x2, y2), BLACK, line + 2)
    cv2.rectangle(picture, (x1, y1), (x2, y2), color, line)
    radius = int(min(longest / 120, side / 28))
    for x, y in face.landmarks:
        centre = (_pixel(x), _pixel(y))
        if radius == 0:  # a tiny face: one pixel
            cv2.rectangle(picture, centre, centre, LANDMARK_COLOR, -1)
            continue
        cv2.circle(picture, centre, radius + max(1, radius // 3), WHITE, -1, cv2.LINE_AA)
        cv2.circle(picture, centre, radius, LANDMARK_COLOR, -1, cv2.LINE_AA)


def _pixel(value: float) -> int:
    """A coordinate as an integer that OpenCV can take, however far outside the picture."""
    return round(min(max(value, -_FARTHEST), _FARTHEST))


class _Label(NamedTuple):
    """A text, and its rectangle in the picture, pixels and color."""

    text: str
    color: Color
    left: int
    top: int
    width: int
    height: int
    letters: float
    pad: int


def _labels(picture: ImageArray, faces: Faces, color: Color) -> list[_Label]:
    """The scores of the faces, each beside its face and away from the others where possible."""
    height, width = picture.shape[:2]
    longest = max(height, width)
    labels: list[_Label] = []
    boxes = np.round(faces.boxes.astype(np.float64))
    fields = np.zeros((len(faces), 4))
    for box, face in zip(boxes, faces, strict=True):
        # As wide as the face, but legible, and not too large for the picture.
        letters = float(np.clip(face.width / 5, longest / 100, longest / 45))
        letters = max(letters, _SMALLEST_LETTERS)
        text = score_text(face.score)
        text_width, text_height = text_size(text, letters)
        pad = round(letters / 4)
        size = np.array([text_width + 2 * pad, text_height + 2 * pad])
        if (size > (width, height)).any():
            continue
        written = fields[: len(labels)]
        left, top = _place(size, box, np.array([width, height]), boxes, written)
        fields[len(labels)] = (left, top, left + size[0], top + size[1])
        rectangle = (left, top, int(size[0]), int(size[1]))
        labels.append(_Label(text, _color_of(face, color), *rectangle, letters, pad))
    return labels


def _place(
    size: npt.NDArray[Any],
    box: npt.NDArray[Any],
    picture_size: npt.NDArray[Any],
    boxes: npt.NDArray[Any],
    fields: npt.NDArray[Any],
) -> tuple[int, int]:
    """Left and top of a label beside a box where it covers least of other labels and of faces."""
    x1, y1, x2, y2 = box
    width, height = size
    corners = np.array(
        [
            (x1, y1 - height),  # above, where people look first
            (x1, y2),
            (x2 - width, y1 - height),
            (x2 - width, y2),
            (x2, y1),
            (x1 - width, y1),
        ]
    )
    corners = np.clip(corners, 0, picture_size - size)
    places = np.hstack([corners, corners + size])
    # Only those that are near matter, which are few even among thousands of faces.
    all_places = (*corners.min(axis=0), *places[:, 2:].max(axis=0))
    boxes, fields = _meeting(all_places, boxes), _meeting(all_places, fields)
    covered = _overlaps(places, boxes) + _LABEL_ON_LABEL * _overlaps(places, fields)
    left, top = corners[np.argmin(covered)]
    return int(left), int(top)


def _meeting(
    field: tuple[float, float, float, float], others: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Those of (M, 4) others that overlap a field."""
    left, top, right, bottom = field
    x1, y1, x2, y2 = others.T
    met: npt.NDArray[Any] = others[(x1 < right) & (y1 < bottom) & (x2 > left) & (y2 > top)]
    return met


def _overlaps(places: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(P,) area that each of (P, 4) ``x1, y1, x2, y2`` shares with (M, 4) others together."""
    low = np.maximum(places[:, None, :2], others[None, :, :2])
    high = np.minimum(places[:, None, 2:], others[None, :, 2:])
    shared: npt.NDArray[Any] = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return shared


def _write(picture: ImageArray, label: _Label) -> None:
    """Fill the rectangle of a label and write its text into it."""
    corner = (label.left + label.width - 1, label.top + label.height - 1)
    cv2.rectangle(picture, (label.left, label.top), corner, label.color, -1)
    red, green, blue = label.color
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    origin = (label.left + label.pad, label.top + label.height - 1 - label.pad)
    write_text(picture, label.text, origin, label.letters, BLACK if bright else WHITE)


def text_size(text: str, letters: float) -> tuple[int, int]:
    """Width and height, pixels, of a text whose digits are ``letters`` pixels high."""
    (width, height), _ = cv2.getTextSize(text, _FONT, *_font(letters))
    return width, height


def write_text(
    picture: ImageArray, text: str, origin: tuple[int, int], letters: float, color: Color
) -> None:
    """Write a text into the picture itself.

    Args:
        picture: (H, W, 3) uint8.
        text: one line.
        origin: ``x, y`` of the lower left corner, pixels.
        letters: height of the digits, pixels.
        color: in the channel order of the picture.
    """
    scale, weight = _font(letters)
    cv2.putText(picture, text, origin, _FONT, scale, color, weight, cv2.LINE_AA)


def _font(letters: float) -> tuple[float, int]:
    """Scale and weight of the font for digits of a height in pixels."""
    return letters / _LETTER_HEIGHT, max(1, round(letters / 10))
