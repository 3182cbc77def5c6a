"""Measure time and peak memory of one detection in pictures that could overload a machine.

Each detection runs in a fresh process, after one in a small photo. A photo of the same size is
measured beside each picture. The peak includes the process and the networks but not the picture
itself, which comes through a pipe. A detection that needs more address space than --limit-mb fails;
the others continue, and the exit code is 1.

    python -m benchmarks.hostile --only "LED wall, 1.5 Mpx"

Needs Linux, and some 2 GB of memory for the largest pictures.
"""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.common.arguments import add_threads
from benchmarks.common.images import Pixels
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
from benchmarks.hostile_pictures import PICTURES, sample
from benchmarks.memory import send

PHOTO = "astronaut.jpg"
AUTHORS = ("min_face_size=10", "scale_factor=0.79", "thresholds=[0.5,0.5,0.3]")
"""Settings of the authors of MTCNN for face benchmarks."""
LIMIT_MB = 16_000
PATIENCE = 600.0
"""Seconds after which a detection has failed."""
LARGEST = 25_000_000
"""Pixels of the largest picture to which the memory target applies."""
PEAK_TARGET_MB = 350.0
HEADER = (
    "picture", "faces", "P-Net windows", "R-Net windows", "capped",
    "s", "photo's s", "ratio", "peak MB", "photo's MB", "failed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One picture and the options of its detection."""

    picture: str
    preset: str = "default"
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As in the results."""
        preset = "" if self.preset == "default" else f", {self.preset}"
        return self.picture + preset + (", settings of the authors" if self.changes else "")


LED_WALL_OF_AUTHORS = Case("LED wall, 1.5 Mpx", changes=AUTHORS)
STRIPS = tuple(name for name in PICTURES if name.startswith("strip"))
TILES = ("tiles of 28, 25 Mpx", "tiles of 60, 25 Mpx")
CASES = (
    *map(Case, PICTURES),
    LED_WALL_OF_AUTHORS,
    *(Case(name, "reference") for name in ("tiles of 60, 25 Mpx", "LED wall, 1.5 Mpx", *STRIPS)),
    *(Case(name, "kiosk") for name in (*TILES, "one face of 4,800 px in 25 Mpx")),
)
QUICK = tuple(map(Case, ("LED wall, 1.5 Mpx", "strip 1x65000", "strip 12x65000", "strip 65000x20")))
SECONDS_TARGETS = {LED_WALL_OF_AUTHORS: 2.0, **{Case(name): 3.0 for name in TILES}}


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = script_parser("benchmarks.hostile", __doc__)
    parser.add_argument("--quick", action="store_true", help="four small pictures, for CI")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="this picture or case; repeatable"
    )
    parser.add_argument(
        "--limit-mb", type=float, default=LIMIT_MB, help=f"address space of a process ({LIMIT_MB})"
    )
    add_threads(parser)
    add_output(parser)
    options = parser.parse_args(arguments)
    cases = _chosen(options.only, QUICK if options.quick else CASES)
    rows: list[tuple[object, ...]] = []
    results: list[Result] = []
    failed: dict[str, str] = {}
    for case in cases:
        print(f"{case.name} ...", file=sys.stderr)
        try:
            found, photo = measure(case, options.threads, options.limit_mb)
        except BenchmarkError as error:
            failed[case.name] = str(error)
            rows.append((case.name, *[None] * (len(HEADER) - 2), str(error)))
        else:
            results += _results(case, found, photo)
            rows.append((case.name, *_figures(found, photo), ""))
    print(table(rows, HEADER))
    targets = list(_targets(cases, results))
    print("\n" + target_table(targets))
    settings = {
        "threads": options.threads,
        "quick": options.quick,
        "limit_mb": options.limit_mb,
        "failed": failed,
    }
    save(document("hostile", results, settings=settings, targets=targets), options.output)
    return 1 if failed else 0


def measure(
    case: Case, threads: int | None, limit_mb: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure the picture in a fresh process, and a photo of the same size in another one.

    Raises:
        BenchmarkError: one of the two detections failed; the message says why.
    """
    picture = PICTURES[case.picture]()
    height, width = picture.shape[:2]
    found = run(case, picture, threads, limit_mb)
    photo = run(case, sample(PHOTO, width, height), threads, limit_mb)
    return {**found, "pixels": width * height}, photo


def run(case: Case, picture: Pixels, threads: int | None, limit_mb: float) -> dict[str, Any]:
    """One detection in a process of its own, with the options of the case."""
    settings = {
        "preset": case.preset,
        "changes": case.changes,
        "threads": threads,
        "limit_mb": limit_mb,
    }
    pipe = io.BytesIO()
    send(pipe, sample(PHOTO, 512, 512))
    send(pipe, picture)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.hostile_worker", json.dumps(settings)],
            cwd=ROOT,
            input=pipe.getbuffer(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"it took longer than {PATIENCE:g} s") from None
    if done.returncode:
        raise BenchmarkError(last_words(done.stderr.decode(errors="replace"), done.returncode))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _chosen(names: Sequence[str] | None, cases: Sequence[Case]) -> list[Case]:
    """The cases with these names or pictures; all cases if there are no names."""
    if names is None:
        return list(cases)
    for name in names:
        if not any(name in (case.name, case.picture) for case in cases):
            known = "\n  ".join(case.name for case in cases)
            raise BenchmarkError(f"there is no case {name!r}; known:\n  {known}")
    return [case for case in cases if case.name in names or case.picture in names]


def _figures(found: dict[str, Any], photo: dict[str, Any]) -> tuple[object, ...]:
    """A row of the table between the name and the failure."""
    return (
        found["faces"],
        _pnet_windows(found["levels"]),
        found["rnet_windows"],
        " ".join(found["capped"]) or None,
        found["seconds"],
        photo["seconds"],
        found["seconds"] / photo["seconds"],
        found["peak_mb"],
        photo["peak_mb"],
    )


def _pnet_windows(levels: Sequence[Sequence[int]]) -> int:
    """Windows that P-Net scores: one at every second pixel of the levels, (height, width) each."""
    return sum(math.prod(math.ceil((side - 2) / 2) - 4 for side in level) for level in levels)


def _results(case: Case, found: dict[str, Any], photo: dict[str, Any]) -> Iterator[Result]:
    detail = {
        "pixels": found["pixels"],
        "faces": found["faces"],
        "pnet_windows": _pnet_windows(found["levels"]),
        "rnet_windows": found["rnet_windows"],
        "onet_windows": found["onet_windows"],
        "capped": found["capped"],
    }
    for kind, key, unit in (("time", "seconds", "s"), ("peak", "peak_mb", "MB")):
        beside = {**detail, "photo": photo[key], "ratio": found[key] / photo[key]}
        name = f"hostile/{kind}/{case.name}"
        yield Result(name=name, unit=unit, value=found[key], detail=beside)


def _targets(cases: Sequence[Case], results: Sequence[Result]) -> Iterator[Target]:
    """The targets of these cases; those of a failed case are not measured."""
    values = {result.name: result.value for result in results}
    large = {r.name for r in results if r.detail["pixels"] > LARGEST}
    names = {f"hostile/peak/{case.name}" for case in cases} - large
    peaks = [values.get(name) for name in names]
    measured = [peak for peak in peaks if peak is not None]
    yield Target(
        name="most peak above the picture, up to 25 Mpx, MB",
        limit=PEAK_TARGET_MB,
        at_least=False,
        value=max(measured) if measured and len(measured) == len(peaks) else None,
    )
    for case, limit in SECONDS_TARGETS.items():
        if case in cases:
            value = values.get(f"hostile/time/{case.name}")
            yield Target(name=f"{case.name}, s", limit=limit, at_least=False, value=value)


if __name__ == "__main__":
    sys.exit(main())
