"""Options: ranges, spelling, presets, and the way to a file and back."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtcnn import DetectorOptions, FaceDetector, OptionsError, RuntimeOptions
from edge_mtcnn.errors import shown
from edge_mtcnn.options import PRESETS, angles_as_text, angles_from_text, load_options, save_options

needs_toml = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="reading TOML needs Python 3.11 or newer"
)
SUFFIXES = [".json", pytest.param(".toml", marks=needs_toml)]

NO_INT = [9.5, "20", None, True, math.nan, math.inf, [20], (20,)]
NO_NUMBER = ["0.5", None, True, False, math.nan, math.inf, -math.inf, 10**400, [0.5], 1j]
NO_TRIPLE = [0.7, "0.7", (), (0.6, 0.7), (0.6, 0.7, 0.7, 0.7), {"pnet": 0.6}, None]

# Option, values at and inside its bounds, values outside, and what the message must say.
DETECTOR_RANGES = [
    ("min_face_size", [10, 20, 10_000], [9, 0, -20, *NO_INT], "at least 10"),
    ("max_face_size", [None, 20, 5000], [19, 0, -1, 20.5, "90", True, math.nan], "at least 20"),
    ("scale_factor", [0.1, 0.709, 0.95], [0.0999, 0.96, 1, 2, 0, -0.7, *NO_NUMBER], "0.1..0.95"),
    ("level_nms", [0, 0.0, 0.5, 1], [-0.01, 1.01, 50, *NO_NUMBER], "0.0..1.0"),
    ("confidence", [0, 0.0, 0.5, 1], [-0.01, 1.01, 50, *NO_NUMBER], "0.0..1.0"),
    ("resampling", ["area", "octaves"], ["", "AREA", "linear", None, 1], "area, octaves"),
    (
        "exposure",
        ["auto", "off", 1, 2.5, 8],
        ["", "AUTO", "on", "2", 0.99, 8.01, 0, -1, *NO_NUMBER[1:]],
        "auto, off or a gain in 1..8",
    ),
    ("mirror", [True, False], ["yes", 1, 0, None, 1.0], ""),
    (
        "angles",
        [(), "fallback", (90, 180, 270), [45.5, 359.9], tuple(range(15, 360, 15))],
        ["90", "", None, 90, {90}, np.array([90, 180])],
        "(90, 180, 270), or 'fallback'",
    ),
]
TRIPLES = [
    ("thresholds", [(0, 0, 0), (1, 1, 1), [0.6, 0.7, 0.7]], [-0.1, 1.1, *NO_NUMBER], "0.0..1.0"),
    ("nms", [(0, 0, 0), (1, 1, 1), [0.5, 0.7, 0.7]], [-0.1, 1.1, *NO_NUMBER], "0.0..1.0"),
    ("max_candidates", [None, (1, 1, 1), [9, 8, 7]], [0, -1, *NO_INT], "at least 1"),
]
RUNTIME_RANGES = [
    ("threads", [None, 1, 2, 256], [0, -1, 257, 1.5, "2", True, math.nan], "1..256"),
    (
        "device",
        ["cpu", "cuda", "tensorrt", "auto", ("CPUExecutionProvider",), ["A", "B"], ["A?b=c", "D"]],
        ["gpu", "CPU", "", (), [], ("",), (1,), None, 0, b"cpu", {"cpu"}],
        "cpu",
    ),
    ("models", [None, "folder", Path("folder")], [5, b"x", ["folder"], True], "path"),
    ("form", ["auto", "plain", "blocked"], ["", None, 5, ("plain",)], "auto"),
]


def accepted(value: Any) -> Any:
    """What an option holds after it was given ``value``."""
    if isinstance(value, Path):
        return str(value)
    return tuple(value) if isinstance(value, list) else value


def refusal(make: Any, *arguments: Any, **values: Any) -> str:
    """The message with which options are refused."""
    with pytest.raises(OptionsError) as caught:
        make(*arguments, **values)
    return str(caught.value)


RANGES = [
    *(pytest.param(DetectorOptions, *row, id=row[0]) for row in DETECTOR_RANGES),
    *(pytest.param(RuntimeOptions, *row, id=row[0]) for row in RUNTIME_RANGES),
]


@pytest.mark.parametrize(("kind", "name", "inside", "outside", "bounds"), RANGES)
def test_values_outside_the_range_are_refused_by_option_range_and_value(
    kind: Any, name: str, inside: list[Any], outside: list[Any], bounds: str
) -> None:
    for value in inside:
        assert getattr(kind(**{name: value}), name) == accepted(value)
    assert outside
    for value in outside:
        message = refusal(kind, **{name: value})
        assert name in message, repr(value)
        assert bounds in message, repr(value)
        assert shown(value) in message


@pytest.mark.parametrize(("name", "inside", "outside", "bounds"), TRIPLES)
def test_each_of_three_values_is_checked(
    name: str, inside: list[Any], outside: list[Any], bounds: str
) -> None:
    for value in inside:
        assert getattr(DetectorOptions(**{name: value}), name) == accepted(value)
    for number, value in enumerate(outside):
        values: Any = [1, 1, 1]
        values[number % 3] = value  # every place gets some of the wrong values
        message = refusal(DetectorOptions.from_dict, {name: values})
        assert name in message, repr(values)
        assert bounds in message, repr(values)


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        *(((90, wrong), "-360..360") for wrong in (400, -361, *NO_NUMBER)),
        ((0,), "leave out 0"),
        ((-1e-20,), "leave out -1e-20"),
        ((90, -360.0), "leave out -360.0"),
        ((90, 90), "different; got (90, 90)"),
        ((-90, 270), "different; got (-90, 270)"),
        (tuple(range(1, 25)), "at most 23; got 24"),
    ],
)
def test_angles_are_different_turns(angles: Any, message: str) -> None:
    assert message in refusal(DetectorOptions, angles=angles)


@pytest.mark.parametrize(
    ("text", "angles"),
    [
        ("none", ()),
        ("fallback", "fallback"),
        ("90,180,270", (90, 180, 270)),
        ("-45, 4.5e1", (315, 45)),
    ],
)
def test_angles_are_typed_as_numbers_and_commas(text: str, angles: Any) -> None:
    assert angles_from_text(text) == angles
    assert angles_from_text(angles_as_text(angles)) == angles


@pytest.mark.parametrize(
    "text", ["", ",", "90,", "90;180", "fallbak", "nan", "0", "1e9", "9" * 5000]
)
def test_angles_that_are_typed_wrong_are_refused(text: str) -> None:
    message = refusal(angles_from_text, text)
    assert message.startswith(("angles must be degrees", "each of angles", "angles are further"))
    assert len(message) < 200


def test_every_find_looks_wherever_the_fallback_may_look() -> None:
    fallback = DetectorOptions(angles="fallback", min_face_size=50).every_find()
    assert fallback == DetectorOptions(confidence=0, angles=(90, 180, 270), min_face_size=50)
    assert DetectorOptions(angles=(45,)).every_find() == DetectorOptions(confidence=0, angles=(45,))


@pytest.mark.parametrize("name", ["thresholds", "nms", "max_candidates"])
def test_other_than_three_values_are_refused(name: str) -> None:
    for value in NO_TRIPLE:
        if name == "max_candidates" and value is None:
            assert DetectorOptions(max_candidates=None).max_candidates is None
            continue
        message = refusal(DetectorOptions, **{name: value})
        assert f"{name} must be 3 values, for P-Net, R-Net and O-Net" in message, repr(value)


def test_caps_on_cells_are_two_whole_numbers() -> None:
    for value in [(0, 1), (1, 0), (1, -1), (1.5, 2), (1,), (1, 2, 3), 5, "ab"]:
        assert "max_cells must be" in refusal(DetectorOptions, max_cells=value), repr(value)
    assert DetectorOptions(max_cells=None).max_cells is None
    assert DetectorOptions(max_cells=[1, 2]).max_cells == (1, 2)  # type: ignore[arg-type]


def test_the_largest_face_may_not_be_smaller_than_the_smallest() -> None:
    assert DetectorOptions(min_face_size=60, max_face_size=60).max_face_size == 60
    with pytest.raises(OptionsError, match=r"max_face_size .* at least 60 \(min_face_size\)"):
        DetectorOptions(min_face_size=60, max_face_size=59)


@pytest.mark.parametrize("kind", [DetectorOptions, RuntimeOptions])
def test_a_misspelt_name_is_refused_with_the_known_ones(kind: Any) -> None:
    with pytest.raises(OptionsError) as caught:
        kind.from_dict({"min_face_sise": 20})
    message = str(caught.value)
    assert "'min_face_sise'" in message
    assert kind.__name__ in message
    for field in dataclasses.fields(kind):
        assert field.name in message


@pytest.mark.parametrize("kind", [DetectorOptions, RuntimeOptions])
def test_options_are_read_from_tables_only(kind: Any) -> None:
    for values in [None, 5, "min_face_size", [("min_face_size", 20)]]:
        assert "must be a table" in refusal(kind.from_dict, values), repr(values)


@pytest.mark.parametrize("kind", [DetectorOptions, RuntimeOptions])
def test_options_are_frozen_and_keyword_only(kind: Any) -> None:
    options = kind()
    for field in dataclasses.fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(options, field.name, 1)
    with pytest.raises(TypeError):
        kind(20)
    with pytest.raises(TypeError):
        kind(no_such_option=1)


@pytest.mark.parametrize("kind", [DetectorOptions, RuntimeOptions])
def test_options_compare_by_value_and_serve_as_keys(kind: Any) -> None:
    assert kind() == kind()
    assert len({kind(), kind()}) == 1


def test_lists_become_tuples() -> None:
    options = DetectorOptions(thresholds=[0.5, 0.6, 0.7], max_candidates=[3, 2, 1])  # type: ignore[arg-type]
    assert options.thresholds == (0.5, 0.6, 0.7)
    assert options.max_candidates == (3, 2, 1)
    assert hash(options)


def test_numpy_numbers_become_plain_ones() -> None:
    options = DetectorOptions(
        min_face_size=np.int64(40),  # type: ignore[arg-type]
        max_face_size=np.uint16(400),  # type: ignore[arg-type]
        scale_factor=np.float32(0.5),  # type: ignore[arg-type]
        thresholds=(np.float64(0.5), np.float32(0.5), 1),  # type: ignore[arg-type]
        max_candidates=(np.int32(5), 6, 7),  # type: ignore[arg-type]
    )
    assert json.loads(json.dumps(options.to_dict()))["min_face_size"] == 40
    assert [type(value) for value in options.thresholds] == [float] * 3


def test_presets_are_the_documented_ones() -> None:
    assert set(PRESETS) == {"default", "reference", "kiosk"}
    assert PRESETS["default"] == DetectorOptions()


def test_preset_reference_has_the_settings_of_the_reference() -> None:
    reference = DetectorOptions.from_preset("reference")
    assert reference.min_face_size == 20
    assert reference.max_face_size is None
    assert reference.scale_factor == 0.709
    assert reference.thresholds == (0.6, 0.7, 0.7)
    assert reference.nms == (0.7, 0.7, 0.7)
    assert reference.confidence == 0
    assert reference.resampling == "area"
    assert reference.mirror is False
    assert reference.max_candidates is None
    assert reference.max_cells is None


def test_preset_kiosk_looks_for_large_faces() -> None:
    assert DetectorOptions.from_preset("kiosk").min_face_size == 80


@pytest.mark.parametrize("name", ["", "Default", "fast", None, 3])
def test_an_unknown_preset_names_the_known_ones(name: Any) -> None:
    with pytest.raises(OptionsError, match=r"preset must be one of .*default.*reference"):
        DetectorOptions.from_preset(name)


def test_to_dict_and_from_dict_are_inverse() -> None:
    options = DetectorOptions(min_face_size=33, max_candidates=None, thresholds=(0.1, 0.2, 0.3))
    assert DetectorOptions.from_dict(options.to_dict()) == options
    runtime = RuntimeOptions(device=("A", "B"), threads=3, models="m", form="plain")
    assert RuntimeOptions.from_dict(runtime.to_dict()) == runtime


def test_from_dict_changes_the_defaults_only_where_told() -> None:
    options = DetectorOptions.from_dict({"min_face_size": 50})
    assert options == dataclasses.replace(DetectorOptions(), min_face_size=50)


DETECTORS = [
    DetectorOptions(),
    PRESETS["reference"],
    PRESETS["kiosk"],
    DetectorOptions(
        min_face_size=31,
        max_face_size=310,
        scale_factor=1 / 3,
        thresholds=(0.1, 1 / 7, 1),
        nms=(0.3, 0.4, 0.5),
        confidence=0.123456789012345,
        mirror=False,
        resampling="area",
        max_candidates=(10**9, 2, 1),
    ),
]
RUNTIMES = [
    RuntimeOptions(),
    RuntimeOptions(device=("TensorrtExecutionProvider", "CPUExecutionProvider"), threads=7),
    RuntimeOptions(device="auto", models='Modèle 😀\\"quoted" \t\n', form="plain"),
]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saved_options_are_read_back_the_same(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"options{suffix}"
    for detector, runtime in itertools.product(DETECTORS, RUNTIMES):
        save_options(file, detector=detector, runtime=runtime)
        assert load_options(file) == (detector, runtime)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_not_saved_is_the_default(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"options{suffix}"
    save_options(file, runtime=RuntimeOptions(threads=2))
    assert load_options(file) == (DetectorOptions(), RuntimeOptions(threads=2))
    save_options(file, detector=DetectorOptions(min_face_size=40))
    assert load_options(file) == (DetectorOptions(min_face_size=40), RuntimeOptions())
    save_options(file)
    assert load_options(file) == (DetectorOptions(), RuntimeOptions())


@pytest.mark.parametrize("suffix", [".yaml", "", ".JSON5", ".ini"])
def test_options_are_saved_as_json_or_toml_only(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(OptionsError, match=r"\.json or \.toml"):
        save_options(tmp_path / f"options{suffix}", detector=DetectorOptions())
    assert list(tmp_path.iterdir()) == []


def test_saving_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "options.json"
    file.write_text("old")
    save_options(file, detector=DetectorOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["options.json"]
    assert load_options(file)[0] == DetectorOptions()


def write(folder: Path, content: str, suffix: str = ".json") -> Path:
    file = folder / f"options{suffix}"
    file.write_text(content, encoding="utf-8")
    return file


def test_a_file_may_name_a_preset_and_change_some_of_it(tmp_path: Path) -> None:
    content: Mapping[str, Any] = {"preset": "reference", "detector": {"min_face_size": 40}}
    detector, runtime = load_options(write(tmp_path, json.dumps(content)))
    assert detector == dataclasses.replace(PRESETS["reference"], min_face_size=40)
    assert runtime == RuntimeOptions()


@needs_toml
def test_a_toml_file_written_by_hand_is_read(tmp_path: Path) -> None:
    text = 'preset = "kiosk"\n[detector]\nthresholds = [0.5, 0.6, 0.7]\nmax_face_size = "none"\n'
    text += "[runtime]\nthreads = 2 # two\n"
    detector, runtime = load_options(write(tmp_path, text, ".toml"))
    assert detector == dataclasses.replace(PRESETS["kiosk"], thresholds=(0.5, 0.6, 0.7))
    assert runtime == RuntimeOptions(threads=2)


WRONG_FILES = {
    "an unknown entry": ('{"detektor": {}}', "unknown entry 'detektor'"),
    "an unknown option": ('{"detector": {"min_face": 20}}', "unknown option 'min_face'"),
    "an unknown runtime option": ('{"runtime": {"cores": 2}}', "unknown option 'cores'"),
    "an invalid value": ('{"detector": {"min_face_size": 5}}', "at least 10"),
    "a text for a number": ('{"detector": {"scale_factor": "0.7"}}', "0.1..0.95"),
    "NaN": ('{"detector": {"confidence": NaN}}', "0.0..1.0"),
    "an unknown preset": ('{"preset": "turbo"}', "preset must be one of"),
    "a preset that is a table": ('{"preset": {}}', "preset must be one of"),
    "a list": ("[]", "table of options"),
    "a detector that is a list": ('{"detector": []}', "table"),
    "broken JSON": ("{", "not valid JSON"),
    "nothing": ("", "not valid JSON"),
}


@pytest.mark.parametrize(("content", "reason"), WRONG_FILES.values(), ids=list(WRONG_FILES))
def test_a_wrong_file_is_named_with_the_reason(tmp_path: Path, content: str, reason: str) -> None:
    file = write(tmp_path, content)
    with pytest.raises(OptionsError) as caught:
        load_options(file)
    assert str(file) in str(caught.value)
    assert reason in str(caught.value)


@needs_toml
def test_broken_toml_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "detector = {", ".toml")
    with pytest.raises(OptionsError, match="not valid TOML") as caught:
        load_options(file)
    assert str(file) in str(caught.value)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="cannot read the options file"):
        load_options(tmp_path / "nowhere.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(OptionsError, match="cannot read the options file"):
        load_options(tmp_path / "binary.json")
    with pytest.raises(OptionsError, match="cannot read the options file"):
        load_options(tmp_path)


def test_the_detector_takes_a_file_of_options_below_its_arguments(tmp_path: Path) -> None:
    file = tmp_path / "device.json"
    save_options(
        file, detector=DetectorOptions(min_face_size=60), runtime=RuntimeOptions(threads=1)
    )
    with FaceDetector(config=file) as detector:
        assert detector.options.min_face_size == 60
        assert detector.info()["threads"] == 1
    with FaceDetector(preset="reference", config=file) as detector:
        assert detector.options == PRESETS["reference"]
        assert detector.info()["threads"] == 1
    with FaceDetector(runtime=RuntimeOptions(threads=2), config=file) as detector:
        assert detector.options.min_face_size == 60
        assert detector.info()["threads"] == 2


def test_options_and_preset_exclude_each_other() -> None:
    with pytest.raises(OptionsError, match="not both"):
        FaceDetector(DetectorOptions(), preset="default")


def test_the_detector_refuses_options_of_another_type() -> None:
    for wrong in [{}, 0, "default", RuntimeOptions()]:
        assert "options must be DetectorOptions" in refusal(FaceDetector, wrong), repr(wrong)
    for wrong in [{}, 0, "cpu", DetectorOptions()]:
        message = refusal(FaceDetector, runtime=wrong)
        assert "runtime must be RuntimeOptions" in message, repr(wrong)


def test_a_provider_with_options_is_kept_as_text_and_survives_a_file(tmp_path: Path) -> None:
    given = (("OpenVINOExecutionProvider", {"device_type": "GPU", "precision": "FP32"}), "B?c=1")
    runtime = RuntimeOptions(device=given)
    text = ("OpenVINOExecutionProvider?device_type=GPU&precision=FP32", "B?c=1")
    assert runtime.device == text
    assert hash(runtime) == hash(RuntimeOptions(device=text))
    for suffix in [".json", ".toml"][: 1 + (sys.version_info >= (3, 11))]:
        save_options(tmp_path / f"device{suffix}", runtime=runtime)
        assert load_options(tmp_path / f"device{suffix}")[1] == runtime


@pytest.mark.parametrize("wrong", [["A?b"], ["?b=c"], [("A", "b")], [("A", {"": 1})], [("A",)]])
def test_a_provider_whose_options_are_none_is_an_error(wrong: Any) -> None:
    with pytest.raises(OptionsError, match="a name and its options"):
        RuntimeOptions(device=wrong)
