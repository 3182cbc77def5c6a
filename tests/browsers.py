"""The Chromium that is installed, for tests of pages and files that people open in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def launched(*arguments: str) -> Iterator[Any]:
    """A running browser of Playwright, with further arguments; skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser here: looked for {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=path, args=[*ARGUMENTS, *arguments])
        yield running
        running.close()
