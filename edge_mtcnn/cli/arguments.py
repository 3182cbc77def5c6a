"""Arguments that several commands share, and the options and detectors made from them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from edge_mtcnn.cli.terminal import UsageError, write_message
from edge_mtcnn.files import read_bytes, resource
from edge_mtcnn.options import (
    DEFAULT_CONFIDENCE,
    MAX_GAIN,
    PRESETS,
    DetectorOptions,
    RuntimeOptions,
    angles_from_text,
    load_options,
    load_section,
)
from edge_mtcnn.options.runtime import DEVICES

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from edge_mtcnn.calibration import Calibration
    from edge_mtcnn.detector import FaceDetector

    Commands = _SubParsersAction[argparse.ArgumentParser]

__all__ = [
    "DEFAULT_PRESET",
    "add_calibration_argument",
    "add_command",
    "add_config_argument",
    "add_detector_arguments",
    "add_runtime_arguments",
    "calibration_from",
    "check_positive",
    "open_detector",
    "options_from",
    "sample_photo",
    "section_from",
    "warn_of_mismatch",
]

_Section = TypeVar("_Section")
DEFAULT_PRESET = "default"
_DETECTOR_OPTIONS = ("min_face_size", "max_face_size", "scale_factor", "confidence", "exposure")


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
        help="read options from a JSON or TOML file, as 'edge-mtcnn config --init' writes it; flags"
        " take precedence over it",
    )


def add_detector_arguments(
    parser: argparse.ArgumentParser,
    *,
    presets: Mapping[str, str] = MappingProxyType({"": DEFAULT_PRESET}),
    confidence: str | None = "lowest score of a face to report; 0 for all that is found, as with"
    f" --preset reference (default: {DEFAULT_CONFIDENCE:g})",
    angles: bool = False,
) -> None:
    """Add the flags of ``DetectorOptions``.

    Args:
        parser: of the command.
        presets: the preset that the command uses when neither ``--preset`` nor ``--config`` names
            one; for a command with several detectors one for each, by what the help calls it.
        confidence: help of ``--confidence``; ``None`` for a command without that flag.
        angles: add ``--angles``, for commands that search photos.
    """
    group = parser.add_argument_group("detection")
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help=f"named set of options; replaces all detector options of --config {_stated(presets)}",
    )

    def stated(option: str) -> str:
        return _stated({use: getattr(PRESETS[name], option) for use, name in presets.items()})

    group.add_argument(
        "--min-face-size",
        type=int,
        metavar="PIXELS",
        help="side of the smallest face to search for; no limit of what is reported: smaller faces,"
        f" down to about a third of it, are found too {stated('min_face_size')}",
    )
    group.add_argument(
        "--max-face-size",
        type=int,
        metavar="PIXELS",
        help="side of the largest face to search for; no limit of what is reported either"
        " (default: no limit)",
    )
    if confidence is not None:
        group.add_argument("--confidence", type=float, metavar="0..1", help=confidence)
    group.add_argument(
        "--scale-factor",
        type=float,
        metavar="RATIO",
        help="size ratio of neighbouring levels of the image pyramid, 0.1..0.95"
        f" {stated('scale_factor')}",
    )
    group.add_argument(
        "--exposure",
        type=_exposure,
        metavar="auto|off|GAIN",
        help="brighten dark places for the search: by what each needs, not at all, or everything by"
        f" a factor of 1..{MAX_GAIN:g} {stated('exposure')}",
    )
    if angles:
        group.add_argument(
            "--angles",
            metavar="DEGREES",
            help="look at each photo again, turned clockwise by these degrees, such as 90,180,270;"
            " each look takes as long as a detection. fallback: 90,180,270 where nothing is found"
            " without (default: none)",
        )


def _exposure(text: str) -> str | float:
    """A gain as a number; everything else is for ``DetectorOptions`` to check."""
    try:
        return float(text)
    except ValueError:
        return text


def _stated(values: Mapping[str, Any]) -> str:
    """``(default: 20)``, or ``(default: 20 for images, 80 for the camera)``."""
    if len(set(values.values())) == 1:
        return f"(default: {next(iter(values.values()))})"
    return f"(default: {', '.join(f'{value} for {use}' for use, value in values.items())})"


def add_calibration_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--calibration``."""
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="use the threshold of a file of 'edge-mtcnn calibrate' instead of --confidence, and"
        " leave out its known false faces",
    )


def add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``RuntimeOptions``."""
    group = parser.add_argument_group("runtime")
    group.add_argument(
        "--device",
        help=f"{', '.join(DEVICES)}, or comma-separated ONNX Runtime execution providers, with"
        " options such as OpenVINOExecutionProvider?device_type=GPU"
        f" (default: {RuntimeOptions().device})",
    )
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="number of threads that work on one image (default: all)",
    )


def check_positive(args: argparse.Namespace, *names: str) -> None:
    """Require numbers above 0 of the flags that are given.

    Raises:
        UsageError: naming the flag.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} must be above 0; got {value:g}")


def options_from(
    args: argparse.Namespace, *, preset: str = DEFAULT_PRESET
) -> tuple[DetectorOptions, RuntimeOptions]:
    """The options of the command line: flags over ``--preset`` over ``--config`` over ``preset``.

    Args:
        args: parsed arguments of any command.
        preset: the preset when neither ``--preset`` nor the file of ``--config`` names one.

    Raises:
        OptionsError: a value is out of range, or the file cannot be read.
        UsageError: two thresholds are given.
    """
    given = {name: value for name, value in vars(args).items() if value is not None}
    if "confidence" in given and "calibration" in given:
        raise UsageError("give --confidence or --calibration, not both")
    detector, runtime = DetectorOptions.from_preset(preset), RuntimeOptions()
    if "config" in given:
        detector, runtime = load_options(given["config"], preset=preset)
    if "preset" in given:
        detector = DetectorOptions.from_preset(given["preset"])
    detector_changes = {name: given[name] for name in _DETECTOR_OPTIONS if name in given}
    if "angles" in given:
        detector_changes["angles"] = angles_from_text(given["angles"])
    runtime_changes: dict[str, Any] = {}
    if "threads" in given:
        runtime_changes["threads"] = given["threads"]
    if "device" in given:
        device = given["device"]
        runtime_changes["device"] = device if device in DEVICES else tuple(device.split(","))
    return replace(detector, **detector_changes), replace(runtime, **runtime_changes)


def section_from(
    args: argparse.Namespace, name: str, options: _Section, given: Iterable[str]
) -> _Section:
    """Options of a feature: flags over the table of ``--config`` over the defaults.

    Args:
        args: parsed arguments of any command.
        name: the table, one of ``options.SECTIONS``.
        options: the defaults, with the values of the flags.
        given: names of the options that flags set.

    Raises:
        OptionsError: a value is out of range, or the file cannot be read.
    """
    return options if args.config is None else load_section(args.config, name, options, keep=given)


def open_detector(
    options: DetectorOptions, runtime: RuntimeOptions, calibration: Calibration | None
) -> FaceDetector:
    """A detector, with the threshold and the known false faces of a calibration, if there is one.

    Raises:
        EdgeMTCNNError: as for ``FaceDetector``.
    """
    from edge_mtcnn.detector import FaceDetector

    if calibration is None:
        return FaceDetector(options, runtime)
    return FaceDetector(
        calibration.applied_to(options), runtime, known_false=calibration.known_false
    )


def warn_of_mismatch(
    calibration: Calibration | None,
    detector: FaceDetector,
    args: argparse.Namespace,
    *,
    place: str = "here",
    advice: str | None = None,
    write: Callable[[str], object] = write_message,
) -> bool:
    """Write a warning line where the calibration was made with another detector; whether it was."""
    if calibration is None:
        return False
    info = detector.info()
    mismatch = calibration.mismatch(
        info["options"], info["model_version"], place=place, config=args.config, advice=advice
    )
    if mismatch is not None:
        write(f"warning: {mismatch}")
    return mismatch is not None


def calibration_from(args: argparse.Namespace) -> Calibration | None:
    """The calibration that ``--calibration`` names.

    Raises:
        OptionsError: the file cannot be read, or is not a calibration.
    """
    from edge_mtcnn.calibration import load_calibration

    return None if args.calibration is None else load_calibration(args.calibration)


def sample_photo() -> Path:
    """The photo that comes with the package; from a zip file, a copy until the process ends."""
    photo = resource("samples/astronaut.jpg")
    if not photo.is_file():
        import atexit
        import tempfile

        folder = tempfile.TemporaryDirectory(prefix="edge-mtcnn-")
        atexit.register(folder.cleanup)
        content = read_bytes(photo)
        photo = Path(folder.name) / photo.name
        photo.write_bytes(content)
    return photo
