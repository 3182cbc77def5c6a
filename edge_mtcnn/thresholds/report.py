"""The report of a threshold calibration: one self-contained HTML file.

Plots are inline SVG, thumbnails are JPEG in data URLs. It can be read on a phone, in light and dark
mode, and without seeing the plots.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.files import write_whole
from edge_mtcnn.known_false import loss_text
from edge_mtcnn.thresholds.intervals import Rate
from edge_mtcnn.thresholds.page import html_page
from edge_mtcnn.thresholds.plots import (
    precision_plot,
    rates_plot,
    reliability_plot,
    require_plots,
    roc_plot,
)
from edge_mtcnn.thresholds.scores import BINS, Reliability, curve, reliability, summary
from edge_mtcnn.thresholds.thumbnails import thumbnail

if TYPE_CHECKING:
    from edge_mtcnn.thresholds.calibrator import CalibrationResult, Evidence

__all__ = ["report_html", "write_report"]


def write_report(result: CalibrationResult, path: Path) -> None:
    """Write the report; the file is never seen half written.

    Raises:
        OptionsError: matplotlib is not installed.
    """
    require_plots()
    # File names that are not valid UTF-8 are escaped instead of failing the report.
    write_whole(path, report_html(result).encode("utf-8", "backslashreplace"))


def report_html(result: CalibrationResult) -> str:
    """The whole page."""
    return html_page(f"Threshold calibration: {result.threshold:.4f}", _sections(result))


def _sections(result: CalibrationResult) -> Iterator[str]:
    yield from _summary(result)
    yield from _plots(result)
    yield from _statistics(result)
    yield from _pictures(
        "Faces with the lowest scores",
        "A face below the threshold is missed.",
        result.lowest_faces,
        result.threshold,
        ("missed", "kept"),
    )
    yield from _pictures(
        "Non-faces with the highest scores",
        "A non-face at or above the threshold is taken for a face. Check the labels: an image with"
        " a person in the background is not a non-face.",
        result.highest_nonfaces,
        result.threshold,
        ("rejected", "taken for a face"),
    )
    yield from _known_false(result)
    yield from _origin(result)


def _known_false(result: CalibrationResult) -> Iterator[str]:
    if not result.known_false:
        return
    title, cost = "Remembered false faces", loss_text(result.known_false)
    earlier = len(result.known_false) - len(result.remembered)
    if not result.remembered:
        yield f"<h2>{title}</h2><p>No further one was remembered. Those that the file had before,"
        yield f"{earlier} in all, are kept and cost {cost}.</p>"
        return
    text = (
        "The detector leaves these out from now on. The calibration file has no picture of them,"
        " only numbers."
    )
    text += f" With {earlier} from before, they cost {cost}." if earlier else f" They cost {cost}."
    yield from _pictures(title, text, result.remembered, result.threshold, ("", "remembered"))


def _summary(result: CalibrationResult) -> Iterator[str]:
    choice = result.choice
    yield "<h1>Threshold calibration</h1>"
    yield f'<p class="lead">Threshold <strong>{result.threshold:.6f}</strong></p>'
    yield f"<p>Chosen for {escape(str(result.target))}. A detection is reported if its score is at"
    yield "least the threshold.</p>"
    if choice.warnings:
        yield '<section class="warning" aria-labelledby="warnings"><h2 id="warnings">Warning</h2>'
        yield "".join(f"<p>{escape(text)}.</p>" for text in choice.warnings)
        yield "</section>"
    yield '<dl class="figures">'
    yield _figure_entry("Faces kept (recall)", choice.recall, "faces")
    yield _figure_entry("Images with a false face", choice.false_positive_rate, "images")
    yield "</dl>"


def _figure_entry(title: str, rate: Rate, what: str) -> str:
    low, high = rate.interval
    return (
        f"<div><dt>{title}</dt><dd><b>{rate.value:.2%}</b> {rate.count} of {rate.total} {what}"
        f"<br><small>{rate.confidence:.0%} interval: {low:.2%} to {high:.2%}</small></dd></div>"
    )


def _plots(result: CalibrationResult) -> Iterator[str]:
    curves, score_reliability, choice = (
        curve(result.scores),
        reliability(result.scores),
        result.choice,
    )
    kept, shown = choice.recall, choice.false_positive_rate
    precision = kept.count / max(kept.count + shown.count, 1)
    yield "<h2>Plots</h2>"
    if not len(curves.thresholds):
        yield "<p>Nothing was detected in any image, so there is nothing to plot.</p>"
        return
    yield '<div class="plots">'
    yield _plot(
        rates_plot(curves, result.threshold),
        f"At the threshold, {kept.value:.1%} of the faces are kept and {shown.value:.1%} of the"
        " non-faces are reported.",
    )
    yield _plot(
        roc_plot(curves, (shown.value, kept.value)),
        f"ROC: the area under the curve is {curves.area:.4f}. The axes show only the part where"
        " the curve bends.",
    )
    yield _plot(
        precision_plot(curves, (kept.value, precision)),
        f"Precision and recall: average precision {curves.average_precision:.4f}; at the threshold"
        f" {precision:.1%} of the reported detections are faces, in this mix of images.",
    )
    yield _plot(reliability_plot(score_reliability.bins), _reliability_text(score_reliability))
    yield "</div>"


def _plot(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _reliability_text(found: Reliability) -> str:
    return (
        f"Reliability: Brier score {found.brier:.4f}, expected calibration error {found.ece:.4f}"
        f" over {BINS} equally wide bins. Both hold for this mix of faces and non-faces."
    )


def _statistics(result: CalibrationResult) -> Iterator[str]:
    columns = [asdict(summary(values)) for values in (result.scores.faces, result.scores.nonfaces)]
    titles = {"q25": "25 %", "median": "50 %", "q75": "75 %"}
    yield '<h2 id="statistics">Scores</h2>'
    yield '<div class="scroll" role="region" aria-labelledby="statistics" tabindex="0"><table>'
    yield "<caption>Statistics of the best scores; members without a detection have no score"
    yield "</caption>"
    yield '<thead><tr><th scope="col">score</th><th scope="col">faces</th>'
    yield '<th scope="col">non-faces</th></tr></thead><tbody>'
    for name in columns[0]:
        cells = "".join(f"<td>{_number(values[name])}</td>" for values in columns)
        yield f'<tr><th scope="row">{titles.get(name, name)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "–" if math.isnan(value) else f"{value:.6f}"


def _pictures(
    title: str,
    text: str,
    evidence: Sequence[Evidence],
    threshold: float,
    verdicts: tuple[str, str],
) -> Iterator[str]:
    below, above = verdicts
    yield f"<h2>{title}</h2>"
    if not evidence:
        yield "<p>Nothing was detected in any of them.</p>"
        return
    if any(found.annotated is not None for found in evidence):
        text += " Detections are yellow, annotated faces blue."
    yield f'<p>{text}</p><ul class="pictures">'
    for found in evidence:  # at most ten, so an image is read at most twenty times
        reached = found.score >= threshold
        name, verdict = escape(found.image.name), above if reached else below
        score = "no detection" if math.isnan(found.score) else f"score {found.score:.6f}"
        what = f"{name}: {score}, {verdict}"
        picture = thumbnail(found)
        shown = (
            f'<img src="{picture}" alt="{what}">'
            if picture
            else '<p class="gone">The image can no longer be read.</p>'
        )
        wrong = reached == (above == "taken for a face")
        mark = ' class="wrong"' if wrong else ""
        yield (f"<li{mark}>{shown}<p><b>{verdict}</b> {score}<br><small>{name}</small></p></li>")
    yield "</ul>"


def _origin(result: CalibrationResult) -> Iterator[str]:
    measured = result.measurements
    provenance = {**measured.provenance}
    options = provenance.pop("detector_options")
    rows = {
        "date": result.date,
        "images": len(measured.done),
        "images that failed": len(measured.failures),
        "IoU of a match": result.iou,
        **{name.replace("_", " "): value for name, value in provenance.items()},
        **{f"option {name}": value for name, value in options.items()},
    }
    yield '<h2 id="origin">Provenance</h2>'
    yield '<div class="scroll" role="region" aria-labelledby="origin" tabindex="0"><table><tbody>'
    for name, value in rows.items():
        if value is not None:
            plain = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            yield f'<tr><th scope="row">{escape(name)}</th><td>{escape(plain)}</td></tr>'
    yield "</tbody></table></div>"
    if measured.failures:
        yield "<h2>Images that failed</h2><ul>"
        for failure in measured.failures:
            yield f"<li>{escape(failure.name)}: {escape(failure.reason)}</li>"
        yield "</ul>"
