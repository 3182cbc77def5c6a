"""Measure resident memory: after start, after many images, after a huge photo, and its growth.

Each scenario runs in a fresh process that imports only NumPy and ``edge_mtcnn``. The images come
through a pipe, so that reading and scaling them costs that process nothing. They are real photos,
cut and resized to random sizes with a fixed seed. RSS includes pages of libraries, whose number
varies; the private part of the process is shown beside it.

    python -m benchmarks.memory --quick

Needs Linux or macOS; without the photos beside the project it uses the project's samples.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from benchmarks.common.arguments import add_detector
from benchmarks.common.images import Pixels, cut, photo_pool, read_rgb
from benchmarks.common.program import BenchmarkError, last_words, script, script_parser
from benchmarks.common.results import (
    ROOT,
    Result,
    Target,
    add_output,
    document,
    save,
    table,
    target_table,
)

SMALLEST, WIDEST, TALLEST = 64, 2000, 1500
HUGE = (6000, 4000)
SEED = 20
SAMPLE_EVERY = 10
TARGETS_MB = {"start": 110.0, "1000 images": 200.0, "6000x4000": 400.0}
GROWTH_TARGET_MB = 2.0


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = script_parser("benchmarks.memory", __doc__)
    add_detector(parser)
    parser.add_argument("--quick", action="store_true", help="60 small images: seconds, for CI")
    parser.add_argument("--images", type=int, default=3000, help="random images (3000)")
    parser.add_argument(
        "--tail", type=int, default=500, help="last images, over which growth is measured (500)"
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    results = measure(options, quick=options.quick)
    print(
        table(
            (
                (
                    r.name,
                    r.value,
                    r.detail.get("anonymous_mb"),
                    r.detail.get("peak_mb"),
                    r.detail["images"],
                )
                for r in results
            ),
            ("scenario", "RSS MB", "of it its own", "peak MB", "images"),
        )
    )
    targets = [] if options.quick else _targets({r.name: r.value for r in results})
    if targets:
        print("\n" + target_table(targets))
    settings = {
        "preset": options.preset,
        "changes": options.changes,
        "threads": options.threads,
        "quick": options.quick,
        "images": options.images,
        "seed": SEED,
        "sizes": [SMALLEST, WIDEST, TALLEST],
    }
    save(document("memory", results, settings=settings, targets=targets), options.output)
    return 0


def measure(options: argparse.Namespace, *, quick: bool) -> list[Result]:
    """All scenarios, each in its own process."""
    if quick:
        few = [_image(rng, (640, 480)) for rng in [np.random.default_rng(SEED)] for _ in range(60)]
        small = run(options, iter(few), detectors=1, callers=1)
        return [
            _start("start", small),
            _result(f"{len(few)} images up to 640x480", small["end_mb"], small, len(few)),
        ]
    count, tail = options.images, min(options.tail, options.images // 2)
    results = []
    one = run(options, random_images(count), detectors=1, callers=1)
    results.append(_start("start", one))
    thousandth = min(1000, count)
    after = [mb for done, mb in one["samples"] if done <= thousandth][-1]
    if thousandth < count:
        results.append(_result(f"{thousandth} images", after, None, thousandth))
    results.append(_result(f"{count} images", one["end_mb"], one, count))
    results.append(_growth("growth over the last", one, tail))
    huge = run(options, iter([_image(np.random.default_rng(SEED), HUGE, exact=True)]), 1, 1)
    pixels_mb = HUGE[0] * HUGE[1] * 3 / 1e6
    detail = {"images": 1, "peak_mb": huge["peak_mb"], "released_mb": huge["end_mb"]}
    detail["image_itself_mb"] = pixels_mb
    held = huge["held_mb"]
    results.append(Result(name="memory/6000x4000", unit="MB", value=held, detail=detail))
    several = run(options, random_images(thousandth), detectors=2, callers=8)
    name = "two detectors, eight threads"
    results.append(_start(f"{name}, start", several))
    results.append(_result(f"{name}, {thousandth} images", several["end_mb"], several, thousandth))
    results.append(_growth(f"{name}, growth over the last", several, thousandth // 4))
    return results


def random_images(count: int) -> Iterator[Pixels]:
    """Real content in random sizes, the same in every run."""
    rng = np.random.default_rng(SEED)
    for _ in range(count):
        yield _image(rng, (WIDEST, TALLEST))


def run(
    options: argparse.Namespace, images: Iterator[Pixels], detectors: int, callers: int
) -> dict[str, Any]:
    """Send the images to a fresh process and return the memory that it reports."""
    settings = {
        "preset": options.preset,
        "changes": options.changes,
        "threads": options.threads,
        "detectors": detectors,
        "callers": callers,
        "sample_every": SAMPLE_EVERY,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.memory_worker", json.dumps(settings)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as worker:
        assert worker.stdin is not None  # for mypy
        with contextlib.suppress(BrokenPipeError):  # it died; the exit code says so
            for image in images:
                send(worker.stdin, image)
        answer, errors = worker.communicate()
    if worker.returncode:
        words = last_words(errors.decode(errors="replace"), worker.returncode)
        raise BenchmarkError(f"the measured process ended: {words}")
    said: dict[str, Any] = json.loads(answer)
    return said


def send(pipe: IO[bytes], image: Pixels) -> None:
    """Send one image to a process that reads it with ``memory_worker.receive``."""
    height, width = image.shape[:2]
    pipe.write(np.array([height, width], dtype="<u4").tobytes())
    pipe.write(np.ascontiguousarray(image).data)
    pipe.flush()


_POOL: list[Pixels] = []


def _image(rng: np.random.Generator, largest: tuple[int, int], *, exact: bool = False) -> Pixels:
    if not _POOL:
        _POOL.extend(read_rgb(path) for path in photo_pool()[:24])
    width, height = largest
    if not exact:
        width, height = (int(rng.integers(SMALLEST, side + 1)) for side in largest)
    return cut(_POOL[int(rng.integers(len(_POOL)))], width, height, rng)


def _start(name: str, said: dict[str, Any]) -> Result:
    """The memory with the detectors loaded."""
    detail = {"images": 0, "anonymous_mb": said["start_anonymous_mb"]}
    return Result(name=f"memory/{name}", unit="MB", value=said["start_mb"], detail=detail)


def _result(name: str, value: float, said: dict[str, Any] | None, images: int) -> Result:
    """One figure, with the samples if they belong to it."""
    detail: dict[str, Any] = {"images": images}
    samples: tuple[float, ...] = ()
    if said is not None:
        detail |= {
            "peak_mb": said["peak_mb"],
            "anonymous_mb": said["end_anonymous_mb"],
            "faces": said["faces"],
        }
        samples = tuple(mb for _, mb in said["samples"])
    return Result(name=f"memory/{name}", unit="MB", value=value, samples=samples, detail=detail)


def _growth(name: str, said: dict[str, Any], tail: int) -> Result:
    """How much the most memory of the tail exceeds the most of an equal stretch before it."""
    samples = said["samples"]
    last = samples[-1][0]
    late = max(mb for count, mb in samples if count > last - tail)
    early = max(mb for count, mb in samples if last - 2 * tail < count <= last - tail)
    detail = {"images": last, "late_mb": late, "early_mb": early}
    value = round(late - early, 3)
    return Result(
        name=f"memory/{name} {tail}", unit="MB", value=value, better="none", detail=detail
    )


def _targets(values: dict[str, float]) -> list[Target]:
    targets = [
        Target(
            name=f"RSS after {name}, MB",
            limit=limit,
            at_least=False,
            value=values.get(f"memory/{name}"),
        )
        for name, limit in TARGETS_MB.items()
    ]
    growth = values.get("memory/growth over the last 500")
    name = "RSS growth over the last 500 of 3,000, MB"
    return [*targets, Target(name=name, limit=GROWTH_TARGET_MB, at_least=False, value=growth)]


if __name__ == "__main__":
    sys.exit(main())
