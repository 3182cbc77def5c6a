"""The examples with one file give the faces that ``FaceDetector`` gives: Python, Node.js, a page.

What npm installs is not part of the project: the tests of JavaScript use the ``node_modules`` that
are there, and are skipped without them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browsers import BROWSERS, launched
from onefile import one_file, shipped_folder

from edge_mtcnn import DetectorOptions, FaceDetector, Faces, read_image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# The same pixels through other kernels of the processor.
TOLERANCE = 0.02  # pixels
SCORE_TOLERANCE = 1e-3
CAMERA = (640, 480)
# Browsers decode colours of videos a little differently: a camera's frame is not equal.
CAMERA_TOLERANCE = 2.0  # pixels
SLOWEST_RATE = 0.5  # frames per second, on any machine; it only says that frames go on


def run(command: list[str], cwd: Path = EXAMPLES) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)


def node(folder: str) -> str:
    """Node.js, where the example's packages are installed."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("no node here")
    if not (EXAMPLES / folder / "node_modules").is_dir():
        pytest.skip(f"examples/{folder}: 'npm ci' has not been run")
    return found


def assert_same(got: list[dict[str, Any]], expected: Faces, tolerance: float = TOLERANCE) -> None:
    assert len(got) == len(expected) > 0
    for face, wanted in zip(got, expected, strict=True):
        assert face["box"] == pytest.approx(wanted.box, abs=tolerance)
        assert np.allclose(face["landmarks"], wanted.landmarks, atol=tolerance, rtol=0)
        assert face["score"] == pytest.approx(wanted.score, abs=SCORE_TOLERANCE)
        assert face["confidence"] == pytest.approx(wanted.confidence, abs=10 * SCORE_TOLERANCE)


def test_ten_lines_of_python_need_onnxruntime_alone(
    sample_path: Callable[[str], Path], default_detector: FaceDetector
) -> None:
    photo = sample_path("astronaut")
    script = EXAMPLES / "one_file.py"
    done = run([sys.executable, str(script), str(one_file("mtcnn-default.onnx")), str(photo)])
    assert done.returncode == 0, done.stderr
    (face,) = default_detector.detect(read_image(photo))
    corners = [float(round(value)) for value in face.box]
    assert done.stdout.startswith(f"score {face.score:.3f}, box {corners}")
    code = [line for line in script.read_text().splitlines() if line and line[0] != '"']
    assert len(code) <= 10
    assert "edge_mtcnn" not in script.read_text()


@pytest.mark.slow
def test_node_finds_the_same_faces(
    sample_path: Callable[[str], Path], default_detector: FaceDetector
) -> None:
    command = [node("node"), "faces.js", str(one_file("mtcnn-default.onnx"))]
    photo = sample_path("grace_hopper")
    done = run([*command, str(photo)], EXAMPLES / "node")
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert_same(got, default_detector.detect(read_image(photo)))
    failed = run([*command, str(EXAMPLES / "one_file.py")], EXAMPLES / "node")
    assert failed.returncode == 1
    assert "one_file.py" in failed.stderr
    assert run(command, EXAMPLES / "node").returncode == 2


@pytest.fixture(scope="module")
def page_url() -> Iterator[str]:
    """The built page, served as docs/one-file.md says."""
    program, folder = node("browser"), EXAMPLES / "browser"
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("no browser here")
    built = run([program, "build.js", str(shipped_folder())], folder)
    assert built.returncode == 0, built.stderr
    with subprocess.Popen(
        [program, "serve.js", "0"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture(scope="module")
def frame(sample_path: Callable[[str], Path]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What the fake camera shows, RGB: a face in 640x480."""
    face = read_image(sample_path("astronaut"))[:384]
    return np.ascontiguousarray(cv2.resize(face, CAMERA, interpolation=cv2.INTER_AREA))


@pytest.fixture(scope="module")
def camera(frame: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video file for Chromium's fake camera: half a second of one frame, motion JPEG."""
    path = tmp_path_factory.mktemp("camera") / "face.mjpeg"
    bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 98])
    path.write_bytes(data.tobytes() * 15)
    return path


@pytest.fixture(scope="module")
def page(page_url: str, camera: Path) -> Iterator[Any]:
    with launched(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ) as browser:
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        # Nothing may come from elsewhere.
        own = (page_url, "blob:", "data:")
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_url)
        page.wait_for_selector("body[data-ready=yes]", timeout=60_000)
        yield page
        assert not problems
        assert requests
        assert not [url for url in requests if not url.startswith(own)]


@pytest.mark.slow
class TestPage:
    def test_a_photo_shows_the_faces_of_python(
        self, page: Any, sample_path: Callable[[str], Path], default_detector: FaceDetector
    ) -> None:
        photo = sample_path("astronaut")
        page.set_input_files("#photo", str(photo))
        canvas = page.wait_for_selector("canvas[data-faces]", timeout=120_000)
        faces = json.loads(canvas.get_attribute("data-faces"))
        assert_same(faces, default_detector.detect(read_image(photo)))
        assert page.inner_text("#status").startswith("1 face in")
        assert int(canvas.get_attribute("data-threads")) == min(4, os.cpu_count() or 1)

    def test_a_file_that_is_no_photo_is_told(self, page: Any) -> None:
        page.set_input_files("#photo", str(EXAMPLES / "one_file.py"))
        page.wait_for_selector("#status:has-text('did not work')", timeout=20_000)

    def test_a_camera_shows_who_is_present(self, page: Any, frame: Any) -> None:
        page.click("#camera")
        page.wait_for_selector("#persons:has-text('person 1')", timeout=120_000)
        canvas = page.wait_for_selector("canvas[data-rate]", timeout=60_000)
        page.wait_for_timeout(1000)
        assert "frames per second" in page.inner_text("#status")
        assert float(canvas.get_attribute("data-rate")) > SLOWEST_RATE
        assert "Person 1 appeared" in page.inner_text("#events")
        faces = json.loads(canvas.get_attribute("data-faces"))
        with FaceDetector(DetectorOptions.from_preset("kiosk")) as detector:
            assert_same(faces, detector.detect(frame), CAMERA_TOLERANCE)
        drawn = page.evaluate(
            """() => {
              const canvas = document.querySelector("canvas");
              const { data } = canvas.getContext("2d").getImageData(0, 0, 640, 480);
              let green = 0;
              for (let at = 0; at < data.length; at += 4)
                green += data[at] < 90 && data[at + 1] > 220 && data[at + 2] < 60;
              return green;
            }"""
        )
        assert drawn > 200, "the box is drawn over the picture"
        page.click("#camera")
        assert page.inner_text("#persons") == "nobody"


def test_the_page_of_the_documentation_shows_the_example_in_python() -> None:
    page = (EXAMPLES.parent / "docs" / "one-file.md").read_text(encoding="utf-8")
    listing = page.split("```python\n")[1].split("```")[0]
    assert listing.strip() in (EXAMPLES / "one_file.py").read_text(encoding="utf-8")
