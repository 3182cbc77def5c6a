"""Plots of calibration and evaluation, with matplotlib (the extra ``plots``) but without pyplot.

A plot for a page is an SVG whose colors are CSS variables of that page, so that it follows light
and dark mode. Its ids never collide with those of another plot, and equal figures produce equal
text.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_mtcnn.errors import OptionsError
from edge_mtcnn.files import write_whole
from edge_mtcnn.thresholds.precision import Verdicts, precision_recall
from edge_mtcnn.thresholds.scores import Bin, Curve
from edge_mtcnn.types import FloatArray

if TYPE_CHECKING:
    from edge_mtcnn.thresholds.evaluation import Evaluation

__all__ = [
    "precision_plot",
    "rates_plot",
    "reliability_plot",
    "require_plots",
    "roc_plot",
    "write_curves",
]

PLOT_SUFFIXES = (".png", ".svg", ".pdf")
# Placeholders in the SVG for the colors that the page defines.
_INK, _GRID, _FACES, _OTHERS = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
_VARIABLES = {
    _INK: "currentColor",
    _GRID: "var(--line)",
    _FACES: "var(--faces)",
    _OTHERS: "var(--others)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, and in the page's own font
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _GRID,
    "axes.grid": True,
    "legend.frameon": False,
}
_SIZE = (4.2, 3.2)  # inches; the width of a phone, where text is then shown in its own size
_PAPER = ("#1f2933", "#c4ccd4", "#00698f", "#b3400f")  # the same four colors, for files
_NEAREST_TO_ONE = 1e-5
_MOST_POINTS = 20_000
"""Points of a curve over all detections; more than the plot has pixels."""


def require_plots(path: str | None = None) -> None:
    """Check that a plot can be drawn, before long work.

    Raises:
        OptionsError: matplotlib is not installed, or the suffix of ``path`` is unknown.
    """
    if path is not None and Path(path).suffix.lower() not in PLOT_SUFFIXES:
        raise OptionsError(f"a plot is written as {', '.join(PLOT_SUFFIXES)}; got {path}")
    try:
        import matplotlib  # noqa: F401, ICN001
    except ImportError:
        raise OptionsError(
            "plots need matplotlib, which is not installed: pip install 'edge-mtcnn[plots]'"
        ) from None


def rates_plot(curves: Curve, threshold: float) -> str:
    """Recall and false-positive rate over the threshold, as SVG."""

    def draw(axes: Any) -> None:
        places = _nines(curves.thresholds)
        for rates, color, label in (
            (curves.recall, _FACES, "faces kept"),
            (curves.false_positive_rate, _OTHERS, "non-faces shown"),
        ):
            axes.step(places, rates * 100, where="post", color=color, label=label, linewidth=2)
        axes.axvline(
            _nines(np.array([threshold]))[0], color=_INK, linestyle="--", label="threshold"
        )
        low = min(threshold, float(curves.thresholds.min()))
        shown = [tick for tick in (0.0, 0.7, 0.9, 0.99, 0.999, 0.9999, 1.0) if tick >= low]
        axes.set_xticks(_nines(np.array(shown)), [f"{tick:g}" for tick in shown])
        axes.set_xlabel("threshold (spread out towards 1)")
        axes.set_ylabel("share, %")
        axes.set_ylim(-2, 102)

    return _svg("rates", "Faces kept and non-faces shown, over the threshold", draw)


def roc_plot(curves: Curve, point: tuple[float, float]) -> str:
    """The ROC curve with the chosen point (false-positive rate, recall), as SVG."""

    def draw(axes: Any) -> None:
        rate = np.concatenate([[0.0], curves.false_positive_rate])
        recall = np.concatenate([[0.0], curves.recall])
        axes.step(rate * 100, recall * 100, where="post", color=_FACES, linewidth=2)
        axes.plot([point[0] * 100], [point[1] * 100], "o", color=_OTHERS, label="threshold")
        axes.set_xlabel("false-positive rate, % of images")
        axes.set_ylabel("recall, % of faces")
        axes.set_ylim(_start(curves), 101)

    return _svg("roc", "Recall over the false-positive rate (ROC)", draw)


def precision_plot(curves: Curve, point: tuple[float, float]) -> str:
    """The precision-recall curve with the chosen point (recall, precision), as SVG."""

    def draw(axes: Any) -> None:
        axes.plot(curves.recall * 100, curves.precision * 100, color=_FACES, linewidth=2)
        axes.plot([point[0] * 100], [point[1] * 100], "o", color=_OTHERS, label="threshold")
        axes.set_xlabel("recall, % of faces")
        axes.set_ylabel("precision, %")
        axes.set_xlim(_start(curves), 101)

    return _svg("precision", "Precision over recall", draw)


def reliability_plot(bins: Sequence[Bin]) -> str:
    """Share of faces over mean score of each bin, as SVG."""

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=_INK, linestyle="--", label="score = share")
        axes.plot(
            [part.mean_score for part in bins],
            [part.share_of_faces for part in bins],
            "o-",
            color=_FACES,
            linewidth=2,
            label="these images",
        )
        axes.set_xlabel("mean score of the bin")
        axes.set_ylabel("share that are faces")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)

    return _svg("reliability", "Share of faces over the score", draw)


def write_curves(result: Evaluation, path: Path) -> None:
    """Write precision over recall, and recall over false positives per image, as one picture."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ink, grid, first, second = _PAPER
    colors = {
        name: {_INK: ink, _GRID: grid}.get(str(value), value) for name, value in _STYLE.items()
    }
    suffix = path.suffix.lower().removeprefix(".")
    # Leave out the date, so that equal figures produce equal files.
    metadata = {"png": None, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[suffix]
    with rc_context({**colors, "svg.hashsalt": "edge-mtcnn"}):
        figure = Figure(figsize=(10, 4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        curves = precision_recall(result.verdicts)
        left.plot(curves.recall, curves.precision, color=first, linewidth=2)
        left.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        left.set_title(f"average precision {result.average_precision:.4f}")
        _false_positive_curve(right, result.verdicts, second)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=150, metadata=metadata)
    write_whole(path, buffer.getvalue())


def _false_positive_curve(axes: Any, verdicts: Verdicts, color: str) -> None:
    false = np.cumsum(~verdicts.hits) / max(verdicts.images, 1)
    recall = np.cumsum(verdicts.hits) / max(verdicts.faces, 1)
    if len(false) > _MOST_POINTS:  # denser on the left, as the axis is
        places = np.geomspace(1, len(false), _MOST_POINTS).round().astype(int)
        rows = np.unique(places) - 1
        false, recall = false[rows], recall[rows]
    axes.step(false, recall, where="post", color=color, linewidth=2)
    axes.set(xlabel="false positives per image", ylabel="recall", ylim=(0, 1.02))
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_xlim(left=0)
    axes.set_title("recall at false positives per image")


def _start(curves: Curve) -> float:
    """Where an axis of recall starts, in %: a little below the recall without a false positive."""
    clean = curves.recall[curves.false_positive_rate == 0]
    return max(0.0, math.floor(float(clean.max(initial=0.0)) * 10 - 0.5) * 10)


def _nines(thresholds: FloatArray) -> FloatArray:
    """Map 0 to 0, 0.9 to 1 and 0.99 to 2, because good detections crowd just below 1."""
    places: FloatArray = -np.log10(1 - thresholds.astype(np.float64) + _NEAREST_TO_ONE)
    return places


def _svg(name: str, title: str, draw: Callable[[Any], None]) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({**_STYLE, "svg.hashsalt": f"edge-mtcnn {name}"}):
        figure = Figure(figsize=_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        figure.legend(loc="outside upper left", ncols=3, columnspacing=1, handlelength=1.2)
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for placeholder, variable in _VARIABLES.items():
        text = text.replace(placeholder, variable)
    head = f'<svg role="img" aria-labelledby="{name}-title"'
    return text.replace("<svg", head, 1).replace(
        ">", f'>\n <title id="{name}-title">{escape(title)}</title>', 1
    )
