"""What a data set contains, and that it is the same however often a run was interrupted."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bulks import failed, names, photos, pq, rows, run, sources, table

from edge_mtcnn import DetectorOptions, FaceDetector, OptionsError, RuntimeOptions, align_faces
from edge_mtcnn.bulk import BulkOptions, EngineOptions, Listener, run_bulk
from edge_mtcnn.bulk.schema import SCHEMA_VERSION, SCHEMAS
from edge_mtcnn.images.decoding import decode_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos")
    photos(path, 30)
    return path


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    totals, failures = run([folder], output)
    assert (totals.images, totals.failed, failures) == (30, 0, [])
    return output


def test_the_rows_are_what_detect_returns(
    folder: Path, undisturbed: Path, default_detector: FaceDetector
) -> None:
    faces = table(undisturbed, "faces")
    assert len(faces) >= 10
    for image in table(undisturbed, "images"):
        expected = default_detector.detect(image["source"])
        own = [row for row in faces if row["source"] == image["source"]]
        height, width = expected.image_size
        assert (image["status"], image["faces"], image["frames"]) == ("ok", len(expected), 1)
        assert (image["width"], image["height"]) == (width, height)
        assert image["milliseconds"] > 0
        assert [row["face"] for row in own] == list(range(len(expected)))
        for row, face in zip(own, expected, strict=True):
            assert tuple(row["box"]) == face.box
            assert np.array_equal(np.reshape(row["landmarks"], (5, 2)), face.landmarks)
            assert (row["score"], row["confidence"], row["angle"]) == (
                face.score,
                face.confidence,
                face.angle,
            )
            assert (row["frame"], row["position_seconds"]) == (None, None)
            assert (row["width"], row["height"]) == (width, height)


def test_every_input_has_exactly_one_row(folder: Path, undisturbed: Path) -> None:
    assert sources(undisturbed) == names(folder.glob("*.jpg"))


def test_files_have_the_documented_schema_and_say_what_made_them(undisturbed: Path) -> None:
    for name in ("faces", "images"):
        files = sorted((undisturbed / name).glob("*.parquet"))
        assert len(files) == 4
        for file in files:
            schema = pq.read_schema(file)
            assert schema.equals(SCHEMAS[name])
            about = json.loads(schema.metadata[b"edge_mtcnn"])
            assert about["schema_version"] == SCHEMA_VERSION
            assert about["min_face_size"] == DetectorOptions().min_face_size
            assert about["model_version"] == FaceDetector().info()["model_version"]


def test_a_stopped_run_is_continued_without_doing_anything_twice(
    folder: Path, undisturbed: Path, tmp_path: Path
) -> None:
    stop, searched = threading.Event(), []

    def count(images: int) -> None:
        searched.append(images)
        stop.set()

    inputs, output = [folder], tmp_path / "out"
    engine = EngineOptions(batch_size=8)
    listener = Listener(searched=count)
    first = run_bulk(inputs, output, engine=engine, listener=listener, stop=stop)
    assert 0 < first.images < 30
    assert first.images == len(searched)  # what was begun is finished
    total = run_bulk(inputs, output, engine=engine, listener=Listener(searched=searched.append))
    assert (total.images, len(searched)) == (30, 30)
    assert rows(output) == rows(undisturbed)


def test_a_finished_run_reads_no_image_again(folder: Path, undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")}
    totals, _ = run([folder], undisturbed)
    assert totals.images == 30
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")} == before


def test_new_inputs_are_added_to_a_finished_run(tmp_path: Path) -> None:
    paths = photos(tmp_path / "in", 3)
    run([tmp_path / "in"], tmp_path / "out")
    new = tmp_path / "in" / "new.jpg"
    new.write_bytes(paths[0].read_bytes())
    totals, _ = run([tmp_path / "in"], tmp_path / "out")
    assert totals.images == 4
    assert sources(tmp_path / "out") == names([*paths, new])


def test_a_shard_without_its_last_file_is_not_done(
    folder: Path, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run([folder], output)
    # What a kill between the files of a shard, and one in the middle of a file, leave behind.
    (output / "images" / "part-0000002.parquet").unlink()
    (output / "images" / ".part-0000002.parquet.abc.part").write_bytes(b"PAR1")
    (output / "faces" / "part-0000009.parquet").write_bytes(b"PAR1")
    totals, _ = run([folder], output)
    assert totals.images == 30
    assert rows(output) == rows(undisturbed)
    assert not list(output.rglob("*.part"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"detector": DetectorOptions(min_face_size=40)}, "min_face_size 20, now 40"),
        ({"options": BulkOptions(crops=True)}, "crops false, now true"),
        ({"options": BulkOptions(rotate=90)}, "rotate 0, now 90"),
    ],
)
def test_other_options_are_not_mixed_with_the_rows_that_are_there(
    change: dict[str, object], named: str, undisturbed: Path, folder: Path
) -> None:
    arguments = dict(change)
    if "detector" in arguments:
        arguments["detector"] = FaceDetector(arguments["detector"])  # type: ignore[arg-type]
    before = rows(undisturbed)
    with pytest.raises(OptionsError, match=named):
        run_bulk([folder], undisturbed, **arguments)  # type: ignore[arg-type]
    assert rows(undisturbed) == before


def test_other_models_are_not_mixed_with_the_rows_that_are_there(tmp_path: Path) -> None:
    paths, output = photos(tmp_path / "in", 1), tmp_path / "out"
    run(paths, output)
    noted = json.loads((output / "run.json").read_text())
    noted["made_with"]["model_version"] = "0.9.0"
    (output / "run.json").write_text(json.dumps(noted))
    with pytest.raises(OptionsError, match=r'model_version "0\.9\.0"'):
        run(paths, output)


def test_overwrite_removes_the_rows_of_other_options(tmp_path: Path) -> None:
    paths = photos(tmp_path / "in", 5)
    run(paths, tmp_path / "out", crops=True)
    totals, _ = run(paths[:2], tmp_path / "out", overwrite=True)
    assert totals.images == 2
    assert sources(tmp_path / "out") == names(paths[:2])
    assert not list((tmp_path / "out" / "crops").iterdir())


def test_threads_and_batches_do_not_change_the_rows(
    folder: Path, undisturbed: Path, tmp_path: Path
) -> None:
    with FaceDetector(runtime=RuntimeOptions(threads=5)) as detector:
        run([folder], tmp_path / "out", batch_size=3, detector=detector)
    assert rows(tmp_path / "out") == rows(undisturbed)


def test_a_folder_with_other_files_is_not_taken_for_the_output(tmp_path: Path) -> None:
    paths = photos(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    with pytest.raises(OptionsError, match="name another folder"):
        run(paths, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "letter.txt").read_text() == "mine"


def test_an_output_inside_the_inputs_is_no_input(tmp_path: Path) -> None:
    paths = photos(tmp_path, 2)
    for _ in range(2):
        totals, _ = run([tmp_path], tmp_path / "out", recursive=True, crops=True)
        assert totals.images == 2
    assert sources(tmp_path / "out") == names(paths)


def test_two_runs_cannot_write_the_same_data_set(tmp_path: Path) -> None:
    paths, output = photos(tmp_path / "in", 2), tmp_path / "out"
    errors = []

    def again(*_: int) -> None:
        try:
            run(paths, output)
        except OptionsError as error:
            errors.append(str(error))

    run_bulk(paths, output, listener=Listener(planned=again))
    assert len(errors) == 1
    assert "another run writes" in errors[0]


def test_crops_are_the_aligned_faces_and_belong_to_their_rows(
    folder: Path, tmp_path: Path, default_detector: FaceDetector
) -> None:
    output = tmp_path / "out"
    run([folder], output, crops=True)
    crops, faces = table(output, "crops"), table(output, "faces")
    assert [(row["source"], row["face"]) for row in crops] == [
        (row["source"], row["face"]) for row in faces
    ]
    source = crops[0]["source"]
    expected = align_faces(source, default_detector.detect(source))
    assert np.array_equal(decode_image(crops[0]["image"]["bytes"]), expected[0])


def test_turned_images_have_rows_of_the_turned_image(tmp_path: Path) -> None:
    (path,) = photos(tmp_path / "in", 1)
    run([path], tmp_path / "plain")
    run([path], tmp_path / "turned", flip="horizontal")
    (plain,), (turned,) = (table(tmp_path / name, "faces") for name in ("plain", "turned"))
    centre = (turned["box"][0] + turned["box"][2]) / 2
    assert centre == pytest.approx(
        plain["width"] - (plain["box"][0] + plain["box"][2]) / 2, abs=0.03 * plain["width"]
    )


def test_failed_inputs_are_searched_again_when_asked_for(tmp_path: Path) -> None:
    paths, output = photos(tmp_path / "in", 4), tmp_path / "out"
    good = paths[1].read_bytes()
    paths[1].write_bytes(good[: len(good) // 2])
    late = tmp_path / "late"
    late.mkdir()
    inputs = [tmp_path / "in", late]
    run(inputs, output, batch_size=2)
    assert failed(output).keys() == {str(paths[1]), str(late)}
    paths[1].write_bytes(good)
    (late / "one.jpg").write_bytes(good)
    totals, _ = run(inputs, output, batch_size=2)
    assert totals.failed == 2  # it was not asked for
    totals, _ = run(inputs, output, batch_size=2, retry_failed=True)
    assert (totals.images, totals.failed) == (5, 0)
    assert sources(output) == names([*paths, late / "one.jpg"])


def test_a_rate_limit_is_kept(tmp_path: Path) -> None:
    paths = photos(tmp_path / "in", 11)
    engine = EngineOptions(limit_rate=20)
    times: list[float] = []

    def note(*_: int) -> None:
        times.append(time.monotonic())

    listener = Listener(planned=note, searched=note)
    run_bulk(paths, tmp_path / "out", engine=engine, listener=listener)
    assert len(times) == 12
    # Eleven images begin a twentieth of a second apart, so the last one after ten of these.
    assert times[-1] - times[0] >= 0.5


@pytest.mark.parametrize("value", ["0", "x", "1.5", "-1s", "0s", "1m"])
def test_every_must_be_seconds_or_frames(value: str) -> None:
    from edge_mtcnn.bulk import Every

    with pytest.raises(OptionsError):
        Every.from_text(value)


@pytest.mark.parametrize(
    "values",
    [{"batch_size": 0}, {"limit_rate": 0}, {"nice": 20}, {"engine": "spark"}, {"retries": -1}],
)
def test_engine_options_are_checked(values: dict[str, object]) -> None:
    with pytest.raises(OptionsError, match=next(iter(values))):
        replace(EngineOptions(), **values)  # type: ignore[arg-type]
