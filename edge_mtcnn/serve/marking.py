"""``/known-false``: a person of the page is marked as none, and the calibration file keeps that.

The file is read again for each change, so that what ``edge-mtcnn calibrate`` added meanwhile stays.
Changes are made one after the other, in a thread, so that none is lost. Detectors change only once
the file is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_mtcnn.calibration import load_calibration, save_known_false
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.known_false import (
    KnownFalse,
    excess_of,
    expected_loss,
    free_name,
    oldest_of,
)
from edge_mtcnn.serve.query import query_of
from edge_mtcnn.serve.security import check_may_change
from edge_mtcnn.video import FaceWatcher, Frame, Person, Snapshot

__all__ = ["MarkingRoute"]

_PATIENCE = 2.0
"""Longest time to wait until a person is seen, and until one that was marked is gone, seconds."""
_NAME = "thing"


class MarkingRoute:
    """The route; its methods are called in the event loop.

    Args:
        file: calibration file that keeps what is marked; ``None`` to refuse all requests.
        watcher: made with ``keep_frame=True`` if there is a file; ``None`` without a source.
        detectors: leave out what is marked; the watcher's own comes last.
        token_needed: see ``check_may_change``.
    """

    def __init__(
        self,
        file: Path | None,
        watcher: FaceWatcher | None,
        detectors: Sequence[FaceDetector],
        *,
        token_needed: bool,
    ) -> None:
        self._file = file
        self._watcher = watcher
        self._detectors = detectors
        self._token_needed = token_needed
        self._lock = asyncio.Lock()

    @property
    def offered(self) -> bool:
        """Whether persons can be marked."""
        return self._file is not None and self._watcher is not None and self._recognises

    async def get(self, request: Request) -> Response:
        """List what is known, without the numbers by which it is recognised."""
        entries = await asyncio.to_thread(self._entries, self._checked_file(request))
        newest = None if self._watcher is None else self._watcher.frame()
        return JSONResponse(
            {
                "known_false": [_shown(entry) for entry in entries],
                "expected_loss": expected_loss(entries),
                "place": newest is not None and newest[0].live,
            }
        )

    async def post(self, request: Request) -> Response:
        """Mark a person who is here."""
        file = self._checked_file(request)
        watcher = self._watcher
        if watcher is None:
            raise HTTPException(404, "no source is watched: start the service with one")
        if not self._recognises:
            raise HTTPException(
                404,
                "the camera's detector has no mirror check: start the service with --preset kiosk",
            )
        query = query_of(request.scope)
        if "person" not in query:
            raise HTTPException(400, "person is missing: the number of the person, as in /state")
        async with self._lock:
            thing = await asyncio.to_thread(self._mark, file, watcher, **query)
        return JSONResponse(_shown(thing), 201)

    async def delete(self, request: Request) -> Response:
        """Forget a thing, so that it is found again."""
        file = self._checked_file(request)
        name = query_of(request.scope).get("name")
        if name is None:
            raise HTTPException(400, "name is missing: the name of a known false face")
        async with self._lock:
            await asyncio.to_thread(self._forget, file, name)
        return Response(status_code=204)

    def _checked_file(self, request: Request) -> Path:
        """The file, for a client that may use it."""
        check_may_change(request, token_needed=self._token_needed)
        if self._file is None:
            raise HTTPException(
                404,
                "nothing can be marked: start the service with --calibration FILE, which keeps what"
                " is marked; 'edge-mtcnn calibrate' makes such a file",
            )
        return self._file

    @property
    def _recognises(self) -> bool:
        """Whether the camera's detector can recognise known things."""
        return self._detectors[-1].options.mirror

    def _entries(self, file: Path) -> tuple[KnownFalse, ...]:
        try:
            return load_calibration(file).known_false
        except OptionsError as error:
            raise HTTPException(500, f"{error}; nothing was changed") from None

    def _mark(
        self,
        file: Path,
        watcher: FaceWatcher,
        person: int,
        name: str | None = None,
        place: bool | None = None,
    ) -> KnownFalse:
        entries = self._entries(file)
        names = {entry.name for entry in entries}
        if name in names:
            raise HTTPException(409, f"there is a thing {shown(name)} already: give another name")
        frame, here = _seen(watcher, person)
        try:
            thing = self._detectors[-1].remember(
                frame.image,
                here.face.box,
                name or free_name(_NAME, names),
                color="bgr",
                at_place=frame.live if place is None else place,
                how="page",
                added=datetime.now().astimezone().isoformat(timespec="seconds"),
            )
        except OptionsError:
            raise _not_seen(person) from None
        self._change(file, [*entries, thing])
        watcher.dismiss(person)
        _wait(watcher, lambda snapshot: _find(snapshot, person) is None)
        return thing

    def _forget(self, file: Path, name: str) -> None:
        entries = self._entries(file)
        kept = [entry for entry in entries if entry.name != name]
        if len(kept) == len(entries):
            raise HTTPException(404, f"there is no known false face {shown(name)}")
        self._change(file, kept)

    def _change(self, file: Path, entries: Sequence[KnownFalse]) -> None:
        """Write the file and then, if that worked, change the detectors."""
        if (excess := excess_of(entries)) is not None:
            raise HTTPException(
                409,
                f"{excess}: tie this one to its place, or remove others first, such as the oldest,"
                f" {shown(oldest_of(entries))}",
            )
        try:
            save_known_false(file, entries)
        except OSError as error:
            raise HTTPException(
                500, f"cannot write {file}: {error.strerror or error}; nothing was changed"
            ) from None
        for detector in self._detectors:
            detector.known_false = tuple(entries)


def _seen(watcher: FaceWatcher, person: int) -> tuple[Frame, Person]:
    """A frame that shows the person, and the person in it."""
    _wait(watcher, lambda snapshot: (here := _find(snapshot, person)) is None or here.seen)
    if _find(watcher.snapshot, person) is None:
        raise HTTPException(404, f"person {person} is not here; /state lists who is")
    newest = watcher.frame()
    here = None if newest is None else _find(newest[1], person)
    if newest is None or here is None or not here.seen:
        raise _not_seen(person)
    return newest[0], here


def _wait(watcher: FaceWatcher, condition: Callable[[Snapshot], bool]) -> None:
    """Wait until the condition holds, but not for ever."""
    until = time.monotonic() + _PATIENCE
    snapshot = watcher.snapshot
    while not condition(snapshot) and (left := until - time.monotonic()) > 0:
        snapshot = watcher.wait(snapshot.turn, left)


def _find(snapshot: Snapshot, person: int) -> Person | None:
    return next((here for here in snapshot.persons if here.id == person), None)


def _not_seen(person: int) -> HTTPException:
    return HTTPException(409, f"person {person} is not seen well at the moment; try again")


def _shown(entry: KnownFalse) -> dict[str, Any]:
    """An entry for clients."""
    values = asdict(entry)
    return {name: values[name] for name in ("name", "added", "how", "place")}
