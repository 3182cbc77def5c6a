"""Test whether the memory, threads or descriptors of a watcher grow: months of work in minutes.

The videos beside the project run in a loop through one ``FaceWatcher``. Each is cut at a random
place, so that the source is lost, reopened, and returns with frames of another size.

    python -m endurance.soak --frames 100000

Needs nothing but the package and ONNX Runtime; without the videos it uses a moving sample photo.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import statistics
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common.images import DATA, SAMPLES, Pixels, read_rgb
from benchmarks.common.program import BenchmarkError, script, script_parser
from benchmarks.common.results import (
    Result,
    Target,
    add_output,
    document,
    save,
    table,
    target_table,
)
from benchmarks.common.timing import rss_mb
from edge_mtcnn import DetectorOptions, FaceDetector
from edge_mtcnn.video import FaceWatcher, SourceOptions, WatchOptions
from endurance.faults import counts

GROWTH_MB = 5.0
SAMPLES_TAKEN = 100
LONGEST_PIECE = 800
"""Frames of a video at most before it is cut."""

Sample = tuple[int, float, int, int]
"""Frames, RSS in MB, threads, descriptors."""


@script
def main(arguments: list[str] | None = None) -> int:
    """Run and print; the exit code is 1 if something grew."""
    parser = script_parser("endurance.soak", __doc__)
    parser.add_argument("--frames", type=int, default=100_000, help="number of frames (100,000)")
    parser.add_argument("--min-face", type=int, default=40, help="smallest face, pixels (40)")
    add_output(parser)
    options = parser.parse_args(arguments)
    files = sorted((DATA / "video").glob("*.*"))
    detector_options = DetectorOptions(min_face_size=options.min_face)
    with FaceDetector(detector_options) as detector:
        _run(detector, files, max(1, options.frames // 50))  # libraries start threads once
        before = _settled(0, (0, 0.0, 0, 0), seconds=1.0)
        samples, reconnects = _run(detector, files, options.frames)
        after = _settled(options.frames, before)
    rows = [samples[i] for i in range(0, len(samples), max(1, len(samples) // 20))]
    print(table(rows, ("frames", "RSS MB", "threads", "descriptors")))
    print(f"{samples[-1][0]} frames, {reconnects} reconnects")

    half = [sample[1] for sample in samples[len(samples) // 2 :]]
    tenth = max(1, len(half) // 5)
    growth = statistics.median(half[-tenth:]) - statistics.median(half[:tenth])
    targets = [
        Target(name="RSS growth, last half, MB", limit=GROWTH_MB, at_least=False, value=growth),
        Target(name="threads left", limit=0, at_least=False, value=float(after[2] - before[2])),
        Target(name="descriptors left", limit=0, at_least=False, value=float(after[3] - before[3])),
    ]
    print("\n" + target_table(targets))
    rss = tuple(sample[1] for sample in samples)
    results = [Result(name="soak/rss", unit="MB", value=rss[-1], samples=rss)]
    settings = {"frames": options.frames, "min_face": options.min_face, "reconnects": reconnects}
    save(document("soak", results, settings=settings, targets=targets), options.output)
    return 0 if all(target.reached for target in targets) else 1


def _run(detector: FaceDetector, files: list[Path], frames: int) -> tuple[list[Sample], int]:
    pieces = _pieces(files)
    options = WatchOptions(source=SourceOptions(retry_first=0.01, retry_longest=0.02))
    samples: list[Sample] = []
    step = max(1, frames // SAMPLES_TAKEN)
    with FaceWatcher(lambda: next(pieces), detector, options) as watcher:
        while (seen := watcher.snapshot.frames) < frames:
            if not watcher.running:
                raise BenchmarkError(f"the watcher stopped: {watcher.failure}")
            if seen >= step * (len(samples) + 1):
                samples.append(_sample(seen))
            time.sleep(0.02)
        return samples, watcher.snapshot.reconnects


def _pieces(files: list[Path]) -> Iterator[Iterator[Pixels]]:
    """Pieces of the videos in turn; each ends with an error."""
    chance = random.Random(7)
    names: list[Path | None] = [*files] or [None]
    for file in itertools.cycle(names):
        frames = _panned() if file is None else _read(file)
        yield _cut(frames, chance.randint(50, LONGEST_PIECE))


def _cut(frames: Generator[Pixels], count: int) -> Iterator[Pixels]:
    with contextlib.closing(frames):
        yield from itertools.islice(frames, count)
    raise ConnectionError("cut by the benchmark")


def _read(file: Path) -> Generator[Pixels]:
    video = cv2.VideoCapture(str(file))
    try:
        while (read := video.read())[0]:
            yield np.asarray(read[1], dtype=np.uint8)
    finally:
        video.release()


def _panned() -> Generator[Pixels]:
    photo = read_rgb(SAMPLES / "astronaut.jpg")[..., ::-1]
    for step in range(600):
        yield np.roll(photo, 2 * step, axis=1)


def _sample(frames: int) -> Sample:
    return frames, rss_mb(), *counts()


def _settled(frames: int, before: Sample, seconds: float = 10.0) -> Sample:
    """The counts once the last threads have ended."""
    until = time.monotonic() + seconds
    while (after := _sample(frames))[2:] > before[2:] and time.monotonic() < until:
        time.sleep(0.2)
    return after


if __name__ == "__main__":
    sys.exit(main())
