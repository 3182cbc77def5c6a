"""Matching and average precision: small cases by hand, and a plain second implementation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_mtcnn.thresholds import average_precision, matching
from edge_mtcnn.thresholds.matching import inclusive_ious, match
from edge_mtcnn.thresholds.precision import (
    ScoredBoxes,
    judge,
    precision_recall,
    recall_at_false_positives,
)
from edge_mtcnn.types import FloatArray

# The official thresholds are a thousand steps, so a score near one of them may fall on either side.
EXACT = 1e-9

AnnotatedSet = tuple[list[ScoredBoxes], list[FloatArray], list[list[int]]]


def boxes(*corners: Sequence[float]) -> FloatArray:
    return np.array(corners, dtype=np.float64).reshape(-1, 4)


FACE = (0, 0, 99, 99)  # 100x100 as WIDER FACE counts
HALF = (0, 0, 99, 49)  # overlaps it by exactly a half
OTHER = (200, 0, 299, 99)
NOWHERE = (500, 500, 599, 599)


def test_overlap_counts_pixels_inclusively() -> None:
    assert inclusive_ious(boxes(FACE, HALF, NOWHERE), boxes(FACE))[:, 0] == pytest.approx(
        [1, 0.5, 0]
    )
    assert inclusive_ious(boxes((0, 0, 9, 9)), boxes((5, 0, 14, 9)))[0, 0] == pytest.approx(
        50 / 150
    )


def test_a_box_turned_inside_out_overlaps_nothing() -> None:
    assert inclusive_ious(boxes((9, 9, 0, 0)), boxes((9, 9, 0, 0)))[0, 0] == 0


def test_overlap_at_the_bound_is_a_hit_and_below_it_is_false() -> None:
    truth, counted = boxes(FACE), np.array([True])
    found = match(boxes(HALF), np.array([0.9]), truth, counted, iou=0.5)
    assert found.hit.tolist() == [True]
    found = match(boxes(HALF), np.array([0.9]), truth, counted, iou=0.5001)
    assert found.false.tolist() == [True]


def test_the_best_of_two_on_one_face_is_the_hit_and_the_other_false() -> None:
    found = match(boxes(FACE, FACE), np.array([0.6, 0.9]), boxes(FACE), np.array([True]))
    assert found.hit.tolist() == [False, True]
    assert found.false.tolist() == [True, False]


def test_any_number_on_an_ignored_face_counts_neither_way() -> None:
    found = match(boxes(FACE, FACE), np.array([0.6, 0.9]), boxes(FACE), np.array([False]))
    assert found.ignored.all()
    assert not found.false.any()


def test_a_detection_belongs_to_the_face_that_it_overlaps_most() -> None:
    near = boxes((0, 0, 99, 79), FACE)
    found = match(boxes(FACE), np.array([0.9]), near, np.array([True, False]))
    assert found.face.tolist() == [1]
    assert found.ignored.tolist() == [True]


def test_thousands_of_pairs_are_matched_in_parts_as_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 300, (90, 2))
    faces = np.hstack([corners, corners + random.uniform(20, 60, (90, 1))])
    found = faces[random.integers(0, 90, 200)] + random.normal(0, 5, (200, 4))
    scores, counted = random.random(200), random.random(90) < 0.7
    whole = match(found, scores, faces, counted)
    assert whole.hit.any()
    assert whole.ignored.any()
    assert whole.false.any()
    for pairs in (1, 500, 17_999):
        monkeypatch.setattr(matching, "_PAIRS_AT_ONCE", pairs)
        parts = match(found, scores, faces, counted)
        for name in ("face", "hit", "ignored"):
            assert np.array_equal(getattr(parts, name), getattr(whole, name))


def test_perfect_detections_have_full_average_precision() -> None:
    assert average_precision([(boxes(FACE), np.array([0.9]))], [boxes(FACE)], [[0]]) == 1.0


def test_average_precision_of_a_case_by_hand() -> None:
    # Highest first: hit, false, hit; one face of three is never found.
    found = [
        (boxes(FACE, NOWHERE), np.array([1.0, 0.5])),
        (boxes(OTHER), np.array([0.0])),
    ]
    truth = [boxes(FACE), boxes(OTHER, NOWHERE)]
    # Recall rises to 1/3 at precision 1 and to 2/3 at precision 2/3.
    expected = 1 / 3 * 1 + 1 / 3 * 2 / 3
    assert average_precision(found, truth, [[0], [0, 1]]) == pytest.approx(expected)


def test_an_image_without_a_counted_face_still_adds_its_false_positives() -> None:
    found = [(boxes(NOWHERE), np.array([1.0])), (boxes(FACE), np.array([0.5]))]
    alone = average_precision(found[1:], [boxes(FACE)], [[0]])
    both = average_precision(found, [boxes(), boxes(FACE)], [[], [0]])
    assert (alone, both) == (1.0, 0.5)


def test_no_face_or_no_detection_is_zero_and_no_error() -> None:
    nothing = (boxes(), np.zeros(0))
    assert average_precision([nothing], [boxes(FACE)], [[0]]) == 0.0
    assert average_precision([(boxes(FACE), np.array([0.9]))], [boxes()], [[]]) == 0.0
    assert average_precision([], [], []) == 0.0


def test_what_does_not_speak_of_the_same_images_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        judge([(boxes(FACE), np.array([0.9]))], [], [])
    with pytest.raises(ValueError, match="mask of 1 faces"):
        judge([(boxes(FACE), np.array([0.9]))], [boxes(FACE)], [np.array([True, False])])


def random_set(seed: int) -> AnnotatedSet:
    """Faces of which some are ignored, detections near some of them and others anywhere."""
    random = np.random.default_rng(seed)
    found: list[ScoredBoxes] = []
    truth: list[FloatArray] = []
    counted: list[list[int]] = []
    for _ in range(random.integers(1, 6)):
        corners = random.integers(0, 300, (random.integers(0, 5), 2)).astype(float)
        faces = np.hstack([corners, corners + random.integers(20, 80, corners.shape)])
        near = faces.repeat(random.integers(0, 3), axis=0)
        near = near + random.normal(0, 6, near.shape)
        corners = random.integers(0, 300, (random.integers(0, 4), 2)).astype(float)
        anywhere = np.hstack([corners, corners + random.integers(20, 80, corners.shape)])
        detected = np.vstack([near, anywhere])
        found.append((detected, np.round(random.random(len(detected)), 3)))
        truth.append(faces)
        counted.append([i for i in range(len(faces)) if random.random() < 0.7])
    return found, truth, counted


def plain_average_precision(
    found: Sequence[ScoredBoxes], truth: Sequence[FloatArray], counted: Sequence[Sequence[int]]
) -> float:
    """The official evaluation step by step: image by image, threshold by threshold."""
    every = np.concatenate([scores for _, scores in found])
    if not len(every) or not sum(map(len, counted)):
        return 0.0
    low, span = every.min(), every.max() - every.min()
    hits, shown = np.zeros(1000), np.zeros(1000)
    for (detected, scores), faces, chosen in zip(found, truth, counted, strict=True):
        taken: set[int] = set()
        verdicts = []
        for index in sorted(range(len(scores)), key=lambda i: -scores[i]):
            verdict = (0, 1)
            if len(faces):
                shares = inclusive_ious(detected[index : index + 1], faces)[0]
                face = int(shares.argmax())
                if shares[face] >= 0.5 and face not in chosen:
                    verdict = (0, 0)
                elif shares[face] >= 0.5 and face not in taken:
                    taken.add(face)
                    verdict = (1, 1)
            verdicts.append((index, verdict))
        for step in range(1000):
            threshold = 1 - (step + 1) / 1000
            for index, (hit, counts) in verdicts:
                if (scores[index] - low) / span >= threshold if span else True:
                    hits[step] += hit
                    shown[step] += counts
    precision, recall = hits / np.maximum(shown, 1), hits / sum(map(len, counted))
    area, last = 0.0, 0.0
    for step in range(1000):
        area += (recall[step] - last) * precision[step:].max()
        last = recall[step]
    return area


def test_average_precision_is_that_of_the_plain_implementation() -> None:
    for seed in range(30):
        found, truth, counted = random_set(seed)
        expected = pytest.approx(plain_average_precision(found, truth, counted), abs=EXACT)
        assert average_precision(found, truth, counted) == expected, f"seed {seed}"


def test_average_precision_does_not_depend_on_the_order_of_images_or_the_scale_of_scores() -> None:
    for seed in range(20):
        found, truth, counted = random_set(seed)
        value = average_precision(found, truth, counted)
        assert 0 <= value <= 1, f"seed {seed}"
        turned = average_precision(found[::-1], truth[::-1], counted[::-1])
        assert turned == pytest.approx(value, abs=EXACT), f"seed {seed}"
        scaled = [(box, scores * 2 - 1) for box, scores in found]  # exact in binary
        rescaled = average_precision(scaled, truth, counted)
        assert rescaled == pytest.approx(value, abs=0.01), f"seed {seed}"


@pytest.mark.parametrize("bound", [0.0, 0.5, 1.0])
def test_recall_at_false_positives_is_the_best_of_all_thresholds(bound: float) -> None:
    for seed in range(20):
        verdicts = judge(*random_set(seed))
        best = 0.0
        for threshold in np.unique(verdicts.scores):
            shown = verdicts.scores >= threshold
            if (~verdicts.hits[shown]).sum() <= bound * verdicts.images:
                best = max(best, verdicts.hits[shown].sum() / max(verdicts.faces, 1))
        recall, threshold_found = recall_at_false_positives(verdicts, bound)
        assert recall == pytest.approx(best), f"seed {seed}"
        if threshold_found is not None:
            shown = verdicts.scores >= threshold_found
            assert (~verdicts.hits[shown]).sum() <= bound * verdicts.images, f"seed {seed}"


def test_recall_never_falls_along_the_curve() -> None:
    for seed in range(20):
        lines = precision_recall(judge(*random_set(seed)))
        assert (np.diff(lines.recall) >= 0).all()
        assert ((lines.precision >= 0) & (lines.precision <= 1)).all()


def test_wider_face_by_the_plain_implementation(shared: Path) -> None:
    """The annotated boxes as detections, moved a little, on the real annotation."""
    file = shared / "data" / "wider" / "annotations.json"
    images = json.loads(file.read_text(encoding="utf-8"))[:40]
    random = np.random.default_rng(3)
    found: list[ScoredBoxes] = []
    truth: list[FloatArray] = []
    counted: list[list[int]] = []
    for image in images:
        faces = np.array(image["boxes_xywh"], dtype=float).reshape(-1, 4)
        faces[:, 2:] += faces[:, :2]
        size = (faces[:, 2:] - faces[:, :2]).repeat(2, axis=1)
        moved = faces + random.normal(0, 0.12, faces.shape) * size
        found.append((moved, random.random(len(faces)).round(3)))
        truth.append(faces)
        counted.append(image["medium"])
    assert sum(map(len, counted)) > 100
    expected = plain_average_precision(found, truth, counted)
    assert 0.1 < expected < 1
    assert average_precision(found, truth, counted) == pytest.approx(expected, abs=EXACT)
