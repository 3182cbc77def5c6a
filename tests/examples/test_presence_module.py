"""``examples/browser/presence.js`` tells the same persons and events as ``FaceWatcher``'s rules."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtcnn import Faces
from edge_mtcnn.video.presence import Presence
from edge_mtcnn.video.tracking.tracks import TrackBook

BROWSER = Path(__file__).resolve().parents[2] / "examples" / "browser"
FRAME = 0.1  # seconds
SIZE = (480, 640)
ANN, BEN = (100, 100, 200, 220), (400, 120, 480, 220)

# Each frame: boxes and scores of the faces that are found.
Frame = list[tuple[tuple[int, int, int, int], float]]

SCRIPTS: dict[str, Sequence[Frame]] = {
    "somebody stays and leaves": [[(ANN, 0.95)]] * 10 + [[]] * 15,
    "a missed frame does not matter": [[(ANN, 0.95)]] * 6 + [[]] * 4 + [[(ANN, 0.9)]] * 6,
    "a single false find": [[], [(ANN, 0.99)], [], [], [], []],
    "a weak find that stays": [[(ANN, 0.6)]] * 20,
    "a weak start": [[(ANN, 0.4)]] * 3 + [[(ANN, 0.99)]] * 12,
    "two persons, the taller is selected": [[(ANN, 0.95), (BEN, 0.9)]] * 8
    + [[(BEN, 0.9)]] * 20
    + [[]] * 15,
    "somebody comes nearer": [
        [(ANN, 0.95), ((400 - 6 * n, 120 - 6 * n, 480 + 6 * n, 220 + 6 * n), 0.9)]
        for n in range(20)
    ],
    "somebody walks": [[((100 + 8 * n, 100, 200 + 8 * n, 220), 0.9)] for n in range(30)],
    "somebody returns later": [[(ANN, 0.95)]] * 8 + [[]] * 16 + [[(ANN, 0.95)]] * 8,
}

PROGRAM = """
import { Presence } from "./presence.js";
const presence = new Presence();
const events = [];
for (const { time, faces } of JSON.parse(process.argv[1])) {
  events.push(...presence.update(faces, time));
}
console.log(JSON.stringify({ events, persons: presence.persons }));
"""


def from_javascript(script: Sequence[Frame]) -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    frames = [
        {"time": number * FRAME, "faces": [{"box": box, "score": score} for box, score in faces]}
        for number, faces in enumerate(script)
    ]
    done = subprocess.run(
        [node, "--input-type=module", "--eval", PROGRAM, json.dumps(frames)],
        cwd=BROWSER,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def from_python(script: Sequence[Frame]) -> tuple[list[Any], Presence]:
    book, presence = TrackBook(), Presence()
    events: list[Any] = []
    for number, faces in enumerate(script):
        boxes = np.array([box for box, _ in faces], dtype=np.float32).reshape(-1, 4)
        scores = np.array([score for _, score in faces], dtype=np.float32)
        centres = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
        found = Faces(boxes, scores, np.repeat(centres, 5, axis=1), image_size=SIZE)
        events += presence.update(book.update(found, number * FRAME), number * FRAME, SIZE)
    return events, presence


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_module_reports_what_the_watcher_reports(name: str) -> None:
    got = from_javascript(SCRIPTS[name])
    events, presence = from_python(SCRIPTS[name])
    kinds = {"FaceAppeared": "face_appeared", "FaceLeft": "face_left"}
    expected = [
        (kinds.get(type(event).__name__, "person_changed"), event.person, round(event.time, 3))
        for event in events
    ]
    assert [(e["type"], e["person"], round(e["time"], 3)) for e in got["events"]] == expected
    stays = {e.person: e.dwell_seconds for e in events if type(e).__name__ == "FaceLeft"}
    told = {e["person"]: e["dwellSeconds"] for e in got["events"] if e["type"] == "face_left"}
    assert told == pytest.approx(stays, abs=1e-3)
    assert [(p["id"], p["selected"]) for p in got["persons"]] == [
        (person.id, person.selected) for person in presence.persons()
    ]


def test_the_scripts_show_every_event() -> None:
    kinds = {
        type(event).__name__ for script in SCRIPTS.values() for event in from_python(script)[0]
    }
    assert kinds == {"FaceAppeared", "FaceLeft", "PersonChanged"}
