"""What people pass as an image besides arrays: the faces of the image, or advice that works."""

from __future__ import annotations

import io
import mmap
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from edge_mtcnn import (
    FaceDetector,
    Faces,
    ImageError,
    OptionsError,
    align_faces,
    crop_faces,
    decode_image,
    draw_faces,
    read_image,
    write_image,
)
from edge_mtcnn.types import ImageArray


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, sample_path: Callable[[str], Path]) -> Path:
    """The astronaut at half size, without loss."""
    with Image.open(sample_path("astronaut")) as whole:
        path = tmp_path_factory.mktemp("inputs") / "astronaut.png"
        whole.resize((256, 256)).save(path)
    return path


@pytest.fixture(scope="module")
def photo(file: Path) -> ImageArray:
    return read_image(file)


@pytest.fixture(scope="module")
def expected(photo: ImageArray, default_detector: FaceDetector) -> Faces:
    faces = default_detector.detect(photo)
    assert len(faces) == 1
    return faces


class OnlyRead:
    """The least that a file can be, as the answer of a web server is."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        return self._data


class BytesPath:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> bytes:
        return os.fsencode(self._path)


def memory_map(file: Path) -> mmap.mmap:
    with file.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def temporary(file: Path) -> Any:
    stream = tempfile.TemporaryFile()  # noqa: SIM115 - its name is a number
    stream.write(file.read_bytes())
    stream.seek(0)
    return stream


def zipped(file: Path) -> Any:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.write(file, "photo.png")
    return zipfile.ZipFile(archive).open("photo.png")


ENCODED: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "Path": lambda file: file,
    "PathLike of bytes": BytesPath,
    "DirEntry": lambda file: next(iter(os.scandir(file.parent))),
    "bytes": Path.read_bytes,
    "bytearray": lambda file: bytearray(file.read_bytes()),
    "memoryview": lambda file: memoryview(file.read_bytes()),
    "part of a memoryview": lambda file: memoryview(b"x" + file.read_bytes())[1:],
    "open file": lambda file: file.open("rb"),
    "unbuffered file": lambda file: file.open("rb", buffering=0),
    "BytesIO": lambda file: io.BytesIO(file.read_bytes()),
    "temporary file": temporary,
    "file in a zip": zipped,
    "mmap": memory_map,
    "object with read": lambda file: OnlyRead(file.read_bytes()),
}


@pytest.mark.parametrize("make", ENCODED.values(), ids=list(ENCODED))
@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # files that the caller closes
def test_an_encoded_image_has_the_faces_of_its_array_whatever_the_color(
    make: Callable[[Path], Any],
    color: Any,
    file: Path,
    photo: ImageArray,
    expected: Faces,
    default_detector: FaceDetector,
) -> None:
    assert default_detector.detect(make(file), color=color) == expected
    assert default_detector.search(make(file), color=color).everywhere() == expected
    assert np.array_equal(read_image(make(file)), photo)


def test_a_file_is_read_from_where_it_stands_and_left_open(file: Path, photo: ImageArray) -> None:
    stream = io.BytesIO(b"head" + file.read_bytes())
    stream.seek(4)
    assert np.array_equal(read_image(stream), photo)
    assert not stream.closed


def test_a_batch_mixes_arrays_paths_bytes_and_files(
    file: Path, photo: ImageArray, expected: Faces, default_detector: FaceDetector
) -> None:
    frame = photo[:, :, ::-1]
    images = [frame, str(file), file, file.read_bytes(), io.BytesIO(file.read_bytes())]
    assert default_detector.detect_batch(images, color="bgr") == [expected] * 5
    assert default_detector.detect_batch(str(file) for _ in range(2)) == [expected] * 2
    assert default_detector.detect_batch(np.stack([photo, photo])) == [expected] * 2
    assert default_detector.detect_batch([]) == []


def test_pictures_and_crops_are_made_from_files_too(
    file: Path, photo: ImageArray, expected: Faces, tmp_path: Path
) -> None:
    data = file.read_bytes()
    assert np.array_equal(draw_faces(file, expected), draw_faces(photo, expected))
    assert np.array_equal(align_faces(data, expected), align_faces(photo, expected))
    assert np.array_equal(crop_faces(str(file), expected)[0], crop_faces(photo, expected)[0])
    write_image(tmp_path / "copy.png", io.BytesIO(data))
    assert np.array_equal(read_image(tmp_path / "copy.png"), photo)


def test_one_bad_image_of_a_batch_is_named(
    file: Path, photo: ImageArray, default_detector: FaceDetector
) -> None:
    with pytest.raises(ImageError, match=r"images\[1\]: gone\.jpg: no such file"):
        default_detector.detect_batch([photo, "gone.jpg"])
    with pytest.raises(ImageError, match=r"images\[2\]: .*uint8; got float64"):
        default_detector.detect_batch([file, photo, photo / 255])


@pytest.mark.parametrize(
    ("make", "word"),
    {
        "str": (str, "one str: use detect, or"),
        "path": (lambda file: file, "Path: use detect, or"),
        "bytes": (Path.read_bytes, "one bytes"),
        "file": (lambda file: io.BytesIO(file.read_bytes()), "one BytesIO"),
        "dict": (lambda file: {"a": file}, r"list\(images.values\(\)\)"),
        "PIL": (Image.open, "use detect for one image"),
        "None": (lambda _: None, "NoneType"),
        "number": (lambda _: 3, "int"),
    }.values(),
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_one_image_in_the_place_of_several_is_refused(
    make: Callable[[Path], Any], word: str, file: Path, default_detector: FaceDetector
) -> None:
    with pytest.raises(ImageError, match=f"detect_batch takes a sequence of images; got .*{word}"):
        default_detector.detect_batch(make(file))


# What is no image: how to make it, and words that the message must hold.


class Named:
    """An object of a class and package that is not installed here."""

    def __init__(self, package: str, name: str, error: Exception | None = None) -> None:
        self._error = error
        members: dict[str, Any] = {"__module__": package, "dtype": "uint8"}
        if error is not None:
            members["__array__"] = self._refuse
        self.value = type(name, (), members)()

    def _refuse(self, *_: Any, **__: Any) -> Any:
        assert self._error is not None
        raise self._error


class Asynchronous:
    async def read(self) -> bytes:
        return b""


class Answer:
    """A file whose ``read`` gives something else."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def read(self) -> Any:
        return self._answer


def umat(image: Any) -> Any:
    """OpenCV's array for graphics cards; its stubs do not know this way to make one."""
    return cv2.UMat(image)


def exhausted(file: Path) -> io.BytesIO:
    stream = io.BytesIO(file.read_bytes())
    stream.read()
    return stream


def closed(file: Path) -> Any:
    with file.open("rb") as stream:
        return stream


def palette(file: Path, mode: str) -> Image.Image:
    with Image.open(file) as image:
        return image.convert(mode)


def damaged_in_pil(file: Path) -> Image.Image:
    return Image.open(io.BytesIO(file.read_bytes()[:2000]))


REFUSED: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "UMat": (lambda file: umat(read_image(file)), ("UMat", "image.get()")),
    "tensor of a device": (
        lambda _: Named("torch", "Tensor", TypeError("can't convert cuda:0")).value,
        ("can't convert cuda:0", "image.detach().cpu().numpy()"),
    ),
    "CuPy": (
        lambda _: Named("cupy._core.core", "ndarray", TypeError("implicit")).value,
        ("implicit", "image.get()"),
    ),
    "TensorFlow": (
        lambda _: Named("tensorflow.python", "Tensor", NotImplementedError("symbolic")).value,
        ("symbolic", "image.numpy()"),
    ),
    "PyAV": (lambda _: Named("av.video", "VideoFrame").value, ("to_ndarray(format='rgb24')",)),
    "answer of requests": (lambda _: Named("requests", "Response").value, ("image.content",)),
    "class": (lambda _: io.BytesIO, ("got type",)),
    "nested lists": (
        lambda file: read_image(file)[:9, :9].tolist(),
        ("list", "np.array(image, dtype=np.uint8)"),
    ),
    "list of images": (lambda file: [read_image(file)], ("list", "detect_batch")),
    "list of paths": (lambda file: [str(file)], ("list", "detect_batch")),
    "empty list": (lambda _: [], ("list, an empty one",)),
    "generator": (lambda _: (number for number in range(3)), ("generator", "detect_batch")),
    "VideoCapture.read": (
        lambda file: (True, read_image(file)),
        ("(ok, frame)", "ok, frame = capture.read()"),
    ),
    "VideoCapture": (lambda _: cv2.VideoCapture(), ("VideoCapture", "capture.read()")),
    "datasets": (lambda _: {"bytes": b"..", "path": None}, ("dict", "image['bytes']")),
    "datasets, path": (lambda _: {"bytes": None, "path": "a.jpg"}, ("dict", "image['path']")),
    "dict of an array": (lambda _: {"image": np.zeros((9, 9))}, ("dict", "image['image']")),
    "other dict": (lambda _: {}, ("dict", "pass the image in it")),
    "palette of PIL": (lambda file: palette(file, "P"), ("mode P", "convert('RGB')")),
    "CMYK of PIL": (lambda file: palette(file, "CMYK"), ("mode CMYK", "convert('RGB')")),
    "16 bits of PIL": (
        lambda _: Image.new("I;16", (9, 9), 4000),
        ("uint16", "(np.asarray(image) // 257).astype(np.uint8)"),
    ),
    "32 bits of PIL": (
        lambda _: Image.new("I", (9, 9), 4000),
        ("int32", "(np.asarray(image) // 257).astype(np.uint8)"),
    ),
    "floats of PIL": (
        lambda _: Image.new("F", (9, 9), 0.5),
        ("float32", "(np.asarray(image) * 255).round()"),
    ),
    "damaged file in PIL": (damaged_in_pil, ("does not convert", "truncated")),
    "empty bytes": (lambda _: b"", ("no bytes",)),
    "path as bytes": (os.fsencode, ("content of a file", "os.fsdecode")),
    "empty path": (lambda _: "", ("path is empty",)),
    "folder": (lambda file: file.parent, ("a folder", "one image")),
    "home": (lambda _: "~/photo.jpg", ("~/photo.jpg: no such file", "os.path.expanduser")),
    "base64": (lambda _: "iVBORw0KGgoAAAA" * 500, ("base64.b64decode(text)",)),
    "short base64 as bytes": (lambda _: b"/9j/4AAQSkZJRgABAQ", ("base64.b64decode",)),
    "data URL": (lambda _: "data:image/png;base64,iVBORw0", ("base64.b64decode(text.partition",)),
    "file in text mode": (lambda file: file.open(), ("text mode", "open(path, 'rb')")),
    "StringIO": (lambda _: io.StringIO("x"), ("text mode",)),
    "codec reader": (lambda _: Answer("text"), ("must give bytes; got str", "'rb'")),
    "exhausted file": (exhausted, ("nothing to read", "file.seek(0)")),
    "closed file": (closed, ("astronaut.png: cannot be read: the file is closed",)),
    "asynchronous file": (lambda _: Asynchronous(), ("await file.read()",)),
    "a file of nothing": (lambda _: Answer(None), ("must give bytes; got NoneType",)),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=list(REFUSED))
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_no_image_is_refused_with_advice_for_its_type(
    make: Callable[[Path], Any], words: tuple[str, ...], file: Path, default_detector: FaceDetector
) -> None:
    with pytest.raises(ImageError) as caught:
        default_detector.detect(make(file))
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("https://example.org/a.jpg", "downloads nothing"),
        ("http:/example.org/a.jpg", "downloads nothing"),  # what Path makes of it
        ("s3://photos/a.jpg", "downloads nothing"),
        ("rtsp://camera/1", "FaceWatcher"),
        ("file:///photos/a.jpg", "pass its path alone"),
    ],
)
def test_an_address_is_said_to_be_one(address: str, word: str) -> None:
    for form in (address, Path(address)):
        with pytest.raises(ImageError, match=f"^{form}: a URL.*{word}"):
            read_image(form)
    with pytest.raises(ImageError, match="no such file"):
        read_image("C:/photos/a.jpg")


def test_the_advice_for_converted_objects_works(
    photo: ImageArray, expected: Faces, default_detector: FaceDetector
) -> None:
    image: Any = umat(photo)
    assert default_detector.detect(image.get()) == expected
    image = photo.tolist()
    assert default_detector.detect(np.array(image, dtype=np.uint8)) == expected
    for mode in ("P", "CMYK", "YCbCr", "HSV", "LA", "1", "RGBA"):
        image = Image.fromarray(photo).convert(mode)
        default_detector.detect(image if mode == "RGBA" else image.convert("RGB"))
    image = Image.fromarray(photo[:, :, 1].astype(np.uint16) * 257)
    gray = default_detector.detect(photo[:, :, 1].copy())
    assert default_detector.detect((np.asarray(image) // 257).astype(np.uint8)) == gray


def test_the_advice_for_tensors_works(
    photo: ImageArray, expected: Faces, default_detector: FaceDetector
) -> None:
    torch = pytest.importorskip("torch")
    image: Any = torch.tensor(photo)
    assert default_detector.detect(image) == expected
    image = torch.tensor(photo.transpose(2, 0, 1)) / 255
    for tensor in (image, image.requires_grad_(), image.detach().bfloat16()):
        with pytest.raises(ImageError) as caught:
            default_detector.detect(tensor)
        assert "image.detach().cpu()" in str(caught.value)
    array = image.detach().cpu().numpy()
    image = (array.transpose(1, 2, 0) * 255).round().astype(np.uint8)
    assert default_detector.detect(image) == expected


def test_decode_image_takes_bytes_and_names_them(file: Path, photo: ImageArray) -> None:
    data = file.read_bytes()
    for form in (data, bytearray(data), memoryview(data)):
        assert np.array_equal(decode_image(form), photo)
    with pytest.raises(ImageError, match=r"^upload 7: the file is cut short"):
        decode_image(data[:-20], name="upload 7")
    for wrong in (str(file), file, photo, None, 5):
        with pytest.raises(ImageError, match="decode_image takes the bytes of a file; got"):
            decode_image(wrong)  # type: ignore[arg-type]


def test_read_image_does_not_take_arrays(photo: ImageArray) -> None:
    with pytest.raises(ImageError, match="got ndarray: it is an array already"):
        read_image(photo)
    with pytest.raises(ImageError, match=r"got NoneType$"):
        read_image(None)
    with pytest.raises(OptionsError, match="max_pixels"):
        read_image(b"x", max_pixels=0)


def test_memory_with_shape_is_an_array(
    photo: ImageArray, expected: Faces, default_detector: FaceDetector
) -> None:
    image: Any = photo
    assert default_detector.detect(memoryview(image)) == expected
