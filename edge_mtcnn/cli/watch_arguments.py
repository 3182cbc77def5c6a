"""What the commands that watch a source share: who counts as present, and a quiet OpenCV."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import options_from
from edge_mtcnn.cli.terminal import UsageError

if TYPE_CHECKING:
    from edge_mtcnn.calibration import Calibration
    from edge_mtcnn.options import DetectorOptions, RuntimeOptions
    from edge_mtcnn.video import PresenceOptions

__all__ = ["add_presence_arguments", "quieten_opencv", "watching_from"]

_NAMES = ("select", "min_height", "min_eye_distance", "appear_after", "leave_after")


def add_presence_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``PresenceOptions``."""
    group = parser.add_argument_group("who counts")
    group.add_argument(
        "--select",
        choices=("largest", "central", "longest"),
        help="whose turn it is (default: largest)",
    )
    group.add_argument(
        "--region",
        metavar="X1,Y1,X2,Y2",
        help="only faces whose centre is in this part of the frame, 0..1",
    )
    group.add_argument(
        "--min-height", type=float, metavar="PIXELS", help="only faces at least this high"
    )
    group.add_argument(
        "--min-eye-distance", type=float, metavar="PIXELS", help="only with eyes this far apart"
    )
    group.add_argument(
        "--appear-after", type=float, metavar="S", help="time before someone counts as here"
    )
    group.add_argument(
        "--leave-after", type=float, metavar="S", help="time unseen before someone counts as gone"
    )


def watching_from(
    args: argparse.Namespace, calibration: Calibration | None
) -> tuple[DetectorOptions, RuntimeOptions, PresenceOptions]:
    """The options that the flags ask for where a source is watched: preset kiosk unless told.

    The threshold is one for persons, ``PresenceOptions.confidence``, and the detector has none: a
    person's face may be weak in some frames.

    Raises:
        OptionsError: a value is out of range.
        UsageError: the region is not four numbers, or two thresholds are given.
    """
    from edge_mtcnn.video import PresenceOptions

    if args.preset is None and args.config is None:
        args = argparse.Namespace(**{**vars(args), "preset": "kiosk"})
    detector, runtime = options_from(args)
    given = {name: getattr(args, name) for name in _NAMES if getattr(args, name) is not None}
    confident = args.confidence is not None or detector.confidence > 0
    if calibration is not None and confident:
        raise UsageError("give confidence, by --confidence or --config, or --calibration, not both")
    if calibration is not None:
        given["confidence"] = calibration.threshold
    elif confident:
        given["confidence"] = detector.confidence
    if args.region is not None:
        try:
            given["region"] = tuple(float(part) for part in args.region.split(","))
        except ValueError:
            raise UsageError(
                "--region takes four numbers with commas between, as in 0.25,0,0.75,1; got"
                f" {args.region!r}"
            ) from None
    return replace(detector, confidence=0.0), runtime, PresenceOptions(**given)


def quieten_opencv() -> None:
    """Keep OpenCV and FFmpeg from remarking on every try to open a lost source.

    Works only before ``cv2`` is imported; who sets the variables before has it their way.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
