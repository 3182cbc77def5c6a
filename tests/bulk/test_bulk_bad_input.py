"""What is damaged, missing or of another kind: one clear row or error, and all others done."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from bulks import failed, jpeg, photos, run, sources, table, tar, video

from edge_mtcnn import OptionsError
from edge_mtcnn.bulk import Every
from edge_mtcnn.files import write_whole

pa = pytest.importorskip("pyarrow", reason="needs the extra bulk")
pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra bulk")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (path,) = photos(tmp_path / "good", 1)
    return path


def only_failure(bad: str | Path, good: Path, tmp_path: Path, **more: Any) -> str:
    """Run a bad input before a good one; the error of the bad one, which is the only failure."""
    totals, failures = run([bad, good], tmp_path / "out", **more)
    assert str(good) in sources(tmp_path / "out")
    assert str(good) not in failed(tmp_path / "out")
    assert totals.failed == len(failures) == 1
    assert failed(tmp_path / "out") == {failures[0].source: failures[0].error}
    return failures[0].error


def test_a_missing_folder_is_one_row(good: Path, tmp_path: Path) -> None:
    assert only_failure(tmp_path / "nowhere", good, tmp_path) == "no such file"


def test_a_folder_without_inputs_is_one_row(good: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    error = only_failure(tmp_path / "empty", good, tmp_path)
    assert error.startswith("no images, videos, tar or Parquet files here; --recursive")


@pytest.mark.parametrize("name", ["list.txt", "rows.csv"])
def test_an_empty_list_is_one_row(name: str, good: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text("path\n" if name == "rows.csv" else "\n")
    assert only_failure(tmp_path / name, good, tmp_path) == "this list is empty"


@pytest.mark.parametrize("keep", [0, 10, 400, -1])
def test_a_damaged_image_is_one_row(keep: int, good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(jpeg(1)[:keep] if keep >= 0 else b"<html>not found</html>")
    error = only_failure(bad, good, tmp_path)
    assert error
    assert str(bad) not in error


def test_a_truncated_archive_gives_what_it_has_and_one_row(good: Path, tmp_path: Path) -> None:
    path = tar(tmp_path / "photos.tar", 10)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    totals, failures = run([path, good], tmp_path / "out", batch_size=3)
    whole = [row for row in table(tmp_path / "out", "images") if row["status"] == "ok"]
    assert 4 <= len(whole) <= 6
    assert str(path) in failed(tmp_path / "out")
    assert "the archive is damaged after" in failed(tmp_path / "out")[str(path)]
    assert totals.failed == len(failures) <= 2  # the archive, and the image that is cut


def test_an_archive_with_a_damaged_header_is_one_row(good: Path, tmp_path: Path) -> None:
    path = tar(tmp_path / "photos.tar", 6)
    data = bytearray(path.read_bytes())
    start = data.index(b"0003.jpg\0")
    data[start : start + 512] = b"\xff" * 512
    path.write_bytes(data)
    totals, failures = run([path, good], tmp_path / "out")
    assert totals.images == 3 + 1 + 1
    assert [failure.source for failure in failures] == [str(path)]
    assert "the archive is damaged after 3 images" in failures[0].error


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_truncated_compressed_archive_is_one_row(
    compression: str, good: Path, tmp_path: Path
) -> None:
    path = tar(tmp_path / f"photos.tar.{compression}", 10, f"w:{compression}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    run([path, good], tmp_path / "out")
    assert "the archive is damaged after" in failed(tmp_path / "out")[str(path)]


def test_an_archive_without_images_or_of_another_kind_is_one_row(
    good: Path, tmp_path: Path
) -> None:
    path = tar(tmp_path / "none.tar", 0)
    assert only_failure(path, good, tmp_path) == "no image files in this archive"
    other = tmp_path / "other.tar"
    other.write_bytes(b"no archive" * 1000)
    error = only_failure(other, good, tmp_path, overwrite=True)
    assert "the archive is damaged after 0 images" in error


@pytest.mark.parametrize(
    ("columns", "column", "error"),
    [
        ({"id": [1]}, None, "name the column of the images with --column; it has id"),
        ({"a": ["x"], "b": ["y"]}, None, "--column; it has a, b"),
        ({"id": [1]}, "id", "the column id has the type int64"),
        ({"path": ["x"]}, "paht", "there is no column paht; did you mean 'path'?; it has path"),
    ],
)
def test_a_wrong_column_is_one_row(
    columns: dict[str, Any], column: str | None, error: str, good: Path, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    assert error in only_failure(path, good, tmp_path, column=column)


def test_an_unreadable_parquet_file_is_one_row(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1" + b"\0" * 100)
    assert "cannot be read as Parquet" in only_failure(path, good, tmp_path)


def test_a_damaged_row_group_is_one_row_and_all_others_are_read(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    images = pa.table({"photo": [jpeg(number) for number in range(12)]})
    pq.write_table(images, path, row_group_size=4, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    totals, failures = run([path, good], tmp_path / "out", batch_size=4)
    assert [failure.source for failure in failures] == [f"{path}#4+4"]
    assert totals.images == 1 + 8 + 1


def test_a_video_that_breaks_off_keeps_what_was_found(good: Path, tmp_path: Path) -> None:
    path = video(tmp_path / "lobby.avi", frames=50)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    error = only_failure(path, good, tmp_path, every=Every(frames=5))
    assert "breaks off after" in error
    row = next(row for row in table(tmp_path / "out", "images") if row["source"] == str(path))
    assert row["status"] == "partial"
    assert row["faces"] == row["frames"] > 0


def test_a_file_that_is_no_video_is_one_row(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "lobby.mp4"
    path.write_bytes(b"no video" * 100)
    assert "cannot open" in only_failure(path, good, tmp_path)


def test_a_full_disk_ends_the_run_and_the_same_call_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_mtcnn.bulk import dataset

    paths = photos(tmp_path / "in", 12)
    written: list[Path] = []

    def full(path: Path, data: bytes, **more: Any) -> None:
        written.append(path)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_whole(path, data, **more)

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "write_whole", full)
        with pytest.raises(OSError, match=r"cannot write .*parquet: No space left"):
            run(paths, tmp_path / "out", batch_size=2)
    totals, failures = run(paths, tmp_path / "out", batch_size=2)
    assert (totals.images, failures) == (12, [])


def test_a_file_in_the_place_of_the_output_is_refused(good: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OptionsError, match="is a file; name a folder"):
        run([good], tmp_path / "out")
