"""``edge-mtcnn calibrate``: the threshold for the user's camera and place, from labelled images."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import (
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    options_from,
)
from edge_mtcnn.cli.labelled import MeasuringProgress, add_annotation_arguments, mounted
from edge_mtcnn.cli.outputs import output_file
from edge_mtcnn.cli.teaching import add_teaching_arguments, run_teaching
from edge_mtcnn.cli.terminal import UsageError, plural, printable, write_line, write_message
from edge_mtcnn.errors import OptionsError

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.known_false import KnownFalse
    from edge_mtcnn.thresholds import CalibrationResult, Evidence, LabelledImage

_EXAMPLE = """\
edge-mtcnn calibrate people/ empty_scenes/ --fpr 0.01 --report calibration.html
edge-mtcnn calibrate photos/ --labels labels.csv --recall 0.98
edge-mtcnn calibrate photos/ --annotations annotations.json --output door.json
edge-mtcnn calibrate --add-false poster.jpg statue.jpg --calibration door.json"""

_NOTES = """\
The false-positive rate is per image: the share of images with a detection where there is no face.
labels.csv has the columns path,label and optionally x,y,w,h, the box of a face; the label is face
or nonface. Detections are saved in a journal beside the output, FILE.journal: after Ctrl-C the same
command continues where it stopped, and another --fpr or --recall needs no new detections."""

_STATISTICS = ("count", "detected", "mean", "std", "min", "q25", "median", "q75", "max")
_REPEATED = (
    "labels", "annotations", "format", "category", "iou", "recall", "interval", "report", "date",
    "device", "threads", "rotate", "flip",
)  # fmt: skip
_DEFAULTS = {"iou": 0.5, "interval": 0.95}
_TITLES = {"q25": "25 %", "median": "50 %", "q75": "75 %"}


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``calibrate``."""
    parser = add_command(
        commands,
        "calibrate",
        "find the score threshold for your camera and place from labelled images",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    parser.add_argument(
        "folder", nargs="?", metavar="FACES_DIR", help="folder of images that each show a face"
    )
    parser.add_argument(
        "nonfaces",
        nargs="?",
        metavar="NONFACES_DIR",
        help="folder of images without a face; not with --labels and --annotations, for which the"
        " first folder contains all images",
    )
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--labels", metavar="FILE.csv", help="labels of the images in FACES_DIR")
    labels.add_argument(
        "--annotations",
        metavar="PATH",
        help="boxes of all faces in the images: WIDER list, COCO JSON or folder of YOLO files",
    )
    add_annotation_arguments(parser)
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--fpr",
        type=float,
        default=0.01,
        metavar="RATE",
        help="highest false-positive rate, per image (default: %(default)g)",
    )
    target.add_argument(
        "--recall", type=float, metavar="RATE", help="lowest share of the faces that are found"
    )
    parser.add_argument(
        "--promise",
        action="store_true",
        help="apply the rate to the limit of its confidence interval, not only to these images",
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=0.95,
        metavar="0..1",
        help="level of the confidence intervals (default: %(default)g)",
    )
    parser.add_argument(
        "--output",
        default="calibration.json",
        metavar="FILE",
        help="calibration file to write, for --calibration of other commands"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--report", metavar="FILE.html", help="write a report with plots (needs the extra 'plots')"
    )
    parser.add_argument(
        "--date",
        metavar="TEXT",
        help="text to record in the output; omitted by default so that output is reproducible",
    )
    add_teaching_arguments(parser)
    add_config_argument(parser)
    add_detector_arguments(parser, confidence=None, angles=True)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Calibrate; 1 when some images failed."""
    if args.add_false or args.drop_false:
        return run_teaching(args)
    _check_flags(args)
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.thresholds import AnnotationError, Target, calibrate
    from edge_mtcnn.thresholds.plots import require_plots
    from edge_mtcnn.thresholds.report import write_report

    options, runtime = options_from(args)
    target = Target("fpr", args.fpr, args.promise)
    if args.recall is not None:
        target = Target("recall", args.recall, args.promise)
    if args.report is not None:
        require_plots()
    try:
        images = mounted(_images(args), args)
        inputs = [image.path for image in images]
        inputs += [Path(path) for path in (args.labels, args.annotations) if path]
        output = output_file("--output", args.output, inputs, suffixes=(".json",))
        report = args.report and output_file(
            "--report", args.report, [*inputs, output], suffixes=(".html", ".htm")
        )
        journal = output_file("the journal", f"{output}.journal", inputs)
        with (
            FaceDetector(options, runtime) as detector,
            MeasuringProgress(images, journal) as (listener, notify),
        ):
            result = calibrate(
                detector,
                images,
                target,
                iou=args.iou,
                confidence=args.interval,
                journal=journal,
                listener=listener,
                notify=notify,
                date=args.date,
            )
            result = _with_known_false(args, result, detector, output)
    except AnnotationError as error:
        raise UsageError(str(error)) from None
    result = replace(result, command=_command(args))
    result.save(output)
    if report:
        write_report(result, report)
    for line in _lines(result):
        write_line(line)
    if result.known_false:
        from edge_mtcnn.known_false import loss_text

        earlier = len(result.known_false) - len(result.remembered)
        write_message(
            f"known false faces: {len(result.remembered)} remembered, {earlier} kept from before;"
            f" they cost {loss_text(result.known_false)}"
        )
    elif args.remember is not None:
        write_message("nothing to remember: no non-face reached the threshold")
    for warning in result.choice.warnings:
        write_message(f"warning: {warning}")
    write_message(f"written: {', '.join(printable(path) for path in (output, report) if path)}")
    failures = len(result.measurements.failures)
    if failures:
        write_message(f"{failures} of {plural(len(images), 'image')} failed and were skipped")
    return 1 if failures else 0


def _check_flags(args: argparse.Namespace) -> None:
    if args.folder is None:
        raise UsageError(
            "give two folders, FACES_DIR and NONFACES_DIR, or one with --labels or --annotations"
        )
    if args.calibration is not None:
        raise UsageError("--calibration goes with --add-false or --drop-false; give --output")
    if args.place and args.remember is None:
        raise UsageError("--place goes with --add-false or --remember")
    if args.remember is not None and args.remember < 1:
        raise UsageError(f"--remember must be at least 1; got {args.remember}")


def _with_known_false(
    args: argparse.Namespace, result: CalibrationResult, detector: FaceDetector, output: Path
) -> CalibrationResult:
    """The result with the known false faces of the file that it replaces, and with new ones."""
    from edge_mtcnn.calibration import load_calibration
    from edge_mtcnn.known_false import check_loss
    from edge_mtcnn.thresholds.teaching import remembered

    version = detector.info()["model_version"]
    kept: list[KnownFalse] = []
    with suppress(OptionsError):  # it is replaced, whatever it is
        kept = [e for e in load_calibration(output).known_false if e.model_version == version]
    things = remembered(
        result.mistakes[: args.remember or 0],
        detector,
        kept=kept,
        at_place=args.place,
        added=args.date or "",
        notify=write_message,
    )
    known = (*kept, *(thing for thing, _ in things))
    check_loss(known)
    return replace(result, known_false=known, remembered=tuple(found for _, found in things))


def _command(args: argparse.Namespace) -> tuple[str, ...]:
    """The arguments without those of the detector and the output, to calibrate for another one."""
    given = {name: getattr(args, name) for name in _REPEATED}
    given["fpr"] = args.fpr if args.recall is None else None
    words = [args.folder] if args.nonfaces is None else [args.folder, args.nonfaces]
    for name, value in given.items():
        if value is not None and value != _DEFAULTS.get(name):
            words += [f"--{name}", str(value)]
    return tuple(words + ["--promise"] * args.promise)


def _images(args: argparse.Namespace) -> list[LabelledImage]:
    from edge_mtcnn.thresholds import from_csv, from_folders, read_annotations

    if args.labels or args.annotations:
        if args.nonfaces is not None:
            flag = "--labels" if args.labels else "--annotations"
            raise UsageError(f"with {flag} there is one folder of images; got a second one")
        if args.labels:
            return from_csv(args.labels, args.folder)
        return read_annotations(
            args.annotations, args.folder, form=args.format, category=args.category
        )
    if args.nonfaces is None:
        raise UsageError(
            "give two folders, FACES_DIR and NONFACES_DIR, or one with --labels or --annotations"
        )
    return from_folders(args.folder, args.nonfaces)


def _lines(result: CalibrationResult) -> Iterator[str]:
    from edge_mtcnn.thresholds.scores import curve, reliability, summary

    scores = result.scores
    classes = [asdict(summary(values)) for values in (scores.faces, scores.nonfaces)]
    yield f"{'score':<12}{'faces':>12}{'non-faces':>12}"
    for name in _STATISTICS:
        cells = "".join(f"{_cell(values[name]):>12}" for values in classes)
        yield f"{_TITLES.get(name, name):<12}{cells}"
    yield ""
    yield "lowest faces"
    yield from map(_evidence, result.lowest_faces)
    yield "highest non-faces"
    yield from map(_evidence, result.highest_nonfaces)
    if not result.highest_nonfaces:
        yield "  no detections"
    yield ""
    calibrated, curves = reliability(scores), curve(scores)
    yield (
        f"area under ROC {curves.area:.4f}, average precision {curves.average_precision:.4f},"
        f" Brier {calibrated.brier:.4f}, ECE {calibrated.ece:.4f}"
    )
    yield f"threshold {result.threshold:.7g} for {result.target}"
    yield f"  false-positive rate {result.choice.false_positive_rate}"
    yield f"  recall {result.choice.recall}"


def _evidence(found: Evidence) -> str:
    score = "     none" if math.isnan(found.score) else f"{found.score:9.7f}"
    return f"  {score}  {printable(found.image.name)}"


def _cell(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "-" if math.isnan(value) else f"{value:.6f}"
