"""Checks what the pages say about the code and about each other: names, links and figures."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_layers import ORDER

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "edge_mtcnn"
SOURCE = ROOT / PACKAGE
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.glob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))],
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
