"""Accuracy: which faces count, and how the portraits are grouped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures import run

from benchmarks import accuracy
from benchmarks.accuracy_people import group_results
from benchmarks.common.results import read


def test_accuracy_scores_annotated_images(tmp_path: Path, shared: Path) -> None:
    found = run(
        accuracy.main, tmp_path / "r.json", "--preset", "default", "--limit", "3",
        "--sets", "wider", "landmarks", "--data", shared / "data",
    )  # fmt: skip
    assert 0 <= found["accuracy/default/wider/easy"]["value"] <= 1
    assert 0 < found["accuracy/default/landmark error"]["value"] < 20  # per cent of the eyes
    assert read(tmp_path / "r.json")["targets"] == []  # three images say nothing of the targets


def test_accuracy_without_data_says_where_it_looked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accuracy.main(["--data", str(tmp_path)]) == 2
    assert "--data" in capsys.readouterr().err


def portrait(group: str, age: int, age_group: str) -> dict[str, Any]:
    return {"group": group, "age": age, "age_group": age_group}


def test_babies_are_a_group_of_their_own_and_children_in_the_coarse_groups() -> None:
    portraits = [
        *[portrait("asian", 1, "child")] * 2,
        *[portrait("asian", 7, "child")] * 6,
        *[portrait("white", 70, "old")] * 4,
    ]
    found = np.array([True, False, *[True] * 6, True, True, True, False])
    results = {r.name: r for r in group_results("people", portraits, found)}
    assert {name.removeprefix("people/"): round(r.value, 3) for name, r in results.items()} == {
        "all": 0.833,
        "asian baby": 0.5,
        "asian child": 1.0,
        "white old": 0.75,
        "worst group": 0.5,
        "worst group, babies as children": 0.75,
    }
    worst = results["people/worst group"]
    assert worst.detail == {"images": 2, "group": "asian baby"}
    assert (
        worst.interval
        == results["people/asian baby"].interval
        == pytest.approx((0.013, 0.987), abs=1e-3)
    )


def test_portraits_are_counted_once_for_each_light_and_threshold(
    tmp_path: Path, sample_path: Any
) -> None:
    # The CRC-32 of a name decides whether the score was fitted to an image.
    held_out, fitted = "one.jpg", "a.jpg"
    people, others = tmp_path / "people", tmp_path / "nonface" / "things"
    people.mkdir()
    others.mkdir(parents=True)
    for name in (held_out, fitted):
        (people / name).write_bytes(sample_path("astronaut").read_bytes())
        (others / name).write_bytes(sample_path("coffee").read_bytes())
    entries = [{"image": n, **portrait("white", 40, "adult")} for n in (held_out, fitted)]
    (people / "annotations.json").write_text(json.dumps(entries))
    found = run(
        accuracy.main, tmp_path / "r.json", "--sets", "people", "--preset", "default",
        "--set", "min_face_size=60", "--data", tmp_path,
    )  # fmt: skip
    assert {entry["detail"]["images"] for entry in found.values()} == {1}
    shares = {name.removeprefix("accuracy/default/"): r["value"] for name, r in found.items()}
    assert shares["people x 1/0.5/all"] == shares["people x 1/1 in 400/white adult"] == 1.0
    assert len(shares) == 3 * 2 * 4


def test_portraits_that_the_score_was_fitted_to_are_no_measure_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "people").mkdir()
    entries = [{"image": "a.jpg", **portrait("white", 40, "adult")}]
    (tmp_path / "people" / "annotations.json").write_text(json.dumps(entries))
    arguments = ["--sets", "people", "--preset", "default", "--data", str(tmp_path)]
    assert accuracy.main(arguments) == 2
    assert "found 0 and 0" in capsys.readouterr().err
