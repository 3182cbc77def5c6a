"""Run the Python listings of a Markdown file and write what they print below them.

Listings run in order and share their names, as in a notebook. What one prints stands in the
``text`` block that follows it. ``python docs/execute.py docs/article.md`` writes these blocks anew;
``tests/test_article.py`` compares them with what comes out today.
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
    """Code and expected output of each listing; no output is an empty text."""
    return [(found["code"], found["output"] or "") for found in LISTING.finditer(text)]


def runner(name: str) -> Callable[[str], str]:
    """A function that runs one listing after another and returns what each prints."""
    names: dict[str, Any] = {"__name__": name}

    def run(code: str) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, name, "exec"), names)
        return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())

    return run


def executed(text: str, name: str) -> str:
    """The same page with what its listings print now."""
    run = runner(name)

    def with_output(found: re.Match[str]) -> str:
        output = run(found["code"])
        listing = f"```python\n{found['code']}```\n"
        return f"{listing}\n```text\n{output}```\n" if output else listing

    return LISTING.sub(with_output, text)


def main() -> int:
    """Execute the pages named, in the folder above this one."""
    for page in map(Path, sys.argv[1:]):
        page.write_text(executed(page.read_text(encoding="utf-8"), page.name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
