"""Whether a frame shows anything: a black frame says nothing about whether anyone is present.

The thumbnail shows whether the lens is dark or covered. The pixels show whether a camera repeats
one frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edge_mtcnn.options import MAX_GAIN
from edge_mtcnn.options.checks import check_number
from edge_mtcnn.types import ImageArray

__all__ = ["BlindCheck", "BlindOptions", "BlindReason"]

BlindReason = Literal["dark", "covered", "frozen"]

_DIM = 120
"""Grey level of the brightest places up to which a frame is dim; the gain raises it to this."""
_BLUR = (5, 5)
"""Pixels of the thumbnail over which noise is averaged."""
_SMALL_LIGHTS = 98
"""Percentile of the thumbnail's pixels; brighter ones are small lights."""
_SAMPLE_STEP = 8
"""Compare every 8th row and column with the previous frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindOptions:
    """When a camera counts as blind.

    Attributes:
        dark_level: maximum mean of a frame that is called dark, not covered, grey levels 0..255.
        covered_spread: maximum standard deviation of a frame that shows nothing, grey levels
            0..128; of a dim frame without noise and small lights, and with the gain of the
            detector. 0 turns the checks for dark and covered off.
        hold_seconds: time for which frames must be dark or covered, seconds, 0..60.
        frozen_seconds: time after which identical frames of a live source count as frozen, seconds,
            0.2..1e9. The frames of a working camera differ by noise; a compressed stream of a still
            scene may repeat a frame until the next key frame.
    """

    dark_level: float = 16.0
    covered_spread: float = 4.0
    hold_seconds: float = 0.5
    frozen_seconds: float = 10.0

    def __post_init__(self) -> None:
        check_number("dark_level", self.dark_level, 0, 255)
        check_number("covered_spread", self.covered_spread, 0, 128)
        check_number("hold_seconds", self.hold_seconds, 0, 60)
        check_number("frozen_seconds", self.frozen_seconds, 0.2, 1e9)


class BlindCheck:
    """Checks the frames of one source, one after another.

    Args:
        options: when they show nothing.
        gain: the most that the detector multiplies dark pixels by, 1..8.
    """

    def __init__(self, options: BlindOptions | None = None, gain: float = MAX_GAIN) -> None:
        self._options = options or BlindOptions()
        self._gain = gain
        self._empty_since: float | None = None
        self._sample: ImageArray | None = None
        self._same_since = 0.0

    @property
    def suspects(self) -> bool:
        """Whether the last frame showed nothing, even if not yet long enough to count as blind."""
        return self._empty_since is not None

    def reset(self) -> None:
        """Forget the previous frames, for example after the source was lost."""
        self._empty_since = self._sample = None

    def check(
        self, image: ImageArray, small: ImageArray, time: float, *, live: bool
    ) -> BlindReason | None:
        """Return why the frame shows nothing, or ``None`` if it shows something.

        Args:
            image: (H, W, ...) uint8.
            small: its ``motion.thumbnail``.
            time: time of the frame, seconds.
            live: whether frames come from a camera; only such a source can be frozen.
        """
        if live and self._frozen(image, time):
            return "frozen"
        options = self._options
        if not options.covered_spread or self._spread(small) > options.covered_spread:
            self._empty_since = None
            return None
        if self._empty_since is None:
            self._empty_since = time
        if time - self._empty_since < options.hold_seconds:
            return None
        return "dark" if small.mean() <= options.dark_level else "covered"

    def _spread(self, small: ImageArray) -> float:
        """Standard deviation of a thumbnail as the detector sees it, grey levels."""
        spread = float(small.std())
        if spread > 2 * self._options.covered_spread:
            return spread
        smooth = cv2.blur(small.astype(np.float32), _BLUR)
        bright = max(float(np.percentile(smooth, _SMALL_LIGHTS)), 1)
        gain = min(_DIM / bright, self._gain)
        return gain * float(np.minimum(smooth, bright).std()) if gain > 1 else spread

    def _frozen(self, image: ImageArray, time: float) -> bool:
        sample = image[::_SAMPLE_STEP, ::_SAMPLE_STEP]
        if self._sample is None or not np.array_equal(sample, self._sample):
            self._sample = sample.copy()
            self._same_since = time
        return time - self._same_since >= self._options.frozen_seconds
