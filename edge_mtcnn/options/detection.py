"""``DetectorOptions``: what to look for; and the presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options.checks import (
    check_bool,
    check_choice,
    check_int,
    check_number,
    check_tuple,
    is_number,
    nearest,
    replaced,
)

__all__ = [
    "DEFAULT_CONFIDENCE",
    "MAX_GAIN",
    "MIN_FACE_SIZE",
    "MOST_ANGLES",
    "PRESETS",
    "PRESET_CONFIDENCES",
    "QUARTER_TURNS",
    "Angles",
    "DetectorOptions",
    "angles_as_text",
    "angles_from_text",
    "check_exposure",
]

_NETWORKS = ("P-Net", "R-Net", "O-Net")
_LEVELS = ("one level", "all levels")

Angles = tuple[float, ...] | Literal["fallback"]
QUARTER_TURNS = (90.0, 180.0, 270.0)
"""The further looks of ``angles="fallback"``, degrees."""
MOST_ANGLES = 23
"""An angle every 15 degrees; the networks find a face that is tilted twice as much."""

MIN_FACE_SIZE = 10
"""The authors' setting for benchmarks; below 12, P-Net's window, the image is enlarged."""


MAX_GAIN = 8.0
"""Largest gain of ``exposure``: what is darker has more noise than light."""
DEFAULT_CONFIDENCE = 0.5
"""The score is a probability: from here on, a person's face is more likely than not."""
PRESET_CONFIDENCES = (0.0, DEFAULT_CONFIDENCE)
"""``confidence`` of all presets. A calibration replaces these, and conflicts with any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOptions:
    """What to look for. The defaults are the preset ``default``.

        options = DetectorOptions(min_face_size=60, confidence=0.9)
        kiosk = dataclasses.replace(DetectorOptions.from_preset("kiosk"), min_face_size=120)

    Attributes:
        min_face_size: side of the smallest window that the image pyramid gives P-Net, source
            pixels, at least 10. Doubling it quarters P-Net's work. It does not limit the results:
            regression may make a box smaller or larger than its window.
        max_face_size: side of the largest such window, source pixels, at least ``min_face_size``;
            ``None`` for no limit. It does not limit the results either.
        scale_factor: ratio of two neighbouring levels of the image pyramid, 0.1..0.95.
        thresholds: minimum face probability of a candidate of P-Net, R-Net and O-Net, 0..1 each.
        nms: IoU of P-Net's, R-Net's and O-Net's candidates, 0..1 each, above which the worse of two
            is dropped (for O-Net, the intersection over the smaller area). Lower values take less
            time and may lose a weak face close to a strong one.
        level_nms: IoU of P-Net's candidates of one level of the pyramid, 0..1, above which the
            worse of two is dropped.
        confidence: lowest ``Face.score`` that is reported, 0..1; 0 reports all faces above O-Net's
            threshold, as preset ``reference`` does.
        resampling: how levels and windows are sampled: ``"area"`` averages the full image, exactly
            as ``mtcnn`` 0.1.x does; ``"octaves"`` samples a pyramid of halved images, which is
            several times faster and as accurate.
        exposure: how dark places are brightened for the networks: ``"auto"`` multiplies pixels by
            1..8, each place by what it needs, where a part of the image is dark; ``"off"`` never
            does; a number in 1..8 multiplies all pixels by it.
        mirror: look at each face again, also in the mirror. Landmarks are then averaged, and
            ``Face.score`` is the calibrated probability of a person's face. Without it the score is
            O-Net's confidence.
        max_cells: maximum number of P-Net's cells above its threshold, in one level of the pyramid
            and in all levels together, at least 1 each. The best cells are kept, and
            ``Timings.capped`` contains ``"cells"``. ``None`` for no limit: memory then grows with
            the size of the image, by about five bytes for each of its bytes.
        max_candidates: maximum number of candidates after P-Net, R-Net and O-Net, at least 1 each.
            The best are kept, and ``Timings.capped`` contains the network. ``None`` for no limit:
            the time of a picture full of faces is then limited by ``timeout`` only.
        angles: angles of further looks at a photo, degrees by which the image is turned clockwise,
            such as ``(90, 180, 270)``; at most 23. -90 is kept as 270. Each look takes as long as
            a detection without angles, and may find false faces of its own. ``"fallback"`` looks at
            the three quarter turns, but only where nothing is found in the image as it is. Of
            several finds of one face, the one with the highest score is reported; ``Face.angle``
            is its angle. A tracker refuses a detector with angles.
    """

    min_face_size: int = 20
    max_face_size: int | None = None
    scale_factor: float = 0.709
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    nms: tuple[float, float, float] = (0.7, 0.7, 0.7)
    level_nms: float = 0.5
    confidence: float = DEFAULT_CONFIDENCE
    mirror: bool = True
    resampling: Literal["area", "octaves"] = "octaves"
    exposure: Literal["auto", "off"] | float = "auto"
    max_cells: tuple[int, int] | None = (50_000, 100_000)
    max_candidates: tuple[int, int, int] | None = (10_000, 3_000, 1_000)
    angles: Angles = ()

    def __post_init__(self) -> None:
        # Plain values are kept, so that options made from NumPy numbers can be saved.
        check_int("min_face_size", self.min_face_size, MIN_FACE_SIZE, None)
        object.__setattr__(self, "min_face_size", int(self.min_face_size))
        if self.max_face_size is not None:
            check_int(
                "max_face_size", self.max_face_size, self.min_face_size, None, "min_face_size"
            )
            object.__setattr__(self, "max_face_size", int(self.max_face_size))
        check_number("scale_factor", self.scale_factor, 0.1, 0.95)
        object.__setattr__(self, "scale_factor", float(self.scale_factor))
        for name in ("level_nms", "confidence"):
            check_number(name, getattr(self, name), 0.0, 1.0)
            object.__setattr__(self, name, float(getattr(self, name)))
        check_choice("resampling", self.resampling, ("area", "octaves"))
        object.__setattr__(self, "exposure", check_exposure(self.exposure))
        check_bool("mirror", self.mirror)
        for name in ("thresholds", "nms"):
            values = check_tuple(name, getattr(self, name), _NETWORKS)
            for value in values:
                check_number(f"each of {name}", value, 0.0, 1.0)
            object.__setattr__(self, name, tuple(map(float, values)))
        for name, places in (("max_cells", _LEVELS), ("max_candidates", _NETWORKS)):
            if getattr(self, name) is not None:
                caps = check_tuple(name, getattr(self, name), places)
                for cap in caps:
                    check_int(f"each of {name}", cap, 1, None)
                object.__setattr__(self, name, tuple(map(int, caps)))
        object.__setattr__(self, "angles", _checked_angles(self.angles))

    @property
    def largest_gain(self) -> float:
        """The most that ``exposure`` multiplies a pixel by, 1..8."""
        exposure = self.exposure
        if isinstance(exposure, str):
            return MAX_GAIN if exposure == "auto" else 1.0
        return exposure

    @classmethod
    def from_preset(cls, name: str) -> DetectorOptions:
        """The options of a preset; change some with ``dataclasses.replace``.

        Args:
            name: ``"default"``; ``"reference"``, exactly what ``mtcnn`` 0.1.x computes; or
                ``"kiosk"``, people near a camera: faces of at least 80 pixels.

        Raises:
            OptionsError: there is no such preset.
        """
        check_choice("preset", name, tuple(PRESETS))
        return PRESETS[name]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorOptions:
        """Options from plain values over the defaults; an unknown name is an ``OptionsError``."""
        return replaced(cls(), values)

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values."""
        return asdict(self)

    def every_find(self) -> DetectorOptions:
        """These options with all finds reported, whatever their score is, for measuring.

        ``"fallback"`` becomes its three angles: at some threshold nothing is found without them.
        """
        angles = QUARTER_TURNS if self.angles == "fallback" else self.angles
        return replace(self, confidence=0.0, angles=angles)


def angles_from_text(text: str) -> Angles:
    """``DetectorOptions.angles`` as people type them: ``90,180,270``, ``fallback`` or ``none``.

    Raises:
        OptionsError: it is none of these, or an angle is out of range.
    """
    if text == "fallback":
        return "fallback"
    parts = [] if text == "none" else text.split(",")
    try:
        angles = [float(part) for part in parts]
    except ValueError:
        raise OptionsError(
            "angles must be degrees separated by commas, such as 90,180,270, or fallback, or none;"
            f" got {shown(text)}"
        ) from None
    return _checked_angles(angles)


def angles_as_text(angles: Angles) -> str:
    """``DetectorOptions.angles`` as ``angles_from_text`` reads them."""
    if isinstance(angles, str):
        return angles
    return ",".join(f"{angle:g}" for angle in angles) or "none"


def _checked_angles(angles: object) -> Angles:
    """Angles of further looks, 0..360 each."""
    if isinstance(angles, str) and angles == "fallback":
        return "fallback"
    if not isinstance(angles, (tuple, list)):
        raise OptionsError(
            f"angles must be degrees, such as (90, 180, 270), or 'fallback'; got {shown(angles)}"
        )
    if len(angles) > MOST_ANGLES:
        raise OptionsError(f"angles must be at most {MOST_ANGLES}; got {len(angles)}")
    for angle in angles:
        check_number("each of angles", angle, -360, 360)
    turns = tuple(float(angle) % 360 % 360 for angle in angles)  # -1e-20 % 360 is 360.0
    if 0 in turns:
        raise OptionsError(
            "angles are further looks, and the image as it is is always looked at; leave out"
            f" {shown(angles[turns.index(0)])}"
        )
    if len(set(turns)) < len(turns):
        raise OptionsError(f"angles must all be different; got {shown(angles)}")
    return turns


def check_exposure(value: object) -> str | float:
    """Require ``"auto"``, ``"off"`` or a gain in 1..``MAX_GAIN``; return it as a plain value."""
    if isinstance(value, str) and value in {"auto", "off"}:
        return value
    if not is_number(value) or not 1 <= value <= MAX_GAIN:  # type: ignore[operator]
        raise OptionsError(
            f"exposure must be auto, off or a gain in 1..{MAX_GAIN:g}; got {shown(value)}"
            f"{nearest(value, ('auto', 'off'))}"
        )
    return float(value)  # type: ignore[arg-type]


PRESETS: Mapping[str, DetectorOptions] = {
    "default": DetectorOptions(),
    "reference": DetectorOptions(
        confidence=0.0,
        mirror=False,
        resampling="area",
        exposure="off",
        max_cells=None,
        max_candidates=None,
    ),
    # Near faces are found again and again: fewer levels and fewer windows lose none of them.
    "kiosk": DetectorOptions(min_face_size=80, scale_factor=0.6, nms=(0.5, 0.4, 0.7)),
}
"""Options by preset name."""
