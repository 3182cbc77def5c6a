"""The image pyramid: scales, levels for P-Net, and pixel windows for R-Net and O-Net.

Two samplers of the same image. ``AreaSampler`` averages the full image for every level and window,
exactly as the reference does. ``OctaveSampler`` halves the image repeatedly and samples levels and
windows from the nearest larger octave by bilinear interpolation.

Images are (H, W, 3) uint8. Levels and windows are RGB; a sampler of a BGR image swaps the colours
of what it samples, which takes less time and memory than swapping those of the image. Imports NumPy
and OpenCV only.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, TypeVar

import cv2
import numpy as np

from edge_mtcnn.types import Float32Array, FloatArray, ImageArray, IntArray

__all__ = ["AreaSampler", "OctaveSampler", "Sampler", "pyramid_scales"]

_Pixels = TypeVar("_Pixels", ImageArray, Float32Array)

PNET_WINDOW = 12
"""Side of P-Net's receptive field, pixels."""


def pyramid_scales(
    height: int, width: int, min_face_size: int, scale_factor: float, max_face_size: int | None
) -> list[float]:
    """Scales of the levels, largest level first.

    The scale of the first level maps ``min_face_size`` to P-Net's window. Each further level is
    smaller by ``scale_factor``, as long as the window fits into the shorter side of the image.

    Args:
        height: height of the image, pixels.
        width: width of the image, pixels.
        min_face_size: side of the smallest face to look for, pixels.
        scale_factor: ratio of two neighbouring levels, below 1.
        max_face_size: levels after the first are omitted if their window is larger, source pixels;
            ``None`` for all levels.

    Returns:
        Side of each level divided by the side of the image; empty if the image is smaller than the
        smallest face.
    """
    first = PNET_WINDOW / min_face_size
    side = min(height, width) * first
    scales: list[float] = []
    while side >= PNET_WINDOW:
        if max_face_size is not None and scales and PNET_WINDOW / scales[-1] >= max_face_size:
            break
        scales.append(first * scale_factor ** len(scales))
        side *= scale_factor
    return scales


class Sampler(Protocol):
    """Samples what the networks look at from one image."""

    def level(self, scale: float) -> ImageArray:
        """The image at a scale: (ceil(H scale), ceil(W scale), 3) uint8, or a pixel more."""

    def windows(self, boxes: FloatArray, size: int) -> Float32Array:
        """Sample (N, 4) inclusive, square boxes as (N, size, size, 3) float32 pixels, 0..255.

        Pixels outside the image are black.
        """

    def groups(self, boxes: FloatArray, size: int) -> IntArray:
        """Return (N,) numbers; windows with the same number are cheap to sample together."""


LARGE_WINDOW = 1024
"""Side of the smallest window that is averaged in two steps, pixels."""


class AreaSampler:
    """Area interpolation from the full image, equal to the reference to the last digit."""

    def __init__(self, image: ImageArray, *, bgr: bool = False) -> None:
        self._image = image
        self._bgr = bgr

    def level(self, scale: float) -> ImageArray:
        """See ``Sampler.level``."""
        level = _resized(self._image, scale, self._image.shape, cv2.INTER_AREA)
        return _swapped(level) if self._bgr else level

    def windows(self, boxes: FloatArray, size: int) -> Float32Array:
        """See ``Sampler.windows``; from float pixels, since rounding to uint8 moves weak faces."""
        windows = np.empty((len(boxes), size, size, 3), dtype=np.float32)
        for window, (x1, y1, x2, y2) in zip(windows, boxes.astype(int).tolist(), strict=True):
            if max(x2 - x1, y2 - y1) < LARGE_WINDOW:
                crop = self._crop(x1, y1, x2, y2)
            else:
                # First along the rows, some rows at a time: the whole window as float could take
                # gigabytes.
                crop = np.empty((y2 - y1 + 1, size, 3), dtype=np.float32)
                step = max(1, LARGE_WINDOW**2 // (x2 - x1 + 1))
                for top in range(0, len(crop), step):
                    rows = self._crop(x1, y1 + top, x2, min(y1 + top + step - 1, y2))
                    crop[top : top + step] = cv2.resize(
                        rows, (size, len(rows)), interpolation=cv2.INTER_AREA
                    )
            cv2.resize(crop, (size, size), dst=window, interpolation=cv2.INTER_AREA)
        return _swapped(windows) if self._bgr else windows

    def _crop(self, x1: int, y1: int, x2: int, y2: int) -> Float32Array:
        """Pixels of an inclusive box; those outside the image are black."""
        height, width = self._image.shape[:2]
        left, top = max(x1, 1), max(y1, 1)
        # Nothing is inside where the window lies beside the image.
        right, bottom = max(min(x2, width), left - 1), max(min(y2, height), top - 1)
        inside = self._image[top - 1 : bottom, left - 1 : right]
        if inside.shape[:2] == (y2 - y1 + 1, x2 - x1 + 1):
            return inside.astype(np.float32)
        crop = np.zeros((y2 - y1 + 1, x2 - x1 + 1, 3), dtype=np.float32)
        crop[top - y1 : bottom - y1 + 1, left - x1 : right - x1 + 1] = inside
        return crop

    def groups(self, boxes: FloatArray, size: int) -> IntArray:
        """See ``Sampler.groups``."""
        del size  # every window is made by itself
        return np.zeros(len(boxes), dtype=int)


PART_LIMIT = 3
"""How many times a part must fit into an image to be halved instead of the whole."""


class OctaveSampler:
    """Bilinear sampling of an image that is halved repeatedly by 2x2 averages.

    Octave ``k`` is the image at scale ``2 ** -k``. Where the side of an octave is odd, its last row
    or column is repeated for the next one. Each octave is made when it is first needed. All but the
    image itself lie on one sheet with black margins, so that one ``cv2.remap`` samples windows of
    all of them.

    The sides of levels are even: where one would be odd, its last row or column is repeated.

    Args:
        image: (H, W, 3) uint8.
        smallest_scale: scale of the smallest level.
        bgr: the image is BGR instead of RGB.
        finest: first octave that is sampled, if there are so many: 1 averages noise.
    """

    def __init__(
        self, image: ImageArray, smallest_scale: float, *, bgr: bool = False, finest: int = 0
    ) -> None:
        self._bgr = bgr
        self._lock = threading.Lock()
        self._smallest_scale = smallest_scale
        sides = [(image.shape[1], image.shape[0])]
        while 2.0 ** -len(sides) > smallest_scale and min(sides[-1]) > 1:
            sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
        self._image = image
        self._finest = min(finest, len(sides) - 1)
        self._octaves = [image]
        self._sides: IntArray = np.array(sides)  # width and height of each octave
        self._corners = _corners_on_sheet(self._sides)
        self._ends, self._starts = self._sides[:, :, None], self._corners[:, :, None]
        self._factors = 2.0 ** np.arange(1, len(sides))
        self._octave_scales = 0.5 ** np.arange(len(sides))
        self._sheet: ImageArray = image[:0]  # made with the first octave that lies on it

    def level(self, scale: float) -> ImageArray:
        """See ``Sampler.level``; from the smallest octave that is not smaller than the level."""
        wanted = max(self._finest, math.floor(-math.log2(scale) + 1e-9))
        octave = min(wanted, len(self._sides) - 1)
        height, width = (math.ceil(side * scale) for side in self._image.shape[:2])
        level = np.empty((height + height % 2, width + width % 2, 3), dtype=np.uint8)
        cv2.resize(
            self._octave(octave),
            (width, height),
            dst=level[:height, :width],
            interpolation=cv2.INTER_LINEAR,
        )
        level[height:] = level[height - 1 : height]
        level[:, width:] = level[:, width - 1 : width]
        return _swapped(level) if self._bgr else level

    def windows(self, boxes: FloatArray, size: int) -> Float32Array:
        """See ``Sampler.windows``; one ``cv2.remap`` for the image, one for all other octaves."""
        if not len(boxes):
            return np.empty((0, size, size, 3), dtype=np.float32)
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        octaves = self._octaves_of(sides[:, 0], size)
        used = set(octaves.tolist())
        if max(used) >= len(self._octaves):
            left, top, right, bottom = self._region(boxes, 2 ** max(used))
            part = self._image[top:bottom, left:right]
            if PART_LIMIT * part.size < self._image.size:
                sampler = OctaveSampler(
                    part, self._smallest_scale, bgr=self._bgr, finest=self._finest
                )
                return sampler.windows(boxes - (left, top, left, top), size)
        self._octave(max(used))
        scales = self._octave_scales[octaves, None]
        # Source pixel edges of the windows' pixel centres -> pixel centres of the octaves -> those
        # of the sheet. Whatever lies further out than the margin is as black as the margin. Rounded
        # here as ``cv2.remap`` does, the result does not depend on where an octave lies.
        first = (boxes[:, :2] - 1) * scales - 0.5
        steps = (sides * scales)[:, :, None] * _pixel_centres(size)
        grid = np.rint((first[:, :, None] + steps) * REMAP_STEPS) / REMAP_STEPS
        grid = np.maximum(grid, -1)
        grid = np.minimum(grid, self._ends[octaves]) + self._starts[octaves]
        if len(used) == 1 or 0 not in used:
            pixels = _remapped(self._image if 0 in used else self._sheet, grid)
        else:
            pixels = np.empty((len(boxes), size, size, 3), dtype=np.uint8)
            on_sheet = octaves > 0
            pixels[on_sheet] = _remapped(self._sheet, grid[on_sheet])
            pixels[~on_sheet] = _remapped(self._image, grid[~on_sheet])
        return (_swapped(pixels) if self._bgr else pixels).astype(np.float32)

    def groups(self, boxes: FloatArray, size: int) -> IntArray:
        """See ``Sampler.groups``: the octave that the window is sampled from."""
        return self._octaves_of(boxes[:, 2] - boxes[:, 0] + 1, size)

    def _region(self, boxes: FloatArray, multiple: int) -> tuple[int, int, int, int]:
        """Where the pixels of some windows are, ``x1, y1, x2, y2``, in whole pixels of an octave.

        The octaves of this part of the image are parts of the octaves of the image.
        """
        first = np.floor(boxes[:, :2].min(axis=0) / multiple - 1.5) * multiple
        last = np.ceil(boxes[:, 2:].max(axis=0) / multiple + 1.5) * multiple
        width, height = self._sides[0]
        left, top = np.maximum(first, 0).astype(int)
        right, bottom = np.minimum(last, (width, height)).astype(int)
        return left, top, right, bottom

    def _octaves_of(self, sides: FloatArray, size: int) -> IntArray:
        """The smallest octave in which a window is at least as large as it is sampled."""
        octaves: IntArray = (size * self._factors).searchsorted(sides, side="right")
        return np.maximum(octaves, self._finest)

    def _octave(self, index: int) -> ImageArray:
        with self._lock:
            while len(self._octaves) <= index:
                self._add_octave()
        return self._octaves[index]

    def _add_octave(self) -> None:
        """Halve the smallest octave. The caller holds the lock."""
        index = len(self._octaves)
        if index == 1:
            width, height = (self._corners + self._sides)[1:].max(axis=0) + 1
            self._sheet = np.empty((height, width, 3), dtype=np.uint8)
        corner, sides = self._corners[index], self._sides[index]
        (left, top), (right, bottom) = corner, corner + sides
        framed = self._sheet[top - 1 : bottom + 1, left - 1 : right + 1]
        framed[0] = framed[-1] = framed[:, 0] = framed[:, -1] = 0
        octave = framed[1:-1, 1:-1]
        _halve(self._octaves[-1], octave)
        self._octaves.append(octave)


REMAP_STEPS = 32
"""Places between two pixels that ``cv2.remap`` tells apart."""
REMAP_LIMIT = 32_767
"""``cv2.remap`` refuses images with a side of this length, pixels."""


def _swapped(pixels: _Pixels) -> _Pixels:
    """Swap red and blue of (..., 3) pixels, in place."""
    if pixels.size:
        flat = pixels.reshape(-1, pixels.shape[-2], 3)
        cv2.cvtColor(flat, cv2.COLOR_BGR2RGB, dst=flat)
    return pixels


def _corners_on_sheet(sides: IntArray) -> IntArray:
    """Where octaves lie on the sheet, (K, 2) ``x, y``; the image itself, the first, is not on it.

    The next octave is on the left, the others are below each other on the right, all with a margin
    of one pixel.
    """
    corners = np.ones_like(sides)
    corners[0] = 0
    corners[2:, 0] += sides[1:2, 0] + 1
    corners[3:, 1] += np.cumsum(sides[2:-1, 1] + 1)
    return corners


def _halve(image: ImageArray, half: ImageArray) -> None:
    """Average 2x2 pixels of an image into another one."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    cv2.resize(image, half.shape[1::-1], dst=half, interpolation=cv2.INTER_AREA)


def _resized(
    image: ImageArray, scale: float, shape: Sequence[int], interpolation: int
) -> ImageArray:
    size = (math.ceil(shape[1] * scale), math.ceil(shape[0] * scale))
    resized: ImageArray = cv2.resize(image, size, interpolation=interpolation)
    return resized


@lru_cache(maxsize=8)
def _pixel_centres(size: int) -> Float32Array:
    """Centres of the pixels of a window, fractions of its side."""
    centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    centres.flags.writeable = False  # every caller gets the same array
    return centres


def _remapped(image: ImageArray, grid: FloatArray) -> ImageArray:
    """Sample an image at the columns and rows (N, 2, size) of N windows, in one remap."""
    count, _, size = grid.shape
    if max(image.shape[:2]) >= REMAP_LIMIT:
        if count > 1:
            return np.concatenate([_remapped(image, window[None]) for window in grid])
        # One window and the pixels around it that the bilinear step reads.
        ends = np.array(image.shape[1::-1])
        left, top = np.clip(np.floor(grid[0, :, 0]) - 1, 0, ends - 1).astype(int)
        right, bottom = np.clip(np.ceil(grid[0, :, -1]) + 2, 1, ends).astype(int)
        image = image[top : max(bottom, top + 1), left : max(right, left + 1)]
        grid = grid - np.array([left, top])[:, None]
    columns, rows = np.empty((2, count, size, size), dtype=np.float32)
    columns[:] = grid[:, 0, None, :]
    rows[:] = grid[:, 1, :, None]
    # Each pixel for itself: four windows' rows to a row of the map suit its blocks better than one.
    width = 4 * size
    flat: ImageArray = cv2.remap(
        image,
        columns.reshape(-1, width),
        rows.reshape(-1, width),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return flat.reshape(count, size, size, 3)
