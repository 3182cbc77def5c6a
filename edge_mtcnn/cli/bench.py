"""``edge-mtcnn bench``: the speed of this device, on the sample photo or the user's images."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import (
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    check_positive,
    options_from,
)
from edge_mtcnn.cli.inputs import add_path_arguments, read_images
from edge_mtcnn.cli.terminal import plural, printable, running_on, write_line, write_message

if TYPE_CHECKING:
    from edge_mtcnn.board.identity import Machine
    from edge_mtcnn.board.sensors import Readings
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.speed.report import SpeedReport

_EXAMPLE = """\
edge-mtcnn bench
edge-mtcnn bench frames/ --preset kiosk --threads 2
edge-mtcnn bench --json > this-board.json"""

_NOTES = """\
Times are for one detection after the other, with the images in memory. The rate of detect_batch,
which works on one image per thread, is reported separately. --json uses the schema of the project's
benchmarks, so that two files can be compared."""


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``bench``."""
    parser = add_command(
        commands,
        "bench",
        "measure time, rate and memory on this device",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    add_path_arguments(parser)
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="total measuring time in seconds (default: %(default)g); at least five rounds are run",
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of text")
    add_config_argument(parser)
    add_detector_arguments(parser, angles=True)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure; 1 when some images could not be read."""
    from edge_mtcnn.board.memory import resident_mb
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.speed.report import measure_device

    check_positive(args, "seconds")
    options, runtime = options_from(args)
    start = time.perf_counter()
    with FaceDetector(options, runtime) as detector:
        load_ms = (time.perf_counter() - start) * 1e3
        start_mb = resident_mb()  # before the images, which are not memory of the detector
        images, failures = read_images(args)
        write_message(f"measuring {plural(len(images), 'image')} for at least {args.seconds:g} s")
        report = measure_device(detector, images, args.seconds, load_ms=load_ms, start_mb=start_mb)
    for line in [json.dumps(report.to_dict(), indent=1)] if args.json else _lines(report):
        write_line(line)
    return 1 if failures else 0


def _lines(report: SpeedReport) -> Iterator[str]:
    info, memory = report.info, report.memory_mb
    yield (
        f"edge-mtcnn {info['version']}, models {info['model_version']}, ONNX Runtime"
        f" {info['onnxruntime']}, {running_on(info)}, {plural(info['threads'], 'thread')},"
        f" form {info['form']}"
    )
    yield _machine_line(report.machine)
    yield f"loaded in {report.load_ms:.0f} ms, first detection {report.first_ms:.1f} ms"
    yield ""
    for image, times in zip(report.images, report.times, strict=True):
        figures = times.to_dict()
        height, width = image.pixels.shape[:2]
        yield f"{printable(image.name)}: {width}x{height}, {plural(figures['faces'], 'face')}"
        yield (
            f"  median {times.median:.1f} ms, p95 {figures['p95_ms']:.1f} ms over"
            f" {len(times.samples)} detections; {figures['images_per_second']:.1f} images/s"
        )
        stages = ", ".join(f"{name} {ms:.1f}" for name, ms in figures["stages_ms"].items())
        yield f"  ms per stage: {stages}"
        yield (
            f"  windows: {figures['levels']} levels through P-Net,"
            f" {figures['rnet_windows']} through R-Net, {figures['onet_windows']} through O-Net"
        )
        if figures["capped"]:
            yield f"  cut by caps: {', '.join(figures['capped'])}"
    yield ""
    yield f"detect_batch: {report.batch_rate:.1f} images/s"
    if memory["end"] is not None and memory["start"] is not None:
        held = sum(image.pixels.nbytes for image in report.images) / 1e6
        peak = "" if memory["peak"] is None else f", at most {memory['peak']:.0f}"
        yield (
            f"memory: {memory['start']:.0f} MB after loading, {memory['end']:.0f} MB now"
            f"{peak}; {held:.0f} MB of that are the images"
        )
    yield from _sensor_lines(report.before, report.after)


def _machine_line(machine: Machine) -> str:
    facts = machine.summary()
    memory = "" if facts["memory_mb"] is None else f", {facts['memory_mb']} MB of memory"
    board = f"{facts['board']}: " if facts["board"] else ""
    cores = f"{facts['cores']} cores, {facts['threads']} for this process"
    return f"{board}{facts['cpu']}, {facts['architecture']}, {cores}{memory}"


def _sensor_lines(before: Readings, after: Readings) -> Iterator[str]:
    from edge_mtcnn.board.sensors import slowed_down

    for name, degrees in after.temperatures.items():
        earlier = before.temperatures.get(name)
        since = "" if earlier is None else f", {earlier:.0f} before"
        yield f"temperature of {printable(name)}: {degrees:.0f} °C{since}"
    if after.clock_mhz is not None:
        most = "" if after.max_clock_mhz is None else f" of at most {after.max_clock_mhz:.0f}"
        yield f"clock: {after.clock_mhz:.0f} MHz{most}"
    reasons = slowed_down(before, after)
    if reasons:
        yield f"warning: the device was slowed down: {'; '.join(reasons)}"
