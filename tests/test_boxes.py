"""Box geometry against the plain rules, written out one box at a time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest

from edge_mtcnn import boxes as boxes_module
from edge_mtcnn.boxes import nms, overlap_of, regress, square
from edge_mtcnn.types import FloatArray

Overlap = Literal["union", "min"]

# Whole numbers of pixels divide to the same float64 whatever the order of the steps.
SHARE = 1e-12

OVERLAPS: tuple[Overlap, ...] = ("union", "min")
THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 1.0)


def plain_overlap(a: Sequence[float], b: Sequence[float], overlap: Overlap) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    shared = max(width, 0) * max(height, 0)
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return shared / (min(area_a, area_b) if overlap == "min" else area_a + area_b - shared)


def plain_nms(
    boxes: FloatArray, scores: FloatArray, threshold: float, overlap: Overlap
) -> list[int]:
    """Take the best, of equal ones the last; drop what overlaps it by more; repeat."""
    x1, y1, x2, y2 = boxes.T
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    left = np.array(sorted(range(len(boxes)), key=lambda row: (scores[row], row)), dtype=int)
    kept = []
    while len(left):
        best, left = left[-1], left[:-1]
        kept.append(int(best))
        width = np.minimum(x2[left], x2[best]) - np.maximum(x1[left], x1[best]) + 1
        height = np.minimum(y2[left], y2[best]) - np.maximum(y1[left], y1[best]) + 1
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        smaller = np.minimum(area[left], area[best])
        whole = smaller if overlap == "min" else area[left] + area[best] - shared
        left = left[shared / whole <= threshold]
    return kept


def scattered(rng: np.random.Generator, count: int) -> FloatArray:
    corners = rng.integers(-20, 300, (count, 2))
    return np.hstack([corners, corners + rng.integers(0, 90, (count, 2))]).astype(float)


def crowded(rng: np.random.Generator, count: int) -> FloatArray:
    """Many squares of few sizes around few places, as P-Net gives them."""
    places = rng.integers(0, 400, (max(1, count // 12), 2))
    corners = places[rng.integers(0, len(places), count)] + rng.integers(-9, 10, (count, 2))
    sides = rng.choice([19, 27, 39, 55], (count, 1))
    return np.hstack([corners, corners + sides]).astype(float)


def chained(rng: np.random.Generator, count: int) -> FloatArray:
    """Each box overlaps its neighbours only, so every decision hangs on the one before."""
    x = np.arange(count) * int(rng.integers(4, 14))
    return np.stack([x, x * 0, x + 29, x * 0 + 29], axis=1).astype(float)


def mixed_sizes(rng: np.random.Generator, count: int) -> FloatArray:
    """From single pixels to boxes as large as the whole picture."""
    corners = rng.integers(-50, 500, (count, 2))
    sides = np.round(2.0 ** rng.uniform(0, 11, (count, 2))) - 1
    return np.hstack([corners, corners + sides]).astype(float)


def fractional(rng: np.random.Generator, count: int) -> FloatArray:
    """As O-Net's regression leaves them: no whole numbers."""
    return crowded(rng, count) + rng.uniform(-2, 2, (count, 4))


def equal(rng: np.random.Generator, count: int) -> FloatArray:
    return np.tile(scattered(rng, 1), (count, 1))


LAYOUTS = (scattered, crowded, chained, mixed_sizes, fractional, equal)


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nms_keeps_what_the_plain_greedy_rule_keeps(layout: Any, overlap: Overlap) -> None:
    rng = np.random.default_rng(17)
    for count in (1, 2, 3, 10, 40, 160):
        boxes = layout(rng, count)
        for scores in (rng.random(count), rng.integers(0, 4, count) / 4):
            for threshold in THRESHOLDS:
                kept = nms(boxes, scores.astype(np.float32), threshold, overlap)
                assert kept.tolist() == plain_nms(boxes, scores, threshold, overlap)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_nms_follows_a_chain_in_falling_and_in_rising_order(overlap: Overlap) -> None:
    boxes = chained(np.random.default_rng(1), 400)
    falling = np.linspace(1, 0, len(boxes), dtype=np.float32)
    for scores in (falling, falling[::-1]):
        kept = nms(boxes, scores, 0.3, overlap)
        assert 1 < len(kept) < len(boxes)
        assert kept.tolist() == plain_nms(boxes, scores, 0.3, overlap)


def test_nms_keeps_a_box_that_only_overlaps_a_suppressed_one() -> None:
    # 1 drops 2 (IoU 2/3); 3 meets 2 as closely, but 2 is gone; 1 and 3 share less (IoU 3/7).
    boxes = np.array([[0, 0, 9, 9], [2, 0, 11, 9], [4, 0, 13, 9]], dtype=float)
    assert nms(boxes, np.array([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]


def test_nms_drops_the_middle_when_both_ends_are_better() -> None:
    boxes = np.array([[0, 0, 9, 9], [2, 0, 11, 9], [4, 0, 13, 9]], dtype=float)
    assert nms(boxes, np.array([0.9, 0.7, 0.8]), 0.5).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("boxes", "threshold"),
    [
        ([[1, 1, 10, 10], [1, 1, 10, 5]], 0.5),  # 50 / 100
        ([[1, 1, 30, 30], [11, 1, 40, 30]], 0.5),  # 600 / 1200
        ([[1, 1, 10, 10], [1, 1, 10, 7]], 0.7),  # 70 / 100
        ([[1, 1, 17, 10], [4, 1, 20, 10]], 0.7),  # 140 / 200
    ],
)
def test_nms_keeps_both_boxes_at_an_iou_of_exactly_the_threshold(
    boxes: list[list[float]], threshold: float
) -> None:
    pair = np.array(boxes, dtype=float)
    assert overlap_of(pair[:1], pair[1:])[0] == threshold
    assert sorted(nms(pair, np.array([0.9, 0.8]), threshold).tolist()) == [0, 1]


def test_nms_drops_a_box_just_above_the_threshold() -> None:
    # 7000 / 9999, 1e-4 above: a pixel less in one box.
    pair = np.array([[1, 1, 100, 100], [1, 1, 100, 70]], dtype=float)
    grown = pair + np.array([[0, 0, 0, 0], [0, 0, 0, 1]])
    assert nms(pair, np.array([0.9, 0.8]), 0.7).tolist() == [0, 1]
    assert nms(grown, np.array([0.9, 0.8]), 0.7).tolist() == [0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nms_lets_the_later_of_equal_scores_win(dtype: type[np.floating[Any]]) -> None:
    boxes = np.array([[0, 0, 9, 9], [1, 0, 10, 9], [50, 50, 59, 59]], dtype=float)
    scores = np.ones(3, dtype=dtype)
    assert nms(boxes, scores, 0.5).tolist() == [2, 1]


def test_nms_gives_the_best_first() -> None:
    rng = np.random.default_rng(3)
    scores = rng.random(80).astype(np.float32)
    kept = nms(crowded(rng, 80), scores, 0.7)
    assert len(kept) > 5
    assert (np.diff(scores[kept]) <= 0).all()


def test_nms_by_the_smaller_area_drops_a_box_inside_another() -> None:
    boxes = np.array([[0, 0, 99, 99], [40, 40, 49, 49]], dtype=float)
    scores = np.array([0.8, 0.9])
    assert nms(boxes, scores, 0.7, "union").tolist() == [1, 0]
    assert nms(boxes, scores, 0.7, "min").tolist() == [1]


def test_nms_agrees_with_the_plain_rule_where_thousands_come_in() -> None:
    rng = np.random.default_rng(5)
    boxes = crowded(rng, 2000)
    scores = np.round(rng.random(2000), 2).astype(np.float32)
    kept = nms(boxes, scores, 0.5)
    assert 100 < len(kept) < 1900
    assert kept.tolist() == plain_nms(boxes, scores, 0.5, "union")


def every_cell(rng: np.random.Generator, count: int) -> FloatArray:
    """P-Net's boxes where every cell of every level is a candidate: tiles of faces, a LED wall."""
    side = int(np.sqrt(count / 2))
    levels = []
    for scale in 0.6 * 0.709 ** np.arange(6):
        cells = 2 * np.argwhere(np.ones([max(1, int(side * scale / 0.6))] * 2))
        levels.append(np.hstack([np.trunc((cells + edge) / scale) for edge in (1, 12)]))
    return rng.permutation(np.concatenate(levels))


def one_large_among_small(rng: np.random.Generator, count: int) -> FloatArray:
    """Small boxes and a few that cover them all."""
    boxes = every_cell(rng, count)
    boxes[:: count // 8] = [-50, -50, 4000, 4000]
    return boxes


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize(
    "layout", [*LAYOUTS, every_cell, one_large_among_small], ids=lambda layout: layout.__name__
)
def test_nms_block_by_block_keeps_what_the_plain_rule_keeps(
    layout: Any, overlap: Overlap, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block, pairs in ((64, 1 << 16), (200, 100)):
        monkeypatch.setattr(boxes_module, "BLOCK", block)
        monkeypatch.setattr(boxes_module, "PAIRS_AT_ONCE", block)
        monkeypatch.setattr(boxes_module, "PAIRS", pairs)
        rng = np.random.default_rng(block)
        boxes = layout(rng, 500)
        for scores in (rng.random(len(boxes)), rng.integers(0, 4, len(boxes)) / 4):
            for threshold in THRESHOLDS:
                kept = nms(boxes, scores.astype(np.float32), threshold, overlap)
                assert kept.tolist() == plain_nms(boxes, scores, threshold, overlap)


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("layout", [every_cell, one_large_among_small, equal, mixed_sizes])
def test_nms_of_very_many_neighbours_takes_little_memory(layout: Any, overlap: Overlap) -> None:
    rng = np.random.default_rng(8)
    boxes = layout(rng, 20_000)
    scores = rng.random(len(boxes)).astype(np.float32)
    tracemalloc.start()
    try:
        kept = nms(boxes, scores, 0.7, overlap)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All pairs of 20,000 boxes would take 3 GB.
    assert peak < 100e6
    assert kept.tolist() == plain_nms(boxes, scores, 0.7, overlap)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_nms_of_no_boxes_is_empty_and_can_index(overlap: Overlap) -> None:
    kept = nms(np.zeros((0, 4)), np.zeros(0, dtype=np.float32), 0.5, overlap)
    assert kept.shape == (0,)
    assert np.zeros((0, 4))[kept].shape == (0, 4)


def test_nms_of_far_apart_boxes_keeps_all() -> None:
    corners = np.array([[-1e6, 0], [0, 0], [1e6, 0], [0, 1e6], [0, -1e6]])
    boxes = np.hstack([corners, corners + 30])
    assert sorted(nms(boxes, np.arange(5) / 5, 0.0).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_overlap_is_that_of_counted_pixels(overlap: Overlap) -> None:
    rng = np.random.default_rng(11)
    a, b = scattered(rng, 300), scattered(rng, 300)
    expected = [plain_overlap(x, y, overlap) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    shares = overlap_of(a, b, overlap)
    assert (shares > 0).sum() > 20
    np.testing.assert_allclose(shares, expected, rtol=0, atol=SHARE)


def test_overlap_of_touching_and_of_neighbouring_boxes() -> None:
    # Inclusive coordinates: boxes that share a column of pixels meet, neighbours do not.
    box = np.array([[1, 1, 10, 10]], dtype=float)
    assert overlap_of(box, box)[0] == 1
    assert overlap_of(box, np.array([[10, 1, 19, 10]], dtype=float))[0] == pytest.approx(10 / 190)
    assert overlap_of(box, np.array([[11, 1, 20, 10]], dtype=float))[0] == 0


def test_regress_measures_the_box_with_and_without_the_last_pixel() -> None:
    box = np.array([[10, 20, 29, 59]], dtype=float)
    offsets = np.array([[0.1, -0.1, 0.5, 0.25]])
    assert regress(box, offsets).tolist() == [[12, 16, 39, 69]]
    assert regress(box, offsets, inclusive=False)[0] == pytest.approx(
        [10 + 1.9, 20 - 3.9, 29 + 9.5, 59 + 9.75], abs=SHARE * 100
    )


def test_regress_by_nothing_changes_nothing() -> None:
    boxes = scattered(np.random.default_rng(2), 20)
    assert regress(boxes, np.zeros((20, 4))).tolist() == boxes.tolist()


def test_square_keeps_the_centre_and_grows_the_shorter_side() -> None:
    boxes = np.array([[10, 20, 30, 60], [0, 0, 40, 10], [5, 5, 5, 5]], dtype=float)
    assert square(boxes).tolist() == [[0, 20, 40, 60], [0, -15, 40, 25], [5, 5, 5, 5]]


def test_square_leaves_squares_alone() -> None:
    corners = np.random.default_rng(4).integers(-50, 50, (30, 2)).astype(float)
    boxes = np.hstack([corners, corners + 17])
    assert square(boxes).tolist() == boxes.tolist()


def test_empty_input_gives_zero_rows() -> None:
    none = np.zeros((0, 4))
    assert regress(none, none).shape == (0, 4)
    assert regress(none, none, inclusive=False).shape == (0, 4)
    assert square(none).shape == (0, 4)
    assert overlap_of(none, none).shape == (0,)


def test_functions_never_write_into_their_inputs() -> None:
    rng = np.random.default_rng(6)
    boxes, scores, offsets = scattered(rng, 50), rng.random(50), rng.random((50, 4))
    for array in (boxes, scores, offsets):
        array.flags.writeable = False
    nms(boxes, scores, 0.5)
    regress(boxes, offsets)
    square(boxes)
    overlap_of(boxes, boxes)
