"""``edge-mtcnn bulk``: the faces of many images, archives and videos into a Parquet data set."""

from __future__ import annotations

import argparse
import threading
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import (
    add_calibration_argument,
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    calibration_from,
    open_detector,
    options_from,
    warn_of_mismatch,
)
from edge_mtcnn.cli.mounting import add_mounting_arguments, mounting_given
from edge_mtcnn.cli.outputs import JsonLines, names_a_file, output_file
from edge_mtcnn.cli.stopping import Stop
from edge_mtcnn.cli.terminal import Progress, UsageError, plural, printable, write_message
from edge_mtcnn.cli.watch_arguments import quieten_opencv

if TYPE_CHECKING:
    from edge_mtcnn.bulk import BulkOptions, EngineOptions, Failure, Totals
    from edge_mtcnn.cli.arguments import Commands

_EXAMPLE = """\
edge-mtcnn bulk photos/ --recursive --output faces/
edge-mtcnn bulk recordings/*.mp4 --every 0.5s --output faces/
edge-mtcnn bulk 's3://bucket/train-*.tar' --output faces/ --crops
edge-mtcnn bulk images.parquet --column image --output faces/
edge-mtcnn bulk photos/ -r --output faces/ --engine ray --ray-address 10.0.0.1:6379"""

_NOTES = """\
INPUT is a photo, a video, a tar file (WebDataset), a Parquet file, a folder or pattern of these, a
text list (.txt) or CSV file that names them, or - for a list on standard input. Each may be a local
path or an address such as s3://, gs:// or http://.

DIR/faces has a row for each face, DIR/images one for each input, also for those that failed. The
same command continues after a stop or a crash, and searches only what is new. Ctrl-C finishes the
batches that are being searched; a second Ctrl-C stops at once, and their work is repeated. Other
options or models than those of DIR are refused."""

_MOST_SHOWN = 20
"""Failures that are written to the terminal; all are in the table of images."""


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``bulk``."""
    parser = add_command(
        commands,
        "bulk",
        "find faces in many photos, archives and videos, on one machine or a cluster",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="path or address; see below")
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder of the Parquet data set"
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="also look in subfolders")
    parser.add_argument(
        "--every",
        default="1s",
        metavar="0.5s|N",
        help="search a frame of each video every so many seconds, or every Nth frame"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--column",
        metavar="NAME",
        help="column of Parquet and CSV files with paths, addresses, bytes, or images as Hugging"
        " Face stores them; without it, the column is found by its type and name",
    )
    parser.add_argument(
        "--crops",
        action="store_true",
        help="also write each face to DIR/crops: eyes level, 112x112, as PNG",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="at the end, also write all results as 'detect --json' does; - for standard output",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="remove the data set in DIR first")
    again.add_argument(
        "--retry-failed", action="store_true", help="search inputs again that failed before"
    )
    add_mounting_arguments(parser)
    add_config_argument(parser)
    add_detector_arguments(parser, angles=True)
    add_calibration_argument(parser)
    add_runtime_arguments(parser)
    _add_engine_arguments(parser)
    parser.set_defaults(run=run)


def _add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="local: the threads of this process; ray: Ray Data, on this machine or a cluster"
        " (default: %(default)s)",
    )
    group.add_argument(
        "--batch-size",
        type=int,
        default=256,
        metavar="N",
        help="images that are searched together and written to one file (default: %(default)s)",
    )
    group.add_argument(
        "--limit-rate", type=float, metavar="N", help="most images per second (default: no limit)"
    )
    group.add_argument(
        "--nice",
        type=int,
        nargs="?",
        const=10,
        default=0,
        metavar="0..19",
        help="let other programs of the machine go first; --nice alone means 10"
        " (default: %(default)s)",
    )
    group.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="running Ray cluster; without it, a new one is started on this machine",
    )
    group.add_argument(
        "--num-cpus", type=int, metavar="N", help="processors that Ray may use (default: all)"
    )
    group.add_argument(
        "--num-gpus",
        type=int,
        default=0,
        metavar="N",
        help="GPUs that Ray may use, one detector on each (default: %(default)s)",
    )
    group.add_argument(
        "--retries",
        type=int,
        default=3,
        metavar="N",
        help="how often Ray repeats a batch if its process died (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Search all inputs; 1 when some of them failed, in this run or before."""
    if find_spec("pyarrow") is None:
        raise UsageError("bulk needs pyarrow: run pip install 'edge-mtcnn[bulk]'")
    quieten_opencv()
    from edge_mtcnn.bulk import Listener, run_bulk

    if names_a_file(args.output):
        raise UsageError(f"--output takes a folder; got {args.output}")
    detector_options, runtime_options = options_from(args)
    options, engine = _options(args)
    calibration = calibration_from(args)
    if args.json not in (None, "-"):  # now, and not after hours
        output_file("--json", args.json, map(Path, args.inputs))
    message = "finishing what is being searched; press Ctrl-C again to stop at once"
    with open_detector(detector_options, runtime_options, calibration) as detector:
        warn_of_mismatch(calibration, detector, args)
        with Stop(message) as stop, closing(_Terminal()) as terminal:
            totals = run_bulk(
                args.inputs,
                args.output,
                detector,
                options=options,
                engine=engine,
                recursive=args.recursive,
                overwrite=args.overwrite,
                retry_failed=args.retry_failed,
                listener=Listener(
                    planned=terminal.planned, searched=terminal.searched, failed=terminal.failed
                ),
                stop=stop.requested,
            )
    write_message(terminal.summary(totals, args.output))
    if stop.signal is not None:
        write_message("stopped; the same command continues")
        return 128 + stop.signal
    if args.json:
        _write_json(args)
    return 1 if totals.failed else 0


def _options(args: argparse.Namespace) -> tuple[BulkOptions, EngineOptions]:
    from edge_mtcnn.bulk import BulkOptions, EngineOptions, Every

    options = BulkOptions(
        every=Every.from_text(args.every),
        column=args.column,
        crops=args.crops,
        **mounting_given(args),
    )
    names = ("engine", "batch_size", "limit_rate", "nice", "ray_address", "num_cpus", "num_gpus")
    values = {name: getattr(args, name) for name in (*names, "retries")}
    return options, EngineOptions(**values)


def _write_json(args: argparse.Namespace) -> None:
    from edge_mtcnn.bulk.export import json_entries

    with closing(JsonLines(args.json, map(Path, args.inputs))) as lines:
        for entry in json_entries(Path(args.output)):
            lines.write(entry)


class _Terminal:
    """Shows the progress of a run, and its first failures. Called in several threads."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._lock = threading.Lock()
        self._started = time.perf_counter()
        self._searched = 0
        self._failures = 0
        write_message("looking for the inputs")

    def planned(self, done: int, images: int) -> None:
        """Begin to count."""
        if done:
            write_message(f"{plural(done, 'image')} of {images} were searched before")
        self._progress = Progress(images or None, "image", done)
        self._started = time.perf_counter()

    def searched(self, images: int) -> None:
        """Count images and frames."""
        assert self._progress is not None
        with self._lock:
            self._searched += images
            self._progress.step(images, f"{self._failures} failed" if self._failures else None)

    def failed(self, failure: Failure) -> None:
        """Count a failure, and show the first ones."""
        assert self._progress is not None
        with self._lock, self._progress.writing():
            self._failures += 1
            if self._failures <= _MOST_SHOWN:
                write_message(f"error: {printable(failure.source)}: {printable(failure.error)}")
            elif self._failures == _MOST_SHOWN + 1:
                write_message("further errors are not shown; all are in the table of images")

    def close(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            self._progress.close()

    def summary(self, totals: Totals, output: str) -> str:
        """What the data set has, and the rate of this run."""
        seconds = time.perf_counter() - self._started
        rate = ""
        if self._searched:
            rate = f"; {self._searched} searched now, {self._searched / max(seconds, 1e-9):.1f}/s"
        return (
            f"{printable(output)}: {plural(totals.images, 'input')},"
            f" {plural(totals.faces, 'face')}, {totals.failed} failed{rate}"
        )
