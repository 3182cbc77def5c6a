"""The report of a calibration: complete, self-contained, and safe with any file name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edge_mtcnn import DetectorOptions, FaceDetector, OptionsError
from edge_mtcnn.cli import main
from edge_mtcnn.thresholds import CalibrationResult, Target, calibrate, from_csv
from edge_mtcnn.thresholds.plots import require_plots
from edge_mtcnn.thresholds.report import report_html, write_report

pytest.importorskip("matplotlib", reason="the report needs the extra 'plots'")

ROOT = Path(__file__).resolve().parents[2]
NASTY = '<b>&"face" é.jpg'
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """The page's tags with their attributes, and whether they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CalibrationResult]:
    """Of photos with a name that HTML must not take for markup, a mislabelled cat, coffee."""
    folder = tmp_path_factory.mktemp("report")
    for sample, name in (
        ("astronaut", NASTY),
        ("grace_hopper", "b.jpg"),
        ("chelsea", "cat.jpg"),
        ("coffee", "d.jpg"),
        ("rocket", "e.jpg"),
    ):
        shutil.copy(ROOT / "samples" / f"{sample}.jpg", folder / name)
    quoted = NASTY.replace('"', '""')
    rows = [f'"{quoted}",face', "cat.jpg,face", "b.jpg,nonface", "d.jpg,nonface", "e.jpg,nonface"]
    (folder / "labels.csv").write_text("path,label\n" + "\n".join(rows), encoding="utf-8")
    with FaceDetector(DetectorOptions(min_face_size=60)) as detector:
        images = from_csv(folder / "labels.csv", folder)
        yield calibrate(detector, images, Target("fpr", 0.4), date="today")


@pytest.fixture(scope="module")
def page(result: CalibrationResult) -> Page:
    return Page(report_html(result))


def test_the_report_needs_nothing_outside_itself(page: Page, result: CalibrationResult) -> None:
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), tag
            if name in {"src", "href", "xlink:href"}:
                assert (value or "").startswith(("data:image/jpeg;base64,", "#")), tag
    assert not re.search(r"@import|url\((?!#)", report_html(result))
    policies = [meta for meta in page.all("meta") if meta.get("http-equiv")]
    assert "default-src 'none'" in (policies[0]["content"] or "")


def test_the_report_says_what_matters(page: Page, result: CalibrationResult) -> None:
    text = " ".join(page.text.split())
    assert f"Threshold {result.threshold:.6f}" in text
    assert "95% interval" in text
    assert "too few images without faces: 3 cannot promise" in text
    assert "expected calibration error" in text
    assert "no detection" in text  # the cat that was called a face
    assert "today" in text
    assert "min_face_size" in text


def test_file_names_are_text_never_markup(page: Page) -> None:
    assert NASTY in page.text
    assert page.all("b") != []
    assert all(NASTY not in name for name, _ in page.tags)
    assert any(NASTY in (image["alt"] or "") for image in page.all("img"))


def test_plots_and_thumbnails_have_texts_for_those_who_do_not_see_them(page: Page) -> None:
    plots = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(plots) == 4
    identities = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(identities) == len(set(identities))
    assert all(plot["aria-labelledby"] in identities for plot in plots)
    assert len(page.all("figcaption")) == 4
    images = page.all("img")
    # Two labelled as faces; of the others the one with a detection.
    assert len(images) >= 3
    assert all(image["alt"] for image in images)


def test_equal_results_give_equal_reports(result: CalibrationResult) -> None:
    assert report_html(result) == report_html(result)


def test_an_image_that_is_gone_by_then_does_not_cost_the_report(
    tmp_path: Path, result: CalibrationResult
) -> None:
    place = result.faces[0].image.path
    hidden = tmp_path / "hidden.jpg"
    shutil.move(place, hidden)
    try:
        write_report(result, tmp_path / "report.html")
    finally:
        shutil.move(hidden, place)
    assert "can no longer be read" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_without_matplotlib_the_report_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OptionsError, match=r"pip install 'edge-mtcnn\[plots\]'"):
        require_plots()
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "a", "b", "--report", "report.html"]) == 2
    assert "edge-mtcnn[plots]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
