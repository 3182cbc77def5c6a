"""Arguments of the commands that watch a source: its frames, who is present, a quiet OpenCV."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_mtcnn.cli.arguments import options_from, section_from
from edge_mtcnn.cli.mounting import add_mounting_arguments, mounting_given
from edge_mtcnn.cli.terminal import UsageError, printable
from edge_mtcnn.options import PRESET_CONFIDENCES

if TYPE_CHECKING:
    from edge_mtcnn.calibration import Calibration
    from edge_mtcnn.options import DetectorOptions, RuntimeOptions
    from edge_mtcnn.video import PresenceOptions, WatchOptions

__all__ = [
    "WATCH_PRESET",
    "add_presence_arguments",
    "add_source_arguments",
    "quieten_opencv",
    "watch_options_from",
]

WATCH_PRESET = "kiosk"
"""The preset of a watched source when neither ``--preset`` nor ``--config`` names one."""
_NAMES = ("select", "min_height", "min_eye_distance", "appear_after", "leave_after")


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``SourceOptions``."""
    group = parser.add_argument_group("source")
    group.add_argument("--loop", action="store_true", help="play a file again and again")
    group.add_argument(
        "--frame-size",
        metavar="WIDTHxHEIGHT",
        help="size of frames to request from a camera, such as 1280x720; 'edge-mtcnn doctor' lists"
        " the sizes that it has",
    )
    group.add_argument(
        "--fps", type=float, metavar="N", help="frames per second to request from a camera"
    )
    add_mounting_arguments(
        parser, auto=". auto: find out by the first faces, and keep what was found"
    )


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
) -> tuple[DetectorOptions, RuntimeOptions, WatchOptions]:
    """The options of the command line for a watched source.

    The threshold applies to persons, as ``PresenceOptions.confidence``. The detector has none,
    because a person's face may have a low score in some frames.

    Raises:
        OptionsError: a value is out of range, or the file of ``--config`` cannot be read.
        SourceError: the source is a file that does not exist.
        UsageError: the region is not four numbers, two thresholds are given, or a flag is not for
            this kind of source.
    """
    from edge_mtcnn.video import BlindOptions, SourceOptions, TrackerOptions, WatchOptions

    detector, runtime = options_from(args, preset=WATCH_PRESET)
    source = _source(args)
    tracking: dict[str, Any] = {}
    if getattr(args, "budget_ms", None) is not None:  # serve has no such flag
        tracking["budget_ms"] = args.budget_ms
    watch = WatchOptions(
        source=section_from(args, "source", SourceOptions(**source), source),
        tracker=section_from(args, "tracking", TrackerOptions(**tracking), tracking),
        presence=_presence(args, detector.confidence, calibration),
        blind=section_from(args, "blind", BlindOptions(), ()),
    )
    return replace(detector, confidence=0.0), runtime, watch


def _source(args: argparse.Namespace) -> dict[str, Any]:
    """The values of ``SourceOptions`` that flags set; those that mean nothing are refused."""
    from edge_mtcnn.video.source.captures import SourceSpec

    given: dict[str, Any] = {}
    if args.loop:
        given["loop"] = True
    if getattr(args, "fast", False):  # serve has no such flag
        given["pace"] = "fast"
    for_files = [f"--{flag}" for flag in ("loop", "fast") if getattr(args, flag, False)]
    if args.frame_size is not None:
        sides = re.fullmatch(r"(\d{1,5})[xX*,](\d{1,5})", args.frame_size)
        if sides is None:
            raise UsageError(
                "--frame-size takes a width and a height, such as 1280x720; got"
                f" {printable(args.frame_size[:80])!r}"
            )
        given["size"] = (int(sides[1]), int(sides[2]))
    if args.fps is not None:
        given["fps"] = args.fps
    given |= mounting_given(args)
    for_cameras = [
        f"--{name.replace('_', '-')}"
        for name in ("frame_size", "fps")
        if getattr(args, name) is not None
    ]
    flags = [*for_files, *for_cameras, *(f"--{name}" for name in mounting_given(args))]
    if args.source is None:
        if flags:
            raise UsageError(f"{flags[0]} needs a SOURCE")
        return given
    spec = SourceSpec(args.source)
    if for_files and spec.kind != "file":
        raise UsageError(
            f"{for_files[0]} is for video files, and {printable(spec.name)} is not one: it is"
            " watched until you stop, and opened again whenever it ends"
        )
    if for_cameras and spec.kind not in ("camera", "picamera2"):
        raise UsageError(
            f"{for_cameras[0]} is for cameras of this machine, and {printable(spec.name)} is not"
            " one; leave it out"
        )
    return given


def _presence(
    args: argparse.Namespace, confidence: float, calibration: Calibration | None
) -> PresenceOptions:
    """Flags over ``--config``; ``confidence`` is that of the detector."""
    from edge_mtcnn.video import PresenceOptions

    given = {name: value for name in _NAMES if (value := getattr(args, name, None)) is not None}
    # collect has none of these flags
    threshold, region = (getattr(args, name, None) for name in ("confidence", "region"))
    has_confidence = threshold is not None or confidence not in PRESET_CONFIDENCES
    if calibration is not None and has_confidence:
        raise UsageError(
            "give either confidence, with --confidence or --config, or --calibration, not both"
        )
    if region is not None:
        try:
            given["region"] = tuple(float(part) for part in region.split(","))
        except ValueError:
            raise UsageError(
                "--region takes four comma-separated numbers, such as 0.25,0,0.75,1; got"
                f" {region!r}"
            ) from None
    if calibration is not None:
        given["confidence"] = calibration.threshold
    elif threshold is not None:
        given["confidence"] = threshold
    values = {"confidence": confidence, **given} if has_confidence else given
    return section_from(args, "presence", PresenceOptions(**values), given)


def quieten_opencv() -> None:
    """Keep OpenCV and FFmpeg from writing a message at each attempt to open a lost source.

    This works only before ``cv2`` is imported. Variables that the user has set are kept.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
