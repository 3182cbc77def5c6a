"""How far the faces of two programs agree: partners, and the figures of a folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common.images import SAMPLES
from benchmarks.common.program import CANNOT_RUN
from benchmarks.peers import agreement
from benchmarks.peers.agreement import Agreement, partners


def face(left: float, confidence: float, side: float = 100, shift: float = 0) -> list[float]:
    """A row in the form of ``mtcnn`` 1.0.0."""
    points = [left + 30 + shift] * 5 + [40.0] * 5
    return [0, left, 10, left + side, 10 + side, confidence, *points]


def test_each_face_has_one_partner_and_the_best_pairs_come_first() -> None:
    overlaps = np.array([[0.6, 0.9, 0.0], [0.0, 0.8, 0.0]])
    assert partners(overlaps, 0.5) == ([0], [1])
    overlaps[1, 0] = 0.7
    assert partners(overlaps, 0.5) == ([0, 1], [1, 0])
    assert partners(overlaps, 0.8) == ([0], [1])
    assert partners(np.zeros((0, 3)), 0.5) == partners(np.zeros((3, 0)), 0.5) == ([], [])


def test_the_figures_are_those_of_faces_that_both_find() -> None:
    both = Agreement()
    theirs = np.array([face(10, 0.99), face(500, 0.85)])
    ours = np.array([face(14, 0.95, shift=3), face(900, 0.9)])
    both.add(theirs, ours)
    both.add(np.zeros((0, 16)), np.zeros((0, 16)))
    assert (both.images, both.equal_counts) == (2, 2)
    assert (both.theirs, both.ours, both.same, both.nearly_equal) == (2, 2, 1, 1)
    assert both.boxes == [4]
    assert both.shares == [4]
    assert both.points == pytest.approx([7])
    assert both.confidences == pytest.approx([0.04])
    assert both.alone == ([0.85], [0.9])
    values = {result.name: result.value for result in both.results("photos")}
    assert values["agreement/photos/same faces"] == 1
    assert values["agreement/photos/landmarks/median"] == pytest.approx(7)
    assert values["agreement/photos/confidence of theirs alone/median"] == 0.85


def test_folders_without_a_common_face_have_counts_only() -> None:
    both = Agreement()
    both.add(np.zeros((0, 16)), np.array([face(10, 0.9)]))
    names = {result.name for result in both.results("photos")}
    assert "agreement/photos/faces of ours" in names
    assert "agreement/photos/box/median" not in names


def test_without_the_environment_it_says_how_to_make_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = agreement.main([str(SAMPLES), "--environments", str(tmp_path)])
    assert code == CANNOT_RUN
    assert "--setup" in capsys.readouterr().err


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_photos_is_refused(
    there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    if there:
        folder.mkdir()
    assert agreement.main([str(folder)]) == CANNOT_RUN
    assert "photos" in capsys.readouterr().err


PROGRAM = '''
"""Stands in for mtcnn 1.0.0, which takes gigabytes to install: the astronaut, nearly in place."""
import numpy as np

class MTCNN:
    def __init__(self, device):
        assert device == "CPU:0"

    def detect_faces(self, image, box_format, output_type):
        assert (box_format, output_type) == ("xyxy", "numpy")
        if image.shape != (512, 512, 3):
            return np.zeros((0, 16))
        box = [180, 60, 268, 174]
        return np.array([[0, *box, 0.9, 204, 246, 225, 202, 245, 101, 103, 129, 140, 142.0]])
'''


def test_the_faces_of_a_program_in_its_own_process_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "mtcnn.py").write_text(PROGRAM)
    for name in ("tensorflow", "keras"):
        (packages / f"{name}.py").write_text(
            "from unittest.mock import MagicMock\nconfig = utils = MagicMock()\n"
        )
    monkeypatch.setenv("PYTHONPATH", str(packages))
    monkeypatch.setattr(agreement, "interpreter", lambda *_: sys.executable)
    output = tmp_path / "r.json"
    assert agreement.main([str(SAMPLES), "--threads", "1", "--output", str(output)]) == 0
    values = {r["name"]: r["value"] for r in json.loads(output.read_text())["results"]}
    assert values["agreement/samples/faces of theirs"] == 1
    assert values["agreement/samples/nearly equal faces"] == 1
    assert values["agreement/samples/box/median"] < 2
    assert values["agreement/samples/confidence/median"] == pytest.approx(0.1, abs=0.01)
    assert "samples" in capsys.readouterr().out
