"""``edge-mtcnn bench``: how fast this device is, on the sample photo or the user's images."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from edge_mtcnn._version import __version__
from edge_mtcnn.cli.common import (
    UsageError,
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    complain,
    counted,
    native_messages_muted,
    options_from,
    sample_photo,
    shown,
    write_line,
)
from edge_mtcnn.cli.outputs import unique_names

if TYPE_CHECKING:
    from edge_mtcnn.cli.common import Commands
    from edge_mtcnn.device import Readings
    from edge_mtcnn.measuring import ImageTimes
    from edge_mtcnn.types import ImageArray

_EXAMPLE = """\
edge-mtcnn bench
edge-mtcnn bench frames/ --preset kiosk --threads 2
edge-mtcnn bench --json > this-board.json"""

_NOTES = """\
Times are of one detection after the other, images already in memory; the rate of detect_batch,
which works on one image per thread, is told beside it. --json follows the schema of the project's
benchmarks, so that two files can be compared."""

_SCHEMA_VERSION = 1
_MOST_IMAGES = 50
_BATCH_SHARE = 0.2
"""Share of the time that goes to ``detect_batch``."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedImage:
    """An image and the name it goes by."""

    name: str
    pixels: ImageArray


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the paths and how to look for them; shared with ``tune``."""
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="photo, folder or glob pattern; the packaged sample photo when left out",
    )
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="look in the folders of folders too"
    )


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``bench``."""
    parser = add_command(
        commands,
        "bench",
        "measure time, rate and memory on this device",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    add_image_arguments(parser)
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        help="of measuring in all (default: 10); longer where five rounds take longer",
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead")
    add_config_argument(parser)
    add_detector_arguments(parser)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure; 1 when some images could not be read."""
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.device import peak_resident_mb, read_device, resident_mb
    from edge_mtcnn.measuring import measure, throughput

    check_positive(args, "seconds")
    options, runtime = options_from(args)
    start = time.perf_counter()
    with FaceDetector(options, runtime) as detector:
        load_ms = (time.perf_counter() - start) * 1e3
        memory: dict[str, float | None] = {"start": resident_mb()}
        images, failures = read_images(args)
        complain(f"measuring {counted(len(images), 'image')} for at least {args.seconds:g} s")
        start = time.perf_counter()
        detector.detect(images[0].pixels)
        first_ms = (time.perf_counter() - start) * 1e3
        before = read_device()
        pixels = [image.pixels for image in images]
        times = measure([detector], pixels, args.seconds * (1 - _BATCH_SHARE))[0]
        rate = throughput(detector, pixels, args.seconds * _BATCH_SHARE)
        after = read_device()
        memory |= {"end": resident_mb(), "peak": peak_resident_mb()}
        info = detector.info()
    measured = _Measured(
        images, times, info, load_ms, first_ms, rate, memory, before, after, args.seconds
    )
    lines = [json.dumps(measured.document(), indent=1)] if args.json else measured.lines()
    for line in lines:
        write_line(line)
    return 1 if failures else 0


def check_positive(args: argparse.Namespace, *names: str) -> None:
    """Require numbers above 0 of flags that are given.

    Raises:
        UsageError: naming the flag.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} must be above 0; got {value:g}")


def read_images(args: argparse.Namespace) -> tuple[list[NamedImage], int]:
    """The images that the arguments name, into memory, and how many could not be read.

    Raises:
        UsageError: none could be read.
    """
    from edge_mtcnn.cli.detect import no_images
    from edge_mtcnn.errors import ImageError
    from edge_mtcnn.files import find_images, folders_without_images
    from edge_mtcnn.image import read_image

    arguments = args.paths or [str(sample_photo())]
    paths = find_images(arguments, recursive=args.recursive)
    named = list(zip(paths, unique_names(arguments, paths), strict=True))
    if len(named) > _MOST_IMAGES:
        complain(f"the first {_MOST_IMAGES} of {len(named)} images are used")
    images: list[NamedImage] = []
    barren = folders_without_images(arguments, recursive=args.recursive)
    for folder in barren:
        complain(f"error: {shown(str(no_images(folder, recursive=args.recursive)))}")
    failures = len(barren)
    with native_messages_muted():
        for path, name in named[:_MOST_IMAGES]:
            try:
                images.append(NamedImage(str(name), read_image(path)))
            except (ImageError, OSError, MemoryError) as error:  # noqa: PERF203 -- others go on
                failures += 1
                complain(f"error: {shown(str(error) or str(path))}")
    if not images:
        raise UsageError("no image could be read, so there is nothing to measure")
    return images, failures


@dataclass(frozen=True, slots=True)
class _Measured:
    """Everything that was measured."""

    images: Sequence[NamedImage]
    times: Sequence[ImageTimes]
    info: dict[str, Any]
    load_ms: float
    first_ms: float
    batch_rate: float
    memory_mb: dict[str, float | None]
    before: Readings
    after: Readings
    seconds: float

    def lines(self) -> Iterator[str]:
        """For people."""
        info, memory = self.info, self.memory_mb
        yield (
            f"edge-mtcnn {info['version']}, models {info['model_version']}, ONNX Runtime"
            f" {info['onnxruntime']}, {info['providers'][0]}, {counted(info['threads'], 'thread')},"
            f" form {info['form']}"
        )
        yield _machine_line()
        yield f"loaded in {self.load_ms:.0f} ms, first detection {self.first_ms:.1f} ms"
        yield ""
        for image, times in zip(self.images, self.times, strict=True):
            told = times.to_dict()
            height, width = image.pixels.shape[:2]
            yield f"{shown(image.name)}: {width}x{height}, {counted(told['faces'], 'face')}"
            yield (
                f"  median {times.median:.1f} ms, p95 {told['p95_ms']:.1f} ms over"
                f" {len(times.samples)} detections; {told['images_per_second']:.1f} images/s"
            )
            stages = ", ".join(f"{name} {ms:.1f}" for name, ms in told["stages_ms"].items())
            yield f"  ms per stage: {stages}"
            yield (
                f"  windows: {told['levels']} levels through P-Net, {told['rnet_windows']} through"
                f" R-Net, {told['onet_windows']} through O-Net"
            )
            if told["capped"]:
                yield f"  cut by caps: {', '.join(told['capped'])}"
        yield ""
        yield f"detect_batch: {self.batch_rate:.1f} images/s"
        if memory["end"] is not None and memory["start"] is not None:
            held = sum(image.pixels.nbytes for image in self.images) / 1e6
            peak = "" if memory["peak"] is None else f", at most {memory['peak']:.0f}"
            yield (
                f"memory: {memory['start']:.0f} MB after loading, {memory['end']:.0f} MB now"
                f"{peak}; {held:.0f} MB of that are the images"
            )
        yield from _sensor_lines(self.before, self.after)

    def document(self) -> dict[str, Any]:
        """By the schema of ``benchmarks/results.py``."""
        return {
            "schema_version": _SCHEMA_VERSION,
            "benchmark": "device",
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": _machine(),
            "versions": _versions(self.info),
            "commit": None,
            "settings": {**self.info, "seconds": self.seconds},
            "images": [
                {"name": i.name, "width": i.pixels.shape[1], "height": i.pixels.shape[0]}
                for i in self.images
            ],
            "results": list(self._results()),
            "targets": [],
            "sensors": {"before": self.before.to_dict(), "after": self.after.to_dict()},
        }

    def _results(self) -> Iterator[dict[str, Any]]:
        for image, times in zip(self.images, self.times, strict=True):
            samples = [round(sample, 3) for sample in times.samples]
            yield _result(
                f"latency/{image.name}", "ms", times.median, samples=samples, detail=times.to_dict()
            )
        yield _result("detect_batch", "images/s", self.batch_rate, better="higher")
        yield _result("start/load", "ms", self.load_ms)
        yield _result("start/first detection", "ms", self.first_ms)
        for name, value in self.memory_mb.items():
            if value is not None:
                yield _result(f"memory/{name}", "MB", value)


def _result(name: str, unit: str, value: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "unit": unit, "value": value, "samples": [], "relative": None,
        "better": "lower", "detail": {}, **more,
    }  # fmt: skip


def _machine() -> dict[str, Any]:
    from edge_mtcnn.doctor.machine import read_machine

    machine = read_machine()
    return {
        "system": machine.system,
        "architecture": machine.architecture,
        "board": machine.board,
        "cpu": machine.processor or machine.architecture,
        "features": list(machine.features),
        "cores": machine.cores,
        "threads": machine.threads,
        "memory_mb": None if machine.memory is None else round(machine.memory / 1e6),
    }


def _machine_line() -> str:
    machine = _machine()
    memory = "" if machine["memory_mb"] is None else f", {machine['memory_mb']} MB of memory"
    board = f"{machine['board']}: " if machine["board"] else ""
    cores = f"{machine['cores']} cores, {machine['threads']} for this process"
    return f"{board}{machine['cpu']}, {machine['architecture']}, {cores}{memory}"


def _versions(info: dict[str, Any]) -> dict[str, str]:
    import cv2
    import numpy as np

    return {
        "python": platform.python_version(),
        "edge-mtcnn": __version__,
        "models": info["model_version"],
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "onnxruntime": info["onnxruntime"],
    }


def _sensor_lines(before: Readings, after: Readings) -> Iterator[str]:
    from edge_mtcnn.device import slowed_down

    for name, degrees in after.temperatures.items():
        earlier = before.temperatures.get(name)
        since = "" if earlier is None else f", {earlier:.0f} before"
        yield f"temperature of {shown(name)}: {degrees:.0f} °C{since}"
    if after.clock_mhz is not None:
        most = "" if after.max_clock_mhz is None else f" of at most {after.max_clock_mhz:.0f}"
        yield f"clock: {after.clock_mhz:.0f} MHz{most}"
    reasons = slowed_down(before, after)
    if reasons:
        yield f"warning: the device was slowed down: {'; '.join(reasons)}"
