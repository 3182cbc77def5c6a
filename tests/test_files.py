"""Files of the commands: which images a path stands for, and outputs whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from edge_mtcnn import ImageError, OptionsError, read_image
from edge_mtcnn.files import (
    IMAGE_SUFFIXES,
    find_images,
    folders_without_images,
    read_bytes,
    resource,
    write_whole,
)
from edge_mtcnn.images.writing import write_image
from edge_mtcnn.types import ImageArray

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="links, modes and names are POSIX")

TREE = [
    "a/img1.jpg",
    "a/img2.JPG",
    "a/img10.png",
    "a/notes.txt",
    "a/deep/er/x.webp",
    "a/deep/y.tif",
    "b/img1.jpg",
    "b/[1].jpg",
    "noimage.xyz",
]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in TREE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*paths: str, recursive: bool = False) -> list[str]:
    return [path.as_posix() for path in find_images(paths, recursive=recursive)]


@pytest.fixture
def picture() -> ImageArray:
    return np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)


# Finding.


def test_a_folder_gives_its_images_with_numbers_in_order(tree: Path) -> None:
    assert found("a") == ["a/img1.jpg", "a/img2.JPG", "a/img10.png"]
    assert found("empty") == []


def test_folders_without_images_are_told_apart(tree: Path) -> None:
    (tree / "upper" / "lower").mkdir(parents=True)
    (tree / "upper" / "lower" / "x.jpg").touch()
    named = ["a", "empty", "./empty", "upper", "a/notes.txt", "gone", "*"]
    assert folders_without_images(named) == [Path("empty"), Path("upper")]
    assert folders_without_images(named, recursive=True) == [Path("empty")]


def test_recursive_gives_those_of_the_folders_below_too(tree: Path) -> None:
    assert found("a", recursive=True) == [
        "a/img1.jpg", "a/img2.JPG", "a/img10.png", "a/deep/y.tif", "a/deep/er/x.webp",
    ]  # fmt: skip


def test_a_file_that_is_named_is_taken_whatever_its_suffix_and_also_when_missing(
    tree: Path,
) -> None:
    assert found("noimage.xyz", "gone.jpg", "a/notes.txt") == [
        "noimage.xyz", "gone.jpg", "a/notes.txt",
    ]  # fmt: skip


def test_a_pattern_is_expanded_and_one_without_a_match_stays_for_its_error(tree: Path) -> None:
    assert found("*/img1.jpg") == ["a/img1.jpg", "b/img1.jpg"]
    assert found("a/img?.*") == ["a/img1.jpg", "a/img2.JPG"]
    assert found("**/y.*") == ["a/deep/y.tif"]
    assert found("[ab]") == ["a/img1.jpg", "a/img2.JPG", "a/img10.png", "b/[1].jpg", "b/img1.jpg"]
    assert found("*.gif") == ["*.gif"]


def test_a_name_that_looks_like_a_pattern_is_the_file_of_that_name(tree: Path) -> None:
    assert found("b/[1].jpg") == ["b/[1].jpg"]


def test_each_file_comes_once_where_it_was_named_first(tree: Path) -> None:
    assert found("a/img10.png", "a", "./a/../a/img1.jpg", str(tree / "a" / "img2.JPG")) == [
        "a/img10.png", "a/img1.jpg", "a/img2.JPG",
    ]  # fmt: skip


@POSIX
def test_links_are_followed_to_files_and_never_in_circles(tree: Path) -> None:
    (tree / "a" / "circle").symlink_to(tree / "a")
    (tree / "a" / "link.jpg").symlink_to(tree / "b" / "img1.jpg")
    (tree / "a" / "broken.jpg").symlink_to(tree / "nowhere.jpg")
    names = found("a", recursive=True)
    assert names.count("a/link.jpg") == 1
    assert "a/broken.jpg" in names
    assert not [name for name in names if "circle" in name]


@POSIX
def test_a_name_that_is_no_text_is_found(tree: Path) -> None:
    odd = os.fsdecode(b"empty/\xff\xfe.jpg")
    Path(odd).touch()
    assert found("empty") == [odd]


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_suffix_counts_in_either_case(suffix: str, tree: Path) -> None:
    for name in (f"x{suffix}", f"y{suffix.upper()}"):
        (tree / "empty" / name).touch()
    assert found("empty") == [f"empty/x{suffix}", f"empty/y{suffix.upper()}"]


# Writing.


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_replaces_what_was_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "report.jsonl"
    place.write_bytes(b"older and longer")
    write_whole(place, b"new")
    assert place.read_bytes() == b"new"
    assert contents(tmp_path) == ["report.jsonl"]


def test_a_reader_meanwhile_sees_the_old_or_the_new_file_whole(tmp_path: Path) -> None:
    place = tmp_path / "state.bin"
    versions = [bytes([number]) * 300_000 for number in range(20)]
    write_whole(place, versions[0])
    seen: list[bytes] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.append(place.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    for version in versions:
        write_whole(place, version)
    ended.set()
    reader.join(60)
    assert seen
    assert set(seen) <= set(versions)


class DiskFullError(OSError):
    """What a full disk raises, at a place where no test can have one."""


@pytest.mark.parametrize("step", ["replace", "chmod"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DiskFullError

    place = tmp_path / "report.jsonl"
    place.write_bytes(b"old")
    monkeypatch.setattr(f"edge_mtcnn.files.os.{step}", fail)
    with pytest.raises(DiskFullError):
        write_whole(place, b"new")
    assert place.read_bytes() == b"old"
    assert contents(tmp_path) == ["report.jsonl"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "gone" / "report.jsonl", b"new")
    assert contents(tmp_path) == []


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    with pytest.raises(OSError, match="report"):
        write_whole(tmp_path / "report", b"new")
    assert contents(tmp_path) == ["report"]


@POSIX
def test_a_link_stays_one_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.bin"
    link.symlink_to(tmp_path / "real" / "file.bin")
    write_whole(link, b"through")
    assert link.is_symlink()
    assert (tmp_path / "real" / "file.bin").read_bytes() == b"through"


@POSIX
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_others_may_read_what_the_umask_allows(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "file", b"")
        assert os.umask(mask) == mask  # as it was found
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_long_names_have_room_for_the_temporary_one(tmp_path: Path) -> None:
    name = "x" * 240 + ".bin"
    write_whole(tmp_path / name, b"1")
    assert contents(tmp_path) == [name]


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".ppm", ".tiff"])
def test_a_picture_comes_back_as_it_was(suffix: str, picture: ImageArray, tmp_path: Path) -> None:
    before = picture.copy()
    write_image(tmp_path / f"picture{suffix}", picture)
    assert np.array_equal(read_image(tmp_path / f"picture{suffix}"), picture)
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_quality_decides_size_and_likeness(suffix: str, tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 90 * 120 * 3).reshape(90, 120, 3).astype(np.uint8)
    sizes, losses = [], []
    for quality in (10, 92):
        path = tmp_path / f"{quality}{suffix}"
        write_image(path, ramp, quality=quality)
        sizes.append(path.stat().st_size)
        losses.append(np.abs(read_image(path).astype(int) - ramp).mean())
    assert sizes[0] < sizes[1]
    assert losses[1] < losses[0]
    assert losses[1] < 4


def test_gray_and_alpha_are_written_in_color(picture: ImageArray, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    write_image(path, picture[:, :, 0])
    assert np.array_equal(read_image(path), np.repeat(picture[:, :, :1], 3, axis=2))
    write_image(path, np.dstack([picture, picture[:, :, 0]]))
    assert np.array_equal(read_image(path), picture)


def test_what_is_no_path_or_no_picture_is_not_written(picture: ImageArray, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    with pytest.raises(OptionsError, match=r"path comes first.*image\(ndarray, \w*Path"):
        write_image(picture, path)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="uint8"):
        write_image(path, picture / 255)
    for quality in (0, 101, 92.5):
        with pytest.raises(OptionsError, match=r"quality must be a whole number 1\.\.100"):
            write_image(path, picture, quality=quality)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"gone.picture\.png'$"):
        write_image(tmp_path / "gone" / "picture.png", picture)
    assert contents(tmp_path) == []


@pytest.mark.parametrize("name", ["picture.xyz", "picture", "picture.txt"])
def test_a_suffix_without_an_encoder_is_an_error_with_the_file(
    name: str, picture: ImageArray, tmp_path: Path
) -> None:
    with pytest.raises(ImageError, match=f"cannot write .*{name}"):
        write_image(tmp_path / name, picture)
    assert contents(tmp_path) == []


def test_a_picture_too_large_for_its_format_is_an_error(tmp_path: Path) -> None:
    wide = np.zeros((1, 70_000, 3), dtype=np.uint8)  # JPEG ends at 65,500
    with pytest.raises(ImageError, match=r"cannot write .*wide\.jpg"):
        write_image(tmp_path / "wide.jpg", wide)
    assert contents(tmp_path) == []
    write_image(tmp_path / "wide.png", wide)
    back: Any = cv2.imread(str(tmp_path / "wide.png"))
    assert back.shape == (1, 70_000, 3)


def test_a_resource_lies_beside_the_package_in_a_checkout(project_root: Path) -> None:
    assert resource("models/manifest.json") == project_root / "models" / "manifest.json"


def test_a_resource_that_is_nowhere_is_named_inside_the_package(project_root: Path) -> None:
    assert resource("models/gone.json") == project_root / "edge_mtcnn" / "models" / "gone.json"


def test_a_resource_inside_the_package_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_mtcnn.files._PACKAGE", tmp_path / "edge_mtcnn")
    for folder in (tmp_path / "models", tmp_path / "edge_mtcnn" / "models"):
        folder.mkdir(parents=True)
        (folder / "manifest.json").touch()
        assert resource("models/manifest.json") == folder / "manifest.json"


def test_a_folder_of_that_name_beside_the_package_is_not_taken_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_mtcnn.files._PACKAGE", tmp_path / "edge_mtcnn")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.onnx").touch()
    inside = tmp_path / "edge_mtcnn" / "models" / "manifest.json"
    assert resource("models/manifest.json") == inside


def test_a_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "gone")


ZIPPED = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path.insert(0, "package.zip")
from edge_mtcnn import FaceDetector, ModelFileError, files
from edge_mtcnn.cli import main
assert "package.zip" in files.__file__
main(["service", "--print-settings"])
try:
    FaceDetector()
except ModelFileError as error:
    print(error)
else:
    main(["detect"])
"""


def test_a_package_in_a_zip_file_finds_its_models_and_its_sample(
    project_root: Path, tmp_path: Path
) -> None:
    def pack(folder: Path, below: str) -> None:
        for file in sorted(folder.rglob("*.*")):
            if file.is_file() and file.suffix != ".pyc":
                archive.write(file, f"{below}/{file.relative_to(folder).as_posix()}")

    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        pack(project_root / "edge_mtcnn", "edge_mtcnn")
        for name in ("models", "packaging", "samples"):
            pack(project_root / name, f"edge_mtcnn/{name}")
    done = subprocess.run(
        [sys.executable, "-c", ZIPPED],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *settings, last = done.stdout.splitlines()
    assert "EDGE_MTCNN_SOURCE=0" in settings
    if hasattr(onnxruntime.SessionOptions, "add_external_initializers_from_files_in_memory"):
        assert "astronaut.jpg: 512x512, 1 face" in last
    else:
        assert "unpack it, or install ONNX Runtime 1.24 or newer" in last
