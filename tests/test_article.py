"""Runs the listings of docs/article.md and compares their output with the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pandas", reason="the article's table needs pandas")
pytest.importorskip("matplotlib", reason="the article draws with matplotlib")
from listings import executed, listings, runner

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("article.md", "thresholds.md")
# Another processor rounds sums differently; a coordinate may fall on its other side.
NUMBER_TOLERANCE = 0.003
PIXEL_TOLERANCE = 1
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.fixture
def readers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader works: the samples, and nothing else."""
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    return tmp_path


def same(printed: str, expected: str) -> bool:
    """Equal words, and numbers that are as near as another processor brings them."""
    if NUMBER.split(" ".join(printed.split())) != NUMBER.split(" ".join(expected.split())):
        return False
    return all(
        abs(float(a) - float(b)) <= (NUMBER_TOLERANCE if "." in b else PIXEL_TOLERANCE)
        for a, b in zip(NUMBER.findall(printed), NUMBER.findall(expected), strict=True)
    )


def test_every_listing_of_the_article_prints_what_the_page_says(readers_folder: Path) -> None:
    text = (ROOT / "docs" / "article.md").read_text(encoding="utf-8")
    found = listings(text)
    assert len(found) == text.count("```python") >= 6
    run: Callable[[str], str] = runner("article.md")
    outputs = 0
    for code, expected in found:
        printed = run(code)
        assert same(printed, expected), f"{code}\nprints\n{printed}\nand the page says\n{expected}"
        outputs += bool(expected)
    assert outputs == text.count("```text") >= 5
    assert (readers_folder / "astronaut.png").stat().st_size > 10_000


def test_the_article_finds_people_and_no_cat() -> None:
    text = (ROOT / "docs" / "article.md").read_text(encoding="utf-8")
    assert "astronaut: basic 2, improved 1" in text
    assert "chelsea: basic 0, improved 0" in text


@pytest.mark.parametrize("name", PAGES)
def test_links_of_the_pages_lead_somewhere(name: str) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    assert targets
    for target in targets:
        assert (ROOT / "docs" / target).exists(), target


def test_listings_of_the_guide_are_python_with_names_that_exist() -> None:
    text = (ROOT / "docs" / "thresholds.md").read_text(encoding="utf-8")
    found = [code for code, _ in listings(text)]
    assert len(found) == 3
    for code in found:
        imports = [line for line in code.splitlines() if line.startswith("from ")]
        exec("\n".join(imports), {})
        compile(code, "thresholds.md", "exec")


def test_execution_writes_outputs_anew_and_leaves_the_rest() -> None:
    page = "# A\n\n```python\nx = 2\n```\n\nwords\n\n```python\nprint(x)\n```\n\n"
    page += "```text\n1\n```\n\nend\n"
    once = executed(page, "page")
    assert once == page.replace("```text\n1\n", "```text\n2\n")
    assert executed(once, "page") == once
    assert not same("a 1.0", "a 1.1")
    assert not same("a 1", "b 1")
    assert same("a 1.001", "a  1.000")
