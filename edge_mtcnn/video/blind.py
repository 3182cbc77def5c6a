"""Whether a frame shows anything at all: no face in a black picture is no news about people.

A look at the thumbnail finds black and covered lenses; a look at the pixels finds a camera that
sends one picture again and again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge_mtcnn.options import check_number
from edge_mtcnn.types import ImageArray

__all__ = ["BlindCheck", "BlindOptions", "BlindReason"]

BlindReason = Literal["dark", "covered", "frozen"]

_SAMPLE_STEP = 8
"""Every which row and column is compared with the frame before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindOptions:
    """When a camera counts as blind.

    Attributes:
        dark_level: highest mean of a dark frame, grey levels 0..255.
        covered_spread: largest standard deviation of a frame that shows nothing, grey levels
            0..128; 0 turns both looks at the picture off.
        hold_seconds: time that a frame must stay dark or covered, seconds, 0..60.
        frozen_seconds: time after which identical frames of a live source count as frozen, 0.2..1e9
            seconds. Noise makes the frames of a working camera differ; a compressed stream of a
            scene at rest may repeat one until its next key frame.
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
    """Looks at each frame of a source in turn."""

    def __init__(self, options: BlindOptions | None = None) -> None:
        self._options = options or BlindOptions()
        self._empty_since: float | None = None
        self._sample: ImageArray | None = None
        self._same_since = 0.0

    @property
    def suspects(self) -> bool:
        """The last frame showed nothing, if not yet for long enough to be called blind."""
        return self._empty_since is not None

    def reset(self) -> None:
        """Forget the frames before, as after a lost source."""
        self._empty_since = self._sample = None

    def check(
        self, image: ImageArray, small: ImageArray, time: float, *, live: bool
    ) -> BlindReason | None:
        """Why nothing can be seen; ``None`` when all is well.

        Args:
            image: (H, W, ...) uint8.
            small: its ``motion.thumbnail``.
            time: of the frame, seconds.
            live: frames come from a camera; only such a source can be frozen.
        """
        if live and self._frozen(image, time):
            return "frozen"
        options = self._options
        mean, spread = float(small.mean()), float(small.std())
        # Noise and a bright spot in the dark: a dark frame may spread a little more.
        dark = mean <= options.dark_level and spread <= 2 * options.covered_spread
        if not options.covered_spread or not (dark or spread <= options.covered_spread):
            self._empty_since = None
            return None
        if self._empty_since is None:
            self._empty_since = time
        if time - self._empty_since < options.hold_seconds:
            return None
        return "dark" if dark else "covered"

    def _frozen(self, image: ImageArray, time: float) -> bool:
        sample = image[::_SAMPLE_STEP, ::_SAMPLE_STEP]
        if self._sample is None or not np.array_equal(sample, self._sample):
            self._sample = sample.copy()
            self._same_since = time
        return time - self._same_since >= self._options.frozen_seconds
