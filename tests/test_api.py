"""The shape of the public face: names, signatures, errors. A change here is a change for users."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import pydoc
from typing import Any

import pytest
from signatures import parameters_of, public_members

import edge_mtcnn
from edge_mtcnn import errors
from edge_mtcnn.cascade.search import Search
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
    "Mounting",
    "OptionsError",
    "ProviderError",
    "RuntimeOptions",
    "SourceError",
    "__version__",
    "align_faces",
    "crop_faces",
    "decode_image",
    "draw_faces",
    "read_image",
    "write_image",
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

SEARCH_OF_MTCNN_1 = [
    "min_face_size",
    "min_size",
    "scale_factor",
    "threshold_pnet",
    "threshold_rnet",
    "threshold_onet",
    "nms_pnet1",
    "nms_pnet2",
    "nms_rnet",
    "nms_onet",
]

# Parameters of what a user calls, "*" before those that go by name only.
SIGNATURES = {
    "FaceDetector": ["options", "runtime", "*", "preset", "config", "calibration", "known_false"],
    "FaceDetector.detect": [
        "self",
        "image",
        "*",
        "options",
        "color",
        "timings",
        "timeout",
        "include_known_false",
    ],
    "FaceDetector.detect_batch": [
        "self",
        "images",
        "*",
        "options",
        "color",
        "timings",
        "include_known_false",
    ],
    "FaceDetector.detect_many": [
        "self",
        "images",
        "*",
        "ahead",
        "options",
        "color",
        "timings",
        "include_known_false",
    ],
    "FaceDetector.search": [
        "self",
        "image",
        "*",
        "options",
        "color",
        "timings",
        "timeout",
        "include_known_false",
    ],
    "FaceDetector.remember": [
        "self",
        "image",
        "box",
        "name",
        "*",
        "color",
        "at_place",
        "how",
        "added",
    ],
    "FaceDetector.warm_up": ["self", "height", "width"],
    "FaceDetector.info": ["self"],
    "FaceDetector.close": ["self"],
    "MTCNN": [
        "weights_file",
        "min_face_size",
        "steps_threshold",
        "scale_factor",
        "*",
        "stages",
        "device",
        "runtime",
    ],
    "MTCNN.detect_faces": [
        "self",
        "img",
        "fit_to_image",
        "limit_boundaries_landmarks",
        "box_format",
        "output_type",
        "postprocess",
        "batch_stack_justification",
        "*",
        "image",
        *SEARCH_OF_MTCNN_1,
    ],
    "MTCNN.predict": [
        "self",
        "image",
        "fit_to_image",
        "limit_boundaries_landmarks",
        "box_format",
        "output_type",
        "postprocess",
        "batch_stack_justification",
        "*",
        *SEARCH_OF_MTCNN_1,
    ],
    "Faces": [
        "boxes",
        "scores",
        "landmarks",
        "*",
        "confidences",
        "angles",
        "known_false",
        "image_size",
        "timings",
    ],
    "read_image": ["source", "*", "max_pixels"],
    "decode_image": ["data", "*", "name", "max_pixels"],
    "write_image": ["path", "image", "*", "quality"],
    "Faces.empty": ["image_size", "timings"],
    "Faces.largest": ["self"],
    "Faces.best": ["self"],
    "Faces.clipped_boxes": ["self"],
    "Faces.to_dicts": ["self"],
    "Faces.to_supervision": ["self"],
    "DetectorOptions.from_preset": ["name"],
    "DetectorOptions.from_dict": ["values"],
    "DetectorOptions.to_dict": ["self"],
    "DetectorOptions.every_find": ["self"],
    "Mounting.applied": ["self", "image"],
    "RuntimeOptions.from_dict": ["values"],
    "RuntimeOptions.to_dict": ["self"],
}

FIELDS: dict[str, list[str]] = {
    "Face": ["box", "score", "landmarks", "confidence", "angle", "known_false"],
    "DetectorOptions": [
        "min_face_size",
        "max_face_size",
        "scale_factor",
        "thresholds",
        "nms",
        "level_nms",
        "confidence",
        "mirror",
        "resampling",
        "exposure",
        "max_cells",
        "max_candidates",
        "angles",
    ],
    "Mounting": ["rotate", "flip"],
    "RuntimeOptions": ["device", "threads", "models", "form"],
}


def find(path: str) -> Any:
    value: Any = edge_mtcnn
    for name in path.split("."):
        value = getattr(value, name)
    return value


def test_the_package_exports_exactly_these_names() -> None:
    assert set(edge_mtcnn.__all__) == NAMES
    assert len(edge_mtcnn.__all__) == len(NAMES)
    assert set(dir(edge_mtcnn)) == NAMES


def test_every_exported_name_exists() -> None:
    missing = [name for name in NAMES if getattr(edge_mtcnn, name, None) is None]
    assert missing == []


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
    assert public_members(edge_mtcnn.FaceDetector) == methods | {
        "known_false",
        "options",
        "runtime",
    }
    assert public_members(edge_mtcnn.MTCNN) == {"detect_faces", "min_face_size", "predict"}


def test_a_search_has_these_members_only() -> None:
    assert public_members(Search) == {
        "everywhere",
        "gain",
        "level_count",
        "near",
        "quick",
        "readings",
        "size",
        "values_at",
        "without_onet",
    }


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
    assert all(name.endswith("_ms") for name in times - {"gain"})  # a factor has no unit


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
    assert set(errors.__all__) == {*ERRORS, "EdgeMTCNNError", "brief", "shown"}
    assert {kind.__name__ for kind in edge_mtcnn.EdgeMTCNNError.__subclasses__()} >= set(ERRORS)


def test_every_public_name_and_method_has_a_docstring() -> None:
    paths = [*(NAMES - {"__version__"}), *SIGNATURES]
    missing = [path for path in paths if not pydoc.getdoc(find(path))]
    assert missing == []


def test_every_module_says_what_it_is_and_exports_what_it_says() -> None:
    walked = pkgutil.walk_packages(edge_mtcnn.__path__, f"{edge_mtcnn.__name__}.")
    # PyInstaller runs its hooks itself.
    names = [m.name for m in walked if not m.name.endswith("__main__") and ".hook-" not in m.name]
    assert len(names) > 60
    for name in names:
        module = importlib.import_module(name)
        assert module.__doc__ or name.endswith("_version"), name
        missing = [item for item in getattr(module, "__all__", ()) if not hasattr(module, item)]
        assert not missing, name


def test_the_version_is_one() -> None:
    from edge_mtcnn._version import __version__

    assert edge_mtcnn.__version__ == __version__
    assert __version__.count(".") == 2
    assert all(part.isdigit() for part in __version__.split("."))


def test_the_package_is_typed() -> None:
    from importlib.resources import files

    assert (files("edge_mtcnn") / "py.typed").is_file()
