"""The page of ``edge-mtcnn collect --report``: thumbnails of pictures that are to be labelled.

They lie in two folders, as ``from_folders`` reads them when they are sorted.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from edge_mtcnn.files import find_images, write_whole
from edge_mtcnn.thresholds.calibrator import Evidence
from edge_mtcnn.thresholds.labels.images import without_faces
from edge_mtcnn.thresholds.page import html_page
from edge_mtcnn.thresholds.thumbnails import thumbnail
from edge_mtcnn.types import score_text

__all__ = ["write_page"]

_MOST = 1000
"""Pictures of each folder that the page shows; a thumbnail has about 10 kB."""


class _Entry(NamedTuple):
    """What the page shows of one picture."""

    path: Path
    score: float | None
    box: list[float] | None
    when: str
    found_again: bool


def write_page(page: Path, sure: Path, unsure: Path, index: Path, advice: str) -> None:
    """Write the page of all pictures in two folders, where they lie now.

    Args:
        page: the HTML file; it is never seen half written.
        sure: folder of the pictures with a person.
        unsure: folder beside it, of those without a person.
        index: JSON lines of what is known about the pictures.
        advice: result of ``calibrate_advice``, for when the pictures are sorted.

    Raises:
        OSError: the file cannot be written.
    """
    known = _index(index)
    body = _sections(_entries(sure, known), _entries(unsure, known), sure, unsure, page, advice)
    text = html_page(f"Collected finds: {sure.parent.name}", body)
    write_whole(page, text.encode("utf-8", "backslashreplace"))


def _sections(
    kept: Iterator[_Entry],
    others: Iterator[_Entry],
    sure: Path,
    unsure: Path,
    page: Path,
    advice: str,
) -> Iterator[str]:
    place = escape(os.path.abspath(sure.parent))  # noqa: PTH100 - links stay
    first, _, command = advice.partition("run: ")
    yield "<h1>Collected finds</h1>"
    yield '<section class="warning" aria-labelledby="people"><h2 id="people">Pictures of people'
    yield f"</h2><p>This page and the folder {place} contain pictures of people. Delete both when"
    yield "you no longer need them.</p></section>"
    yield f"<p>Move each picture without a person to the folder <b>{unsure.name}</b>, and each"
    yield f"picture that shows a person anywhere to the folder <b>{sure.name}</b>. A click on a"
    yield "picture opens it; its name is below it. Then"
    yield f"{escape(first)}run <code>{escape(command)}</code>.</p>"
    yield from _pictures(
        f"In the folder {sure.name}",
        "Lowest scores first: look for pictures without a person.",
        sorted(kept, key=lambda entry: _rank(entry, 2.0)),
        page.parent,
    )
    yield from _pictures(
        f"In the folder {unsure.name}",
        "Highest scores first: look for pictures with a person.",
        sorted(others, key=lambda entry: -_rank(entry, -1.0)),
        page.parent,
    )


def _pictures(title: str, text: str, entries: list[_Entry], home: Path) -> Iterator[str]:
    yield f"<h2>{title}: {len(entries)}</h2>"
    if not entries:
        yield "<p>There are no pictures in it.</p>"
        return
    if len(entries) > _MOST:
        text += f" The first {_MOST:,} are shown."
    if not all(entry.found_again for entry in entries):
        text += " Not found again: the detector found it in the video, but not in the picture."
    yield f'<p>{text}</p><ul class="pictures">'
    for entry in entries[:_MOST]:
        yield _picture(entry, home)
    yield "</ul>"


def _picture(entry: _Entry, home: Path) -> str:
    name = escape(entry.path.name)
    score = "no score known" if entry.score is None else f"score {score_text(entry.score)}"
    notes = entry.when + ("" if entry.found_again else ", not found again")
    box = None if entry.box is None else np.array(entry.box)
    shown = thumbnail(Evidence(without_faces(entry.path, name), entry.score or 0.0, box))
    link = (
        quote(entry.path.relative_to(home).as_posix())
        if entry.path.is_relative_to(home)
        else entry.path.absolute().as_uri()
    )
    picture = (
        f'<a href="{link}"><img src="{shown}" alt="{name}: {score}{notes}"></a>'
        if shown
        else '<p class="gone">The picture cannot be read.</p>'
    )
    return f"<li>{picture}<p><b>{score}</b>{notes}<br><small>{name}</small></p></li>"


def _entries(folder: Path, known: dict[str, dict[str, Any]]) -> Iterator[_Entry]:
    for path in find_images([os.fspath(folder)], recursive=True):
        line = known.get(path.name, {})
        position, time = line.get("position_seconds"), line.get("time")
        when = f", {str(time)[:19].replace('T', ' ')}" if time else ""
        yield _Entry(
            path,
            line.get("score"),
            line.get("box_xyxy"),
            when if position is None else f", at {position:.1f} s",
            line.get("found_again", True),
        )


def _index(file: Path) -> dict[str, dict[str, Any]]:
    """The lines of the index by the name of the picture, which stays when it is moved."""
    known: dict[str, dict[str, Any]] = {}
    if file.is_file():
        for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):  # cut short by the power
                line = json.loads(text)
                known[Path(line["file"]).name] = line
    return known


def _rank(entry: _Entry, without: float) -> float:
    return without if entry.score is None else entry.score
