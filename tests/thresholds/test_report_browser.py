"""The report in a real browser, on a phone and on a desk: fits, readable, quiet.

Skipped where there is no Chromium or no Playwright; ``CHROMIUM`` names another browser.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_mtcnn import DetectorOptions, FaceDetector
from edge_mtcnn.thresholds import Target, calibrate
from edge_mtcnn.thresholds.labels.images import with_face, without_faces
from edge_mtcnn.thresholds.report import write_report

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: pip install playwright"
)
pytest.importorskip("matplotlib", reason="the report needs the extra 'plots'")

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PHONE, DESK = (390, 844), (1280, 800)
SMALLEST_TEXT = 11  # CSS pixels, on a phone
LEAST_CONTRAST = 4.5  # of WCAG 2 AA for text

# Of an element that may reach out of the page: only what a scrolling region holds may.
REACHING_OUT = """() => [...document.querySelectorAll('main *')]
    .filter(one => !one.closest('.scroll') && !one.closest('svg'))
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => one.outerHTML.slice(0, 80))"""
BROKEN = "() => [...document.images].filter(one => !one.naturalWidth).map(one => one.alt)"
TEXT_HEIGHTS = """() => [...document.querySelectorAll(
        'main p, td, th, small, figcaption, svg text')]
    .filter(one => one.textContent.trim())
    .map(one => one instanceof SVGElement ? one.getBoundingClientRect().height
        : parseFloat(getComputedStyle(one).fontSize))"""
CONTRAST = """() => {
    const light = color => {
        const [r, g, b] = color.match(/[0-9.]+/g).map(Number).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = light(getComputedStyle(document.body).backgroundColor);
    return [...document.querySelectorAll('main p, td, small, figcaption')].map(one => {
        const ink = light(getComputedStyle(one).color);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    });
}"""


def executable() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    long = "a-name-without-any-place-to-break-a-line-" * 3
    shutil.copy(ROOT / "samples" / "astronaut.jpg", folder / f"{long}.jpg")
    samples = ROOT / "samples"
    images = [
        with_face(folder / f"{long}.jpg", f"{long}.jpg"),
        with_face(samples / "chelsea.jpg", "missed.jpg"),
        without_faces(samples / "grace_hopper.jpg", "taken for a face.jpg"),
        *[without_faces(samples / f"{name}.jpg", name) for name in ("coffee", "rocket")],
    ]
    with FaceDetector(DetectorOptions(min_face_size=60)) as detector:
        result = calibrate(detector, images, Target("fpr", 0.4))
    write_report(result, folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = executable()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed and CHROMIUM is not set")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=list(QUIET))
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_report_fits_is_readable_and_asks_for_nothing(
    browser: Any, report: Path, size: tuple[int, int], scheme: str, tmp_path: Path
) -> None:
    viewport = {"width": size[0], "height": size[1]}
    with browser.new_context(viewport=viewport, color_scheme=scheme) as context:
        page = context.new_page()
        told: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate(REACHING_OUT) == []
        assert page.evaluate(BROKEN) == []
        heights = page.evaluate(TEXT_HEIGHTS)
        assert len(heights) > 50
        assert min(heights) >= SMALLEST_TEXT
        assert min(page.evaluate(CONTRAST)) >= LEAST_CONTRAST
        plots = page.locator("figure svg")
        assert plots.count() == 4
        assert all(plots.nth(index).bounding_box()["width"] > 300 for index in range(4))
        assert told == []
        assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
        picture = tmp_path / "page.png"
        page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 50_000
