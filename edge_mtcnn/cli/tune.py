"""``edge-mtcnn tune``: find the settings that are fastest on this device, and write them down."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import (
    add_command,
    add_config_argument,
    add_detector_arguments,
    options_from,
)
from edge_mtcnn.cli.bench import add_image_arguments, check_positive, read_images
from edge_mtcnn.cli.terminal import UsageError, complain, shown, write_line
from edge_mtcnn.options import DetectorOptions

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.speed.tuning import Trial, Tuning

_EXAMPLE = """\
edge-mtcnn tune
edge-mtcnn tune frames/ --preset kiosk --max-threads 3 --output kiosk.json
edge-mtcnn detect holiday/ --config kiosk.json"""

_NOTES = """\
Without a path, the sample photo is used; images as they will come give better settings. The file
holds the runtime options, and the detector options where they are not the defaults; every command
reads it by --config, and Python code by FaceDetector(config=FILE)."""

_OUTPUT = "edge-mtcnn.json"


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``tune``."""
    parser = add_command(
        commands,
        "tune",
        "find the fastest settings on this device and write them into a file",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    add_image_arguments(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        default=_OUTPUT,
        help=f"where to write the settings, .json or .toml (default: {_OUTPUT})",
    )
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of detecting for each value tried (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="write what was tried as JSON instead")
    add_config_argument(parser)
    add_detector_arguments(parser)
    group = parser.add_argument_group("how to run")
    group.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda or names of execution providers; cpu and cuda are both tried when left out",
    )
    group.add_argument(
        "--max-threads", type=int, metavar="N", help="leave the other cores to other work"
    )
    group.add_argument(
        "--max-memory", type=float, metavar="MB", help="take the fastest that needs less memory"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Try the settings and write the file; 1 when some images could not be read."""
    from edge_mtcnn.options import save_options
    from edge_mtcnn.speed.tuning import tune

    check_positive(args, "seconds", "max_threads", "max_memory")
    options, runtime = options_from(args)
    output = Path(args.output)
    if output.suffix not in (".json", ".toml"):
        raise UsageError(f"--output must end in .json or .toml; got {shown(output.name)!r}")
    if output.suffix == ".toml" and sys.version_info < (3, 11):
        raise UsageError("Python 3.10 cannot read a .toml file again; let --output end in .json")
    if not output.parent.is_dir():
        raise UsageError(f"there is no folder {shown(output.parent)} for --output")
    if not os.access(output.parent, os.W_OK):
        raise UsageError(f"cannot write into the folder {shown(output.parent)} of --output")
    images, failures = read_images(args)
    tuning = tune(
        [image.pixels for image in images],
        options,
        runtime,
        seconds=args.seconds,
        max_threads=args.max_threads,
        max_memory_mb=args.max_memory,
        report=lambda line: complain(f"trying {line}"),
    )
    changed = options if options != DetectorOptions() else None
    save_options(output, detector=changed, runtime=tuning.runtime)
    for line in [json.dumps(tuning.to_dict(), indent=2)] if args.json else _lines(tuning):
        write_line(line)
    over = [trial for trial in tuning.trials if trial.chosen and trial.error is not None]
    if over:
        complain(f"warning: nothing tried fits: the setting chosen {over[0].error}")
    complain(f"written: {shown(output)}; use it by --config {shown(output)}")
    return 1 if failures else 0


def _lines(tuning: Tuning) -> Iterator[str]:
    yield f"{'setting':<8}  {'value':<24}  {'ms':>8}  {'x best':>6}  {'MB':>5}"
    for trial in tuning.trials:
        if trial.median_ms is None or trial.ratio is None:
            yield f"{trial.setting:<8}  {_value(trial):<24}  {trial.error}"
            continue
        memory = "-" if trial.memory_mb is None else f"{trial.memory_mb:.0f}"
        mark = ", ".join(filter(None, ("chosen" if trial.chosen else "", trial.error)))
        yield (
            f"{trial.setting:<8}  {_value(trial):<24}  {trial.median_ms:8.1f}  {trial.ratio:6.2f}"
            f"  {memory:>5}  {mark}"
        ).rstrip()


def _value(trial: Trial) -> str:
    if trial.value is None:
        return f"all ({trial.runs})"
    value = str(trial.value)
    return value if trial.runs in ("", value) else f"{value} ({trial.runs})"
