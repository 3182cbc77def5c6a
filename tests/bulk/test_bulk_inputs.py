"""What may be an input: folders, patterns, lists, archives, tables and videos."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from bulks import failed, jpeg, names, photos, rows, run, sources, table, tar, video

from edge_mtcnn import FaceDetector
from edge_mtcnn.bulk import Every

pa = pytest.importorskip("pyarrow", reason="needs the extra bulk")
pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra bulk")

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def parquet(path: Path, rows: int = 10, group: int = 4, /, **columns: Any) -> Path:
    """A file with a number, and the columns given by name as arrays."""
    pq.write_table(pa.table({"id": range(rows), **columns}), path, row_group_size=group)
    return path


def counts(output: Path) -> list[int]:
    return [row["faces"] for row in table(output, "images")]


def faces_of(count: int) -> list[int]:
    """Faces of the photos with the numbers below ``count``."""
    return [int(number % 4 < 2) for number in range(count)]


def test_folders_patterns_and_files_may_be_mixed_and_count_once(tmp_path: Path) -> None:
    first, second = photos(tmp_path / "a", 3), photos(tmp_path / "a" / "b", 2)
    inputs = [tmp_path / "a", tmp_path / "a" / "*1.jpg", second[0], first[0]]
    totals, failures = run(inputs, tmp_path / "out")
    assert (totals.images, failures) == (4, [])
    assert sources(tmp_path / "out") == names([*first, second[0]])
    totals, _ = run([tmp_path / "a"], tmp_path / "out", recursive=True)
    assert totals.images == 5


def test_relative_paths_have_absolute_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = photos(tmp_path / "in", 2)
    monkeypatch.chdir(tmp_path)
    run(["in"], tmp_path / "out")
    assert sources(tmp_path / "out") == names(paths)


def test_a_text_list_names_files_beside_it(tmp_path: Path) -> None:
    paths = photos(tmp_path / "in", 3)
    listed = tmp_path / "in" / "list.txt"
    listed.write_text(f"\ufeff0000.jpg\n\n  0001.jpg  \r\n{paths[2]}\n0000.jpg\n", "utf-8")
    totals, failures = run([listed], tmp_path / "out")
    assert (totals.images, failures) == (3, [])


def test_a_list_may_come_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = photos(tmp_path / "in", 2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"in/0000.jpg\n{paths[1]}\n"))
    run(["-"], tmp_path / "out")
    assert sources(tmp_path / "out") == names(paths)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_file_names_files_in_a_column(delimiter: str, tmp_path: Path) -> None:
    paths = photos(tmp_path / "in", 3)
    with (tmp_path / "in" / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["label", "photo"])
        writer.writerows([["a, b", path.name] for path in paths])
    totals, failures = run([tmp_path / "in" / "rows.csv"], tmp_path / "out", column="photo")
    assert (totals.images, failures) == (3, [])


def test_a_csv_file_needs_no_column_where_its_name_is_usual(tmp_path: Path) -> None:
    photos(tmp_path, 2)
    (tmp_path / "rows.csv").write_text("id,file_name\n1,0000.jpg\n2,0001.jpg\n")
    totals, _ = run([tmp_path / "rows.csv"], tmp_path / "out")
    assert (totals.images, totals.failed) == (2, 0)


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_archives_give_their_images(compression: str, tmp_path: Path) -> None:
    suffix = f".tar.{compression}" if compression else ".tar"
    path = tar(tmp_path / f"photos{suffix}", 10, f"w:{compression}")
    totals, failures = run([path], tmp_path / "out", batch_size=4)
    assert (totals.images, failures) == (10, [])
    assert sources(tmp_path / "out") == [f"{path}/{number:04}.jpg" for number in range(10)]
    assert counts(tmp_path / "out") == faces_of(10)
    parts = len(list((tmp_path / "out" / "images").iterdir()))
    assert parts == (1 if compression else 3)


def test_an_archive_with_long_names_is_divided_at_its_headers(tmp_path: Path) -> None:
    import tarfile

    path = tmp_path / "long.tar"
    stems = [f"{'folder' * 30}/{number}-é" for number in range(6)]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for number, stem in enumerate(stems):
            member = tarfile.TarInfo(f"{stem}.jpg")
            content = jpeg(number)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    totals, failures = run([path], tmp_path / "out", batch_size=2)
    assert (totals.images, failures) == (6, [])
    assert sources(tmp_path / "out") == sorted(f"{path}/{stem}.jpg" for stem in stems)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_parquet_column_may_hold_the_bytes(kind: Any, tmp_path: Path) -> None:
    values = pa.array([jpeg(number) for number in range(10)], kind)
    path = parquet(tmp_path / "rows.parquet", photo=values)
    totals, failures = run([path], tmp_path / "out", batch_size=5)
    assert (totals.images, failures) == (10, [])
    expected = {f"{path}#{number}": n for number, n in enumerate(faces_of(10))}
    images = table(tmp_path / "out", "images")
    assert {row["source"]: row["faces"] for row in images} == expected


def test_a_column_of_hugging_face_may_hold_bytes_or_paths(tmp_path: Path) -> None:
    paths = photos(tmp_path / "in", 3)
    values = [
        {"bytes": jpeg(0), "path": "cat.jpg"},
        {"bytes": None, "path": "0001.jpg"},
        {"bytes": jpeg(2), "path": None},
        None,
    ]
    column = pa.array(values, IMAGE)
    path = parquet(tmp_path / "in" / "rows.parquet", 4, image=column, text=list("abcd"))
    totals, failures = run([path], tmp_path / "out")
    assert totals.images == 4
    assert sources(tmp_path / "out") == sorted(
        [str(paths[1]), f"{path}#0", f"{path}#2", f"{path}#3"]
    )
    assert [(one.source, one.error) for one in failures] == [(f"{path}#3", "the file is empty")]


@pytest.mark.parametrize("dictionary", [False, True])
def test_a_parquet_column_may_hold_paths(dictionary: bool, tmp_path: Path) -> None:
    paths = photos(tmp_path / "in", 10)
    values = pa.array([path.name for path in paths])
    column = values.dictionary_encode() if dictionary else values
    path = parquet(tmp_path / "in" / "rows.parquet", path=column)
    totals, failures = run([path], tmp_path / "out", batch_size=3)
    assert (totals.images, failures) == (10, [])
    assert sources(tmp_path / "out") == names(paths)
    assert counts(tmp_path / "out") == faces_of(10)


def test_crops_can_be_inputs_again(tmp_path: Path) -> None:
    run(photos(tmp_path / "in", 4), tmp_path / "out", crops=True)
    totals, failures = run([tmp_path / "out" / "crops"], tmp_path / "again")
    assert (totals.images, failures) == (2, [])


def test_a_video_has_one_row_and_its_faces_have_frames(
    tmp_path: Path, default_detector: FaceDetector
) -> None:
    path = video(tmp_path / "lobby.avi", frames=50, fps=10)
    totals, failures = run([path], tmp_path / "out", every=Every(seconds=0.5))
    assert (totals.images, failures) == (1, [])
    (image,) = table(tmp_path / "out", "images")
    faces = table(tmp_path / "out", "faces")
    assert (image["frames"], image["faces"]) == (10, len(faces))
    assert (image["width"], image["height"]) == (160, 160)
    assert [row["frame"] for row in faces] == [0, 5, 10, 15, 20]
    assert [row["position_seconds"] for row in faces] == pytest.approx([0, 0.5, 1, 1.5, 2])


@pytest.mark.parametrize(
    ("every", "frames"),
    [
        (Every(frames=1), 20),
        (Every(frames=7), 3),
        (Every(seconds=0.1), 20),
        (Every(seconds=0.25), 8),
        (Every(seconds=60), 1),
    ],
)
def test_every_decides_which_frames_are_searched(every: Every, frames: int, tmp_path: Path) -> None:
    path = video(tmp_path / "lobby.avi", frames=20, fps=10)
    run([path], tmp_path / "out", every=every)
    (image,) = table(tmp_path / "out", "images")
    assert image["frames"] == frames


def test_a_folder_stands_for_all_kinds_of_inputs_but_lists(tmp_path: Path) -> None:
    photos(tmp_path / "in", 2)
    tar(tmp_path / "in" / "a.tar", 2)
    parquet(tmp_path / "in" / "b.parquet", 2, photo=pa.array([jpeg(0), jpeg(1)]))
    video(tmp_path / "in" / "c.avi", 10)
    (tmp_path / "in" / "labels.csv").write_text("path\nnothing.jpg\n")
    (tmp_path / "in" / "notes.txt").write_text("about these photos\n")
    totals, failures = run([tmp_path / "in"], tmp_path / "out")
    assert (totals.images, failures) == (2 + 2 + 2 + 1, [])


def test_names_that_are_no_valid_text_are_searched(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    name = b"caf\xe9 \n.jpg"
    try:
        (Path(str(folder)) / name.decode("utf-8", "surrogateescape")).write_bytes(jpeg(0))
    except OSError:
        pytest.skip("this file system takes valid names only")
    for _ in range(2):
        totals, failures = run([folder], tmp_path / "out")
        assert (totals.images, totals.faces, failures) == (1, 1, [])
    assert sources(tmp_path / "out") == [f"{folder}/caf\\xe9 \n.jpg"]


def test_heic_is_read_where_its_package_is_installed(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra heif")
    from PIL import Image

    photo = Image.open(io.BytesIO(jpeg(0)))
    pillow_heif.from_pillow(photo).save(tmp_path / "phone.heic")
    totals, failures = run([tmp_path], tmp_path / "out")
    assert (totals.images, totals.faces, failures) == (1, 1, [])


def test_rows_do_not_depend_on_how_the_images_are_packed(tmp_path: Path) -> None:
    paths = photos(tmp_path / "in", 8)
    path = tar(tmp_path / "photos.tar", 8)
    run(paths, tmp_path / "files")
    run([path], tmp_path / "tar")
    for name in ("images", "faces"):
        files, packed = (
            [{**row, "source": Path(row["source"]).name} for row in rows(tmp_path / each)[name]]
            for each in ("files", "tar")
        )
        assert files == packed
    assert failed(tmp_path / "tar") == {}
