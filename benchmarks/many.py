"""Measure the rate and the memory of ``detect_many`` on files, beside ``detect_batch``.

Each way searches the same photos in fresh processes, which run in turn. ``one by one`` is
``detect``, which shares each photo among the threads. The rate includes decoding, but not the start
of the detector. Where other work uses the processor too, its time for a photo says more.
RSS is the most that a process had.

    python -m benchmarks.many --images 100 --rounds 3

Needs Linux or macOS; without the photos beside the project it uses the project's samples, again
and again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.common.arguments import add_detector
from benchmarks.common.images import DATA, SAMPLES, image_files
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
from benchmarks.common.timing import pair_ratios, spread

WAYS = ("detect_batch", "detect_many", "one by one")
FOLDERS = ("wider", "landmarks", "photos")
LEAST_RATE, MOST_MB = 1.0, 40.0


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = script_parser("benchmarks.many", __doc__)
    add_detector(parser)
    parser.add_argument("--images", type=int, default=500, help="photos (500)")
    parser.add_argument("--ahead", type=int, help="of detect_many (its default)")
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes of each way (5)")
    add_output(parser)
    options = parser.parse_args(arguments)
    paths = mixed(options.images)
    results = measure(options, paths)
    rows = (
        (
            r.name,
            *spread(r.samples),
            r.relative,
            r.detail["processor_ms"],
            r.detail["peak_mb"],
            r.detail["faces"],
        )
        for r in results
    )
    columns = ("way", "low", "images/s", "high", "/ batch", "CPU ms/image", "RSS MB", "faces")
    print(table(rows, columns))
    batch, many = results[0], results[1]
    targets = [
        Target(
            name="rate of detect_many / detect_batch",
            limit=LEAST_RATE,
            at_least=True,
            value=many.relative,
        ),
        Target(
            name="RSS of detect_many above detect_batch, MB",
            limit=MOST_MB,
            at_least=False,
            value=many.detail["peak_mb"] - batch.detail["peak_mb"],
        ),
    ]
    print("\n" + target_table(targets))
    settings = {
        "preset": options.preset,
        "changes": options.changes,
        "threads": options.threads,
        "images": len(paths),
        "ahead": options.ahead,
        "rounds": options.rounds,
    }
    save(document("many", results, settings=settings, targets=targets), options.output)
    return 0


def mixed(count: int) -> list[Path]:
    """Photos of all folders in turn, evenly from each; samples again and again without them."""
    folders = [
        [path for path in sorted((DATA / name).rglob("*")) if path.suffix.lower() == ".jpg"]
        for name in FOLDERS
    ]
    found = [path for path in itertools.chain(*folders) if path.is_file()]
    if not found:
        return list(itertools.islice(itertools.cycle(image_files(SAMPLES)), count))
    # A stride without a common factor with most counts mixes the folders, the same in every run.
    order = sorted(range(len(found)), key=lambda index: index * 0.6180339887 % 1)
    return [found[index] for index in itertools.islice(itertools.cycle(order), count)]


def measure(options: argparse.Namespace, paths: list[Path]) -> list[Result]:
    """Every way, in fresh processes in turn."""
    said: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            said[way].append(_run(options, paths, way))
    rates = {way: [len(paths) / one["seconds"] for one in said[way]] for way in WAYS}
    results = []
    for way in WAYS:
        each = [1e3 * one["processor_seconds"] / len(paths) for one in said[way]]
        detail = {
            "processor_ms": spread(each).median,
            "peak_mb": spread([one["peak_mb"] for one in said[way]]).median,
            "before_mb": spread([one["before_mb"] for one in said[way]]).median,
            "faces": said[way][0]["faces"],
        }
        results.append(
            Result(
                name=f"many/{way}",
                unit="images/s",
                value=spread(rates[way]).median,
                samples=tuple(round(rate, 3) for rate in rates[way]),
                relative=spread(pair_ratios(rates[way], rates[WAYS[0]])).median,
                better="higher",
                detail=detail,
            )
        )
    return results


def _run(options: argparse.Namespace, paths: list[Path], way: str) -> dict[str, Any]:
    settings = {
        "preset": options.preset,
        "changes": options.changes,
        "threads": options.threads,
        "ahead": options.ahead,
        "paths": [str(path) for path in paths],
        "way": way,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.many_worker", json.dumps(settings)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = last_words(done.stderr, done.returncode)
        raise BenchmarkError(f"the measured process ended: {words}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


if __name__ == "__main__":
    sys.exit(main())
