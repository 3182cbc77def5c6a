"""``edge-mtcnn calibrate --add-false``: known false faces into an existing calibration file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import options_from
from edge_mtcnn.cli.mounting import mounting_from
from edge_mtcnn.cli.terminal import UsageError, plural, printable, write_line, write_message
from edge_mtcnn.errors import ImageError, OptionsError
from edge_mtcnn.options import DetectorOptions

if TYPE_CHECKING:
    from edge_mtcnn.known_false import KnownFalse

__all__ = ["add_teaching_arguments", "run_teaching"]

_FILE = "calibration.json"
_OF_THE_DETECTOR = ("min_face_size", "max_face_size", "scale_factor", "exposure", "angles")
_OF_THE_FILE = ("config", "preset", *_OF_THE_DETECTOR)


def add_teaching_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags for known false faces."""
    group = parser.add_argument_group(
        "known false faces",
        "things that stand here and look like a face, such as a poster or a statue. The detector\n"
        "leaves them out from then on. No picture is stored, only numbers.",
    )
    group.add_argument(
        "--add-false",
        nargs="+",
        metavar="IMAGE",
        help="add what is found in these images, which must show no person, to the file of"
        " --calibration: all finds from the threshold on, or the best one; does not calibrate",
    )
    group.add_argument(
        "--drop-false", nargs="+", metavar="NAME", help="remove known false faces from that file"
    )
    group.add_argument(
        "--remember",
        nargs="?",
        type=int,
        const=10,
        metavar="N",
        help="calibrate, and remember the N worst mistakes from the threshold on (10 without N)",
    )
    group.add_argument(
        "--place",
        action="store_true",
        help="tie them to their place in the frame: for images of one camera that does not move",
    )
    group.add_argument(
        "--calibration",
        metavar="FILE",
        help=f"file that --add-false and --drop-false change; {_FILE} if it is omitted",
    )


def run_teaching(args: argparse.Namespace) -> int:
    """Change the known false faces of a file, whole or not at all; the exit code."""
    from edge_mtcnn.calibration import load_calibration, save_known_false
    from edge_mtcnn.known_false import loss_text

    if args.folder is not None or args.remember is not None:
        raise UsageError(
            "--add-false and --drop-false change a file without calibrating; give no FACES_DIR and"
            " no --remember with them"
        )
    if args.add_false and args.drop_false:
        raise UsageError("give --add-false or --drop-false, not both")
    if args.drop_false and args.place:
        raise UsageError("--place goes with --add-false or --remember")
    given = [name for name in _OF_THE_FILE if getattr(args, name) is not None]
    if given:
        raise UsageError(
            f"--{given[0].replace('_', '-')} cannot be given here: the detector is the one of the"
            " calibration file"
        )
    path = args.calibration or _FILE
    entries = load_calibration(path).known_false
    if args.drop_false:
        missing = sorted(set(args.drop_false) - {entry.name for entry in entries})
        if missing:
            names = ", ".join(entry.name for entry in entries) or "none"
            raise UsageError(f"{path} has no known false face {missing[0]!r}; it has: {names}")
        kept = tuple(entry for entry in entries if entry.name not in args.drop_false)
    else:
        try:
            kept = (*entries, *_added(args, path))
        except ImageError as error:
            raise UsageError(f"{error}; {path} is unchanged") from None
    save_known_false(path, kept)
    write_message(
        f"written: {printable(path)} with {plural(len(kept), 'known false face')}, which cost"
        f" {loss_text(kept)}"
    )
    return 0


def _added(args: argparse.Namespace, path: str) -> list[KnownFalse]:
    """What is found in the images."""
    from edge_mtcnn.calibration import load_calibration
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.thresholds.teaching import things_in

    calibration = load_calibration(path)
    _, runtime = options_from(args)
    options = DetectorOptions.from_dict(dict(calibration.options))
    options = replace(options, confidence=calibration.threshold)
    added: list[KnownFalse] = []
    with FaceDetector(options, runtime, known_false=calibration.known_false) as detector:
        version = detector.info()["model_version"]
        if calibration.model_version not in {"", version}:
            raise OptionsError(
                f"{path} was made with the models {calibration.model_version}, and these are"
                f" {version}: run 'edge-mtcnn calibrate' again first"
            )
        for image in args.add_false:
            names = {entry.name for entry in (*calibration.known_false, *added)}
            things = things_in(
                image,
                detector,
                taken=names,
                at_place=args.place,
                added=args.date or date.today().isoformat(),
                mounting=mounting_from(args),
            )
            for thing, score in things:
                write_line(f"{score:.4f}  {printable(thing.name)}  in {printable(image)}")
            if not things:
                write_message(f"{printable(image)}: what is found there is known already")
            added += [thing for thing, _ in things]
    return added
