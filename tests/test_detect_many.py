"""``FaceDetector.detect_many``: order, bounded memory, errors of one image, and an early end."""

from __future__ import annotations

import gc
import io
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtcnn import (
    DetectorOptions,
    EdgeMTCNNError,
    FaceDetector,
    Faces,
    ImageError,
    OptionsError,
    RuntimeOptions,
    read_image,
)
from edge_mtcnn.types import ImageArray


def stream_threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("edge-mtcnn-stream")}


@pytest.fixture(scope="module")
def path(sample_path: Callable[[str], Path]) -> Path:
    return sample_path("astronaut")


@pytest.fixture(scope="module")
def photo(path: Path) -> ImageArray:
    return read_image(path)


class Counted:
    """Images without content, which counts how many were taken."""

    def __init__(self, count: int) -> None:
        self.taken = 0
        self._count = count

    def __iter__(self) -> Iterator[ImageArray]:
        for _ in range(self._count):
            self.taken += 1
            yield np.zeros((40, 40, 3), np.uint8)


@pytest.mark.parametrize(("threads", "ahead"), [(1, None), (2, 1), (5, 50)])
def test_results_are_those_of_detect_in_order_of_any_kind_and_size(
    threads: int, ahead: int | None, path: Path, photo: ImageArray
) -> None:
    images = [photo, str(path), photo[:40, :40], path.read_bytes(), path, photo[:300, :, 0]]
    with FaceDetector(runtime=RuntimeOptions(threads=threads)) as detector:
        expected = [detector.detect(image) for image in images]
        assert list(detector.detect_many(images, ahead=ahead)) == expected
        assert list(detector.detect_many((image for image in images), ahead=ahead)) == expected
        assert list(detector.detect_many([], ahead=ahead)) == []
    assert sum(map(len, expected)) == 5
    assert not stream_threads()


def test_it_takes_the_arguments_of_detect(
    default_detector: FaceDetector, photo: ImageArray
) -> None:
    found = default_detector.detect_many(
        [photo[:, :, ::-1]] * 3,
        options=DetectorOptions(min_face_size=40),
        color="bgr",
        timings=True,
    )
    expected = default_detector.detect(photo, options=DetectorOptions(min_face_size=40))
    for faces in found:
        assert faces == expected
        assert isinstance(faces, Faces)
        assert faces.timings is not None


def test_an_error_stands_in_the_place_of_its_image_and_the_others_are_searched(
    default_detector: FaceDetector, photo: ImageArray, path: Path
) -> None:
    cut = io.BytesIO(path.read_bytes()[:20_000])
    images: list[Any] = ["gone.jpg", photo, photo / 255, cut, None, photo]
    found = list(default_detector.detect_many(images))
    assert [type(result) for result in found] == [
        *(ImageError, Faces, ImageError, ImageError, ImageError, Faces)
    ]
    assert str(found[0]) == "gone.jpg: no such file"
    for image, result in zip(images, found, strict=True):
        if isinstance(result, ImageError):
            if isinstance(image, io.BytesIO):
                image.seek(0)
            with pytest.raises(ImageError) as alone:
                default_detector.detect(image)
            assert str(result) == str(alone.value)
            # Frames of a traceback would keep the image in memory.
            assert (result.__traceback__, result.__context__) == (None, None)


def test_too_little_memory_for_one_image_is_an_error_of_that_image(
    default_detector: FaceDetector, photo: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = default_detector.search

    def scarce(image: Any, **how: Any) -> Any:
        if image.shape == (40, 40, 3):
            raise MemoryError
        return search(image, **how)

    monkeypatch.setattr(default_detector, "search", scarce)
    first, second = default_detector.detect_many([photo[:40, :40], photo])
    assert isinstance(first, ImageError)
    assert "not enough memory" in str(first)
    assert isinstance(second, Faces)


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_no_more_than_ahead_images_are_held_beyond_the_one_yielded(
    default_detector: FaceDetector, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Counted(40)
    detect, searched, most = default_detector.detect, [0], [0]

    def counting(image: Any, **how: Any) -> Faces:
        most[0] = max(most[0], images.taken - searched[0])
        found = detect(image, **how)
        searched[0] += 1
        return found

    monkeypatch.setattr(default_detector, "detect", counting)
    assert len(list(default_detector.detect_many(images, ahead=ahead))) == 40
    # Threads count an image as searched a moment before or after it counts as finished.
    assert 1 <= most[0] <= ahead + 1 + default_detector.info()["threads"]


def test_a_slow_caller_lets_no_more_than_ahead_images_be_taken(
    default_detector: FaceDetector,
) -> None:
    images = Counted(12)
    for done, _ in enumerate(default_detector.detect_many(images, ahead=3), start=1):
        time.sleep(0.1)  # meanwhile the next ones end
        # While the first took its time, others may have ended and made room for more.
        assert images.taken <= done + (3 if done > 6 else 10)
    assert done == 12


def test_an_endless_generator_is_searched_without_keeping_its_images(
    default_detector: FaceDetector,
) -> None:
    alive: list[weakref.ref[ImageArray]] = []

    def endless() -> Iterator[ImageArray]:
        while True:
            image = np.zeros((60, 60, 3), np.uint8)
            alive.append(weakref.ref(image))
            yield image
            del image

    held = 0
    many = default_detector.detect_many(endless(), ahead=3)
    for _ in range(30):
        next(many)
        held = max(held, sum(image() is not None for image in alive))
    many.close()
    assert held <= 4 + 1, "the images ahead, and one that a thread may not have let go of yet"
    gc.collect()
    assert not any(image() is not None for image in alive)


def test_an_exception_of_the_caller_comes_after_the_results_of_the_images_before_it(
    default_detector: FaceDetector, photo: ImageArray
) -> None:
    def images() -> Iterator[ImageArray]:
        yield from [photo] * 3
        raise ConnectionResetError("the cable is out")

    many = default_detector.detect_many(images(), ahead=8)
    found = [next(many) for _ in range(3)]
    assert found == [default_detector.detect(photo)] * 3
    with pytest.raises(ConnectionResetError, match="the cable is out"):
        next(many)
    assert list(many) == []
    assert not stream_threads()


def test_a_result_that_is_there_does_not_wait_for_a_slow_image(
    default_detector: FaceDetector,
) -> None:
    first_was_used = threading.Event()

    def images() -> Iterator[ImageArray]:
        yield np.zeros((40, 40, 3), np.uint8)
        for _ in range(200):  # the second comes when the first is done, but not much later
            if first_was_used.wait(0.05):
                break
            yield np.zeros((40, 40, 3), np.uint8)

    many = default_detector.detect_many(images(), ahead=1000)
    next(many)
    first_was_used.set()
    assert len(list(many)) < 100


AT_MOST = 1 + 5 + 256
"""Images taken when the first result comes: that one, those that are held, and those whose results
wait already, as images this small are searched at once."""


def test_closing_it_ends_its_threads_and_leaves_out_what_was_not_started(
    default_detector: FaceDetector,
) -> None:
    images = Counted(1000)
    many = default_detector.detect_many(images, ahead=5)
    next(many)
    assert stream_threads()
    many.close()
    assert not stream_threads()
    taken = images.taken
    assert taken <= AT_MOST
    for _ in default_detector.detect_many(images, ahead=5):
        break  # nothing refers to the generator any longer
    assert not stream_threads()
    assert images.taken <= taken + AT_MOST


def test_two_at_once_and_a_detection_beside_them(
    default_detector: FaceDetector, photo: ImageArray
) -> None:
    expected = default_detector.detect(photo)
    both = zip(
        default_detector.detect_many([photo] * 4),
        default_detector.detect_many([photo] * 4),
        strict=True,
    )
    for first, second in both:
        assert first == second == default_detector.detect(photo) == expected


def test_a_detector_that_is_closed_meanwhile_is_an_error_and_not_a_result(
    photo: ImageArray,
) -> None:
    with FaceDetector() as detector:
        many = detector.detect_many([photo] * 50, ahead=2)
        assert isinstance(next(many), Faces)
    with pytest.raises(EdgeMTCNNError, match="closed") as raised:
        list(many)
    assert not isinstance(raised.value, ImageError)
    assert not stream_threads()


@pytest.mark.parametrize(
    ("images", "advice"),
    [
        (np.zeros((40, 40, 3), np.uint8), "use detect for one image"),
        ("photo.jpg", "use detect, or"),
        (b"\xff\xd8", "use detect, or"),
        ({"a": 1}, r"list\(images.values\(\)\)"),
        (5, "use detect for one image"),
    ],
    ids=["array", "path", "bytes", "dict", "number"],
)
def test_one_image_is_refused_at_the_call(
    default_detector: FaceDetector, images: Any, advice: str
) -> None:
    with pytest.raises(ImageError, match=f"detect_many takes a sequence of images; .*{advice}"):
        default_detector.detect_many(images)


def test_wrong_arguments_are_refused_before_an_image_is_taken(
    default_detector: FaceDetector,
) -> None:
    images = Counted(3)
    with pytest.raises(OptionsError, match="ahead must be a whole number at least 1; got 0"):
        default_detector.detect_many(images, ahead=0)
    with pytest.raises(OptionsError, match="color"):
        default_detector.detect_many(images, color="hsv")  # type: ignore[arg-type]
    assert images.taken == 0
