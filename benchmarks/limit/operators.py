"""Measure where the networks spend their time: each operator, by ONNX Runtime's profiler.

The networks run on one thread. GFLOP/s count the work that is done, padded channels included,
against the matrix-multiply peak of one thread. This separates a slow operator from one that has too
much to do. The share of the work that the result needs is shown beside it, see ``flops``.

    python -m benchmarks.limit.operators --form blocked

Needs nothing but the package and ONNX Runtime.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common.program import script, script_parser
from benchmarks.common.results import Result, add_output, document, save, table
from benchmarks.limit.flops import ONET, ONET_SIDE, PNET, RNET, RNET_SIDE, Layer, network_flops
from benchmarks.limit.peak import measure_peak
from edge_mtcnn.cascade.canvases import CELL, STRIDE, TILE_COLUMNS, TILE_ROWS
from edge_mtcnn.cascade.onet import ONET as ONET_SPEC
from edge_mtcnn.cascade.rnet import RNET as RNET_SPEC
from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.providers import preferred_form

TILE_HEIGHT, TILE_WIDTH = ((cells - 1) * STRIDE + CELL for cells in (TILE_ROWS, TILE_COLUMNS))
INPUTS: dict[str, tuple[tuple[Layer, ...], tuple[int, int, int]]] = {
    "pnet": (PNET, (1, TILE_HEIGHT, TILE_WIDTH)),
    "rnet": (RNET, (max(RNET_SPEC.batch), RNET_SIDE, RNET_SIDE)),
    "onet": (ONET, (max(ONET_SPEC.batch), ONET_SIDE, ONET_SIDE)),
}
"""Layers of each network, and count, height and width of its largest batch in the cascade."""


class Operator(NamedTuple):
    """One node of a network as it runs.

    Attributes:
        name: of the node.
        kind: of the operator.
        ms: median time.
        flops: of convolutions and matrix products; 0 for the others.
    """

    name: str
    kind: str
    ms: float
    flops: int


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = script_parser("benchmarks.limit.operators", __doc__)
    parser.add_argument("--form", help="form of the networks (the one for this processor)")
    parser.add_argument("--rounds", type=int, default=100, help="runs of each network (100)")
    parser.add_argument("--peak", type=float, help="peak in GFLOP/s, instead of measuring it")
    add_output(parser)
    options = parser.parse_args(arguments)
    manifest = load_manifest(None)
    form = options.form or preferred_form(manifest.forms, "cpu")
    models = manifest.models(form)
    peak = options.peak or max(measure_peak(1).values())
    results = []
    print(f"form {form}; matrix-multiply peak of one thread: {peak:.0f} GFLOP/s")
    for name, (layers, (count, height, width)) in INPUTS.items():
        operators = profile(models[name].path, (count, 1, height, 3 * width), options.rounds)
        needed = count * network_flops(layers, height, width)
        results += [_result(name, operator) for operator in operators]
        _print(name, (count, height, width), operators, needed, peak)
    settings = {"form": form, "rounds": options.rounds, "peak": peak}
    save(document("operators", results, settings=settings), options.output)
    return 0


def profile(model: Path, shape: tuple[int, ...], rounds: int) -> list[Operator]:
    """Run the network on one thread and read the profile of its nodes, in order."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        pixels = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
        for _ in range(rounds):
            session.run(None, {session.get_inputs()[0].name: pixels})
        events = json.loads(Path(session.end_profiling()).read_text())
    suffix = "_kernel_time"
    seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["name"].endswith(suffix):
            seen[event["name"].removesuffix(suffix)].append(event)
    return [
        Operator(
            name=name,
            kind=runs[0]["args"]["op_name"],
            ms=statistics.median(run["dur"] for run in runs) / 1e3,
            flops=_flops(runs[0]["args"]),
        )
        for name, runs in seen.items()
    ]


def _flops(said: dict[str, Any]) -> int:
    """Operations of a node, from the shapes in the profile."""
    inputs, (output,) = (
        [next(iter(shape.values())) for shape in said[f"{side}_type_shape"]]
        for side in ("input", "output")
    )
    if said["op_name"] == "Conv":
        return int(2 * math.prod(output) * math.prod(inputs[1][1:]))
    if said["op_name"] == "Gemm":  # the profile has no shape of its packed weights
        return int(2 * math.prod(output) * inputs[0][1])
    return 0


def _result(network: str, operator: Operator) -> Result:
    return Result(
        name=f"operators/{network}/{operator.name}",
        unit="ms",
        value=operator.ms,
        detail={"kind": operator.kind, "gflop": operator.flops / 1e9},
    )


def _print(
    network: str,
    size: tuple[int, int, int],
    operators: list[Operator],
    needed: int,
    peak: float,
) -> None:
    total, done = sum(o.ms for o in operators), sum(o.flops for o in operators)
    rows = [_row(o.name, o.kind, o.ms, o.flops, total, peak) for o in operators]
    rows.append(_row("whole", "", total, done, total, peak))
    count, height, width = size
    share = 100 * needed / done
    print(f"\n{network}, {count} x {height}x{width}: {share:.0f} % of the work is needed,")
    print(f"which alone is {_share(needed, total, peak):.0f} % of the peak")
    print(table(rows, ("operator", "kind", "ms", "% of the time", "GFLOP/s", "% of the peak")))


def _row(
    name: str, kind: str, ms: float, flops: int, total: float, peak: float
) -> tuple[str | float, ...]:
    return name, kind, ms, 100 * ms / total, flops / ms / 1e6, _share(flops, ms, peak)


def _share(flops: float, ms: float, peak: float) -> float:
    """Per cent of the peak."""
    return 100 * flops / (ms * 1e6) / peak


if __name__ == "__main__":
    sys.exit(main())
