"""Measure how time and memory grow with the image, its faces, the smallest face and the threads.

The image is a wall of small photos made from the project's samples, so that everyone measures the
same: 1280x960 with 24 tiles, 6 of them with a face of about 100 pixels. One thing is varied at a
time. The values of an axis run in turn with a reference job. Memory is the peak of a fresh process
that detects three times in that one image.

    python -m benchmarks.scaling --plot scaling.png --output scaling.json

Needs matplotlib for --plot, else nothing but the package and ONNX Runtime.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import memory
from benchmarks.common.arguments import add_detector, detector_options, runtime_options
from benchmarks.common.images import SAMPLES, Pixels, cut, read_rgb
from benchmarks.common.plots import AXES, draw
from benchmarks.common.program import BenchmarkError, script, script_parser
from benchmarks.common.results import Result, add_output, document, save, table
from benchmarks.common.timing import interleaved, pair_ratios, spread
from benchmarks.peers.reference_job import ReferenceJob
from edge_mtcnn import FaceDetector
from edge_mtcnn.runtime.workers import available_threads

WIDTH, HEIGHT = 1280, 960
COLUMNS, ROWS = 6, 4
FACES = 6
FACE_PHOTO, FACE_PART = "astronaut.jpg", (slice(17, 217), slice(134, 312))
OTHER_PHOTOS = ("coffee.jpg", "rocket.jpg", "hubble_deep_field.jpg")
SEED = 5
VALUES: Mapping[str, tuple[int, ...]] = {
    "size": (160, 320, 640, 1280, 2560, 5120),
    "faces": (0, 1, 3, 6, 12, 24),
    "min_face": (10, 20, 40, 80, 160),
}


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one axis."""

    axis: str
    value: int
    pixels: Pixels = field(repr=False)
    changes: tuple[str, ...] = ()
    threads: int | None = None

    @property
    def name(self) -> str:
        """As in the results."""
        return f"{self.axis}/{self.value}"


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print, plot and save; the exit code."""
    options = _parser().parse_args(arguments)
    if options.plot is not None:
        import matplotlib  # noqa: F401, ICN001 -- what the plot needs is known before measuring
    points = list(_points(options))
    if not points:
        raise BenchmarkError("no value is left to measure; give a larger --largest")
    results = []
    for axis in options.axes:
        along = [point for point in points if point.axis == axis]
        results += _times(along, options)
        if options.memory:
            results += [_memory(point, options) for point in along]
    print(_table(points, results))
    settings = {
        "preset": options.preset,
        "changes": options.changes,
        "threads": options.threads or available_threads(),
        "rounds": options.rounds,
        "axes": options.axes,
        "memory": options.memory,
    }
    wall_size = {"name": "wall of samples", "width": WIDTH, "height": HEIGHT}
    content = document("scaling", results, settings=settings, images=[wall_size])
    save(content, options.output)
    if options.plot is not None:
        draw(content, options.plot)
        print(f"plot: {options.plot}", file=sys.stderr)
    return 0


def wall(faces: int) -> Pixels:
    """``COLUMNS`` x ``ROWS`` tiles; the faces are scattered over them.

    Args:
        faces: number of tiles with a face, 0..24.

    Returns:
        (960, 1280, 3) uint8 RGB.
    """
    rng = np.random.default_rng(SEED)
    tile_width, tile_height = WIDTH // COLUMNS, HEIGHT // ROWS
    photo = read_rgb(SAMPLES / FACE_PHOTO)[FACE_PART]
    face = cv2.resize(photo, (tile_width, tile_height), interpolation=cv2.INTER_LINEAR)
    others = [read_rgb(SAMPLES / name) for name in OTHER_PHOTOS]
    canvas = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for rank, place in enumerate(rng.permutation(COLUMNS * ROWS).tolist()):
        row, column = divmod(place, COLUMNS)
        other = cut(others[place % len(others)], tile_width, tile_height, rng)
        top, left = row * tile_height, column * tile_width
        tile = face if rank < faces else other
        canvas[top : top + tile_height, left : left + tile_width] = tile
    return canvas


def _points(options: argparse.Namespace) -> Iterator[Point]:
    """Every value of every requested axis."""
    usual = wall(FACES)
    for axis in options.axes:
        if axis == "size":
            for width in VALUES[axis]:
                if width <= options.largest:
                    size = (width, width * HEIGHT // WIDTH)
                    shrinks = width < WIDTH
                    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
                    yield Point(axis, width, cv2.resize(usual, size, interpolation=how))
        elif axis == "faces":
            yield from (Point(axis, faces, wall(faces)) for faces in VALUES[axis])
        elif axis == "min_face":
            for pixels in VALUES[axis]:
                yield Point(axis, pixels, usual, (f"min_face_size={pixels}",))
        else:
            most = 2 * available_threads()  # twice, to see that too many do no harm
            counts = {1, available_threads(), most, *(2**i for i in range(most.bit_length()))}
            for count in sorted(count for count in counts if count <= most):
                yield Point(axis, count, usual, threads=count)


def _times(points: Sequence[Point], options: argparse.Namespace) -> list[Result]:
    """Time at each value of one axis."""
    with ExitStack() as stack:
        # The job takes what this process may use: on the axis of threads, it is a fixed yardstick.
        job = ReferenceJob(options.threads or available_threads())
        stack.callback(job.close)
        jobs: dict[str, Callable[[], object]] = {"job": job}
        faces: dict[str, int] = {}
        for point in points:
            chosen = detector_options(options.preset, [*options.changes, *point.changes])
            running = runtime_options(point.threads or options.threads)
            detector = stack.enter_context(FaceDetector(chosen, running))
            faces[point.name] = len(detector.detect(point.pixels))
            jobs[point.name] = partial(detector.detect, point.pixels)
        times = interleaved(jobs, options.rounds)
    results = []
    for point in points:
        samples = times[point.name]
        results.append(
            Result(
                name=f"scaling/time/{point.name}",
                unit="ms",
                value=spread(samples).median,
                samples=tuple(round(time, 3) for time in samples),
                relative=spread(pair_ratios(samples, times["job"])).median,
                detail={"faces": faces[point.name], **_size(point)},
            )
        )
    return results


def _memory(point: Point, options: argparse.Namespace) -> Result:
    """The peak memory of a fresh process."""
    asked = argparse.Namespace(
        preset=options.preset,
        changes=[*options.changes, *point.changes],
        threads=point.threads or options.threads,
    )
    said = memory.run(asked, iter([point.pixels] * 3), detectors=1, callers=1)
    detail = {**_size(point), "start_mb": said["start_mb"], "end_mb": said["end_mb"]}
    name = f"scaling/memory/{point.name}"
    return Result(name=name, unit="MB", value=said["peak_mb"], detail=detail)


def _size(point: Point) -> dict[str, int]:
    height, width = point.pixels.shape[:2]
    return {"width": width, "height": height}


def _table(points: Sequence[Point], results: Sequence[Result]) -> str:
    found = {result.name: result for result in results}
    rows: list[tuple[Any, ...]] = []
    for point in points:
        timed = found[f"scaling/time/{point.name}"]
        peak = found.get(f"scaling/memory/{point.name}")
        detail = timed.detail
        size = f"{detail['width']}x{detail['height']}"
        rss = None if peak is None else peak.value
        quartiles = spread(timed.samples)
        rows.append((point.axis, point.value, size, detail["faces"], *quartiles, rss))
    return table(
        rows,
        ("varied", "value", "image", "faces", "ms low quartile", "ms median", "high", "RSS MB"),
    )


def _parser() -> argparse.ArgumentParser:
    parser = script_parser("benchmarks.scaling", __doc__)
    add_detector(parser)
    parser.add_argument(
        "--axes", nargs="+", choices=list(AXES), default=list(AXES), help="what to vary (all)"
    )
    parser.add_argument(
        "--largest", type=int, default=5120, metavar="WIDTH", help="widest image (5120)"
    )
    parser.add_argument("--rounds", type=int, default=15, help="detections of each point (15)")
    parser.add_argument(
        "--no-memory", dest="memory", action="store_false", help="measure times only"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as .png or .svg")
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
