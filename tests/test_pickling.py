"""Detectors in other processes: what travels, what is opened again there, and what is refused.

Real pools of processes: ``spawn``, joblib's loky, and cloudpickle, which Dask, Ray and Spark use.
"""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest

from edge_mtcnn import (
    MTCNN,
    DetectorOptions,
    EdgeMTCNNError,
    FaceDetector,
    ImageError,
    ModelFileError,
    OptionsError,
    RuntimeOptions,
    read_image,
)
from edge_mtcnn._version import __version__
from edge_mtcnn.runtime.models import default_folder
from edge_mtcnn.types import Faces, ImageArray
from edge_mtcnn.video import FaceTracker, FaceWatcher, open_source

OPTIONS = DetectorOptions(min_face_size=40, confidence=0.25, nms=(0.5, 0.5, 0.7))
RUNTIME = RuntimeOptions(threads=1, form="plain")

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "the oldest pickle protocol": lambda thing: pickle.loads(pickle.dumps(thing, protocol=0)),
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    return read_image(sample_path("astronaut"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    shutil.copytree(default_folder(), tmp_path / "models")
    return tmp_path / "models"


def assert_equal(ours: Faces, theirs: Faces) -> None:
    assert len(ours) == len(theirs) > 0
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)
    np.testing.assert_array_equal(ours.scores, theirs.scores)


@every_way
def test_a_detector_travels_with_its_options_and_finds_the_same(
    way: Callable[[Any], Any], photo: ImageArray
) -> None:
    with FaceDetector(OPTIONS, RUNTIME) as original:
        found = original.detect(photo)
        twin = way(original)
    # The original is closed by now, so nothing is shared.
    with twin:
        assert (twin.options, twin.runtime) == (OPTIONS, RUNTIME)
        assert (twin.info()["form"], twin.info()["threads"]) == ("plain", 1)
        assert_equal(twin.detect(photo), found)
    with pytest.raises(EdgeMTCNNError, match="closed"):
        twin.detect(photo)


@every_way
def test_a_closed_detector_stays_closed(way: Callable[[Any], Any], photo: ImageArray) -> None:
    original = FaceDetector(OPTIONS, RUNTIME)
    original.close()
    twin = way(way(original))
    assert twin.options == OPTIONS
    with pytest.raises(EdgeMTCNNError, match="this FaceDetector is closed"):
        twin.detect(photo)
    twin.close()


def test_the_threshold_of_a_calibration_travels(tmp_path: Path) -> None:
    file = tmp_path / "camera.json"
    content = {"schema": "edge-mtcnn calibration", "schema_version": 1, "threshold": 0.625}
    file.write_text(json.dumps(content))
    with FaceDetector(calibration=file, runtime=RUNTIME) as original:
        assert original.options.confidence == 0.625
        text = pickle.dumps(original)
    file.unlink()
    with pickle.loads(text) as twin:
        assert twin.options.confidence == 0.625


def test_threads_and_form_that_were_not_chosen_are_chosen_where_it_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FaceDetector() as original:
        text = pickle.dumps(original)
    monkeypatch.setattr("edge_mtcnn.detector.available_threads", lambda: 3)
    monkeypatch.setattr("edge_mtcnn.runtime.providers.keeps_channels_in_blocks", lambda: False)
    with pickle.loads(text) as twin:
        assert (twin.info()["threads"], twin.info()["form"]) == (3, "plain")


def test_a_relative_models_folder_survives_a_change_of_directory(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models.parent)
    with FaceDetector(runtime=RuntimeOptions(models="models")) as original:
        elsewhere = models.parent / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        for twin in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
            assert twin.runtime.models == str(models)
            twin.close()


def test_models_that_are_missing_on_the_other_side_are_named(models: Path) -> None:
    with FaceDetector(runtime=RuntimeOptions(models=models)) as original:
        text = pickle.dumps(original)
    shutil.rmtree(models)
    with pytest.raises(ModelFileError, match=r"manifest\.json is missing") as caught:
        pickle.loads(text)
    assert str(models) in str(caught.value)


def test_other_models_on_the_other_side_are_warned_of(models: Path, photo: ImageArray) -> None:
    with FaceDetector(runtime=RuntimeOptions(models=models)) as original:
        text = pickle.dumps(original)
    manifest = json.loads((models / "manifest.json").read_text())
    (models / "manifest.json").write_text(json.dumps({**manifest, "model_version": "7.7.7"}))
    with pytest.warns(UserWarning, match=r"the models here are 7\.7\.7"):
        twin = pickle.loads(text)
    with twin:
        assert len(twin.detect(photo)) > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["options"].update(colour="red"),
        lambda state: state["options"].update(min_face_size="small"),
        lambda state: state["runtime"].update(queue=3),
        lambda state: state.pop("runtime"),
    ],
    ids=["a new option", "another range", "a new runtime option", "another layout"],
)
def test_a_pickle_of_another_version_that_does_not_fit_says_so(
    change: Callable[[dict[str, Any]], Any],
) -> None:
    with FaceDetector(runtime=RUNTIME) as detector:
        state = {**detector.__getstate__(), "version": "9.8.7"}
    change(state)
    with pytest.raises(EdgeMTCNNError, match=r"pickled by edge-mtcnn 9\.8\.7") as caught:
        FaceDetector.__new__(FaceDetector).__setstate__(state)
    message = str(caught.value)
    assert f"cannot be opened by {__version__}" in message
    assert "Use the same version on both sides" in message


def test_a_pickle_of_another_version_that_fits_is_opened(photo: ImageArray) -> None:
    with FaceDetector(OPTIONS, RUNTIME) as detector:
        found, state = detector.detect(photo), detector.__getstate__()
    state["version"] = "0.0.9"
    del state["options"]["max_cells"]  # an option that did not exist then
    twin = FaceDetector.__new__(FaceDetector)
    twin.__setstate__(state)
    with twin:
        assert_equal(twin.detect(photo), found)


def test_a_pickle_holds_plain_values_and_is_small() -> None:
    with FaceDetector() as detector:
        assert len(pickle.dumps(detector)) < 2_000


class NamedDetector(FaceDetector):
    """A detector with an attribute of its own."""

    def __init__(self, name: str) -> None:
        super().__init__(OPTIONS, RUNTIME)
        self.name = name


@every_way
def test_attributes_of_a_subclass_travel(way: Callable[[Any], Any]) -> None:
    with NamedDetector("door") as original, way(original) as twin:
        assert (type(twin), twin.name) == (NamedDetector, "door")
        assert twin.options == OPTIONS


@every_way
def test_mtcnn_travels(way: Callable[[Any], Any], photo: ImageArray) -> None:
    original = MTCNN(min_face_size=40, steps_threshold=[0.6, 0.7, 0.8], runtime=RUNTIME)
    found = original.detect_faces(photo)
    assert way(original).detect_faces(photo) == found
    assert len(found) == 1


def test_a_tracker_travels_with_its_tracks(photo: ImageArray) -> None:
    with FaceDetector(runtime=RUNTIME) as detector:
        tracker = FaceTracker(detector)
        for frame in range(3):
            (track,) = tracker.update(photo, frame / 25)
        for twin in (pickle.loads(pickle.dumps(tracker)), copy.deepcopy(tracker)):
            (followed,) = twin.update(photo, 3 / 25)
            assert followed.id == track.id
            assert twin.counts.frames == 4
        assert tracker.counts.frames == 3


@every_way
def test_what_belongs_to_one_process_says_so(
    way: Callable[[Any], Any], sample_path: Callable[[str], Path]
) -> None:
    things = (FaceWatcher(sample_path("astronaut")), open_source(sample_path("astronaut")))
    for thing in things:
        with thing, pytest.raises(TypeError, match="make one in each process"):
            way(thing)


def test_errors_come_back_from_a_pool_as_they_were() -> None:
    for kind in (ImageError, ModelFileError, OptionsError, EdgeMTCNNError):
        error = pickle.loads(pickle.dumps(kind("what was wrong")))
        assert (type(error), str(error)) == (kind, "what was wrong")


def test_a_spawn_pool_takes_a_bound_method(photo: ImageArray) -> None:
    with FaceDetector(OPTIONS, RUNTIME) as detector:
        found = detector.detect(photo)
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            results = pool.map(detector.detect, [photo, photo[:, ::-1], photo])
            assert_equal(results[0], found)
            assert_equal(results[2], found)
            assert len(results[1]) == 1
            with pytest.raises(ImageError):
                pool.apply(detector.detect, (photo.astype(float) * 2,))


def test_joblib_takes_a_detector(photo: ImageArray) -> None:
    with FaceDetector(OPTIONS, RUNTIME) as detector:
        found = detector.detect(photo)
        detect = joblib.delayed(detector.detect)
        results = joblib.Parallel(n_jobs=2, backend="loky")(detect(photo) for _ in range(4))
    assert len(results) == 4
    for result in results:
        assert_equal(result, found)


def test_a_process_that_has_not_imported_the_package_opens_a_pickle(
    photo: ImageArray, tmp_path: Path
) -> None:
    with FaceDetector(OPTIONS, RUNTIME) as detector:
        (tmp_path / "detector.pickle").write_bytes(pickle.dumps(detector))
        found = detector.detect(photo)
    np.save(tmp_path / "photo.npy", photo)
    code = (
        "import pickle, numpy\n"
        "detector = pickle.load(open('detector.pickle', 'rb'))\n"
        "print(detector.detect(numpy.load('photo.npy')).boxes.tolist())\n"
    )
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == found.boxes.tolist()
