"""``edge-mtcnn evaluate``: precision, recall and landmark error on an annotated set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import (
    add_calibration_argument,
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    calibration_from,
    options_from,
    warn_of_mismatch,
)
from edge_mtcnn.cli.labelled import MeasuringProgress, add_annotation_arguments, mounted
from edge_mtcnn.cli.outputs import output_file
from edge_mtcnn.cli.terminal import UsageError, plural, write_line, write_message

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.thresholds import Evaluation, OperatingPoint

_EXAMPLE = """\
edge-mtcnn evaluate wider_face_val_bbx_gt.txt WIDER_val/images/ --min-face-size 10
edge-mtcnn evaluate annotations.json photos/ --json result.json --plot curves.png
edge-mtcnn evaluate labels/ photos/ --format yolo --confidence 0.99"""

_NOTES = """\
Average precision follows the evaluation of WIDER FACE: overlap of 0.5, and faces marked invalid or
crowd are ignored. Landmark errors are fractions of the distance between the eyes. --confidence or
--calibration sets the threshold of the line "at the threshold"; all other figures use every
detection."""


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``evaluate``."""
    parser = add_command(
        commands,
        "evaluate",
        "measure precision, recall and landmark error on annotated images",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    parser.add_argument(
        "annotations",
        metavar="ANNOTATIONS",
        help="WIDER list (.txt), COCO file (.json) or folder of YOLO files",
    )
    parser.add_argument("images", metavar="IMAGES_DIR", help="folder of the images")
    add_annotation_arguments(parser)
    parser.add_argument(
        "--json", metavar="FILE", help="write the figures as JSON; - for standard output"
    )
    parser.add_argument(
        "--plot",
        metavar="FILE.png",
        help="write the curves as .png, .svg or .pdf (needs the extra 'plots')",
    )
    parser.add_argument(
        "--journal",
        metavar="FILE",
        help="file that saves the detections, so that an interrupted run can continue",
    )
    add_calibration_argument(parser)
    add_config_argument(parser)
    add_detector_arguments(
        parser,
        confidence='threshold of the line "at the threshold" (default: 0.5)',
        angles=True,
    )
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate; 1 when some images failed."""
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.files import write_whole
    from edge_mtcnn.thresholds import AnnotationError, evaluate, read_annotations
    from edge_mtcnn.thresholds.plots import PLOT_SUFFIXES, require_plots, write_curves

    options, runtime = options_from(args)
    calibration = calibration_from(args)
    if calibration is not None:
        options = replace(options, confidence=calibration.threshold)
    if args.plot is not None:
        require_plots(args.plot)
    try:
        images = mounted(
            read_annotations(
                args.annotations, args.images, form=args.format, category=args.category
            ),
            args,
        )
        inputs = [*(image.path for image in images), Path(args.annotations)]
        places = {
            flag: output_file(f"--{flag}", target, inputs, suffixes=suffixes)
            for flag, target, suffixes in (
                ("json", args.json, None),
                ("plot", args.plot, PLOT_SUFFIXES),
                ("journal", args.journal, None),
            )
            if target not in {None, "-"}
        }
        with (
            FaceDetector(
                options, runtime, known_false=calibration.known_false if calibration else ()
            ) as detector,
            MeasuringProgress(images, places.get("journal")) as (listener, notify),
        ):
            warn_of_mismatch(calibration, detector, args, write=notify)
            result = evaluate(
                detector,
                images,
                threshold=options.confidence,
                iou=args.iou,
                journal=places.get("journal"),
                listener=listener,
                notify=notify,
            )
    except AnnotationError as error:
        raise UsageError(str(error)) from None
    document = json.dumps(result.to_dict(), indent=2)
    if "json" in places:
        write_whole(places["json"], f"{document}\n".encode("ascii"))
    if "plot" in places:
        write_curves(result, places["plot"])
    for line in [document] if args.json == "-" else _lines(result):
        write_line(line)
    failures = len(result.measurements.failures)
    if failures:
        write_message(f"{failures} of {plural(len(images), 'image')} failed and were skipped")
    return 1 if failures else 0


def _lines(result: Evaluation) -> Iterator[str]:
    images = plural(len(result.measurements.done), "image")
    ignored = f", {result.ignored} ignored" if result.ignored else ""
    yield f"{images}, {plural(result.faces, 'annotated face')}{ignored}"
    yield ""
    yield f"average precision at IoU {result.iou:g}  {result.average_precision:.4f}"
    yield ""
    yield f"{'':<34}{'recall':>8}{'precision':>11}{'false/image':>13}{'threshold':>12}"
    for bound, point in result.at_false_positives.items():
        yield _row(f"at most {bound:g} false per image", point)
    yield _row("at the threshold", result.at_threshold)
    landmarks = result.landmarks
    if landmarks is not None:
        yield ""
        yield (
            f"landmark error of {plural(landmarks.faces, 'face')}: mean {landmarks.mean:.2%},"
            f" median {landmarks.median:.2%}, above 10 %: {landmarks.failures:.2%}"
        )
        if landmarks.exchanged:
            yield ("  the annotations use the person's own left and right; the two were exchanged")


def _row(title: str, point: OperatingPoint) -> str:
    threshold = "none" if point.threshold is None else f"{point.threshold:.6f}"
    return (
        f"{title:<34}{point.recall:>8.4f}{point.precision:>11.4f}"
        f"{point.false_positives_per_image:>13.4f}{threshold:>12}"
    )
