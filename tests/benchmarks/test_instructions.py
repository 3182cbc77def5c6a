"""Counting instructions: what Callgrind writes is read as it is meant, and split by library."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import instructions
from benchmarks.common.program import CANNOT_RUN
from benchmarks.common.results import read
from edge_mtcnn import FaceDetector

# Python calls OpenCV, which copies memory and has a comparison called by the C library. The line
# after "calls=" has the cost of all that was called.
PYTHON, OPENCV, LIBC = (
    "/usr/lib/libpython3.11.so.1.0",
    "/site-packages/cv2/cv2.abi3.so",
    "/libc.so.6",
)
CALLGRIND = f"""\
# callgrind format
version: 1
events: Ir

ob={LIBC}
fl=???
fn=(below main)
cob={PYTHON}
cfn=main
calls=1 0
0 6279

ob={PYTHON}
fl=ceval.c
fn=_PyEval_EvalFrameDefault'2
10 100
+2 5
cob={OPENCV}
cfi=???
cfn=cv::resize(int, bool=true)
calls=3 0
* 6100
cfn=tupledealloc
calls=1 40
+1 70
* 4

fn=tupledealloc
40 70

ob={OPENCV}
fl=???
fn=cv::resize(int, bool=true)
0 5000
cob={LIBC}
cfn=memcpy@@GLIBC_2.14
calls=2 0
0 700
cob={LIBC}
cfn=qsort
calls=1 0
0 400

ob={LIBC}
fn=memcpy@@GLIBC_2.14
0 700
fn=qsort
0 250
cob={OPENCV}
cfn=compare
calls=5 0
0 150

ob={OPENCV}
fn=compare
0 150
totals: 6279
"""


def test_costs_are_those_of_the_library_that_spent_them_or_had_them_spent(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    path.write_text(CALLGRIND)
    assert instructions.costs_of(path) == {
        ("Python", "_PyEval_EvalFrameDefault"): 109,
        ("Python", "tupledealloc"): 70,
        ("OpenCV", "cv::resize(int, bool=true)"): 5000,
        ("OpenCV", "memcpy"): 700,
        ("OpenCV", "qsort"): 400 - 150,
        ("OpenCV", "compare"): 150,
        ("other", ""): 0,
    }


@pytest.mark.parametrize(
    ("library", "part"),
    [
        ("/x/onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64.so", "networks"),
        ("/x/cv2/cv2.abi3.so", "OpenCV"),
        ("/lib/python3.11/site-packages/opencv_python_headless.libs/libpng16.so", "OpenCV"),
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


def test_the_whole_cascade_as_one_file_sees_the_frame_with_one_face() -> None:
    pytest.importorskip("onnx", reason="writing graphs needs the package onnx")
    (scene,) = (scene for scene in instructions.scenes(1) if scene.one_file)
    assert scene.name == "kiosk/one file/one face"
    (searched,) = (s for s in instructions.scenes(1) if s.name == "kiosk/searched/one face")
    assert np.array_equal(scene.image, searched.image)


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
    assert result["detail"].pop("other") < result["value"] / 1000
    assert min(result["detail"].values()) > 0
    assert capsys.readouterr().out.count("networks") >= 2
