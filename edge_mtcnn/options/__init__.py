"""What to look for (``DetectorOptions``) and how to run the networks (``RuntimeOptions``).

Options are frozen, keyword-only, checked when they are made, and saved as JSON or TOML. Each
default is written once, here. The option classes of the features use the same ``checks``.
"""

from __future__ import annotations

from edge_mtcnn.options.detection import (
    DEFAULT_CONFIDENCE,
    MAX_GAIN,
    MIN_FACE_SIZE,
    MOST_ANGLES,
    PRESET_CONFIDENCES,
    PRESETS,
    QUARTER_TURNS,
    Angles,
    DetectorOptions,
    angles_as_text,
    angles_from_text,
    check_exposure,
)
from edge_mtcnn.options.files import SECTIONS, load_options, load_section, save_options, toml_value
from edge_mtcnn.options.runtime import RuntimeOptions

__all__ = [
    "DEFAULT_CONFIDENCE",
    "MAX_GAIN",
    "MIN_FACE_SIZE",
    "MOST_ANGLES",
    "PRESETS",
    "PRESET_CONFIDENCES",
    "QUARTER_TURNS",
    "SECTIONS",
    "Angles",
    "DetectorOptions",
    "RuntimeOptions",
    "angles_as_text",
    "angles_from_text",
    "check_exposure",
    "load_options",
    "load_section",
    "save_options",
    "toml_value",
]
