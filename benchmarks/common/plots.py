"""Draw the result files of ``scaling``, ``memory`` and ``peers``.

    python -m benchmarks.common.plots benchmarks/results/*.json --folder benchmarks/results

A file of another benchmark is named and left out.

Needs matplotlib.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.program import script, script_parser
from benchmarks.common.results import Result, read
from benchmarks.common.timing import geometric_mean, spread

AXES: Mapping[str, str] = {
    "size": "image width, pixels (4:3)",
    "faces": "faces in 1280x960",
    "min_face": "smallest face looked for, pixels",
    "threads": "threads",
}
"""Axes of ``scaling`` and what they are called."""
_LOGARITHMIC = ("size", "min_face")
_COLOUR = "tab:blue"
_OTHERS = "0.65"


@script
def main(arguments: list[str] | None = None) -> int:
    """Draw every file that can be drawn; 1 when there was none, 2 for a file that is no result."""
    parser = script_parser("benchmarks.common.plots", __doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="result files")
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="where the pictures go (this folder)"
    )
    parser.add_argument("--suffix", choices=["png", "svg"], default="png", help="format (png)")
    options = parser.parse_args(arguments)
    drawn = 0
    for file in options.files:
        content = read(file)
        picture = options.folder / f"{file.stem}.{options.suffix}"
        if draw(content, picture):
            drawn += 1
            print(picture)
        else:
            print(f"left out: {file}, nothing of {content['benchmark']} to draw", file=sys.stderr)
    return 0 if drawn else 1


def draw(content: Mapping[str, Any], file: Path) -> bool:
    """Draw one document of the schema; ``False`` for a benchmark without a picture."""
    painter = _PAINTERS.get(content["benchmark"])
    if painter is None:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure = painter(plt, [Result(**entry) for entry in content["results"]])
    if figure is None:
        return False
    machine = content["machine"]
    about = f"{machine['cpu']}, {content['settings'].get('threads') or machine['threads']} threads"
    figure.suptitle(f"edge-mtcnn {content['versions'].get('edge-mtcnn', '')} on {about}")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    plt.close(figure)
    return True


def _scaling(plt: Any, results: Sequence[Result]) -> Any:
    """Time above, memory below, one column for each axis that was varied."""
    placed = {tuple(result.name.split("/")[1:]): result for result in results}
    axes = [axis for axis in AXES if any(place[1] == axis for place in placed)]
    kinds = [kind for kind in ("time", "memory") if any(place[0] == kind for place in placed)]
    figure, grid = plt.subplots(
        len(kinds), len(axes), figsize=(3.4 * len(axes), 2.8 * len(kinds)), squeeze=False
    )
    for row, kind in enumerate(kinds):
        for column, axis in enumerate(axes):
            cell = grid[row][column]
            shown = [result for place, result in placed.items() if place[:2] == (kind, axis)]
            xs = [int(result.name.rpartition("/")[2]) for result in shown]
            _curve(cell, xs, shown, logarithmic=axis in _LOGARITHMIC)
            if axis in _LOGARITHMIC and kind == "time":
                cell.set_yscale("log")
            else:
                cell.set_ylim(0, 1.1 * max(result.value for result in shown))
            if row == len(kinds) - 1:
                cell.set_xlabel(AXES[axis])
            if column == 0:
                cell.set_ylabel("ms for one image" if kind == "time" else "peak RSS, MB")
    return figure


def _curve(cell: Any, xs: Sequence[int], results: Sequence[Result], *, logarithmic: bool) -> None:
    """Values over whole numbers, with the quartiles of their samples where there are any."""
    cell.plot(xs, [result.value for result in results], "o-", color=_COLOUR, markersize=4)
    if all(result.samples for result in results):
        quartiles = [spread(result.samples) for result in results]
        low, high = [q.low for q in quartiles], [q.high for q in quartiles]
        cell.fill_between(xs, low, high, color=_COLOUR, alpha=0.2, linewidth=0)
    if logarithmic:
        cell.set_xscale("log", base=2)
    cell.set_xticks(xs, [str(x) for x in xs])
    cell.minorticks_off()
    cell.grid(alpha=0.3)


def _memory(plt: Any, results: Sequence[Result]) -> Any:
    """Resident memory over the images."""
    curves = [result for result in results if len(result.samples) > 1]
    if not curves:
        return None
    figure, cell = plt.subplots(figsize=(7, 3.4))
    for result in curves:
        name = result.name.partition("/")[2]
        several = "detectors" in name
        images = result.detail["images"]
        count = len(result.samples)
        xs = [round(images * (i + 1) / count) for i in range(count)]
        label = name if several else f"one detector, {name}"
        cell.plot(xs, result.samples, color=_OTHERS if several else _COLOUR, label=label)
    cell.set_ylim(bottom=0)
    cell.set_xlabel("images of random sizes done")
    cell.set_ylabel("RSS, MB")
    cell.legend(loc="lower right", frameon=False)
    cell.grid(alpha=0.3)
    return figure


def _peers(plt: Any, results: Sequence[Result]) -> Any:
    """Time of each program: the mean over the photos, or of a frame of the video."""
    groups: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        kind, _, rest = result.name.partition("/")
        if kind == "time":
            program, min_face, _ = rest.split("/")
            title = f"photos, min face {min_face} where it can be set"
        elif kind == "video":
            program, title = rest, "frames of a webcam"
        else:
            continue
        groups.setdefault(title, {}).setdefault(program, []).append(result)
    if not groups:
        return None
    most = max(map(len, groups.values()))
    figure, row = plt.subplots(
        1, len(groups), figsize=(6.2 * len(groups), 1.2 + 0.36 * most), squeeze=False
    )
    for cell, (title, programs) in zip(row[0], groups.items(), strict=True):
        means = {name: geometric_mean([r.value for r in of]) for name, of in programs.items()}
        names = sorted(means, key=lambda name: -means[name])
        colours = [_COLOUR if name.startswith("ours") else _OTHERS for name in names]
        cell.set_xscale("log")
        cell.set_xlim(min(means.values()) / 2, max(means.values()) * 12)  # room for the labels
        cell.set_ylim(-0.6, most - 0.4)  # bars of one width in all columns
        cell.minorticks_off()
        bars = cell.barh(names, [means[name] for name in names], color=colours)
        labels = [f"{means[name]:.1f} ms, {_found(programs[name])}" for name in names]
        cell.bar_label(bars, labels, padding=3, fontsize=8)
        cell.set_xlabel(f"ms, {title}")
    return figure


def _found(results: Sequence[Result]) -> str:
    if "frames_with_a_face" in results[0].detail:
        return f"{results[0].detail['frames_with_a_face']} frames with a face"
    return f"{sum(result.detail['faces'] for result in results)} faces"


_PAINTERS: Mapping[str, Callable[[Any, Sequence[Result]], Any]] = {
    "scaling": _scaling,
    "memory": _memory,
    "peers": _peers,
}


if __name__ == "__main__":
    sys.exit(main())
