"""Checks what the pages say about the code and about each other: names, links and figures."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_layers import ORDER

from edge_mtcnn.images.decoding import MAX_PIXELS, MAX_SCANS
from edge_mtcnn.options import DetectorOptions
from edge_mtcnn.serve.options import SHORTEST_TOKEN, ServeOptions

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "edge_mtcnn"
SOURCE = ROOT / PACKAGE
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.glob("*.md"), *ROOT.glob("*.md")],
)
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
ROOMS = [name for line in ORDER for name in line]
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def exists(dotted: str) -> bool:
    """Whether ``module.Class.name`` exists below the package."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        module = ".".join((PACKAGE, *parts[:count]))
        try:
            found = find_spec(module) is not None
        except ModuleNotFoundError:  # its parent is a module, or does not exist
            continue
        if found:
            value: object = import_module(module)
            for name in parts[count:]:
                if not hasattr(value, name):
                    return False
                value = getattr(value, name)
            return True
    return False


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_every_file_that_the_architecture_names_exists() -> None:
    named = set(re.findall(r"[\w./-]*\w/[\w./-]*|[\w/-]+\.(?:py|json|toml|md)\b", ARCHITECTURE))
    paths = {name for name in named if name.endswith(("/", ".py"))}
    assert len(paths) >= 15
    wrong = {name for name in paths if not any((base / name).exists() for base in (ROOT, SOURCE))}
    assert not wrong


def test_every_function_that_the_architecture_names_exists() -> None:
    named = {
        span
        for span in code_spans(ARCHITECTURE)
        if re.fullmatch(r"[a-z_]\w*(\.\w+)+", span) and not span.endswith(".py")
    }
    assert len(named) >= 30
    assert not {name for name in named if not exists(name)}
    private = {name for name in named if any(part.startswith("_") for part in name.split("."))}
    assert not private, "private names change; name public ones"


def test_the_drawn_order_of_imports_is_the_one_that_is_tested() -> None:
    drawn = ARCHITECTURE[ARCHITECTURE.index("flowchart BT") :].split("```")[0]
    lines = re.findall(r'line(\d+)\["([^"]+)"\](?: --> line(\d+))?', drawn)
    assert [tuple(names.split(" · ")) for _, names, _ in lines] == list(ORDER)
    for number, (line, _, below) in enumerate(lines, start=1):
        assert (line, below) == (str(number), str(number - 1) if number > 1 else "")


def test_every_room_is_described_once() -> None:
    table = ARCHITECTURE[ARCHITECTURE.index("| room |") :].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ROOMS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    wrong = []
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target) if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            wrong.append(link)
    assert not wrong


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        ("detector.FaceDetector.detect", True),
        ("cascade.boxes.nms", True),
        ("cascade.boxes.nothing", False),
        ("detector.FaceDetector.nothing", False),
        ("nothing.at.all", False),
    ],
)
def test_the_check_of_names_finds_what_exists_only(dotted: str, expected: bool) -> None:
    assert exists(dotted) is expected


def test_the_limits_of_the_security_page_are_the_defaults() -> None:
    limits, detector = ServeOptions(), DetectorOptions()
    caps = (detector.max_cells, detector.max_candidates)
    expected = {
        "`--max-body`": f"{limits.max_body_bytes:,}",
        "`ServeOptions.max_total_body_bytes`": f"{limits.max_total_body_bytes:,}",
        "`ServeOptions.max_images`": str(limits.max_images),
        "`--max-pixels`": f"{limits.max_pixels:,}",
        "`read_image(max_pixels=...)`": f"{MAX_PIXELS:,}",
        "`ServeOptions.body_seconds`": f"{limits.body_seconds:g}",
        "`--detect-seconds`": f"{limits.detect_seconds:g}",
        "`--workers`, `ServeOptions.waiting`": f"{limits.workers}, {limits.waiting}",
        "`ServeOptions.connections`": str(limits.connections),
        "`DetectorOptions.max_cells`": ", ".join(f"{cap:,}" for cap in caps[0] or ()),
        "`DetectorOptions.max_candidates`": ", ".join(f"{cap:,}" for cap in caps[1] or ()),
    }
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| ([\d, ]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert {setting: default for default, setting in rows} == expected
    prose = " ".join(text.split())
    assert f"at least {SHORTEST_TOKEN} characters" in prose
    assert f"more than {MAX_SCANS} scans" in prose


def quotes(text: str) -> list[tuple[str, str]]:
    """Page and row of each line of a table below a link to the page where it was measured."""
    found = []
    section = text[text.index("\n## Measured\n") :].split("\n## More\n")[0]
    page, rows_follow = "", False
    for line in section.splitlines():
        if link := re.search(r"\]\(([\w/]+\.md)", line):
            page, rows_follow = link[1], False
        elif line.startswith("|---"):
            rows_follow = True
        elif line.startswith("|") and rows_follow:
            found.append((page, line))
        elif not line.startswith("|"):
            rows_follow = False
    return found


def test_every_figure_of_the_readme_stands_where_it_was_measured() -> None:
    found = quotes((ROOT / "README.md").read_text(encoding="utf-8"))
    assert {page for page, _ in found} == {"docs/speed.md", "docs/accuracy.md"}
    assert len(found) >= 8
    wrong = [row for page, row in found if row not in (ROOT / page).read_text("utf-8").splitlines()]
    assert not wrong, "quote the rows of the page as they are:\n" + "\n".join(wrong)


def test_a_figure_that_has_drifted_is_found() -> None:
    table = "| a | b |\n|---|---|\n| x | 180 |\n"
    text = f"\n## Measured\n\n[measured](docs/speed.md):\n\n{table}\n## More\n"
    assert quotes(text) == [("docs/speed.md", "| x | 180 |")]


def test_the_index_lists_every_page_once() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[[^]]+\]\(([\w./-]+)\)", index, re.MULTILINE)
    pages = {page.name for page in DOCS.glob("*.md")} - {"index.md"}
    assert len(listed) == len(set(listed))
    assert pages <= set(listed)
