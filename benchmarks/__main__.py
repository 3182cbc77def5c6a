"""Run the short suite: one or two minutes, and one result file for ``compare``.

It measures the latency on the project's samples beside a reference job, the memory over a few
images, and import times. Other scripts answer one question each, in more time: latency, peers,
limit, limit.operators, instructions, memory, many, hostile, import_time, scaling, accuracy and
tracking. ``compare`` judges two result files, ``common.plots`` draws them.

    python -m benchmarks --output results.json

Needs nothing but the package and ONNX Runtime.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import import_time, memory
from benchmarks.common.images import SAMPLES, BenchmarkImage, image_files, read_rgb
from benchmarks.common.program import script, script_parser
from benchmarks.common.results import document, table, write
from benchmarks.latency import latency_table, measure
from edge_mtcnn.options import PRESETS

OUTPUT = Path("bench-results") / "suite.json"


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = script_parser("benchmarks", __doc__)
    parser.add_argument("--threads", type=int, help="threads (all that this process may use)")
    parser.add_argument("--rounds", type=int, default=40, help="detections of each sample (40)")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE", help=str(OUTPUT))
    options = parser.parse_args(arguments)
    presets = [name for name in ("default", "reference", "kiosk") if name in PRESETS]
    images = [BenchmarkImage(file.stem, read_rgb(file)) for file in image_files(SAMPLES)]

    results = measure(images, presets, [], options.threads, options.rounds)
    print(latency_table(results))
    asked = argparse.Namespace(preset="default", changes=[], threads=options.threads)
    memory_results = memory.measure(asked, quick=True)
    import_results = import_time.measure(max(5, options.rounds // 3))
    rest = [*memory_results, *import_results]
    print("\n" + table(((r.name, r.value, r.unit) for r in rest), ("figure", "median", "")))

    settings = {"threads": options.threads, "rounds": options.rounds, "presets": presets}
    described = [image.described() for image in images]
    content = document("suite", [*results, *rest], settings=settings, images=described)
    write(options.output, content)
    print(f"\nresults: {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
