"""What several commands share: arguments that become options, lines of output, the progress bar."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_mtcnn.cli.terminal import (
    complain,
)
from edge_mtcnn.files import resource
from edge_mtcnn.options import PRESETS, DetectorOptions, RuntimeOptions, load_options

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from edge_mtcnn.calibration import Calibration
    from edge_mtcnn.detector import FaceDetector

    Commands = _SubParsersAction[argparse.ArgumentParser]

__all__ = [
    "add_calibration_argument",
    "add_command",
    "add_config_argument",
    "add_detector_arguments",
    "add_runtime_arguments",
    "open_detector",
    "options_from",
    "sample_photo",
    "warn_of_differences",
]

_DETECTOR_OPTIONS = ("min_face_size", "max_face_size", "scale_factor", "confidence")


def add_command(
    commands: Commands, name: str, summary: str, *, example: str, notes: str = ""
) -> argparse.ArgumentParser:
    """Add the parser of one command, with an example at the end of its help."""
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n{lines}\n" + (f"\n{notes}" if notes else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="read options from a JSON or TOML file; the other flags win over it",
    )


def add_detector_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``DetectorOptions``."""
    group = parser.add_argument_group("what to find")
    default = DetectorOptions()
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help="a named set of options, in place of all detector options of --config",
    )
    group.add_argument(
        "--min-face-size",
        type=int,
        metavar="PIXELS",
        help=f"side of the smallest face looked for (default: {default.min_face_size})",
    )
    group.add_argument(
        "--max-face-size", type=int, metavar="PIXELS", help="side of the largest face looked for"
    )
    group.add_argument(
        "--confidence", type=float, metavar="0..1", help="lowest score of a face that is reported"
    )
    group.add_argument(
        "--scale-factor",
        type=float,
        metavar="RATIO",
        help="ratio of two neighbouring levels of the image pyramid, 0.1..0.95"
        f" (default: {default.scale_factor})",
    )


def add_calibration_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--calibration``."""
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="threshold of 'edge-mtcnn calibrate', in place of --confidence",
    )


def add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``RuntimeOptions``."""
    group = parser.add_argument_group("how to run")
    group.add_argument(
        "--device",
        help="cpu, cuda, auto, or names of ONNX Runtime execution providers with commas between",
    )
    group.add_argument(
        "--threads", type=int, metavar="N", help="threads that share one image; all when left out"
    )


def options_from(args: argparse.Namespace) -> tuple[DetectorOptions, RuntimeOptions]:
    """The options that the flags ask for, over those of ``--config``, over the defaults.

    Raises:
        OptionsError: a value is out of range, or the file cannot be read.
    """
    given = {name: value for name, value in vars(args).items() if value is not None}
    detector, runtime = DetectorOptions(), RuntimeOptions()
    if "config" in given:
        detector, runtime = load_options(given["config"])
    if "preset" in given:
        detector = DetectorOptions.from_preset(given["preset"])
    changes = {name: given[name] for name in _DETECTOR_OPTIONS if name in given}
    running: dict[str, Any] = {}
    if "threads" in given:
        running["threads"] = given["threads"]
    if "device" in given:
        device = given["device"]
        named = device in ("cpu", "cuda", "auto")
        running["device"] = device if named else tuple(device.split(","))
    return replace(detector, **changes), replace(runtime, **running)


def open_detector(
    options: DetectorOptions, runtime: RuntimeOptions, calibration: str | None
) -> FaceDetector:
    """A detector; where the calibration was made with another one, a warning line says so.

    Raises:
        EdgeMTCNNError: as for ``FaceDetector``.
    """
    from edge_mtcnn.detector import FaceDetector

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        detector = FaceDetector(options, runtime, calibration=calibration)
    for warning in warned:
        complain(f"warning: {warning.message}")
    return detector


def sample_photo() -> Path:
    """The photo that comes with the package: in the wheel, or beside the package in a checkout."""
    return resource("samples") / "astronaut.jpg"


def warn_of_differences(
    calibration: Calibration,
    detector: FaceDetector,
    place: str = "here",
    tell: Callable[[str], object] = complain,
) -> None:
    """A warning line for each difference to the detector that was calibrated."""
    known = detector.info()
    for text in calibration.differences(known["options"], known["model_version"]):
        tell(f"warning: the threshold may not hold {place}: {text}")
