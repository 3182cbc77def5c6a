"""Compare two result files of the same benchmark; the exit code is 1 if a figure became worse.

Figures that have a ratio to the reference job of their own run are compared by that ratio, because
machines and moments differ. Others, such as memory, are compared by their value. Shares of images
have a confidence interval: such a figure is worse if it lies beyond the interval of the old one.

    python -m benchmarks.compare OLD NEW --max-ratio 1.15

Needs two files that the same script wrote with --output.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common.program import CANNOT_RUN, BenchmarkError, script, script_parser
from benchmarks.common.results import Result, read, table

DONE, REGRESSED, UNUSABLE = 0, 1, CANNOT_RUN


class Change(NamedTuple):
    """One figure in both files. ``ratio`` is above 1 if it became worse.

    ``beyond`` is whether it is worse than the whole interval of the old one; ``None`` if the old
    one has none.
    """

    name: str
    old: float
    new: float
    by: str
    ratio: float
    beyond: bool | None = None

    def is_worse(self, max_ratio: float) -> bool:
        """Whether it is a regression: by the interval, else by the ratio."""
        return self.ratio > max_ratio if self.beyond is None else self.beyond


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The figures that both documents have and that are compared."""
    before = {entry["name"]: Result(**entry) for entry in old["results"]}
    found = []
    for entry in new["results"]:
        result = Result(**entry)
        base = before.get(result.name)
        if base is None or result.better == "none":
            continue
        first, second, by = base.value, result.value, base.unit or "value"
        if base.relative is not None and result.relative is not None:
            first, second, by = base.relative, result.relative, "x reference job"
        higher = result.better == "higher"
        beyond = None
        if base.interval is not None:
            low, high = base.interval
            beyond = result.value < low if higher else result.value > high
        ratio = _ratio(first, second) if higher else _ratio(second, first)
        found.append(Change(result.name, first, second, by, ratio, beyond))
    return found


@script
def main(arguments: list[str] | None = None) -> int:
    """Print the table and return the exit code."""
    parser = script_parser("benchmarks.compare", __doc__)
    parser.add_argument("old", type=Path, metavar="OLD", help="results of the base")
    parser.add_argument("new", type=Path, metavar="NEW", help="results of the change")
    parser.add_argument(
        "--max-ratio",
        type=float,
        default=1.15,
        help="how much worse a figure without an interval may become (1.15)",
    )
    options = parser.parse_args(arguments)
    if not options.max_ratio >= 1:
        parser.error(f"--max-ratio must be at least 1; got {options.max_ratio:g}")
    old, new = read(options.old), read(options.new)
    if old["benchmark"] != new["benchmark"]:
        raise BenchmarkError(
            f"{options.old} is of {old['benchmark']}, {options.new} of {new['benchmark']}"
        )
    found = changes(old, new)
    if not found:
        raise BenchmarkError("the two files have no figure in common")
    _print_differences(old, new)
    print(
        table(
            (
                (
                    c.name,
                    c.old,
                    c.new,
                    c.by,
                    c.ratio,
                    "WORSE" if c.is_worse(options.max_ratio) else "",
                )
                for c in found
            ),
            ("figure", "old", "new", "unit", "ratio", ""),
        )
    )
    worse = [change for change in found if change.is_worse(options.max_ratio)]
    limit = f"by a ratio of more than {options.max_ratio:g}, or beyond the interval of the old one"
    print(f"\n{len(worse)} of {len(found)} figures are worse: {limit}")
    return REGRESSED if worse else DONE


def _ratio(worse: float, better: float) -> float:
    if better > 0:
        return worse / better
    return 1.0 if worse <= 0 else math.inf


def _print_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Print what makes the two files less comparable."""
    for part in ("machine", "settings", "images"):
        if old[part] != new[part]:
            print(f"note: {part} of the two files differ; ratios may mean little")
    gone = {r["name"] for r in old["results"]} - {r["name"] for r in new["results"]}
    for name in sorted(gone):
        print(f"note: {name} is only in the old file")
    print()


if __name__ == "__main__":
    sys.exit(main())
