"""Model files and their manifest: intact, or an error that says which file and how to repair it."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_mtcnn import FaceDetector, ModelFileError, OptionsError, RuntimeOptions
from edge_mtcnn.runtime.models import default_folder, load_manifest
from edge_mtcnn.types import NETWORKS

REPAIR = "reinstall edge-mtcnn, or restore the folder that RuntimeOptions(models=...) names"

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A copy of the package's models that a test may break."""
    folder = tmp_path / "models"
    shutil.copytree(default_folder(), folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


def files_of(folder: Path) -> list[Path]:
    return [file.path for file in load_manifest(folder).files()]


def check_all(folder: Path) -> None:
    """What the detectors of all forms check."""
    for form in load_manifest(folder).forms:
        FaceDetector(runtime=RuntimeOptions(models=folder, form=form)).close()
    load_manifest(folder).real_faces()  # read where there are known false faces


def rewrite(folder: Path, change: Change) -> None:
    """Change the manifest; ``change`` edits it in place or returns another."""
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    changed = change(content)
    file.write_text(json.dumps(content if changed is None else changed))


def test_the_package_has_every_network_in_every_form_intact() -> None:
    manifest = load_manifest()
    assert manifest.folder == default_folder()
    assert {"plain", "blocked"} <= set(manifest.forms)
    for form in manifest.forms:
        models = manifest.models(form)
        assert tuple(models) == NETWORKS
        assert all(model.path.is_file() for model in models.values())
    for file in manifest.files():
        content = file.read()
        assert content == file.path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)


def test_files_lists_each_file_once_with_the_external_data() -> None:
    paths = [file.path for file in load_manifest().files()]
    assert len(paths) == len(set(paths))
    assert {path.suffix for path in paths} >= {".onnx", ".weights"}
    assert len(paths) >= 9


def test_every_file_in_the_folder_is_in_the_manifest(models: Path) -> None:
    known = {path.name for path in files_of(models)} | {"manifest.json", "MODEL_CARD.md"}
    assert {path.name for path in models.iterdir()} <= known


def test_models_of_another_folder_are_used(models: Path) -> None:
    rewrite(models, lambda content: content.update(model_version="7.7.7"))
    with FaceDetector(runtime=RuntimeOptions(models=models)) as detector:
        assert detector.info()["model_version"] == "7.7.7"


def test_a_missing_folder_says_which_manifest_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        FaceDetector(runtime=RuntimeOptions(models=tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere" / "manifest.json") in str(caught.value)
    assert REPAIR in str(caught.value)


@pytest.mark.parametrize("form", ["plain", "blocked"])
def test_a_missing_file_is_named(models: Path, form: str) -> None:
    for path in [model.path for model in load_manifest(models).models(form).values()]:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ModelFileError, match=r"is missing") as caught:
            load_manifest(models).models(form)
        assert str(path) in str(caught.value)
        assert REPAIR in str(caught.value)
        path.write_bytes(content)


def test_a_truncated_file_is_named_with_both_lengths(models: Path) -> None:
    path = load_manifest(models).models("plain")["rnet"].path
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ModelFileError) as caught:
        load_manifest(models).models("plain")
    message = str(caught.value)
    assert f"{path} is {len(content) - 1} bytes long instead of {len(content)}" in message
    assert REPAIR in message


def test_an_empty_file_is_truncated(models: Path) -> None:
    path = load_manifest(models).models("plain")["onet"].path
    path.write_bytes(b"")
    with pytest.raises(ModelFileError, match="is 0 bytes long instead of"):
        load_manifest(models).models("plain")


def test_one_altered_bit_in_any_file_is_found(models: Path) -> None:
    files = load_manifest(models).files()
    assert len(files) >= 9
    for file in files:
        content = bytearray(file.path.read_bytes())
        content[len(content) // 2] ^= 1
        file.path.write_bytes(content)
        with pytest.raises(ModelFileError, match="was altered") as caught:
            check_all(models)
        assert str(file.path) in str(caught.value)
        assert file.sha256 in str(caught.value)
        content[len(content) // 2] ^= 1
        file.path.write_bytes(content)
    check_all(models)


def test_altered_external_data_stops_the_detector(models: Path) -> None:
    path = next(path for path in files_of(models) if path.suffix == ".weights")
    content = bytearray(path.read_bytes())
    content[100] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="was altered") as caught:
        FaceDetector(runtime=RuntimeOptions(models=models))
    assert str(path) in str(caught.value)


def test_missing_external_data_stops_the_detector(models: Path) -> None:
    path = next(path for path in files_of(models) if path.suffix == ".weights")
    path.unlink()
    with pytest.raises(ModelFileError, match="is missing") as caught:
        FaceDetector(runtime=RuntimeOptions(models=models))
    assert str(path) in str(caught.value)


def test_a_folder_in_the_place_of_a_file_cannot_be_read(models: Path) -> None:
    path = load_manifest(models).models("plain")["pnet"].path
    path.unlink()
    path.mkdir()
    with pytest.raises(ModelFileError, match="cannot be read") as caught:
        load_manifest(models).models("plain")
    assert str(path) in str(caught.value)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file"
)
def test_a_file_without_permission_cannot_be_read(models: Path) -> None:
    path = load_manifest(models).models("plain")["pnet"].path
    path.chmod(0)
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_manifest(models).models("plain")


def test_a_file_that_fits_its_manifest_and_is_no_model_is_named(models: Path) -> None:
    path = load_manifest(models).models("plain")["pnet"].path
    content = b"this is no ONNX file"
    path.write_bytes(content)

    def describe(manifest: dict[str, Any]) -> None:
        entry = manifest["networks"]["pnet"]["forms"]["plain"]
        entry["sha256"] = hashlib.sha256(content).hexdigest()
        entry["bytes"] = len(content)

    rewrite(models, describe)
    with pytest.raises(ModelFileError, match="cannot load") as caught:
        FaceDetector(runtime=RuntimeOptions(models=models, form="plain"))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"not json", b"\xff\xfe\x00", b'{"schema_version": 1'],
    ids=["empty", "open brace", "text", "binary", "cut short"],
)
def test_a_manifest_that_is_no_json_is_unreadable(models: Path, content: bytes) -> None:
    (models / "manifest.json").write_bytes(content)
    with pytest.raises(ModelFileError, match="cannot be read") as caught:
        load_manifest(models)
    assert str(models / "manifest.json") in str(caught.value)
    assert REPAIR in str(caught.value)


BROKEN: dict[str, Change] = {
    "a list": lambda content: [content],
    "a text": str,
    "without its schema": lambda content: content.pop("schema_version") and None,
    "without networks": lambda content: content.pop("networks") and None,
    "without the version": lambda content: content.pop("model_version") and None,
    "without O-Net": lambda content: content["networks"].pop("onet") and None,
    "with P-Net null": lambda content: content["networks"].update(pnet=None),
    "with P-Net a text": lambda content: content["networks"].update(pnet="pnet.onnx"),
    "without forms": lambda content: content["networks"]["pnet"].pop("forms") and None,
    "with no form": lambda content: content["networks"]["pnet"].update(forms={}),
    "with no common form": lambda content: content["networks"]["rnet"].update(forms={"x": {}}),
    "with a form as a list": lambda content: content["networks"]["pnet"]["forms"].update(plain=[]),
    "without a hash": lambda content: (
        content["networks"]["rnet"]["forms"]["plain"].pop("sha256") and None
    ),
    "with a number for a file": lambda content: content["networks"]["rnet"]["forms"][
        "plain"
    ].update(file=5),
    "with broken data": lambda content: content["networks"]["onet"]["forms"]["plain"].update(
        data=[{"file": "onet.weights"}]
    ),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=list(BROKEN))
def test_a_malformed_manifest_is_an_error_that_names_it(models: Path, change: Change) -> None:
    rewrite(models, change)
    with pytest.raises(ModelFileError) as caught:
        load_manifest(models)
    assert str(models / "manifest.json") in str(caught.value)


@pytest.mark.parametrize("schema", [0, 2, 99, "1", None])
def test_another_schema_asks_for_matching_models(models: Path, schema: object) -> None:
    rewrite(models, lambda content: content.update(schema_version=schema))
    with pytest.raises(ModelFileError, match="install matching models") as caught:
        load_manifest(models)
    assert f"schema {schema}" in str(caught.value)


def test_an_unknown_form_names_those_there_are() -> None:
    manifest = load_manifest()
    with pytest.raises(OptionsError, match="form must be one of plain, blocked; got 'winograd'"):
        manifest.models("winograd")
    with pytest.raises(OptionsError, match="winograd"):
        FaceDetector(runtime=RuntimeOptions(form="winograd"))


def test_a_folder_with_one_form_is_enough(models: Path) -> None:
    def only_plain(content: dict[str, Any]) -> None:
        for network in content["networks"].values():
            network["forms"] = {"plain": copy.deepcopy(network["forms"]["plain"])}

    rewrite(models, only_plain)
    for path in models.glob("*.blocked.onnx"):
        path.unlink()
    with FaceDetector(runtime=RuntimeOptions(models=models)) as detector:
        assert detector.info()["form"] == "plain"


def test_a_form_that_is_not_asked_for_is_not_read(models: Path) -> None:
    for path in models.glob("*.blocked.onnx"):
        path.unlink()
    with FaceDetector(runtime=RuntimeOptions(models=models, form="plain")) as detector:
        assert detector.info()["form"] == "plain"
