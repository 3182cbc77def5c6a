"""The shape of the public face: names, signatures, errors. A change here is a change for users."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import pydoc
from typing import Any

import pytest

import edge_mtcnn
from edge_mtcnn import errors
from edge_mtcnn.search import Search
from edge_mtcnn.types import Landmarks, Timings

NAMES = {
    "MTCNN",
    "DetectionTimeout",
    "DetectorOptions",
    "EdgeMTCNNError",
    "Face",
    "FaceDetector",
    "Faces",
    "ImageError",
    "MissingRuntimeError",
    "ModelFileError",
    "OptionsError",
    "ProviderError",
    "RuntimeOptions",
    "SourceError",
    "__version__",
    "align_faces",
    "crop_faces",
    "draw_faces",
    "read_image",
}

ERRORS = {
    "OptionsError": ValueError,
    "ImageError": ValueError,
    "ModelFileError": OSError,
    "MissingRuntimeError": ImportError,
    "ProviderError": RuntimeError,
    "DetectionTimeout": TimeoutError,
    "SourceError": OSError,
}

CORE = (
    "boxes",
    "checks",
    "compat",
    "detector",
    "errors",
    "image",
    "options",
    "pyramid",
    "sessions",
    "stages",
    "types",
    "weights",
    "workers",
)

# Parameters of what a user calls, "*" before those that go by name only.
SIGNATURES = {
    "FaceDetector": ["options", "runtime", "*", "preset", "config", "calibration"],
    "FaceDetector.detect": ["self", "image", "*", "color", "timings", "timeout"],
    "FaceDetector.detect_batch": ["self", "images", "*", "color", "timings"],
    "FaceDetector.search": ["self", "image", "*", "color", "timings", "timeout"],
    "FaceDetector.warm_up": ["self", "height", "width"],
    "FaceDetector.info": ["self"],
    "FaceDetector.close": ["self"],
    "MTCNN": [
        "weights_file",
        "min_face_size",
        "steps_threshold",
        "scale_factor",
        "*",
        "runtime",
    ],
    "MTCNN.detect_faces": ["self", "img"],
    "Faces": [
        "boxes",
        "scores",
        "landmarks",
        "*",
        "confidences",
        "image_size",
        "timings",
    ],
    "Faces.empty": ["image_size", "timings"],
    "Faces.largest": ["self"],
    "Faces.best": ["self"],
    "Faces.clipped_boxes": ["self"],
    "Faces.to_dicts": ["self"],
    "Faces.to_supervision": ["self"],
    "DetectorOptions.from_preset": ["name"],
    "DetectorOptions.from_dict": ["values"],
    "DetectorOptions.to_dict": ["self"],
    "RuntimeOptions.from_dict": ["values"],
    "RuntimeOptions.to_dict": ["self"],
}

FIELDS: dict[str, list[str]] = {
    "Face": ["box", "score", "landmarks", "confidence"],
    "DetectorOptions": [
        "min_face_size",
        "max_face_size",
        "scale_factor",
        "thresholds",
        "nms",
        "confidence",
        "mirror",
        "resampling",
        "max_cells",
        "max_candidates",
    ],
    "RuntimeOptions": ["device", "threads", "models", "form"],
}


def find(path: str) -> Any:
    value: Any = edge_mtcnn
    for name in path.split("."):
        value = getattr(value, name)
    return value


def parameters_of(function: Any) -> list[str]:
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in names:
            names.append("*")
        names.append(parameter.name)
        assert parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}, function
    return names


def public_members(owner: type) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def test_the_package_exports_exactly_these_names() -> None:
    assert set(edge_mtcnn.__all__) == NAMES
    assert len(edge_mtcnn.__all__) == len(NAMES)
    assert set(dir(edge_mtcnn)) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_exported_name_exists(name: str) -> None:
    assert getattr(edge_mtcnn, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'FaceDetektor'"):
        _ = edge_mtcnn.FaceDetektor


def test_exported_names_are_one_object_each() -> None:
    from edge_mtcnn.compat import MTCNN
    from edge_mtcnn.detector import FaceDetector

    assert edge_mtcnn.FaceDetector is FaceDetector
    assert edge_mtcnn.MTCNN is MTCNN


@pytest.mark.parametrize(("path", "parameters"), SIGNATURES.items(), ids=list(SIGNATURES))
def test_signature(path: str, parameters: list[str]) -> None:
    assert parameters_of(find(path)) == parameters


@pytest.mark.parametrize(("name", "fields"), FIELDS.items(), ids=list(FIELDS))
def test_fields(name: str, fields: list[str]) -> None:
    assert [field.name for field in dataclasses.fields(find(name))] == fields


def test_the_detector_has_no_public_member_that_is_not_listed() -> None:
    methods = {path.split(".")[1] for path in SIGNATURES if path.startswith("FaceDetector.")}
    assert public_members(edge_mtcnn.FaceDetector) == methods | {"options", "runtime"}
    assert public_members(edge_mtcnn.MTCNN) == {"detect_faces", "min_face_size"}


def test_a_search_has_these_members_only() -> None:
    assert public_members(Search) == {"everywhere", "level_count", "near", "quick", "readings"}


@pytest.mark.parametrize("name", ["options", "runtime"])
def test_what_a_detector_was_made_with_cannot_be_replaced(
    name: str, default_detector: edge_mtcnn.FaceDetector
) -> None:
    with pytest.raises(AttributeError):
        setattr(default_detector, name, None)


def test_landmarks_have_five_named_points() -> None:
    assert Landmarks._fields == ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


def test_timings_name_their_units() -> None:
    times = {field.name for field in dataclasses.fields(Timings) if field.type == "float"}
    assert times
    assert all(name.endswith("_ms") for name in times)


@pytest.mark.parametrize(("name", "builtin"), ERRORS.items(), ids=list(ERRORS))
def test_an_error_is_of_the_package_and_of_its_builtin_kind(
    name: str, builtin: type[Exception]
) -> None:
    kind = getattr(edge_mtcnn, name)
    assert issubclass(kind, edge_mtcnn.EdgeMTCNNError)
    assert issubclass(kind, builtin)
    with pytest.raises(edge_mtcnn.EdgeMTCNNError, match="what to do"):
        raise kind("what to do")


def test_the_tree_of_errors_is_complete() -> None:
    assert set(errors.__all__) == {*ERRORS, "EdgeMTCNNError"}
    assert {kind.__name__ for kind in edge_mtcnn.EdgeMTCNNError.__subclasses__()} >= set(ERRORS)


def test_every_public_name_and_method_has_a_docstring() -> None:
    paths = [*(NAMES - {"__version__"}), *SIGNATURES]
    missing = [path for path in paths if not pydoc.getdoc(find(path))]
    assert missing == []


@pytest.mark.parametrize("module", CORE)
def test_a_core_module_exports_what_it_says(module: str) -> None:
    loaded = importlib.import_module(f"edge_mtcnn.{module}")
    assert loaded.__doc__
    assert loaded.__all__
    for name in loaded.__all__:
        assert hasattr(loaded, name), name


def test_all_core_modules_are_there() -> None:
    found = {module.name for module in pkgutil.iter_modules(edge_mtcnn.__path__)}
    assert set(CORE) <= found


def test_the_version_is_one() -> None:
    from edge_mtcnn._version import __version__

    assert edge_mtcnn.__version__ == __version__
    assert __version__.count(".") == 2
    assert all(part.isdigit() for part in __version__.split("."))


def test_the_package_is_typed() -> None:
    from importlib.resources import files

    assert (files("edge_mtcnn") / "py.typed").is_file()
