"""``Collector``: which finds of which frames become pictures, and what is in the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from videos import Image, background, scene

from edge_mtcnn import DetectorOptions, FaceDetector, read_image
from edge_mtcnn.types import Face, Landmarks
from edge_mtcnn.video import Frame, Track
from edge_mtcnn.video.collector import INDEX, Collector
from edge_mtcnn.video.tracking.tracks import continuous_iou

SAME_FACE = 0.7  # IoU: boxes of one face in the frame and in a JPEG of a part of it


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    """As the command opens it: it reports every find."""
    options = replace(DetectorOptions.from_preset("kiosk"), confidence=0.0)
    with FaceDetector(options) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("sure", "unsure"):
        (tmp_path / name).mkdir()
    return tmp_path


def collector(detector: FaceDetector, folder: Path, most: int = 100) -> Collector:
    return Collector(
        detector,
        folder,
        source="camera 0",
        prefix="door 1/b",
        every=10.0,
        sure=0.9,
        most=most,
    )


def frame(time: float, image: Image | None = None) -> Frame:
    image = background() if image is None else image
    return Frame(image, time, round(time * 20), live=False, position_seconds=time)


def track(number: int, time: float, score: float, x: float = 100.0) -> Track:
    """A track that was found at ``time``; nothing of it is in the picture of ``background``."""
    box = (x, 80.0, x + 60.0, 160.0)
    points = Landmarks(*[(x + 30.0, 120.0)] * 5)
    return Track(
        id=number,
        face=Face(box=box, score=score, landmarks=points, confidence=score),
        confirmed=True,
        seen=True,
        first_seen=0.0,
        last_seen=time,
        hits=3,
        mean_score=score,
    )


def found_by(detector: FaceDetector, image: Image) -> list[Track]:
    faces = detector.detect(image, color="bgr")
    return [replace(track(n, 0.0, 0.0), face=face) for n, face in enumerate(faces, 1)]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / INDEX).read_text().splitlines()]


@pytest.mark.parametrize(
    ("later", "count"),
    [
        ((1, 5.0, 0.8, 100.0), 1),  # the same track
        ((1, 10.0, 0.8, 100.0), 2),  # after --every seconds
        ((1, 5.0, 0.3, 100.0), 2),  # its score changed much
        ((2, 5.0, 0.8, 110.0), 1),  # a weak find that flickers gets a new track each time
        ((2, 5.0, 0.8, 200.0), 2),  # another place
        ((2, 5.0, 0.95, 110.0), 2),  # the next person at the same place
    ],
)
def test_a_find_is_saved_again_after_a_time_or_when_it_is_another(
    later: tuple[int, float, float, float], count: int, detector: FaceDetector, folder: Path
) -> None:
    saving = collector(detector, folder)
    saved = [
        *saving.add(frame(0.0), [track(1, 0.0, 0.8)]),
        *saving.add(frame(later[1]), [track(*later)]),
    ]
    assert len(saved) == saving.sure + saving.unsure == count
    assert all(path.is_file() for path in saved)


def test_a_track_that_was_not_looked_for_in_the_frame_is_not_saved(
    detector: FaceDetector, folder: Path
) -> None:
    saving = collector(detector, folder)
    assert list(saving.add(frame(1.0), [track(1, 0.5, 0.8)])) == []
    assert not (folder / INDEX).exists()


def test_no_more_pictures_than_allowed_are_saved(detector: FaceDetector, folder: Path) -> None:
    saving = collector(detector, folder, most=2)
    tracks = [track(number, 0.0, 0.8, 70.0 * number) for number in range(1, 4)]
    assert len(list(saving.add(frame(0.0), tracks))) == 2
    assert saving.full


def test_a_find_that_the_picture_does_not_show_again_is_marked(
    detector: FaceDetector, folder: Path
) -> None:
    saving = collector(detector, folder)
    (path,) = saving.add(frame(0.0), [track(7, 0.0, 0.25)])
    (line,) = lines_of(folder)
    assert saving.not_found_again == 1
    assert (line["found_again"], line["score"], line["track"]) == (False, 0.25, 7)
    assert line["frame_box_xyxy"] == [100, 80, 160, 160]
    assert path.name == "door-1-b_00-00-00-000_track7_score0.2500.jpg"


def test_neighbours_get_pictures_in_which_each_is_the_best_face(
    detector: FaceDetector, folder: Path
) -> None:
    image = scene([(0, 40), (150, 40)])
    tracks = found_by(detector, image)
    assert len(tracks) == 2
    for path, line in zip(
        collector(detector, folder).add(frame(0.0, image), tracks), iter(tracks), strict=True
    ):
        entry = lines_of(folder)[-1]
        best = detector.detect(path)[0]
        assert tuple(entry["box_xyxy"]) == pytest.approx(best.box, abs=0.01)
        assert entry["score"] == pytest.approx(best.score, abs=1e-6)
        place = tuple(entry["frame_box_xyxy"])
        assert continuous_iou(place, line.face.box) > SAME_FACE


@pytest.mark.parametrize("corner", [(-30, 40), (0, 40), (200, 40), (80, 0), (80, 79)])
def test_a_face_at_the_edge_is_found_again_in_its_picture(
    corner: tuple[int, int], detector: FaceDetector, folder: Path
) -> None:
    image = scene([corner])
    tracks = found_by(detector, image)
    assert tracks
    for path in collector(detector, folder).add(frame(0.0, image), tracks[:1]):
        height, width = read_image(path).shape[:2]
        assert min(height, width) >= detector.options.min_face_size
        assert lines_of(folder)[-1]["found_again"]


def test_a_gray_frame_and_one_smaller_than_the_surroundings_are_taken(
    detector: FaceDetector, folder: Path
) -> None:
    image = scene([(80, 40)])[60:180, 100:200, 0]
    tracks = found_by(detector, image)
    (path,) = collector(detector, folder).add(frame(0.0, image), tracks[:1])
    assert read_image(path).shape == (120, 100, 3)


def test_a_picture_that_was_moved_keeps_its_name(detector: FaceDetector, folder: Path) -> None:
    (first,) = collector(detector, folder).add(frame(0.0), [track(1, 0.0, 0.25)])
    content = first.read_bytes()
    moved = first.replace(folder / "sure" / first.name)
    (second,) = collector(detector, folder).add(frame(0.0), [track(1, 0.0, 0.25)])
    assert second.name == moved.name.replace(".jpg", "-2.jpg")
    assert moved.read_bytes() == content


def test_a_line_that_was_cut_short_does_not_spoil_the_next(
    detector: FaceDetector, folder: Path
) -> None:
    (folder / INDEX).write_text('{"file": "su')
    list(collector(detector, folder).add(frame(0.0), [track(1, 0.0, 0.25)]))
    cut, whole = (folder / INDEX).read_text().splitlines()
    assert cut == '{"file": "su'
    assert json.loads(whole)["track"] == 1
