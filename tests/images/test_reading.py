"""Photos that the thread that searches them reads and turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_mtcnn import FaceDetector, ImageError, Mounting, read_image
from edge_mtcnn.images.reading import PhotoFile

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SIDEWAYS = Mounting(rotate=90)


def test_a_photo_file_is_an_image_to_the_detector(default_detector: FaceDetector) -> None:
    path = SAMPLES / "astronaut.jpg"
    expected = default_detector.detect(path)
    assert len(expected) == 1
    assert default_detector.detect(PhotoFile(path, Mounting())) == expected
    assert default_detector.detect(PhotoFile(path, Mounting()), color="bgr") == expected


def test_it_is_turned_before_it_is_searched(default_detector: FaceDetector) -> None:
    path = SAMPLES / "coffee.jpg"
    turned = SIDEWAYS.applied(read_image(path))
    found = default_detector.detect(PhotoFile(path, SIDEWAYS))
    assert found.image_size == turned.shape[:2]
    assert found == default_detector.detect(turned)


def test_a_file_that_cannot_be_read_says_so(default_detector: FaceDetector) -> None:
    photo = PhotoFile(Path("missing.jpg"), Mounting())
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file"):
        default_detector.detect(photo)
