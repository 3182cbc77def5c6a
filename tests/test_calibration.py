"""The file of a threshold calibration: what the detector takes from it and what it refuses."""

from __future__ import annotations

import argparse
import json
import shlex
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_mtcnn import DetectorOptions, FaceDetector, OptionsError, read_image
from edge_mtcnn.calibration import (
    SCHEMA,
    SCHEMA_VERSION,
    Calibration,
    flags_for,
    load_calibration,
)
from edge_mtcnn.cli import main
from edge_mtcnn.cli.arguments import options_from
from edge_mtcnn.cli.calibrate import add_parser

OPTIONS = DetectorOptions(min_face_size=60)


def content(detector: FaceDetector, threshold: Any = 0.5) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "threshold": threshold,
        "warnings": ["too few images"],
        "provenance": {
            "model_version": detector.info()["model_version"],
            "detector_options": replace(OPTIONS, confidence=0.0).to_dict(),
        },
    }


@pytest.fixture(scope="module")
def entry() -> dict[str, Any]:
    with FaceDetector(OPTIONS) as detector:
        return content(detector)


@pytest.fixture
def written(tmp_path: Path, entry: dict[str, Any]) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        file = tmp_path / "calibration.json"
        file.write_text(json.dumps({**entry, **changes}))
        return file

    return write


def test_the_threshold_becomes_the_confidence_of_the_detector(
    written: Callable[..., Path], sample_path: Callable[[str], Path]
) -> None:
    image = read_image(sample_path("astronaut"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with FaceDetector(OPTIONS, calibration=written(threshold=0.9)) as detector:
            assert detector.options == replace(OPTIONS, confidence=0.9)
            assert len(detector.detect(image)) == 1
        with FaceDetector(OPTIONS, calibration=written(threshold=1.0)) as detector:
            assert len(detector.detect(image)) == 0


def test_another_detector_than_was_measured_is_a_warning_that_names_the_difference(
    written: Callable[..., Path],
) -> None:
    with (
        pytest.warns(UserWarning, match=r"min_face_size: calibrated with 60, now 20"),
        FaceDetector(calibration=written()) as detector,
    ):
        assert detector.options.confidence == 0.5
    provenance = {"model_version": "0.0.1", "detector_options": {}}
    with pytest.warns(UserWarning, match=r"model version: calibrated with '0\.0\.1'"):
        FaceDetector(calibration=written(provenance=provenance)).close()


def test_a_tuple_is_the_list_that_json_makes_of_it() -> None:
    calibration = Calibration(threshold=0.5, options={"nms": [0.7, 0.7, 0.7], "confidence": 0.1})
    assert calibration.differences({"nms": (0.7, 0.7, 0.7), "confidence": 0.9}, "1.0.0") == ()


def test_every_caller_words_the_warning_for_another_detector_alike(
    written: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = written()
    sentence = (
        f"the threshold of {file} was measured with another detector (min_face_size: calibrated"
        " with 60, now 20), so it may not hold here; to calibrate again, run:"
        f" edge-mtcnn calibrate FACES_DIR NONFACES_DIR --output {file}"
    )
    with (
        pytest.warns(UserWarning, match="another detector") as caught,
        FaceDetector(calibration=file) as detector,
    ):
        options = detector.options
    assert [str(warning.message) for warning in caught] == [sentence]
    loaded = load_calibration(file)
    assert loaded.mismatch(options.to_dict(), loaded.model_version) == sentence
    assert loaded.mismatch(OPTIONS.to_dict(), loaded.model_version) is None
    assert main(["detect", "--calibration", str(file)]) == 0
    assert f"warning: {sentence}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (DetectorOptions(), ""),
        (DetectorOptions.from_preset("kiosk"), "--preset kiosk"),
        (DetectorOptions.from_preset("reference"), "--preset reference"),
        (DetectorOptions(min_face_size=60, confidence=0.5), "--min-face-size 60"),
        (
            replace(DetectorOptions.from_preset("kiosk"), max_face_size=300, scale_factor=0.5),
            "--preset kiosk --max-face-size 300 --scale-factor 0.5",
        ),
        (DetectorOptions(angles=(-90, 22.5)), "--angles 270,22.5"),
        (DetectorOptions(angles="fallback"), "--angles fallback"),
    ],
)
def test_flags_make_the_detector_that_they_are_for(options: DetectorOptions, flags: str) -> None:
    found = flags_for(options.to_dict())
    assert found == flags.split()
    commands = argparse.ArgumentParser().add_subparsers()
    add_parser(commands)
    args = commands.choices["calibrate"].parse_args(["faces", "others", *found])
    made = options_from(args)[0]
    assert replace(made, confidence=0.0) == replace(options, confidence=0.0)  # it changes no score


def test_a_detector_without_flags_is_calibrated_through_a_file(tmp_path: Path) -> None:
    calibration = Calibration(threshold=0.5, options=OPTIONS.to_dict(), file="door.json")
    wide = DetectorOptions(thresholds=(0.5, 0.5, 0.5)).to_dict()
    assert flags_for(wide) is None
    sentence = calibration.mismatch(wide, "")
    assert sentence is not None
    assert 'save_options("detector.json", detector=options) of edge_mtcnn.options, then' in sentence
    ending = "run: edge-mtcnn calibrate FACES_DIR NONFACES_DIR --config detector.json --output"
    assert sentence.endswith(f"{ending} door.json")

    config = tmp_path / "options.json"
    config.write_text('{"detector": {"thresholds": [0.5, 0.5, 0.5]}}')
    sentence = calibration.mismatch(wide, "", config=str(config))
    assert sentence is not None
    assert (
        f"to calibrate again, run: edge-mtcnn calibrate FACES_DIR NONFACES_DIR --config {config}"
        in sentence
    )
    kiosk = replace(DetectorOptions.from_preset("kiosk"), thresholds=(0.5, 0.5, 0.5)).to_dict()
    sentence = calibration.mismatch(kiosk, "", config=str(config))
    assert sentence is not None
    assert f'put preset = "kiosk" into {config}, then run: ' in sentence


def test_the_command_of_the_file_is_repeated_with_its_images(
    written: Callable[..., Path], entry: dict[str, Any]
) -> None:
    command = ["my faces/", "others/", "--fpr", "0.05"]
    file = written(provenance={**entry["provenance"], "command": command})
    loaded = load_calibration(file)
    assert loaded.command == tuple(command)
    kiosk = DetectorOptions.from_preset("kiosk").to_dict()
    sentence = loaded.mismatch(kiosk, loaded.model_version, place="for the camera")
    assert sentence is not None
    assert "so it may not hold for the camera; to calibrate again, run: edge-mtcnn" in sentence
    words = shlex.split(sentence.rpartition("run: ")[2])
    assert words == [
        "edge-mtcnn",
        "calibrate",
        *command,
        "--preset",
        "kiosk",
        "--output",
        str(file),
    ]


def test_confidence_and_calibration_together_are_refused(written: Callable[..., Path]) -> None:
    with pytest.raises(OptionsError, match="confidence or calibration, not both"):
        FaceDetector(replace(OPTIONS, confidence=0.3), calibration=written())


def test_what_the_images_could_not_promise_comes_along(written: Callable[..., Path]) -> None:
    assert load_calibration(written()).warnings == ("too few images",)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"schema": "something else"},
            "is not a calibration; make one with 'edge-mtcnn calibrate'",
        ),
        ({"schema_version": 2}, "schema_version 2; this version of edge-mtcnn reads 1"),
        ({"threshold": 1.5}, r"calibration\.json: threshold must be"),
        ({"threshold": None}, r"calibration\.json: threshold must be"),
        ({"threshold": True}, r"calibration\.json: threshold must be"),
        ({"provenance": []}, "provenance must be a table"),
        ({"warnings": "none"}, "warnings must be a list of texts"),
        ({"provenance": {"command": "calibrate"}}, "command must be a list of texts"),
    ],
)
def test_a_file_that_is_no_calibration_is_told(
    changes: dict[str, Any], says: str, written: Callable[..., Path]
) -> None:
    with pytest.raises(OptionsError, match=says):
        load_calibration(written(**changes))


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_file_that_is_no_json_object_is_told(text: str, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(text)
    with pytest.raises(OptionsError, match=r"calibration\.json"):
        load_calibration(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"cannot read the calibration file .*gone\.json"):
        load_calibration(tmp_path / "gone.json")


def test_the_command_detect_reads_it(
    written: Callable[..., Path],
    sample_path: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = str(sample_path("astronaut"))
    for threshold, count in ((0.5, 1), (1.0, 0)):
        file = str(written(threshold=threshold))
        arguments = ["detect", photo, "--json", "-", "--min-face-size", "60"]
        assert main([*arguments, "--calibration", file]) == 0
        assert len(json.loads(capsys.readouterr().out)["faces"]) == count
