"""The JSON schema that all benchmarks share, and the table for people.

A document has the machine (``machine``, ``versions``, ``commit``), the settings (``settings``,
``images``) and the ``results``, each with a name, a unit, a value and the samples whose median the
value is; some have ``targets``. ``relative`` is the value as a multiple of a reference job that ran
in the same rounds, so that machines can be compared.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.common.program import BenchmarkError
from edge_mtcnn.board.identity import read_machine
from edge_mtcnn.files import write_whole
from edge_mtcnn.thresholds.intervals import Rate

SCHEMA_VERSION = 1
ROOT = Path(__file__).resolve().parents[2]

_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "schema_version": int,
    "benchmark": str,
    "created": str,
    "machine": dict,
    "versions": dict,
    "commit": (str, type(None)),
    "settings": dict,
    "images": list,
    "results": list,
    "targets": list,
}
_MACHINE_FIELDS = ("system", "architecture", "cpu", "cores", "threads", "memory_mb")


class ResultsError(BenchmarkError, ValueError):
    """A file is not a document of this schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One figure.

    Attributes:
        name: what was measured, ``group/variant/image``; the same in every run.
        unit: of ``value`` and ``samples``; ``""`` for a bare number.
        value: the figure.
        samples: the measurements behind it, in the order they were taken.
        relative: ``value`` / the reference job's, the median of the ratios pair by pair.
        better: ``"lower"``, ``"higher"``, or ``"none"`` for a figure that is not compared.
        interval: lower and upper limit of the 95 % confidence interval; ``None`` if it has none.
        detail: further facts, such as the number of faces found.
    """

    name: str
    unit: str
    value: float
    samples: tuple[float, ...] = ()
    relative: float | None = None
    better: str = "lower"
    interval: tuple[float, float] | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def share(
    name: str, count: int, total: int, *, better: str, detail: Mapping[str, Any] | None = None
) -> Result:
    """A share of images and its exact interval; the detail has the number of images.

    Raises:
        OptionsError: ``total`` is below 1, or ``count`` above it.
    """
    rate = Rate(count, total)
    return Result(
        name=name,
        unit="share",
        value=rate.value,
        better=better,
        interval=rate.interval,
        detail={"images": total, **(detail or {})},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure that the project promises.

    Attributes:
        name: description of the figure.
        limit: the promised limit.
        at_least: whether the limit is a lower one; otherwise it is an upper one.
        value: the measured value; ``None`` if this run could not measure it.
    """

    name: str
    limit: float
    at_least: bool
    value: float | None

    @property
    def reached(self) -> bool | None:
        """Whether the promise is kept; ``None`` if it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def document(
    benchmark: str,
    results: Sequence[Result],
    *,
    settings: Mapping[str, Any],
    images: Sequence[Mapping[str, Any]] = (),
    targets: Sequence[Target] = (),
) -> dict[str, Any]:
    """A document of the schema for this machine and commit."""
    return {
        "schema_version": SCHEMA_VERSION,
        "benchmark": benchmark,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "settings": dict(settings),
        "images": [dict(image) for image in images],
        "results": [asdict(result) for result in results],
        "targets": [{**asdict(target), "reached": target.reached} for target in targets],
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Check and save a document; the file is never seen half written."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    check(json.loads(text))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())


def read(path: Path) -> dict[str, Any]:
    """Load and check a document.

    Raises:
        ResultsError: the file cannot be read or is not of this schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"cannot read the results {path}: {error}") from None
    try:
        check(content)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from None
    return dict(content)


def check(content: Any) -> None:
    """Require the schema.

    Raises:
        ResultsError: naming the field that is missing or of another type.
    """
    if not isinstance(content, dict):
        raise ResultsError(f"results must be a JSON object; got {type(content).__name__}")
    for name, kind in _FIELDS.items():
        if name not in content:
            raise ResultsError(f"the field {name!r} is missing")
        if not isinstance(content[name], kind):
            raise ResultsError(f"the field {name!r} is a {type(content[name]).__name__}")
    if content["schema_version"] != SCHEMA_VERSION:
        raise ResultsError(
            f"schema version {content['schema_version']} is not {SCHEMA_VERSION}: run it again"
        )
    absent = [name for name in _MACHINE_FIELDS if name not in content["machine"]]
    if absent:
        raise ResultsError(f"machine lacks {', '.join(absent)}")
    names = set()
    for entry in content["results"]:
        try:
            result = Result(**entry)
        except TypeError as error:
            raise ResultsError(f"a result is not of the schema: {error}") from None
        if not _is_number(result.value) or not all(map(_is_number, result.samples)):
            raise ResultsError(f"{result.name}: value and samples must be numbers")
        if result.relative is not None and not _is_number(result.relative):
            raise ResultsError(f"{result.name}: relative must be a number or null")
        if not _is_interval(result.interval, result.value):
            raise ResultsError(f"{result.name}: interval must be two limits around value, or null")
        if result.better not in ("lower", "higher", "none"):
            raise ResultsError(f"{result.name}: better must be lower, higher or none")
        if result.name in names:
            raise ResultsError(f"{result.name} is there twice")
        names.add(result.name)


def machine() -> dict[str, Any]:
    """The machine of this run."""
    return read_machine().summary()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter for speed."""
    import edge_mtcnn

    found = {"python": platform.python_version(), "edge-mtcnn": edge_mtcnn.__version__}
    for name in (
        "numpy",
        "opencv-python-headless",
        "opencv-python",
        "onnxruntime",
        "onnxruntime-gpu",
    ):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit() -> str | None:
    """The commit measured, with ``+`` when the working tree differs; ``None`` outside git."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    return head + ("+" if _git("status", "--porcelain", "--", "edge_mtcnn", "models") else "")


def table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> str:
    """Columns as wide as their widest cell; numbers to the right."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(_looks_numeric(row[i]) for row in cells[1:]) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def target_table(targets: Sequence[Target]) -> str:
    """The targets, what was measured, and whether each is reached."""
    verdict = {True: "reached", False: "NOT reached", None: "not measured"}
    return table(
        (
            (
                target.name,
                f"{'>=' if target.at_least else '<='} {target.limit:g}",
                "-" if target.value is None else target.value,
                verdict[target.reached],
            )
            for target in targets
        ),
        ("target", "limit", "measured", ""),
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """The option that all scripts share."""
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results as JSON")


def save(content: Mapping[str, Any], output: Path | None) -> None:
    """Write the document to ``--output``, if that was given."""
    if output is not None:
        write(output, content)
        print(f"\nresults: {output}", file=sys.stderr)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_interval(interval: object, value: float) -> bool:
    """Whether it is none, or the two limits around a value."""
    if interval is None:
        return True
    if not isinstance(interval, (list, tuple)) or len(interval) != 2:
        return False
    return all(map(_is_number, interval)) and interval[0] <= value <= interval[1]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return (
            f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
        )
    return str(value)


def _looks_numeric(cell: str) -> bool:
    return cell in ("", "-") or cell.lstrip("<>= +-")[:1].isdigit()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
