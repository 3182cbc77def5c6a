"""Arguments of the commands that watch a source: who is present, and a quiet OpenCV."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import options_from
from edge_mtcnn.cli.terminal import UsageError
from edge_mtcnn.options import PRESET_CONFIDENCES

if TYPE_CHECKING:
    from edge_mtcnn.calibration import Calibration
    from edge_mtcnn.options import DetectorOptions, RuntimeOptions
    from edge_mtcnn.video import PresenceOptions

__all__ = ["WATCH_PRESET", "add_presence_arguments", "quieten_opencv", "watch_options_from"]

WATCH_PRESET = "kiosk"
"""The preset of a watched source when neither ``--preset`` nor ``--config`` is given."""
_NAMES = ("select", "min_height", "min_eye_distance", "appear_after", "leave_after")


def add_presence_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``PresenceOptions``."""
    group = parser.add_argument_group("presence")
    group.add_argument(
        "--select",
        choices=("largest", "central", "longest"),
        help="select the person with the largest face, with the most central face, or present for"
        " the longest time (default: largest)",
    )
    group.add_argument(
        "--region",
        metavar="X1,Y1,X2,Y2",
        help="part of the frame, 0..1, in which the centre of a face must be to count",
    )
    group.add_argument(
        "--min-height", type=float, metavar="PIXELS", help="smallest height of a face that counts"
    )
    group.add_argument(
        "--min-eye-distance",
        type=float,
        metavar="PIXELS",
        help="smallest distance between the eyes of a face that counts",
    )
    group.add_argument(
        "--appear-after",
        type=float,
        metavar="S",
        help="seconds until a new person is present (default: 0.3)",
    )
    group.add_argument(
        "--leave-after",
        type=float,
        metavar="S",
        help="seconds until a person who is not seen has left (default: 1)",
    )


def watch_options_from(
    args: argparse.Namespace, calibration: Calibration | None
) -> tuple[DetectorOptions, RuntimeOptions, PresenceOptions]:
    """The options of the command line for a watched source.

    The threshold applies to persons, as ``PresenceOptions.confidence``. The detector has none,
    because a person's face may have a low score in some frames.

    Raises:
        OptionsError: a value is out of range.
        UsageError: the region is not four numbers, or two thresholds are given.
    """
    from edge_mtcnn.video import PresenceOptions

    detector, runtime = options_from(args, preset=WATCH_PRESET)
    given = {name: getattr(args, name) for name in _NAMES if getattr(args, name) is not None}
    has_confidence = args.confidence is not None or detector.confidence not in PRESET_CONFIDENCES
    if calibration is not None and has_confidence:
        raise UsageError(
            "give either confidence, with --confidence or --config, or --calibration, not both"
        )
    if calibration is not None:
        given["confidence"] = calibration.threshold
    elif has_confidence:
        given["confidence"] = detector.confidence
    if args.region is not None:
        try:
            given["region"] = tuple(float(part) for part in args.region.split(","))
        except ValueError:
            raise UsageError(
                "--region takes four comma-separated numbers, such as 0.25,0,0.75,1; got"
                f" {args.region!r}"
            ) from None
    return replace(detector, confidence=0.0), runtime, PresenceOptions(**given)


def quieten_opencv() -> None:
    """Keep OpenCV and FFmpeg from writing a message at each attempt to open a lost source.

    This works only before ``cv2`` is imported. Variables that the user has set are kept.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
