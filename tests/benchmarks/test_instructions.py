"""Counting instructions: what Callgrind writes is read as it is meant, and split by library."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks import instructions
from benchmarks.common.program import CANNOT_RUN
from benchmarks.common.results import read
from edge_mtcnn import FaceDetector

# Two functions of one library and one of another. The first calls the others; the line after a
# call tells what the call cost, which is counted where it was spent.
CALLGRIND = """\
# callgrind format
version: 1
events: Ir

ob=(1) /usr/lib/libpython3.11.so.1.0
fl=(1) ceval.c
fn=(1) _PyEval_EvalFrameDefault
10 100
+2 5
cob=(2) /site-packages/cv2/cv2.abi3.so
cfi=(2) ???
cfn=(2) 0x0000000000e76380
calls=3 0
* 6000
cfn=(3) tupledealloc
calls=1 40
+1 70
* 4

ob=(2)
fl=(2)
fn=(2)
0 6000

ob=(1)
fl=(1)
fn=(3)
40 70
totals: 6179
"""


def test_costs_are_counted_where_they_were_spent(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    path.write_text(CALLGRIND)
    python, opencv = "/usr/lib/libpython3.11.so.1.0", "/site-packages/cv2/cv2.abi3.so"
    assert instructions.own_costs(path) == {
        (python, "_PyEval_EvalFrameDefault"): 109,
        (opencv, "0x0000000000e76380"): 6000,
        (python, "tupledealloc"): 70,
    }


@pytest.mark.parametrize(
    ("library", "part"),
    [
        ("/x/onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64.so", "networks"),
        ("/x/cv2/cv2.abi3.so", "OpenCV"),
        ("/x/numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so", "NumPy"),
        ("/x/numpy.libs/libscipy_openblas64_-32a4b2a6.so", "NumPy"),
        ("/usr/lib/libpython3.11.so.1.0", "Python"),
        ("/usr/bin/python3.11", "Python"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "other"),
        ("", "other"),
    ],
)
def test_a_library_belongs_to_one_part(library: str, part: str) -> None:
    assert instructions.part_of(library) == part


def test_scenes_have_the_size_of_a_kiosk_and_the_faces_that_they_name(
    default_detector: FaceDetector,
) -> None:
    counts = {
        scene.name: len(default_detector.detect(scene.image))
        for scene in instructions.scenes(1)
        if scene.name.startswith("kiosk/searched")
    }
    assert list(counts.values()) == [0, 1, 3]


def test_without_valgrind_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert instructions.main([]) == CANNOT_RUN
    assert capsys.readouterr().err == "error: valgrind is not installed: apt install valgrind\n"


def test_no_such_scene_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/valgrind")
    assert instructions.main(["--only", "elephant"]) == CANNOT_RUN
    assert "'elephant'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_most_instructions_of_a_search_are_in_the_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "counts.json"
    arguments = ["--frames", "2", "--only", "searched/one face", "--top", "3"]
    assert instructions.main([*arguments, "--output", str(output)]) == 0
    (result,) = read(output)["results"]
    assert 1e6 < result["value"] < 1e9
    assert result["value"] == pytest.approx(sum(result["detail"].values()), rel=1e-3)
    assert result["detail"]["networks"] > result["value"] / 3
    assert min(result["detail"].values()) > 0
    assert capsys.readouterr().out.count("networks") >= 2
