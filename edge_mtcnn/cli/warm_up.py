"""``edge-mtcnn warm-up``: pay the costs of the first detections before a program starts."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edge_mtcnn.cli.arguments import (
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    options_from,
)
from edge_mtcnn.cli.terminal import (
    UsageError,
    plural,
    printable,
    running_on,
    write_line,
    write_message,
)

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.detector import FaceDetector

_EXAMPLE = """\
edge-mtcnn warm-up --device tensorrt --size 1280x720
edge-mtcnn warm-up --device cuda --size 1280x720 --size 1920x1080 --json"""

_NOTES = """\
With TensorRT this builds the engines, which takes minutes, and keeps them for every later start
with the same options, GPU, TensorRT, ONNX Runtime and models. They are in the user's cache folder,
or in the folder that the environment variable EDGE_MTCNN_CACHE names. With other devices nothing
is kept: the command shows what a program pays once, in FaceDetector.warm_up or at its start."""

_SIZE = "640x480"


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``warm-up``."""
    parser = add_command(
        commands,
        "warm-up",
        "build what a device needs for the first detection, and show what it takes",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    parser.add_argument(
        "--size",
        action="append",
        metavar="WIDTHxHEIGHT",
        help=f"size of the images to prepare for; may be given several times; without it, {_SIZE}",
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of text")
    add_config_argument(parser)
    add_detector_arguments(parser)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Warm up and report."""
    from edge_mtcnn.detector import FaceDetector

    sizes = [_parsed(text) for text in args.size or [_SIZE]]
    options, runtime = options_from(args)
    start = time.perf_counter()
    with FaceDetector(options, runtime) as detector:
        report: dict[str, Any] = {"load_ms": _ms_since(start), "sizes": []}
        for width, height in sizes:
            write_message(f"warming up for {width}x{height}")
            first, second = (_timed(detector, width, height) for _ in range(2))
            report["sizes"].append(
                {"width": width, "height": height, "first_ms": first, "again_ms": second}
            )
        info = detector.info()
    report |= {name: info[name] for name in ("onnxruntime", "runs_on", "form", "shapes", "engines")}
    for line in [json.dumps(report, indent=1)] if args.json else _lines(report):
        write_line(line)
    return 0


def _parsed(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if found is None or "0" in found.groups():
        raise UsageError(f"--size must be WIDTHxHEIGHT in pixels, such as 1280x720; got {text!r}")
    return int(found[1]), int(found[2])


def _timed(detector: FaceDetector, width: int, height: int) -> float:
    start = time.perf_counter()
    detector.warm_up(height, width)
    return _ms_since(start)


def _ms_since(start: float) -> float:
    return round((time.perf_counter() - start) * 1e3, 1)


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield f"ONNX Runtime {report['onnxruntime']}, {running_on(report)}, form {report['form']}"
    yield f"loaded in {report['load_ms']:.0f} ms"
    for size in report["sizes"]:
        yield (
            f"{size['width']}x{size['height']}: {size['first_ms']:.0f} ms, the second time"
            f" {size['again_ms']:.0f} ms"
        )
    seen = {name: len(shapes) for name, shapes in report["shapes"].items() if shapes}
    if seen:
        shapes = ", ".join(f"{count} of {name}" for name, count in seen.items())
        yield f"shapes prepared: {shapes}"
    engines = report["engines"]
    if engines is not None:
        yield (
            f"kept: {plural(engines['files'], 'file')}, {engines['megabytes']:.1f} MB, in"
            f" {printable(engines['folder'])}"
        )
    else:
        yield "kept: nothing; each program pays this once when it starts"
