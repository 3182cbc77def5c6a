"""Measure the time of one detection, in turn with a fixed reference job.

The ratio to the reference job makes runs on different machines comparable; ``compare`` uses it.

    python -m benchmarks.latency --preset default reference --rounds 40

Needs nothing but the package and ONNX Runtime; without the photos beside the project it uses the
project's samples.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.common.arguments import add_images, add_threads, detector_options, runtime_options
from benchmarks.common.images import BenchmarkImage, choose
from benchmarks.common.program import script, script_parser
from benchmarks.common.results import Result, add_output, document, save, table
from benchmarks.common.timing import interleaved, pair_ratios, spread
from benchmarks.peers.reference_job import ReferenceJob
from edge_mtcnn import FaceDetector
from edge_mtcnn.speed.timing import percentile


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = script_parser("benchmarks.latency", __doc__)
    add_images(parser)
    parser.add_argument("--preset", nargs="+", default=["default", "reference"], help="presets")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="changes",
        help="change an option of every preset, as in min_face_size=40; repeatable",
    )  # fmt: skip
    add_threads(parser)
    parser.add_argument("--rounds", type=int, default=40, help="detections of each image (40)")
    add_output(parser)
    options = parser.parse_args(arguments)
    images = choose(options.images)
    results = measure(images, options.preset, options.changes, options.threads, options.rounds)
    print(latency_table(results))
    settings = {
        "presets": options.preset,
        "changes": options.changes,
        "threads": options.threads,
        "rounds": options.rounds,
    }
    described = [image.described() for image in images]
    save(document("latency", results, settings=settings, images=described), options.output)
    return 0


def measure(
    images: Sequence[BenchmarkImage],
    presets: Sequence[str],
    changes: Sequence[str],
    threads: int | None,
    rounds: int,
) -> list[Result]:
    """Every preset on every image, each detection beside one reference job."""
    detectors = {
        preset: FaceDetector(detector_options(preset, list(changes)), runtime_options(threads))
        for preset in presets
    }
    reference = ReferenceJob(next(iter(detectors.values())).info()["threads"])
    results: list[Result] = []
    beside: list[float] = []
    for image in images:
        jobs: dict[str, Callable[[], Any]] = {"reference job": reference}
        faces: dict[str, int] = {}
        for preset, detector in detectors.items():
            faces[preset] = len(detector.detect(image.pixels))
            jobs[preset] = lambda d=detector, i=image: d.detect(i.pixels)  # type: ignore[misc]
        times = interleaved(jobs, rounds)
        beside += times["reference job"]
        for preset in detectors:
            ratios = pair_ratios(times[preset], times["reference job"])
            results.append(
                Result(
                    name=f"latency/{preset}/{image.name}",
                    unit="ms",
                    value=spread(times[preset]).median,
                    samples=tuple(round(time, 3) for time in times[preset]),
                    relative=spread(ratios).median,
                    detail={"faces": faces[preset], "p95_ms": percentile(times[preset], 0.95)},
                )
            )
    for detector in detectors.values():
        detector.close()
    reference.close()
    samples = tuple(round(time, 3) for time in beside)
    value = spread(beside).median
    job = Result(name="reference job", unit="ms", value=value, samples=samples, better="none")
    return [job, *results]


def latency_table(results: Sequence[Result]) -> str:
    """Times with their quartiles."""
    return table(
        (
            (r.name, r.detail.get("faces"), *spread(r.samples), r.detail.get("p95_ms"), r.relative)
            for r in results
        ),
        ("figure", "faces", "ms low quartile", "ms median", "high", "p95", "x reference job"),
    )


if __name__ == "__main__":
    sys.exit(main())
