"""``edge-mtcnn tune``: find the fastest settings of this device, and write them into a file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import (
    add_command,
    add_config_argument,
    add_detector_arguments,
    check_positive,
    options_from,
)
from edge_mtcnn.cli.inputs import add_path_arguments, read_images
from edge_mtcnn.cli.outputs import output_file
from edge_mtcnn.cli.terminal import UsageError, printable, write_line, write_message
from edge_mtcnn.options import DetectorOptions

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.speed.tuning import Trial, Tuning

_EXAMPLE = """\
edge-mtcnn tune
edge-mtcnn tune frames/ --preset kiosk --max-threads 3 --output kiosk.json
edge-mtcnn detect holiday/ --config kiosk.json"""

_NOTES = """\
Images like those of your application lead to better settings than the sample photo. The values of
a setting take turns until the difference to the default is larger than the noise of the times. If
it never is, the default is kept and a line says so. The file
contains the runtime options, and the detector options if they are not the defaults. Every command
reads it with --config, and Python code with FaceDetector(config=FILE)."""

_OUTPUT = "edge-mtcnn.json"


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``tune``."""
    parser = add_command(
        commands,
        "tune",
        "find the fastest settings for this device and write them to a file",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    add_path_arguments(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        default=_OUTPUT,
        help="file to write, .json or .toml (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="longest detection time for each value, in seconds; less is used when the differences"
        " are larger than the noise (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of text")
    add_config_argument(parser)
    add_detector_arguments(parser)
    group = parser.add_argument_group("runtime")
    group.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, tensorrt, comma-separated names of ONNX Runtime execution providers, or"
        " auto to try cpu and cuda (default: %(default)s)",
    )
    group.add_argument(
        "--max-threads", type=int, metavar="N", help="most threads to try (default: all)"
    )
    group.add_argument(
        "--max-memory",
        type=float,
        metavar="MB",
        help="choose the fastest setting that needs less memory (default: no limit)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tune and write the file; 1 when some images could not be read."""
    from edge_mtcnn.options import save_options
    from edge_mtcnn.speed.tuning import tune

    check_positive(args, "seconds", "max_threads", "max_memory")
    options, runtime = options_from(args)
    output = output_file("--output", args.output, suffixes=(".json", ".toml"))
    if output.suffix == ".toml" and sys.version_info < (3, 11):
        raise UsageError(
            "Python 3.10 cannot read .toml files; choose an --output that ends in .json"
        )
    if not os.access(output.parent, os.W_OK):
        raise UsageError(
            f"--output {printable(output)}: cannot write to the folder {printable(output.parent)}"
        )
    images, failures = read_images(args)
    tuning = tune(
        [image.pixels for image in images],
        options,
        runtime,
        seconds=args.seconds,
        max_threads=args.max_threads,
        max_memory_mb=args.max_memory,
        report=write_message,
    )
    changed = options if options != DetectorOptions() else None
    save_options(output, detector=changed, runtime=tuning.runtime)
    for line in [json.dumps(tuning.to_dict(), indent=2)] if args.json else _lines(tuning):
        write_line(line)
    over = [trial for trial in tuning.trials if trial.chosen and trial.error is not None]
    if over:
        write_message(f"warning: no setting fits: the chosen one {over[0].error}")
    for setting in tuning.undecided:
        write_message(
            f"warning: {setting}: no difference was larger than the noise, so the default is kept;"
            f" close other programs, or try --seconds {4 * args.seconds:g}"
        )
    write_message(f"written: {printable(output)}; use it with --config {printable(output)}")
    return 1 if failures else 0


def _lines(tuning: Tuning) -> Iterator[str]:
    yield f"{'setting':<8}  {'value':<24}  {'ms':>8}  {'x best':>6}  {'noise':>6}  {'MB':>5}"
    for trial in tuning.trials:
        if trial.median_ms is None or trial.ratio is None:
            yield f"{trial.setting:<8}  {_value(trial):<24}  {trial.error}"
            continue
        memory = "-" if trial.memory_mb is None else f"{trial.memory_mb:.0f}"
        noise = "-" if trial.noise is None else f"{trial.noise:.1%}"
        mark = ", ".join(filter(None, ("chosen" if trial.chosen else "", trial.error)))
        yield (
            f"{trial.setting:<8}  {_value(trial):<24}  {trial.median_ms:8.1f}  {trial.ratio:6.2f}"
            f"  {noise:>6}  {memory:>5}  {mark}"
        ).rstrip()


def _value(trial: Trial) -> str:
    if trial.value is None:
        return f"all ({trial.runs})"
    value = str(trial.value)
    return value if trial.runs in ("", value) else f"{value} ({trial.runs})"
