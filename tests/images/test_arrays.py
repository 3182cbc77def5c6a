"""Arrays as people pass them: the result of the sound image, or an error that says what to do.

Nothing in between: an array that cannot be an image never becomes "no face", and no array is ever
written into.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_mtcnn import FaceDetector, ImageError
from edge_mtcnn.types import ImageArray


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    """The astronaut at half size: one face, and quick to search."""
    image = cv2.imread(str(sample_path("astronaut")))
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    rgb: ImageArray = cv2.cvtColor(half, cv2.COLOR_BGR2RGB)
    return rgb


def read_only(image: ImageArray) -> ImageArray:
    copy = image.copy()
    copy.flags.writeable = False
    return copy


def every_other(image: ImageArray) -> ImageArray:
    wide = np.zeros((image.shape[0] * 2, image.shape[1] * 3, 3), dtype=np.uint8)
    wide[::2, ::3] = image
    return wide[::2, ::3]


def inside_a_larger_one(image: ImageArray) -> ImageArray:
    frame = np.full((image.shape[0] + 9, image.shape[1] + 7, 5), 99, dtype=np.uint8)
    frame[4:-5, 3:-4, 1:4] = image
    return frame[4:-5, 3:-4, 1:4]


def unaligned(image: ImageArray) -> ImageArray:
    memory = np.zeros(image.size + 1, dtype=np.uint8)[1:]
    memory[:] = image.ravel()
    return memory.reshape(image.shape)


class Subclass(np.ndarray[Any, Any]):
    """An array of a class of its own, as frames of some libraries are."""


class Convertible:
    """An image object that turns into an array, as a PIL image does."""

    mode = "RGB"

    def __init__(self, image: ImageArray) -> None:
        self._image = image

    def __array__(self, dtype: Any = None, copy: Any = None) -> ImageArray:
        return self._image


SAME_IMAGE: dict[str, Callable[[ImageArray], Any]] = {
    "Fortran order": np.asfortranarray,
    "transposed twice": lambda image: image.transpose(1, 0, 2).copy().transpose(1, 0, 2),
    "read-only": read_only,
    "not contiguous": every_other,
    "a part of a larger array": inside_a_larger_one,
    "negative strides in y": lambda image: image[::-1].copy()[::-1],
    "negative strides in x": lambda image: image[:, ::-1].copy()[:, ::-1],
    "negative strides of channels": lambda image: image[:, :, ::-1].copy()[:, :, ::-1],
    "channels first, then moved": lambda image: image.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    "not aligned": unaligned,
    "from bytes": lambda image: np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape),
    "a subclass": lambda image: image.view(Subclass),
    "an object with __array__": Convertible,
    "opaque alpha": lambda image: np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]),
    "transparent alpha": lambda image: np.dstack([image, np.zeros(image.shape[:2], np.uint8)]),
}


@pytest.mark.parametrize("change", SAME_IMAGE.values(), ids=list(SAME_IMAGE))
def test_the_same_image_in_another_memory_has_the_same_faces(
    change: Callable[[ImageArray], Any], photo: ImageArray, default_detector: FaceDetector
) -> None:
    expected = default_detector.detect(photo)
    assert len(expected) == 1
    assert default_detector.detect(change(photo)) == expected


def test_a_memory_mapped_image_has_the_same_faces(
    photo: ImageArray, default_detector: FaceDetector, tmp_path: Path
) -> None:
    np.save(tmp_path / "image.npy", photo)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    assert default_detector.detect(mapped) == default_detector.detect(photo)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bgr_frames_give_the_faces_of_their_rgb_image(
    channels: int, photo: ImageArray, default_detector: FaceDetector
) -> None:
    if channels == 1:
        gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        frame: Any = gray[:, :, None]
        rgb = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
    else:
        code = cv2.COLOR_RGB2BGR if channels == 3 else cv2.COLOR_RGB2BGRA
        frame, rgb = cv2.cvtColor(photo, code), photo
    expected = default_detector.detect(rgb)
    assert len(expected) == 1
    assert default_detector.detect(frame, color="bgr") == expected


def test_gray_images_give_the_faces_of_the_gray_picture(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    expected = default_detector.detect(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB))
    assert len(expected) == 1
    assert default_detector.detect(gray) == expected
    assert default_detector.detect(gray[:, :, None]) == expected
    assert default_detector.detect(np.asfortranarray(gray)) == expected


# What is wrong, how to make it from a sound image, and words that the message must hold.
REFUSED: dict[str, tuple[Callable[[ImageArray], Any], tuple[str, ...]]] = {
    "None": (lambda _: None, ("None", "cv2.imread")),
    "a path of no file": (lambda _: "photo.jpg", ("photo.jpg: no such file",)),
    "bytes of pixels": (lambda image: image.tobytes(), ("the image: not a JPEG",)),
    "a list": (lambda image: image[:2].tolist(), ("list", "np.array(image, dtype=np.uint8)")),
    "a number": (lambda _: 5, ("a path, the bytes of a file or a binary file", "got int")),
    "bytes of a file": (
        lambda image: np.frombuffer(cv2.imencode(".png", image)[1].tobytes(), np.uint8),
        ("bytes of a file", "image.tobytes()"),
    ),
    "a masked array": (lambda image: np.ma.masked_equal(image, 0), ("masked", "image.filled(0)")),
    "float channels first": (
        lambda image: image.transpose(2, 0, 1) / 255,
        ("channels first", "float64", "(image.transpose(1, 2, 0) * 255).round().astype(np.uint8)"),
    ),
    "float -1..1": (
        lambda image: image / 127.5 - 1,
        ("float64", "((image + 1) * 127.5).astype(np.uint8)"),
    ),
    "normalised for a network": (
        lambda image: (image / 255 - 0.4) / 0.2,
        ("below 0", "pass the image before that"),
    ),
    "16 bits in int32": (lambda image: image.astype(np.int32) * 257, ("int32", "// 257")),
    "channels first": (
        lambda image: image.transpose(2, 0, 1).copy(),
        ("channels first", "transpose(1, 2, 0)", "(3, 256, 256)"),
    ),
    "gray channels first": (
        lambda image: image.transpose(2, 0, 1)[:1].copy(),
        ("channels first", "transpose(1, 2, 0)"),
    ),
    "a batch": (lambda image: image[None], ("batch", "detect_batch", "(1, 256, 256, 3)")),
    "one row of numbers": (lambda image: image.ravel(), ("(height, width, 3)",)),
    "no dimension": (lambda _: np.zeros((), np.uint8), ("(height, width, 3)",)),
    "five dimensions": (lambda image: image[None, None], ("(height, width, 3)",)),
    "two channels": (lambda image: image[:, :, :2], ("1, 3 or 4 channels", "got 2")),
    "five channels": (lambda image: np.dstack([image, image[:, :, :2]]), ("got 5",)),
    "no channel": (lambda image: image[:, :, :0], ("got 0",)),
    "no row": (lambda image: image[:0], ("empty", "(0, 256, 3)")),
    "no column": (lambda image: image[:, :0], ("empty", "(256, 0, 3)")),
    "gray without pixels": (lambda image: image[:0, :, 0], ("empty",)),
    "float 0..1": (lambda image: image / 255, ("float64", "* 255", "astype(np.uint8)")),
    "float 0..255": (lambda image: image.astype(np.float32), ("float32", "astype(np.uint8)")),
    "half precision": (lambda image: image.astype(np.float16), ("float16", "astype(np.uint8)")),
    "NaN": (
        lambda image: np.where(image > 250, np.nan, image.astype(np.float32)),
        ("NaN", "np.nan_to_num"),
    ),
    "all NaN": (lambda image: np.full(image.shape, np.nan), ("NaN",)),
    "infinity": (lambda image: np.where(image > 250, np.inf, image), ("float64",)),
    "uint16": (lambda image: image.astype(np.uint16) * 257, ("uint16", "// 257")),
    "int64": (lambda image: image.astype(np.int64), ("int64", "astype(np.uint8)")),
    "int8": (lambda image: (image // 2).astype(np.int8), ("int8", "astype(np.uint8)")),
    "bool": (lambda image: image > 128, ("bool", "astype(np.uint8) * 255")),
    "complex": (lambda image: image.astype(complex), ("complex128",)),
    "objects": (lambda image: image.astype(object), ("object",)),
    "texts": (lambda image: image[:20, :20].astype(str), ("uint8",)),
    "records": (
        lambda _: np.zeros((30, 30), dtype=[("r", "u1"), ("g", "u1"), ("b", "u1")]),
        ("uint8",),
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_image_is_refused_with_what_to_do(
    change: Callable[[ImageArray], Any],
    words: tuple[str, ...],
    photo: ImageArray,
    default_detector: FaceDetector,
) -> None:
    with pytest.raises(ImageError) as caught:
        default_detector.detect(change(photo))
    for word in words:
        assert word in str(caught.value)


def test_the_advice_for_floats_uint16_and_channels_first_works(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    expected = default_detector.detect(photo)
    image: Any = photo / 255
    assert default_detector.detect((image * 255).round().astype(np.uint8)) == expected
    image = photo.astype(np.uint16) * 257
    assert default_detector.detect((image // 257).astype(np.uint8)) == expected
    image = photo.transpose(2, 0, 1)
    assert default_detector.detect(image.transpose(1, 2, 0)) == expected


@pytest.mark.parametrize("wrong", ["RGB", "grb", "", None, 3])
def test_an_unknown_colour_order_is_refused(
    wrong: Any, photo: ImageArray, default_detector: FaceDetector
) -> None:
    with pytest.raises(ValueError, match="color must be one of rgb, bgr"):
        default_detector.detect(photo, color=wrong)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (1, 5000), (5000, 1), (2, 2), (11, 11), (19, 19), (19, 4000)]
)
def test_images_smaller_than_any_face_have_none(
    size: tuple[int, int], default_detector: FaceDetector, reference_detector: FaceDetector
) -> None:
    for detector in (default_detector, reference_detector):
        for image in (
            np.full((*size, 3), 127, dtype=np.uint8),
            np.full(size, 127, dtype=np.uint8),
            np.full((*size, 4), 127, dtype=np.uint8),
        ):
            faces = detector.detect(image)
            assert len(faces) == 0
            assert faces.image_size == size


@pytest.mark.parametrize("preset", ["default", "reference"])
def test_no_array_is_written_into(
    preset: str, photo: ImageArray, request: pytest.FixtureRequest
) -> None:
    detector: FaceDetector = request.getfixturevalue(f"{preset}_detector")
    bgra = cv2.cvtColor(photo, cv2.COLOR_RGB2BGRA)
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    for image in (photo, photo[::-1], np.asfortranarray(photo), bgra, gray):
        before = image.copy()
        detector.detect(image)
        detector.detect(image, color="bgr")
        detector.search(image).near([[10, 10, 90, 90]])
        detector.detect_batch([image, image])
        assert (image == before).all()


def test_a_refused_array_is_not_modified_and_causes_no_warning(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    for change, _ in REFUSED.values():
        image = change(photo)
        before = image.copy() if isinstance(image, np.ndarray) else None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ImageError):
                default_detector.detect(image)
        if before is not None:
            assert image.tobytes() == before.tobytes()


def test_one_bad_image_of_a_batch_is_an_error_and_no_empty_result(
    photo: ImageArray, default_detector: FaceDetector
) -> None:
    with pytest.raises(ImageError, match="uint8"):
        default_detector.detect_batch([photo, photo / 255, photo])
    assert len(default_detector.detect_batch([photo])[0]) == 1


@pytest.mark.parametrize("pick", [..., (..., 0), (0, ..., 0)], ids=["color", "gray", "row"])
def test_one_image_in_the_place_of_a_batch_is_refused(
    pick: Any, photo: ImageArray, default_detector: FaceDetector
) -> None:
    # Its rows would pass for small gray images without faces.
    with pytest.raises(ImageError, match="detect_batch takes a sequence of images"):
        default_detector.detect_batch(photo[pick])
