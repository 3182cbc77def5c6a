"""What messages repeat of their input: all of a short value, the start of a long one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_mtcnn import (
    MTCNN,
    DetectorOptions,
    EdgeMTCNNError,
    FaceDetector,
    Faces,
    RuntimeOptions,
    draw_faces,
    read_image,
    write_image,
)
from edge_mtcnn.errors import brief, shown
from edge_mtcnn.images.inputs import load_image
from edge_mtcnn.video import FaceWatcher

LONGEST_MESSAGE = 3000  # characters: a page
SECONDS = 1.0  # a repr of a gigabyte would take longer


class Broken:
    """An object that cannot be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    "value",
    ["kiosk", "it's", "", 5, -0.0, float("inf"), None, True, b"\xff", (1, 2.5), ["a"], {"a": [1]}],
    ids=repr,
)
def test_short_values_are_repeated_as_they_are(value: Any) -> None:
    assert shown(value) == repr(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"\xff" * 3_000_000, ("b'\\xff", "3,000,000 bytes")),
        (bytearray(10_000), ("bytearray(b'", "10,000 bytes")),
        ("x" * 10**6, ("'xxx", "1,000,000 characters")),
        ([b"\xff" * 10**6] * 100, ("1,000,000 bytes",)),
        (list(range(10**6)), ("[0, 1, 2", "...")),
        ({number: number for number in range(10**5)}, ("0: 0", "...")),
        (10**5000, ("an integer of 16,610 bits",)),
        (np.zeros((500, 500, 3), np.uint8), ("array(", "...")),
        (Broken(), ("Broken",)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_long_values_are_cut(value: Any, words: tuple[str, ...]) -> None:
    started = time.perf_counter()
    text = shown(value)
    assert time.perf_counter() - started < SECONDS
    assert len(text) <= 400
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_long_path_keeps_its_ends() -> None:
    assert brief("/photos/a.jpg") == "/photos/a.jpg"
    assert brief("x" * 1000) == "x" * 1000
    text = brief("/photos/" + "x" * 10**6 + "/a.jpg")
    assert len(text) <= 1000
    assert text.startswith("/photos/x")
    assert "..." in text
    assert text.endswith("x/a.jpg")


def calls(huge: Any) -> dict[str, Callable[[], Any]]:
    """What a user calls with something huge by mistake."""
    none = Faces.empty((9, 9))
    image = np.zeros((9, 9, 3), np.uint8)
    return {
        "read_image": lambda: read_image(huge),
        "FaceDetector": lambda: FaceDetector(huge),
        "preset": lambda: FaceDetector(preset=huge),
        "min_face_size": lambda: DetectorOptions(min_face_size=huge),
        "confidence": lambda: DetectorOptions(confidence=huge),
        "mirror": lambda: DetectorOptions(mirror=huge),
        "nms": lambda: DetectorOptions(nms=huge),
        "resampling": lambda: DetectorOptions(resampling=huge),
        "from_preset": lambda: DetectorOptions.from_preset(huge),
        "device": lambda: RuntimeOptions(device=huge),
        "threads": lambda: RuntimeOptions(threads=huge),
        "from_dict": lambda: DetectorOptions.from_dict({"min_face_size": huge}),
        "weights_file": lambda: MTCNN(weights_file=huge),
        "color of draw_faces": lambda: draw_faces(image, none, color=huge),
        "detect of a dict": lambda: load_image({"a": huge}),
        "form": lambda: FaceDetector(runtime=RuntimeOptions(form=huge)),
        "path of write_image": lambda: write_image(huge, image),
    }


@pytest.mark.parametrize(
    "call",
    [
        lambda path: FaceDetector(config=path),
        lambda path: FaceDetector(calibration=path),
        lambda path: FaceDetector(runtime=RuntimeOptions(models=path)),
        FaceWatcher,
        read_image,
    ],
)
def test_no_message_repeats_a_whole_path(call: Callable[[str], Any]) -> None:
    with pytest.raises(EdgeMTCNNError) as caught:
        call("x" * 3_000_000)
    assert "..." in str(caught.value)
    assert len(str(caught.value)) <= LONGEST_MESSAGE


@pytest.mark.parametrize("huge", [b"\xff" * 3_000_000, "x" * 3_000_000], ids=["bytes", "text"])
@pytest.mark.parametrize("name", calls(None))
def test_no_message_repeats_a_whole_file(name: str, huge: Any) -> None:
    with pytest.raises(EdgeMTCNNError) as caught:
        calls(huge)[name]()
    assert len(str(caught.value)) <= LONGEST_MESSAGE
