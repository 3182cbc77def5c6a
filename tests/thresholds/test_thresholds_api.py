"""The shape of ``edge_mtcnn.thresholds``: names, members, signatures.

A change here is a change for users.
"""

from __future__ import annotations

import dataclasses
import pydoc
from typing import Any

import pytest
from signatures import parameters_of, public_members

from edge_mtcnn import EdgeMTCNNError, thresholds

# Parameters of each function and method, "*" before those that are keyword-only.
FUNCTIONS = {
    "average_precision": ["detections", "ground_truth", "counted", "iou"],
    "calibrate": [
        "detector",
        "images",
        "target",
        "*",
        "iou",
        "confidence",
        "journal",
        "listener",
        "notify",
        "date",
    ],
    "choose": ["scores", "target", "confidence"],
    "clopper_pearson": ["count", "total", "confidence"],
    "evaluate": [
        "detector",
        "images",
        "*",
        "threshold",
        "iou",
        "subsets",
        "journal",
        "listener",
        "notify",
    ],
    "from_csv": ["labels", "images"],
    "from_folders": ["faces", "nonfaces"],
    "read_annotations": ["annotations", "images", "*", "form", "category"],
}
METHODS = {
    "CalibrationResult.save": ["self", "path"],
    "CalibrationResult.to_dict": ["self"],
    "Evaluation.to_dict": ["self"],
    "LabelledImage.in_pixels": ["self", "height", "width"],
    "LabelledImage.of_boxes": [
        "path",
        "name",
        "xywh",
        "ignored",
        "landmarks",
        "*",
        "complete",
        "relative",
        "size",
    ],
}
PROPERTIES = {
    "CalibrationResult.calibration",
    "CalibrationResult.highest_nonfaces",
    "CalibrationResult.lowest_faces",
    "CalibrationResult.mistakes",
    "CalibrationResult.scores",
    "CalibrationResult.threshold",
    "Rate.interval",
    "Rate.value",
}
# Fields of each class, in the order in which its constructor takes them.
FIELDS = {
    "CalibrationResult": [
        "target",
        "choice",
        "faces",
        "nonfaces",
        "measurements",
        "iou",
        "date",
        "command",
        "known_false",
        "remembered",
    ],
    "Choice": ["threshold", "recall", "false_positive_rate", "warnings"],
    "Evaluation": [
        "faces",
        "ignored",
        "iou",
        "average_precision",
        "at_false_positives",
        "at_threshold",
        "landmarks",
        "verdicts",
        "measurements",
        "subsets",
    ],
    "Evidence": ["image", "score", "box", "annotated"],
    "Failure": ["name", "reason"],
    "LabelledImage": [
        "path",
        "name",
        "boxes",
        "counted",
        "landmarks",
        "complete",
        "relative",
        "size",
        "mounting",
    ],
    "LandmarkError": ["faces", "mean", "median", "failures", "exchanged"],
    "OperatingPoint": ["threshold", "recall", "precision", "false_positives_per_image"],
    "Rate": ["count", "total", "confidence"],
    "Target": ["kind", "value", "promised"],
}


def find(path: str) -> Any:
    value: Any = thresholds
    for name in path.split("."):
        value = getattr(value, name)
    return value


def test_the_package_exports_exactly_these_names() -> None:
    assert thresholds.__all__ == sorted([*FUNCTIONS, *FIELDS, "AnnotationError", "FORMATS"], key=by)


def by(name: str) -> tuple[int, str]:
    """Constants first, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("path", [*FUNCTIONS, *METHODS])
def test_signature(path: str) -> None:
    assert parameters_of(find(path)) == {**FUNCTIONS, **METHODS}[path]


@pytest.mark.parametrize("name", FIELDS)
def test_fields_and_public_members(name: str) -> None:
    owner = find(name)
    assert [field.name for field in dataclasses.fields(owner)] == FIELDS[name]
    others = {path.split(".")[1] for path in [*METHODS, *PROPERTIES] if path.startswith(f"{name}.")}
    assert public_members(owner) | set(FIELDS[name]) == set(FIELDS[name]) | others
    assert all(isinstance(find(path), property) for path in PROPERTIES)


@pytest.mark.parametrize("name", FIELDS)
def test_instances_are_frozen(name: str) -> None:
    assert find(name).__dataclass_params__.frozen


def test_wrong_labels_are_an_error_of_the_package_and_a_value_error() -> None:
    assert thresholds.AnnotationError.__bases__ == (EdgeMTCNNError, ValueError)


def test_the_formats_of_annotations_are_three() -> None:
    assert list(thresholds.FORMATS) == ["wider", "coco", "yolo"]


def test_every_public_name_and_method_has_a_docstring() -> None:
    paths = [*FUNCTIONS, *METHODS, *PROPERTIES, *FIELDS, "AnnotationError"]
    missing = [path for path in paths if not pydoc.getdoc(find(path))]
    assert missing == []


def test_the_package_says_that_the_rest_is_private() -> None:
    assert "Only the names listed in ``__all__`` are public" in (thresholds.__doc__ or "")
