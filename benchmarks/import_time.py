"""Measure what importing the package and making a detector cost, in fresh processes.

``import edge_mtcnn`` is measured without NumPy, and ``FaceDetector()`` without the imports of ONNX
Runtime and OpenCV.

    python -m benchmarks.import_time --rounds 20

Needs nothing but the package and ONNX Runtime.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

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
from benchmarks.common.timing import spread

CODE = """
import json, time
laps = {}
def lap(name, code):
    start = time.perf_counter()
    exec(code, globals())
    laps[name] = (time.perf_counter() - start) * 1e3
lap("numpy", "import numpy")
lap("edge_mtcnn", "import edge_mtcnn")
lap("opencv", "import cv2")
lap("onnxruntime", "import onnxruntime")
lap("first use", "from edge_mtcnn import FaceDetector")
lap("constructor", "detector = FaceDetector()")
print(json.dumps(laps))
"""
FIGURES = {
    "import edge_mtcnn": (("edge_mtcnn",), 30.0),
    "FaceDetector()": (("first use", "constructor"), 150.0),
}
"""The laps of each figure, and its target in milliseconds."""


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = script_parser("benchmarks.import_time", __doc__)
    parser.add_argument("--rounds", type=int, default=20, help="fresh processes (20)")
    add_output(parser)
    options = parser.parse_args(arguments)
    results = measure(options.rounds)
    print(
        table(
            ((r.name, *spread(r.samples)) for r in results),
            ("import or call", "ms low quartile", "ms median", "ms high quartile"),
        )
    )
    values = {result.name: result.value for result in results}
    targets = [
        Target(name=f"{name}, ms", limit=limit, at_least=False, value=values[f"import_time/{name}"])
        for name, (_, limit) in FIGURES.items()
    ]
    print("\n" + target_table(targets))
    content = document("import_time", results, settings={"rounds": options.rounds}, targets=targets)
    save(content, options.output)
    return 0


def measure(rounds: int) -> list[Result]:
    """The two figures, then every lap, relative to the import of NumPy in the same process.

    The first process fills the file cache and is not counted.
    """
    laps = [_laps() for _ in range(rounds + 1)][1:]
    results = []
    for name, (parts, _) in FIGURES.items():
        samples = [sum(lap[part] for part in parts) for lap in laps]
        # Disturbance makes an import longer, never shorter, so the fastest quarter is compared.
        ratio = spread(samples).low / spread([lap["numpy"] for lap in laps]).low
        results.append(_result(name, samples, ratio))
    results += [_result(f"{name} alone", [lap[name] for lap in laps], None) for name in laps[0]]
    return results


def _result(name: str, samples: Sequence[float], relative: float | None) -> Result:
    return Result(
        name=f"import_time/{name}",
        unit="ms",
        value=spread(samples).median,
        samples=tuple(round(sample, 3) for sample in samples),
        relative=relative,
        better="none" if relative is None else "lower",
    )


def _laps() -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise BenchmarkError(last_words(done.stderr, done.returncode))
    laps: dict[str, float] = json.loads(done.stdout)
    return laps


if __name__ == "__main__":
    sys.exit(main())
