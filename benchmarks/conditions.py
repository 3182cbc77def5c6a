"""The conditions in which a face is looked for: light, colour, sharpness, size, tilt, cover.

Each function takes a photo of one annotated face and returns it as it would look under that
condition; where the face moves, its box and landmarks move with it. Nothing is written into a
photo that is given. Sizes are relative to the face, so that photos of any size are comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from benchmarks.common.images import Pixels
from benchmarks.common.program import BenchmarkError
from edge_mtcnn.types import FloatArray
from export.looks import AS_IT_IS, DARK, DARKER, Look

BACKLIGHT = 0.15
SODIUM, RED = (1.0, 0.62, 0.16), (1.0, 0.22, 0.18)
"""What the lamps leave of red, green and blue."""
MASK, PLEAT, LENS = (168, 204, 222), (140, 178, 198), (14, 14, 18)
"""Colours that are painted, RGB."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo of an annotated face.

    Attributes:
        pixels: (H, W, 3) RGB.
        box: (4,) ``x1, y1, x2, y2``, pixels.
        points: (5, 2) left eye, right eye, nose, left and right corner of the mouth, pixels.

    Raises:
        BenchmarkError: box and points do not have these shapes, or the box is empty.
    """

    pixels: Pixels
    box: FloatArray
    points: FloatArray

    def __post_init__(self) -> None:
        if self.box.shape != (4,) or self.points.shape != (5, 2):
            shapes = f"{self.box.shape} and {self.points.shape}"
            raise BenchmarkError(f"a face has a box (4,) and points (5, 2); got {shapes}")
        if not (self.box[2:] > self.box[:2]).all():
            raise BenchmarkError(f"x1, y1 must be below x2, y2 in a box; got {self.box.tolist()}")

    @property
    def size(self) -> float:
        """Side of a square with the area of the box, pixels."""
        width, height = self.box[2:] - self.box[:2]
        return float(np.sqrt(width * height))

    def at(self, places: Sequence[tuple[float, float]]) -> FloatArray:
        """Points of the image at places of the face, which turn with it.

        Args:
            places: steps to the right, in distances of the eyes, and down, in distances between
                eyes and mouth; they start between the eyes.

        Returns:
            (N, 2) pixels.
        """
        left, right = self.points[:2]
        middle = (left + right) / 2
        down = self.points[3:].mean(axis=0) - middle
        return np.asarray(middle + np.array(places) @ np.array([right - left, down]))


def seen(look: Look, photo: Photo, random: np.random.Generator) -> Photo:
    """In another light, with noise, or in another size."""
    pixels, scale = look.of(photo.pixels, random)
    return replace(photo, pixels=pixels, box=photo.box * scale, points=photo.points * scale)


def backlit(photo: Photo, _: np.random.Generator) -> Photo:
    """Dark in the middle of a white picture, as in a window's recess."""
    border = round(photo.size / 2)
    white = cv2.copyMakeBorder(
        _changed(photo, BACKLIGHT * photo.pixels).pixels,
        *(border,) * 4,
        cv2.BORDER_CONSTANT,
        value=(255, 255, 255),
    )
    return Photo(white, photo.box + border, photo.points + border)


def silhouette(photo: Photo, _: np.random.Generator) -> Photo:
    """The head and shoulders dark before a white window, which begins at their outline."""
    mask = np.zeros(photo.pixels.shape[:2], np.float32)
    _ellipse(mask, photo, (0, 0.55), (1.25, 1.75), 1.0)  # the head, the neck and the shoulders
    _ellipse(mask, photo, (0, 2.2), (0.85, 1.3), 1.0)
    _ellipse(mask, photo, (0, 3.8), (2.9, 1.8), 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), photo.size / 40)[:, :, None]
    return _changed(photo, BACKLIGHT * mask * photo.pixels + 255 * (1 - mask))


def gray(photo: Photo, _: np.random.Generator) -> Photo:
    """Without colour."""
    return _channels_alike(photo, cv2.cvtColor(photo.pixels, cv2.COLOR_RGB2GRAY))


def infrared(photo: Photo, _: np.random.Generator) -> Photo:
    """As a night camera sees it: all channels are alike, skin and lips are pale.

    Red is the nearest to infrared that a photo has.
    """
    return _channels_alike(photo, photo.pixels[:, :, 0])


def lit_by(lamp: tuple[float, float, float], photo: Photo, _: np.random.Generator) -> Photo:
    """In the light of a lamp of one colour."""
    return _changed(photo, photo.pixels * np.array(lamp))


def blurred(share: float, photo: Photo, _: np.random.Generator) -> Photo:
    """Out of focus: the deviation of the blur is a share of the face."""
    return replace(photo, pixels=cv2.GaussianBlur(photo.pixels, (0, 0), share * photo.size))


def moved(share: float, photo: Photo, _: np.random.Generator) -> Photo:
    """Moved sideways by a share of the face during the exposure."""
    length = max(1, round(share * photo.size))
    return replace(photo, pixels=cv2.blur(photo.pixels, (length, 1)))


def compressed(quality: int, photo: Photo, _: np.random.Generator) -> Photo:
    """After JPEG compression; a quality of 100 is the best."""
    bgr, choice = photo.pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]
    decoded = cv2.imdecode(cv2.imencode(".jpg", bgr, choice)[1], cv2.IMREAD_COLOR)
    return replace(photo, pixels=np.asarray(decoded, dtype=np.uint8)[:, :, ::-1])


def resized(size: float, photo: Photo, random: np.random.Generator) -> Photo:
    """Farther away: a face of so many pixels; smaller ones stay as they are."""
    longest = round(max(photo.pixels.shape[:2]) * size / photo.size)
    return seen(Look(longest), photo, random)


def tilted(degrees: float, photo: Photo, random: np.random.Generator) -> Photo:
    """Turned about the nose, to a random side."""
    nose = photo.points[2]
    turn = cv2.getRotationMatrix2D(nose.tolist(), degrees * random.choice([-1, 1]), 1.0)
    height, width = photo.pixels.shape[:2]
    pixels = cv2.warpAffine(photo.pixels, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    reach = (photo.box[2:] - photo.box[:2]) / 2
    middle = turn @ [*(photo.box[:2] + reach), 1]
    points = photo.points @ turn[:, :2].T + turn[:, 2]
    return Photo(pixels, np.concatenate([middle - reach, middle + reach]), points)


def masked(photo: Photo, _: np.random.Generator) -> Photo:
    """With a painted medical mask over nose, mouth and chin."""
    pixels = photo.pixels.copy()
    edge = [(-0.95, 0.5), (-0.35, 0.36), (0, 0.3), (0.35, 0.36), (0.95, 0.5)]
    edge += [(0.88, 1.1), (0.5, 1.55), (0, 1.72), (-0.5, 1.55), (-0.88, 1.1)]
    cv2.fillPoly(pixels, [_rounded(photo.at(edge))], MASK, cv2.LINE_AA)
    for height in (0.75, 0.95, 1.15):
        pleat = photo.at([(-0.8, height), (0, height + 0.06), (0.8, height)])
        thickness = max(1, round(photo.size / 60))
        cv2.polylines(pixels, [_rounded(pleat)], False, PLEAT, thickness, cv2.LINE_AA)
    return replace(photo, pixels=pixels)


def with_dark_glasses(photo: Photo, _: np.random.Generator) -> Photo:
    """With painted dark glasses."""
    pixels = photo.pixels.copy()
    for side in (-0.5, 0.5):
        _ellipse(pixels, photo, (side, 0.02), (0.4, 0.32), LENS)
    frame = _rounded(photo.at([(-1.0, -0.12), (-0.5, -0.1), (0.5, -0.1), (1.0, -0.12)]))
    thickness = max(1, round(photo.size / 25))
    cv2.polylines(pixels, [frame], False, LENS, thickness, cv2.LINE_AA)
    return replace(photo, pixels=pixels)


CONDITIONS: Mapping[str, Callable[[Photo, np.random.Generator], Photo]] = {
    "clean": partial(seen, AS_IT_IS),
    "dark": partial(seen, DARK),
    "darker": partial(seen, DARKER),
    "backlit": backlit,
    "silhouette": silhouette,
    "over-exposed": partial(seen, Look(light=2.5)),
    "gray": gray,
    "sodium lamp": partial(lit_by, SODIUM),
    "red lamp": partial(lit_by, RED),
    "infrared": infrared,
    "noise": partial(seen, Look(noise=25)),
    "blur": partial(blurred, 1 / 20),
    "motion blur": partial(moved, 1 / 8),
    "JPEG quality 10": partial(compressed, 10),
    "small": partial(resized, 44),
    **{f"tilted by {degrees}": partial(tilted, degrees) for degrees in (20, 30, 50, 90, 180)},
    "mask": masked,
    "dark glasses": with_dark_glasses,
}


def _changed(photo: Photo, values: FloatArray) -> Photo:
    return replace(photo, pixels=np.clip(values, 0, 255).round().astype(np.uint8))


def _channels_alike(photo: Photo, channel: Pixels) -> Photo:
    return replace(photo, pixels=np.repeat(channel[:, :, None], 3, axis=2))


def _ellipse(
    picture: FloatArray | Pixels,
    photo: Photo,
    place: tuple[float, float],
    axes: tuple[float, float],
    colour: float | tuple[int, int, int],
) -> None:
    """Paint an ellipse at a place of the face; its axes are in distances of the eyes."""
    eyes = photo.points[1] - photo.points[0]
    reach = np.hypot(*eyes) * np.array(axes)
    angle = float(np.degrees(np.arctan2(eyes[1], eyes[0])))
    (middle,) = _rounded(photo.at([place])).tolist()
    size = np.maximum(1, reach.round()).astype(int).tolist()
    cv2.ellipse(picture, middle, size, angle, 0, 360, colour, -1, cv2.LINE_AA)


def _rounded(points: FloatArray) -> FloatArray:
    return points.round().astype(np.int32)
