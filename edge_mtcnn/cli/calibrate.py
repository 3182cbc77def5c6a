"""``edge-mtcnn calibrate``: the threshold for one's own camera and place, from labelled images."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator, Sequence
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
from edge_mtcnn.cli.terminal import Progress, UsageError, complain, counted, shown, write_line

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.thresholds import CalibrationResult, Evidence, Failure, LabelledImage

__all__ = ["Watching", "add_annotation_arguments", "add_parser", "place_for", "run"]

_EXAMPLE = """\
edge-mtcnn calibrate people/ empty_scenes/ --fpr 0.01 --report calibration.html
edge-mtcnn calibrate photos/ --labels labels.csv --recall 0.98
edge-mtcnn calibrate photos/ --annotations annotations.json --output door.json"""

_NOTES = """\
The false-positive rate is per image: the share of images that show a face where there is none.
labels.csv has the columns path,label and, for one face of the image, x,y,w,h; a label is face or
nonface. The detections are kept beside the output in a journal, FILE.journal: after Ctrl-C the
same command goes on where it stopped, and another --fpr or --recall needs no second run."""

_STATISTICS = ("count", "detected", "mean", "std", "min", "q25", "median", "q75", "max")
_TITLES = {"q25": "25 %", "median": "50 %", "q75": "75 %"}


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``calibrate``."""
    parser = add_command(
        commands,
        "calibrate",
        "find the threshold for your own camera and place from labelled images",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    parser.add_argument(
        "folder", metavar="FACES_DIR", help="folder of images that each show a face"
    )
    parser.add_argument(
        "nonfaces",
        nargs="?",
        metavar="NONFACES_DIR",
        help="folder of images without one; left out with --labels and --annotations, where the"
        " first folder holds all images",
    )
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--labels", metavar="FILE.csv", help="labels of the images in one folder")
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
        metavar="RATE",
        help="false-positive rate that is allowed, per image (default: 0.01)",
    )
    target.add_argument(
        "--recall", type=float, metavar="RATE", help="share of the faces that must be kept"
    )
    parser.add_argument(
        "--promise",
        action="store_true",
        help="the limit of the interval has to keep the rate, and not only these images",
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=0.95,
        metavar="0..1",
        help="confidence of the intervals (default: 0.95)",
    )
    parser.add_argument(
        "--output",
        default="calibration.json",
        metavar="FILE",
        help="the calibration that the detector and other commands read"
        " (default: calibration.json)",
    )
    parser.add_argument(
        "--report", metavar="FILE.html", help="write a report with plots (needs the extra 'plots')"
    )
    parser.add_argument(
        "--date",
        metavar="TEXT",
        help="kept in the output; without it, equal images give equal files",
    )
    add_config_argument(parser)
    add_detector_arguments(parser)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def add_annotation_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how annotations are read and matched."""
    parser.add_argument(
        "--format",
        choices=("wider", "coco", "yolo"),
        help="of the annotations; by their name when left out",
    )
    parser.add_argument(
        "--category",
        metavar="NAME",
        help="category of COCO or class number of YOLO that the faces are, where there are several",
    )
    parser.add_argument(
        "--iou",
        type=float,
        default=0.5,
        metavar="0..1",
        help="least overlap of a detection with an annotated face (default: 0.5)",
    )


def run(args: argparse.Namespace) -> int:
    """Calibrate; 1 when some images failed."""
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.thresholds import AnnotationError, Target, calibrate
    from edge_mtcnn.thresholds.plots import require_plots
    from edge_mtcnn.thresholds.report import write_report

    options, runtime = options_from(args)
    if args.confidence is not None:
        raise UsageError("calibrate looks for the threshold itself; give --fpr or --recall instead")
    target = Target("fpr", 0.01 if args.fpr is None else args.fpr, args.promise)
    if args.recall is not None:
        target = Target("recall", args.recall, args.promise)
    if args.report is not None:
        require_plots()
    try:
        images = _images(args)
        inputs = [image.path for image in images]
        inputs += [Path(path) for path in (args.labels, args.annotations) if path]
        output = place_for("--output", args.output, inputs)
        report = args.report and place_for("--report", args.report, [*inputs, output])
        journal = place_for("the journal", f"{output}.journal", inputs)
        with (
            FaceDetector(replace(options, confidence=0.0), runtime) as detector,
            Watching(images, journal) as (listener, notify),
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
    except AnnotationError as error:
        raise UsageError(str(error)) from None
    result.save(output)
    if report:
        write_report(result, report)
    for line in _lines(result):
        write_line(line)
    for warning in result.choice.warnings:
        complain(f"warning: {warning}")
    complain(f"written: {', '.join(shown(path) for path in (output, report) if path)}")
    failures = len(result.measurements.failures)
    if failures:
        complain(f"{failures} of {counted(len(images), 'image')} failed and are left out")
    return 1 if failures else 0


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


def place_for(flag: str, target: str, inputs: Sequence[Path]) -> Path:
    """Where a file can be written.

    Raises:
        UsageError: its folder is missing, it is a folder itself, or one of the inputs.
    """
    place = Path(target)
    if not place.parent.is_dir():
        raise UsageError(f"{flag} {target}: there is no folder {place.parent}")
    if place.is_dir():
        raise UsageError(f"{flag} {target} is a folder; name a file")
    if os.path.realpath(place) in {os.path.realpath(path) for path in inputs}:
        raise UsageError(f"{flag} {target} is one of the inputs; name another file")
    return place


class Watching:
    """Progress and complaints while images are measured, and what to do after Ctrl-C."""

    def __init__(self, images: Sequence[LabelledImage], journal: Path | None) -> None:
        self._total = len(images)
        self._done = 0
        self._journal = journal
        self._progress = Progress(len(images), "image")

    def __enter__(
        self,
    ) -> tuple[Callable[[LabelledImage, Failure | None], None], Callable[[str], None]]:
        return self._heard, self._told

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._progress.close()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            keep = (
                f"; {shown(self._journal)} keeps them: the same command goes on from there"
                if self._journal
                else ""
            )
            complain(f"interrupted after {self._done} of {counted(self._total, 'image')}{keep}")

    def _heard(self, _image: LabelledImage, failure: Failure | None) -> None:
        self._done += 1
        if failure is not None:
            with self._progress.writing():
                where = "" if failure.name in failure.reason else f"{shown(failure.name)}: "
                complain(f"error: {where}{shown(failure.reason)}")
        self._progress.step()

    def _told(self, text: str) -> None:
        with self._progress.writing():
            complain(shown(text))


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
        yield "  nothing was detected in any"
    yield ""
    trust, lines = reliability(scores), curve(scores)
    yield (
        f"area under ROC {lines.area:.4f}, average precision {lines.average_precision:.4f},"
        f" Brier {trust.brier:.4f}, ECE {trust.ece:.4f}"
    )
    yield f"threshold {result.threshold:.7g} for {result.target}"
    yield f"  false-positive rate {result.choice.false_positive_rate}"
    yield f"  recall {result.choice.recall}"


def _evidence(found: Evidence) -> str:
    score = "     none" if math.isnan(found.score) else f"{found.score:9.7f}"
    return f"  {score}  {shown(found.image.name)}"


def _cell(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "-" if math.isnan(value) else f"{value:.6f}"
