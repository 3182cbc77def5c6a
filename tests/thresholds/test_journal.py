"""The journal of detections, and many images: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtcnn import DetectorOptions, FaceDetector, Faces, read_image
from edge_mtcnn.thresholds import Failure, LabelledImage
from edge_mtcnn.thresholds.detections import Measurements, measure
from edge_mtcnn.thresholds.journal import Journal
from edge_mtcnn.thresholds.labels.images import with_face

SETUP = {"version": "1", "options": {"min_face_size": 40, "nms": (0.7, 0.7, 0.7)}}


def faces(count: int, seed: int = 0) -> Faces:
    random = np.random.default_rng(seed)
    return Faces(
        random.normal(100, 50, (count, 4)),
        random.random(count),
        random.normal(100, 50, (count, 5, 2)),
        confidences=random.random(count),
        image_size=(480, 640),
    )


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"some bytes")
    return path


@pytest.mark.parametrize("count", [0, 1, 7])
def test_faces_come_back_bit_for_bit(count: int, photo: Path, tmp_path: Path) -> None:
    given = faces(count)
    with Journal(tmp_path / "journal", SETUP) as journal:
        journal.add(photo, given)
    with Journal(tmp_path / "journal", SETUP) as journal:
        found = journal.get(photo)
    assert found is not None
    assert found.image_size == (480, 640)
    for name in ("boxes", "scores", "landmarks", "confidences"):
        here, there = getattr(given, name), getattr(found, name)
        assert here.dtype == there.dtype
        assert here.tobytes() == there.tobytes()


def test_an_image_that_changed_since_is_not_known(photo: Path, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", SETUP) as journal:
        journal.add(photo, faces(1))
    os.utime(photo, ns=(1, 1))
    with Journal(tmp_path / "journal", SETUP) as journal:
        assert len(journal) == 1
        assert journal.get(photo) is None
        photo.unlink()
        assert journal.get(photo) is None


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_line_cut_off_by_a_power_failure_is_dropped_and_the_rest_kept(
    cut: int, tmp_path: Path
) -> None:
    photos = [tmp_path / f"{n}.jpg" for n in range(3)]
    file = tmp_path / "journal"
    with Journal(file, SETUP) as journal:
        for number, path in enumerate(photos):
            path.write_bytes(b"x")
            journal.add(path, faces(2, number))
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    with Journal(file, SETUP) as journal:
        assert journal.notice is None
        assert [journal.get(path) is not None for path in photos] == [True, True, False]
        journal.add(photos[2], faces(2, 2))
    assert file.read_bytes() == whole


def test_damage_in_the_middle_costs_one_detection(tmp_path: Path) -> None:
    photos = [tmp_path / f"{n}.jpg" for n in range(3)]
    file = tmp_path / "journal"
    with Journal(file, SETUP) as journal:
        for path in photos:
            path.write_bytes(b"x")
            journal.add(path, faces(1))
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = b"\x00" * 20 + b"\n"
    file.write_bytes(b"".join(lines))
    with Journal(file, SETUP) as journal:
        assert [journal.get(path) is not None for path in photos] == [True, False, True]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"my notes\n", "is not a readable journal; starting again"),
        (b'{"edge-mtcnn journal":99,"setup":{}}\n', "is not a readable journal"),
        (b'{"edge-mtcnn journal":1,"setup":3}\n', "was made with another version"),
        (
            b'{"edge-mtcnn journal":1,"setup":{"version":"1","options":{"min_face_size":20}}}\n',
            "was made with min_face_size 20 instead of 40, nms None instead of",
        ),
    ],
)
def test_what_does_not_count_is_reported_and_replaced(
    content: bytes, says: str, photo: Path, tmp_path: Path
) -> None:
    file = tmp_path / "journal"
    file.write_bytes(content)
    with Journal(file, SETUP) as journal:
        assert says in (journal.notice or "")
        assert len(journal) == 0
        journal.add(photo, faces(1))
    with Journal(file, SETUP) as journal:
        assert journal.notice is None
        assert len(journal) == 1


# The detector over many images.


class Heard:
    """A listener that remembers, and may stop the run like Ctrl-C."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.calls: list[tuple[str, str | None]] = []
        self._stop_after = stop_after

    def __call__(self, image: LabelledImage, failure: Failure | None) -> None:
        self.calls.append((image.name, failure.reason if failure else None))
        if len(self.calls) == self._stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def images(tmp_path: Path, sample_path: Callable[[str], Path]) -> list[LabelledImage]:
    folder = tmp_path / "images"
    folder.mkdir()
    made = []
    for name in ("astronaut", "chelsea", "grace_hopper", "coffee"):
        shutil.copy(sample_path(name), folder / f"{name}.jpg")
        made.append(with_face(folder / f"{name}.jpg", name))
    return made


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    with FaceDetector(DetectorOptions(min_face_size=60)) as made:
        yield made


def same(first: Measurements, second: Measurements) -> bool:
    pairs = zip(first.done, second.done, strict=True)
    return first.provenance == second.provenance and all(
        a.image.name == b.image.name and a.faces.scores.tobytes() == b.faces.scores.tobytes()
        for a, b in pairs
    )


def test_an_interrupted_run_goes_on_where_it_stopped_with_the_same_result(
    detector: FaceDetector, images: list[LabelledImage], tmp_path: Path
) -> None:
    whole = measure(detector, images)
    journal = tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        measure(detector, images, journal=journal, listener=Heard(stop_after=2))
    asked: list[Path] = []
    told: list[str] = []

    class Counting(FaceDetector):
        def detect(self, image: Any, **options: Any) -> Faces:
            asked.append(image.path)
            return super().detect(image, **options)

    with Counting(DetectorOptions(min_face_size=60)) as counting:
        resumed = measure(counting, images, journal=journal, notify=told.append)
    assert sorted(asked) == sorted(image.path for image in images[2:])
    assert told == [f"2 of 4 images are known from {journal}"]
    assert same(whole, resumed)


def test_an_unreadable_image_fails_alone_and_is_tried_again_next_time(
    detector: FaceDetector, images: list[LabelledImage], tmp_path: Path
) -> None:
    good = images[1].path.read_bytes()
    images[1].path.write_bytes(b"no image")
    images[2].path.unlink()
    heard = Heard()
    found = measure(detector, images, journal=tmp_path / "journal", listener=heard)
    assert [measured.image.name for measured in found.done] == ["astronaut", "coffee"]
    assert [failure.name for failure in found.failures] == ["chelsea", "grace_hopper"]
    assert [name for name, _ in heard.calls] == [image.name for image in images]
    assert "no such file" in found.failures[1].reason
    images[1].path.write_bytes(good)
    found = measure(detector, images, journal=tmp_path / "journal")
    assert [failure.name for failure in found.failures] == ["grace_hopper"]


def test_every_find_counts_whatever_the_confidence_of_the_detector_is(
    detector: FaceDetector, images: list[LabelledImage]
) -> None:
    with FaceDetector(replace(detector.options, confidence=1.0)) as hiding:
        found = measure(hiding, images)
        assert not any(len(hiding.detect(read_image(image.path))) for image in images)
    expected = measure(detector, images)
    assert [done.faces for done in found.done] == [done.faces for done in expected.done]
    assert any(len(done.faces) for done in found.done)
    assert found.provenance == expected.provenance


def test_labels_of_another_size_than_the_upright_image_are_a_failure(
    detector: FaceDetector, images: list[LabelledImage]
) -> None:
    turned = LabelledImage.of_boxes(images[0].path, "x", [[1, 2, 3, 4]], size=(100, 200))
    found = measure(detector, [turned])
    assert "annotated as 200x100, but the upright image is 512x512" in found.failures[0].reason


def test_a_journal_is_read_line_by_line_and_not_held_as_text(tmp_path: Path) -> None:
    file, count = tmp_path / "journal", 60
    with Journal(file, SETUP) as journal:
        for number in range(count):
            path = tmp_path / f"{number}.jpg"
            path.write_bytes(b"some bytes")
            journal.add(path, faces(1000, seed=number))
    tracemalloc.start()
    with Journal(file, SETUP) as journal:
        assert len(journal) == count
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < file.stat().st_size / 2
