"""The whole cascade as one graph: it gives what ``FaceDetector`` gives, on any ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from onefile import one_file, shipped_folder

pytest.importorskip("onnx", reason="writing graphs needs the package onnx")

import onnx

from edge_mtcnn import DetectorOptions, FaceDetector, Faces, read_image
from export.__main__ import main as export
from export.single import verify
from export.single.command import SHIPPED, content_of
from export.single.graph import Graph
from export.single.verify import Agreement, OneFile

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = json.loads((ROOT / "models" / "manifest.json").read_text(encoding="utf-8"))
MAX_BYTES = 3_000_000
NEWEST_OPSET = 17
# Pixels are equal; networks in another form, and sums in another order, differ in the last digits.
BOX_TOLERANCE = 0.01  # pixels
SCORE_TOLERANCE = 1e-3
PHOTOS = ("astronaut", "grace_hopper", "coffee", "chelsea", "rocket")

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def dynamic() -> OneFile:
    return OneFile(one_file("mtcnn-default.onnx"))


def assert_same(got: Faces, expected: Faces) -> None:
    assert len(got) == len(expected)
    assert (np.diff(got.scores) <= 0).all(), "best first"
    # Scores that are equal but for the last digits may change places.
    got, expected = (faces[np.argsort(faces.boxes[:, 0])] for faces in (got, expected))
    for name, tolerance in (
        ("boxes", BOX_TOLERANCE),
        ("landmarks", BOX_TOLERANCE),
        ("scores", SCORE_TOLERANCE),
        ("confidences", SCORE_TOLERANCE),
    ):
        found, wanted = getattr(got, name), getattr(expected, name)
        assert found.dtype == np.float32
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=tolerance, rtol=0, err_msg=name)


def turned(image: Image, angle: float) -> Image:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -angle, 1.0)
    rotated: Image = cv2.warpAffine(image, matrix, (width, height))
    return rotated


def dark(image: Image) -> Image:
    darker: Image = cv2.convertScaleAbs(image, alpha=0.15)
    return darker


@pytest.mark.parametrize("photo", PHOTOS)
def test_the_file_finds_what_the_detector_finds(
    photo: str, dynamic: OneFile, default_detector: FaceDetector, sample_path: Callable[[str], Path]
) -> None:
    image = read_image(sample_path(photo))
    assert_same(dynamic(image), default_detector.detect(image))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: turned(image, 25), id="a tilted head"),
        pytest.param(dark, id="in the dark"),
        pytest.param(lambda image: dark(turned(image, -20))[:-1, :-1], id="both, odd sides"),
        pytest.param(lambda image: image[60:180, 170:275], id="cut off on all sides"),
        pytest.param(lambda image: np.hstack([image[:, 90:350]] * 3)[1:, 1:], id="three faces"),
    ],
)
def test_difficult_images_give_the_same_faces(
    change: Callable[[Image], Image],
    dynamic: OneFile,
    default_detector: FaceDetector,
    sample_path: Callable[[str], Path],
) -> None:
    image = np.ascontiguousarray(change(read_image(sample_path("astronaut"))))
    expected = default_detector.detect(image)
    assert len(expected) > 0
    assert_same(dynamic(image), expected)


@pytest.mark.parametrize("form", ["plain", "blocked"])
def test_a_file_for_one_size_gives_the_same_faces(
    form: str, sample_path: Callable[[str], Path], tmp_path: Path
) -> None:
    image = cv2.resize(read_image(sample_path("astronaut")), (640, 480))
    options = DetectorOptions.from_preset("kiosk")
    path = tmp_path / "kiosk.onnx"
    path.write_bytes(content_of(options, (480, 640), form=form))
    with FaceDetector(options) as detector:
        for frame in (image, dark(image), turned(image, 30), image[::-1].copy()):
            assert_same(OneFile(path)(frame), detector.detect(frame))


def test_a_small_smallest_face_enlarges_the_image(
    sample_path: Callable[[str], Path], tmp_path: Path
) -> None:
    image = np.ascontiguousarray(read_image(sample_path("astronaut"))[40:200, 150:300])
    options = DetectorOptions(min_face_size=10)
    path = tmp_path / "small.onnx"
    with FaceDetector(options) as detector:
        for size in (None, image.shape[:2]):
            path.write_bytes(content_of(options, size))
            assert_same(OneFile(path)(image), detector.detect(image))


def test_only_the_best_faces_are_returned(
    sample_path: Callable[[str], Path], tmp_path: Path, default_detector: FaceDetector
) -> None:
    face = read_image(sample_path("astronaut"))[:, 90:350]
    image = np.hstack([face, cv2.GaussianBlur(face, (0, 0), 3), face[:, ::-1]])
    path = tmp_path / "two.onnx"
    path.write_bytes(content_of(default_detector.options, None, max_faces=2))
    expected = default_detector.detect(image)
    assert len(expected) == 3
    assert_same(OneFile(path)(image), expected[:2])


def test_the_reference_without_a_mirror_check_reports_the_confidence(
    sample_path: Callable[[str], Path], tmp_path: Path
) -> None:
    image = read_image(sample_path("astronaut"))
    options = DetectorOptions.from_preset("reference")
    path = tmp_path / "reference.onnx"
    path.write_bytes(content_of(options, None))
    # The file samples octaves, whatever the preset says.
    with FaceDetector(replace(options, resampling="octaves")) as detector:
        got = OneFile(path)(image)
        assert_same(got, detector.detect(image))
    assert np.array_equal(got.scores, got.confidences)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2000), (2000, 1), (11, 11), (12, 12), (19, 300), (20, 20), (21, 33)]
)
@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_images_without_room_for_a_face_give_none(
    shape: tuple[int, int], kind: str, dynamic: OneFile, default_detector: FaceDetector
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (*shape, 3))
    values = {"black": 0 * noise, "white": 0 * noise + 255, "noise": noise}[kind]
    image = values.astype(np.uint8)
    assert_same(dynamic(image), default_detector.detect(image))


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (np.zeros((480, 640, 3), dtype=np.float32), "data type"),
        (np.zeros((480, 640), dtype=np.uint8), "rank"),
        (np.zeros((480, 640, 4), dtype=np.uint8), "dimensions"),
    ],
)
def test_a_wrong_type_or_rank_is_refused(name: str, image: Any, complaint: str) -> None:
    with pytest.raises(Exception, match=complaint):
        OneFile(one_file(name))(image)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_is_the_one_of_the_manifest(name: str) -> None:
    pinned = re.search(r'"onnx==([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pinned is not None
    if metadata.version("onnx") != pinned[1]:
        pytest.skip(f"only onnx {pinned[1]}, which make models installs, promises equal bytes")
    content = one_file(name).read_bytes()
    entry = MANIFEST["single"][name]
    assert hashlib.sha256(content).hexdigest() == entry["sha256"], "run 'make models'"
    assert len(content) == entry["bytes"] <= MAX_BYTES


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_has_standard_operators_and_says_what_it_is(name: str) -> None:
    model = onnx.load(one_file(name))
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} == {""}
    assert all(opset.version <= NEWEST_OPSET for opset in model.opset_import)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert entries["license"] == "MIT"
    assert "uint8" in entries["input"]
    assert "landmarks" in entries["output"]
    size = json.loads(entries["settings"])["size"]
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ([*size, 3] if size else [0, 0, 3])


def test_a_size_that_is_known_leaves_no_shape_to_compute() -> None:
    model = onnx.load(one_file("mtcnn-kiosk-640x480.onnx"))
    shapes = [node for node in model.graph.node if node.op_type == "Shape"]
    # What is left depends on the number of candidates.
    octaves = {node.output[0] for node in model.graph.node if node.op_type == "AveragePool"}
    assert not any(node.input[0] in octaves | {"image"} for node in shapes)
    assert not any(node.op_type == "Loop" and "conv" in str(node) for node in model.graph.node)


def test_equal_constants_are_stored_once() -> None:
    graph = Graph()
    assert graph.constant(0.5) == graph.constant(np.float32(0.5))
    assert graph.constant(1) != graph.constant(np.int32(1))
    assert len(graph.constants) == 3


class TestCommand:
    def test_it_writes_a_file_that_verify_single_accepts(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "mtcnn.onnx"
        arguments = ["--preset", "kiosk", "--size", "640x480", "--max-faces", "3"]
        assert export(["single", *arguments, "-o", str(path)]) == 0
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert digest in capsys.readouterr().out
        assert export(["verify-single", str(path)]) == 0
        output = capsys.readouterr().out
        assert "images with the same number of faces" in output
        assert "100.00%" in output

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["--size", "640"], "WIDTHxHEIGHT"),
            (["--size", "11x480"], "12.."),
            (["--size", "640x480", "--dynamic"], "not allowed with"),
            (["--min-face-size", "5"], "min_face_size must be"),
            (["--confidence", "2"], "confidence must be"),
            (["--max-faces", "0"], "from 1 on"),
        ],
    )
    def test_wrong_usage_is_explained(
        self,
        arguments: list[str],
        complaint: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            export(["single", *arguments, "-o", str(tmp_path / "x.onnx")])
        assert ended.value.code == 2
        assert complaint in capsys.readouterr().err

    def test_a_folder_that_is_missing_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "nowhere" / "x.onnx"
        assert export(["single", "-o", str(path)]) == 2
        assert str(path) in capsys.readouterr().err

    @pytest.mark.parametrize("other", ["models/pnet.onnx", "README.md", "missing.onnx"])
    def test_other_files_are_refused(self, other: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert export(["verify-single", str(ROOT / other)]) == 2
        assert "export single" in capsys.readouterr().err

    def test_an_image_that_cannot_be_read_fails_alone(
        self, tmp_path: Path, sample_path: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "broken.jpg").write_bytes(b"no image")
        (tmp_path / "good.jpg").write_bytes(sample_path("astronaut").read_bytes())
        file = str(one_file("mtcnn-default.onnx"))
        assert export(["verify-single", file, str(tmp_path)]) == 1
        captured = capsys.readouterr()
        assert "broken.jpg" in captured.err
        assert "1 / 1" in captured.out


class TestAgreement:
    def faces(self, *boxes: tuple[float, ...], score: float = 0.9) -> Faces:
        rows = np.array(boxes, dtype=np.float32).reshape(-1, 4)
        scores = np.full(len(rows), score, dtype=np.float32)
        landmarks = np.repeat(rows[:, None, :2], 5, axis=1)
        return Faces(rows, scores, landmarks, confidences=scores, image_size=(480, 640))

    def test_equal_faces_agree(self) -> None:
        agreement = Agreement()
        assert agreement.add(self.faces((10, 10, 50, 60)), self.faces((10.5, 10, 50, 60)))
        assert agreement.report()[1]

    def test_a_face_that_is_missing_counts(self) -> None:
        agreement = Agreement()
        assert not agreement.add(self.faces((10, 10, 50, 60)), self.faces())
        assert (agreement.same_count, agreement.matched) == (0, 0)
        assert not agreement.report()[1]

    def test_a_moved_box_or_another_score_does_not_agree(self) -> None:
        face = (10, 10, 50, 60)
        for other in (self.faces((12, 10, 50, 60)), self.faces(face, score=0.87)):
            agreement = Agreement()
            agreement.add(self.faces(face), other)
            assert (agreement.matched, agreement.agreeing) == (1, 0)
            assert not agreement.report()[1]

    def test_large_faces_may_differ_by_more(self) -> None:
        agreement = Agreement()
        agreement.add(self.faces((0, 0, 200, 200)), self.faces((3.9, 0, 200, 200)))
        agreement.add(self.faces((0, 0, 200, 200)), self.faces((4.1, 0, 200, 200)))
        assert (agreement.matched, agreement.agreeing) == (2, 1)


def test_the_targets_are_those_that_are_documented() -> None:
    page = (ROOT / "docs" / "one-file.md").read_text(encoding="utf-8")
    assert f"{verify.SAME_COUNT:.0%}".replace("%", " %") in page
    assert f"{verify.SAME_FACE:.0%}".replace("%", " %") in page
    assert all(name in page for name in SHIPPED)
    assert shipped_folder().is_dir()
