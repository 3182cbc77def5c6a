"""The faces of the reference program, found again: ``MTCNN`` against what ``mtcnn`` 0.1.1 printed.

The golden files hold its answers on TensorFlow 2.15 with default settings. Those of the sample
photos are part of the project and always run; the others need the folder ``../shared``.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_mtcnn import MTCNN
from edge_mtcnn.types import LANDMARK_NAMES, ImageArray

# The reference truncates coordinates, so sums that differ in the last bit can print as neighbours.
PIXELS = 1
# Windows come from float32 pixels here and from float64 in the reference; weak faces feel it.
CONFIDENCE = 1e-3

# What the project promises on the files of the shared folder, all together.
IMAGES_WITH_THE_SAME_COUNT = 0.99
FACES_MATCHED = 0.995

GOLDEN = Path(__file__).resolve().parent / "golden"
SHARED_IMAGES = 98
SAMPLES = (
    "astronaut.jpg",
    "chelsea.jpg",
    "coffee.jpg",
    "grace_hopper.jpg",
    "hubble_deep_field.jpg",
    "rocket.jpg",
)

# Every golden face that is not found, by image and golden box, and why.
KNOWN_MISSES = {
    ("photos/img35.jpg", (263, 143, 335, 455)): (
        "A tie between two scores. On level 8 of the pyramid the cells (row 4, columns 5 and 6)"
        " have the logits 16.505 and 16.064; their probabilities differ by 4e-8, less than one"
        " step of float32, and round to the same 0.99999988 here, so that the later cell wins."
        " TensorFlow's vectorised softmax is off by a step or two, depending on the place in the"
        " map, and let the earlier one win. What NMS keeps around them then differs: the cell in"
        " column 3, from which the golden face comes, overlaps column 4 but not column 5. With"
        " the score of column 5 raised by one step of float32 the golden face comes out to the"
        " last digit of the confidence. The flipped offset maps of the reference are not the"
        " cause: no level of this image has exactly one candidate."
    ),
}


@dataclass
class Comparison:
    """What the images of one golden file gave."""

    images: int = 0
    same_count: int = 0
    faces: int = 0
    missed: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    other_pixels: list[str] = field(default_factory=list)
    other_counts: list[str] = field(default_factory=list)

    def add(self, name: str, golden: Sequence[Any], ours: Sequence[Any]) -> None:
        left = list(ours)
        self.images += 1
        self.faces += len(golden)
        if len(golden) == len(ours):
            self.same_count += 1
        else:
            self.other_counts.append(f"{name}: {len(ours)} instead of {len(golden)}")
        for face in golden:
            twin = next((other for other in left if matches(face, other)), None)
            if twin is None:
                self.missed.append((name, tuple(face["box"])))
            else:
                left.remove(twin)

    @property
    def figures(self) -> str:
        found = self.faces - len(self.missed)
        return (
            f"{self.same_count} of {self.images} images with the same number of faces,"
            f" {found} of {self.faces} faces within {PIXELS} px and {CONFIDENCE:g}"
        )


def matches(golden: dict[str, Any], ours: dict[str, Any]) -> bool:
    numbers = [(golden["box"], ours["box"])]
    numbers += [(golden["keypoints"][name], ours["keypoints"][name]) for name in LANDMARK_NAMES]
    return abs(golden["confidence"] - ours["confidence"]) <= CONFIDENCE and all(
        abs(a - b) <= PIXELS for pair in numbers for a, b in zip(*pair, strict=True)
    )


def read_as_the_reference_did(path: Path) -> ImageArray:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image: ImageArray = cv2.cvtColor(cv2.imread(str(path), flags), cv2.COLOR_BGR2RGB)
    return image


def has_golden_pixels(image: ImageArray, entry: dict[str, Any]) -> bool:
    digest: str = entry["sha256_pixels"]
    return hashlib.sha256(image.tobytes()).hexdigest() == digest


@pytest.fixture(scope="module")
def mtcnn() -> MTCNN:
    return MTCNN()


@pytest.fixture(scope="module")
def sample_answers() -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((GOLDEN / "samples.json").read_text())
    return answers


@pytest.fixture(scope="module")
def shared_comparisons(shared: Path, mtcnn: MTCNN) -> dict[str, Comparison]:
    """A comparison by name of golden file; images that decode differently are only counted."""
    comparisons: dict[str, Comparison] = {}
    for file in sorted((shared / "golden").glob("*.json")):
        comparison = comparisons[file.stem] = Comparison()
        for name, entry in json.loads(file.read_text()).items():
            image = read_as_the_reference_did(shared / "data" / name)
            if has_golden_pixels(image, entry):
                comparison.add(name, entry["faces"], mtcnn.detect_faces(image))
            else:
                comparison.other_pixels.append(name)
    return comparisons


@pytest.fixture(scope="module")
def overall(shared_comparisons: dict[str, Comparison]) -> Comparison:
    parts = shared_comparisons.values()
    return Comparison(
        images=sum(part.images for part in parts),
        same_count=sum(part.same_count for part in parts),
        faces=sum(part.faces for part in parts),
        missed=[miss for part in parts for miss in part.missed],
        other_pixels=[name for part in parts for name in part.other_pixels],
        other_counts=[line for part in parts for line in part.other_counts],
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_gives_exactly_the_faces_of_the_reference(
    name: str, sample_path: Any, mtcnn: MTCNN, sample_answers: dict[str, Any]
) -> None:
    entry = sample_answers[f"samples/{name}"]
    image = read_as_the_reference_did(sample_path(name))
    assert image.shape == (entry["height"], entry["width"], 3)
    assert has_golden_pixels(image, entry), "OpenCV decodes this JPEG to other pixels here"

    faces = mtcnn.detect_faces(image)

    assert len(faces) == len(entry["faces"])
    for golden, ours in zip(entry["faces"], faces, strict=True):
        assert matches(golden, ours), f"expected {golden}, got {ours}"


def test_samples_have_images_with_and_without_faces(sample_answers: dict[str, Any]) -> None:
    counts = {Path(name).name: len(entry["faces"]) for name, entry in sample_answers.items()}
    assert set(counts) == set(SAMPLES)
    assert min(counts.values()) == 0
    assert max(counts.values()) > 0


@pytest.mark.slow
def test_shared_images_decode_to_the_pixels_of_the_reference(overall: Comparison) -> None:
    # Other pixels give other faces and prove nothing; too few equal ones would prove nothing too.
    assert overall.images + len(overall.other_pixels) >= SHARED_IMAGES
    assert not overall.other_pixels, (
        f"OpenCV {cv2.__version__} decodes {len(overall.other_pixels)} images to other pixels than"
        f" the reference saw, {overall.other_pixels[0]} for one: the comparison left them out"
    )


@pytest.mark.slow
def test_shared_images_give_the_reference_number_of_faces(
    overall: Comparison,
    shared_comparisons: dict[str, Comparison],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with capsys.disabled():
        print()
        for name, part in {**shared_comparisons, "all": overall}.items():
            print(f"golden {name}: {part.figures}")
    assert overall.images >= 0.9 * SHARED_IMAGES
    share = overall.same_count / overall.images
    assert share >= IMAGES_WITH_THE_SAME_COUNT, overall.other_counts


@pytest.mark.slow
def test_shared_faces_match_the_reference(overall: Comparison) -> None:
    assert overall.faces >= 400
    assert 1 - len(overall.missed) / overall.faces >= FACES_MATCHED, overall.missed


@pytest.mark.slow
def test_every_miss_is_explained(overall: Comparison) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("other processors add in another order, so other ties may be decided otherwise")
    assert set(overall.missed) <= set(KNOWN_MISSES), "explain new misses in KNOWN_MISSES"


@pytest.mark.slow
def test_explained_misses_still_exist(overall: Comparison) -> None:
    if overall.other_pixels or platform.machine() != "x86_64":
        pytest.skip("other pixels or another processor than the explanations were found on")
    solved = set(KNOWN_MISSES) - set(overall.missed)
    assert not solved, "these golden faces are found now; take them out of KNOWN_MISSES"
