"""Runs the Python listings of a Markdown page and updates the output printed below them.

Listings run in order and share their variables, as in a notebook. The ``text`` block after a
listing holds its output. ``test_article.py`` compares that output with today's. To update it:

    python tests/listings.py docs/article.md
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LISTING = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n^```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)


def listings(text: str) -> list[tuple[str, str]]:
    """Code and expected output of each listing; the output is empty where the page has none."""
    return [(found["code"], found["output"] or "") for found in LISTING.finditer(text)]


def runner(name: str) -> Callable[[str], str]:
    """A function that runs a listing after those before it, and returns what it prints."""
    names: dict[str, Any] = {"__name__": name}

    def run(code: str) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, name, "exec"), names)
        return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())

    return run


def executed(text: str, name: str) -> str:
    """The page with the output of today below each listing."""
    run = runner(name)

    def with_output(found: re.Match[str]) -> str:
        output = run(found["code"])
        listing = f"```python\n{found['code']}```\n"
        return f"{listing}\n```text\n{output}```\n" if output else listing

    return LISTING.sub(with_output, text)


def main() -> int:
    """Update the pages given as arguments; run it at the top of the checkout."""
    for page in map(Path, sys.argv[1:]):
        page.write_text(executed(page.read_text(encoding="utf-8"), page.name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
