"""Measure how close the cascade comes to what this machine can do.

The floating-point operations of each image's cascade are counted from its levels and windows, and
compared with the measured float32 matrix-multiply peak on the same number of threads: per cent of
the peak, for each stage and the whole. The time of a stage includes its crops, NMS and regression;
``mirror`` is O-Net's second look at the faces found.

    python -m benchmarks.limit multiface --threads 2

Needs nothing but the package and ONNX Runtime; without the photos beside the project it uses the
project's samples.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.common.arguments import add_detector, add_images, detector_options, runtime_options
from benchmarks.common.images import BenchmarkImage, choose
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
from benchmarks.common.timing import spread
from benchmarks.limit.flops import cascade_flops
from benchmarks.limit.peak import measure_peak
from edge_mtcnn import FaceDetector
from edge_mtcnn.speed.timing import percentile

STAGES = ("pnet", "rnet", "onet", "mirror")
MIRROR_WINDOWS = 2
"""Windows of O-Net in the mirror check, for each face found."""
TARGET_IMAGE = "multiface"
TARGET_PER_CENT = 50.0


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = script_parser("benchmarks.limit", __doc__)
    add_images(parser)
    add_detector(parser)
    parser.add_argument("--rounds", type=int, default=30, help="detections of each image (30)")
    parser.add_argument("--peak", type=float, help="peak in GFLOP/s, instead of measuring it")
    add_output(parser)
    options = parser.parse_args(arguments)
    images = choose(options.images)
    detector = FaceDetector(
        detector_options(options.preset, options.changes), runtime_options(options.threads)
    )
    with detector:
        threads = detector.info()["threads"]
        peaks = {"given": options.peak} if options.peak else measure_peak(threads)
        results = [
            result for image in images for result in _of(detector, image, peaks, options.rounds)
        ]
        info = detector.info()
    _print(results, images, peaks, threads)
    whole = {result.name: result.value for result in results}
    targets = [
        Target(
            name=f"{TARGET_IMAGE}: whole cascade, % of the matrix-multiply peak",
            limit=TARGET_PER_CENT,
            at_least=True,
            value=whole.get(f"limit/{TARGET_IMAGE}/whole"),
        )
    ]
    print("\n" + target_table(targets))
    peak_results = [
        Result(name=f"peak/{name}", unit="GFLOP/s", value=value, better="none")
        for name, value in peaks.items()
    ]
    settings = {"preset": options.preset, "rounds": options.rounds, **info}
    content = document(
        "limit",
        [*peak_results, *results],
        settings=settings,
        images=[image.described() for image in images],
        targets=targets,
    )
    save(content, options.output)
    return 0


def _of(
    detector: FaceDetector, image: BenchmarkImage, peaks: dict[str, float], rounds: int
) -> list[Result]:
    """Per cent of the peak for each stage of one image."""
    for _ in range(3):
        detector.detect(image.pixels)
    timings = []
    faces = 0
    for _ in range(rounds):
        found = detector.detect(image.pixels, timings=True)
        if found.timings is None:
            raise BenchmarkError("the detector returned no timings")
        timings.append(found.timings)
        faces = len(found)
    first = timings[0]
    looks = MIRROR_WINDOWS * faces if detector.options.mirror else 0
    work = cascade_flops(first.levels, first.rnet_windows, first.onet_windows, looks)
    peak = max(peaks.values()) * 1e6  # operations per millisecond
    counts = {"pnet": len(first.levels), "rnet": first.rnet_windows, "onet": first.onet_windows}
    counts["mirror"] = looks
    rows = [
        *(
            (stage, getattr(work, stage), [getattr(t, f"{stage}_ms") for t in timings])
            for stage in STAGES
        ),
        ("pyramid", 0, [t.pyramid_ms for t in timings]),
        ("whole", work.total, [t.total_ms for t in timings]),
    ]
    return [
        Result(
            name=f"limit/{image.name}/{stage}",
            unit="%",
            value=100 * flops / peak / spread(times).median,
            samples=tuple(round(100 * flops / peak / time, 2) for time in times),
            better="higher" if flops else "none",
            detail={
                "gflop": round(flops / 1e9, 4),
                "ms": spread(times).median,
                "ms_fastest_tenth": percentile(times, 0.1),
                "at_peak_ms": flops / peak,
                **({"count": counts[stage]} if stage in counts else {}),
            },
        )
        for stage, flops, times in rows
    ]


def _print(
    results: Sequence[Result],
    images: Sequence[BenchmarkImage],
    peaks: dict[str, float],
    threads: int,
) -> None:
    speeds = ", ".join(f"{name} {value:.1f}" for name, value in peaks.items())
    print(f"matrix-multiply peak on {threads} threads, GFLOP/s: {speeds}\n")
    sizes = {i.name: f"{i.pixels.shape[1]}x{i.pixels.shape[0]}" for i in images}
    rows = []
    for result in results:
        _, name, stage = result.name.split("/")
        detail = result.detail
        rows.append(
            (
                f"{name} {sizes[name]}",
                stage,
                detail.get("count", ""),
                detail["gflop"],
                detail["at_peak_ms"],
                detail["ms"],
                detail["ms_fastest_tenth"],
                result.value,
            )
        )
    header = ("image", "stage", "levels/windows", "GFLOP", "ms at peak", "ms", "ms best 10 %", "%")
    print(table(rows, header))


if __name__ == "__main__":
    sys.exit(main())
