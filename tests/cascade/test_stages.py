"""The three stages with the real networks, against a plain reading of the reference's rules.

The plain reading runs P-Net on whole levels, decides box by box and shares no code with the stages
but the tested geometry of ``boxes``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_mtcnn.cascade import pnet
from edge_mtcnn.cascade.boxes import nms, regress, square
from edge_mtcnn.cascade.candidates import Candidates
from edge_mtcnn.cascade.networks import Network, Networks
from edge_mtcnn.cascade.onet import finish
from edge_mtcnn.cascade.pnet import Cells, best_cells, propose
from edge_mtcnn.cascade.pyramid import AreaSampler, OctaveSampler, pyramid_scales
from edge_mtcnn.cascade.rnet import refine
from edge_mtcnn.runtime.workers import Workers
from edge_mtcnn.types import FloatArray, ImageArray

Float32Array = npt.NDArray[np.float32]

# A piece of a level may run through another kernel of the processor than the whole level, with its
# sums in another order; probabilities then differ in the last digits of float32.
PROBABILITY = 1e-5
# The same digits, after multiplication with boxes of up to 600 pixels and truncation to whole ones.
BOX = 1.0

PNET, RNET, ONET = (0.6, 0.7), (0.7, 0.7), (0.7, 0.7)

# Height and width: odd, even, one cell, one row of cells, larger than any tile in x, in y, in both.
LEVEL_SIZES = [
    (12, 12),
    (13, 13),
    (12, 301),
    (301, 12),
    (15, 700),
    (333, 44),
    (160, 161),
    (141, 540),
    (300, 620),
    (301, 621),
]


def plain_map(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    return [function(item) for item in items]


def network_input(pixels: npt.NDArray[Any]) -> Float32Array:
    count, height, width, channels = pixels.shape
    return pixels.astype(np.float32).reshape(count, 1, height, width * channels)


def probability(logits: Float32Array) -> Float32Array:
    return np.float32(1) / (np.float32(1) + np.exp(-logits))


def scales_of(image: ImageArray) -> list[float]:
    height, width = image.shape[:2]
    return pyramid_scales(height, width, 20, 0.709, None)


def plain_propose(
    levels: list[ImageArray], scales: list[float], pnet: Network, threshold: float
) -> Candidates:
    """Stage 1 as ``reference.md`` tells it: level by level, column by column, whole maps."""
    boxes: list[FloatArray] = []
    scores: list[Float32Array] = []
    offsets: list[FloatArray] = []
    for level, scale in zip(levels, scales, strict=True):
        cells = pnet(network_input(level[None]))[0]
        chances = probability(cells[0])
        columns, rows = np.nonzero((chances >= threshold).T)
        cell = np.stack([columns, rows], axis=1)
        found = np.hstack([np.trunc((2 * cell + edge) / scale) for edge in (1, 12)])
        score = chances[rows, columns]
        kept = nms(found, score, 0.5)
        boxes.append(found[kept])
        scores.append(score[kept])
        offsets.append(cells[1:, rows, columns].T[kept])
    all_boxes, all_scores = np.concatenate(boxes), np.concatenate(scores)
    kept = nms(all_boxes, all_scores, 0.7)
    moved = regress(all_boxes[kept], np.concatenate(offsets)[kept], inclusive=False)
    return Candidates(np.trunc(square(moved)), all_scores[kept])


def assert_same(ours: Candidates, theirs: Candidates) -> None:
    assert ours.boxes.shape == theirs.boxes.shape
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=PROBABILITY)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=0, atol=BOX)


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    image: ImageArray = cv2.cvtColor(cv2.imread(str(sample_path("astronaut"))), cv2.COLOR_BGR2RGB)
    return image


@pytest.fixture(scope="module")
def faces_in_a_row(photo: ImageArray) -> ImageArray:
    """The astronaut's head six times beside and above each other, on more than one tile."""
    return np.tile(photo[0:240, 120:330], (2, 3, 1))


@pytest.fixture
def workers() -> Iterator[Callable[[int], Workers]]:
    pools: list[Workers] = []

    def make(threads: int) -> Workers:
        pools.append(Workers(threads))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def cells_of(levels: list[int], scores: list[float]) -> Cells:
    count = len(levels)
    places = np.arange(count)
    score = np.array(scores, dtype=np.float32)
    return Cells(
        np.array(levels, dtype=int),
        places,
        places + 100,
        score,
        np.zeros((count, 4)) + score[:, None],
    )


def test_the_best_cells_of_a_level_and_of_all_are_kept_in_their_order() -> None:
    cells = cells_of([0, 0, 0, 1, 1, 2], [0.7, 0.9, 0.8, 0.95, 0.6, 0.65])
    assert best_cells(cells, 2, 9).rows.tolist() == [1, 2, 3, 4, 5]
    assert best_cells(cells, 2, 3).rows.tolist() == [1, 2, 3]
    assert best_cells(cells, 1, 9).rows.tolist() == [1, 3, 5]
    few = best_cells(cells, 1, 2)
    assert few.levels.tolist() == [0, 1]
    assert few.columns.tolist() == [101, 103]
    np.testing.assert_array_equal(few.offsets[:, 0], few.scores)


def test_no_more_cells_than_allowed_are_left_as_they_are() -> None:
    cells = cells_of([0, 0, 1], [0.7, 0.9, 0.8])
    assert best_cells(cells, 2, 3) is cells
    none = cells_of([], [])
    assert best_cells(none, 1, 1) is none


@pytest.mark.parametrize("size", LEVEL_SIZES)
def test_tiles_of_a_level_give_the_candidates_of_the_whole_level(
    size: tuple[int, int], faces_in_a_row: ImageArray, networks: Networks
) -> None:
    level = cv2.resize(faces_in_a_row, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    # Low, so that small levels have candidates too.
    threshold = 0.01
    ours = propose([level], [0.5], networks.pnet, threshold, 0.7, plain_map, level_overlap=0.5)
    theirs = plain_propose([level], [0.5], networks.pnet, threshold)
    if min(size) > 44:
        assert len(theirs.boxes) > 3
    assert_same(ours, theirs)


def test_fewer_candidates_of_a_level_may_overlap_where_its_nms_is_stricter(
    photo: ImageArray, networks: Networks
) -> None:
    scales = scales_of(photo)[:1]
    levels = [AreaSampler(photo).level(scale) for scale in scales]
    counts = [
        len(propose(levels, scales, networks.pnet, *PNET, plain_map, level_overlap=overlap).boxes)
        for overlap in (0.1, 0.5, 0.7)
    ]
    assert counts[0] < counts[1] < counts[2]


def test_large_levels_reach_pnet_in_pieces_of_bounded_size(networks: Networks) -> None:
    pixels_at_once: list[int] = []

    def noting(pixels: Float32Array) -> Float32Array:
        pixels_at_once.append(pixels.size // 3)
        return networks.pnet(pixels)

    level = np.zeros((900, 1400, 3), dtype=np.uint8)
    propose([level], [0.6], noting, 0.6, 0.7, plain_map, level_overlap=0.5)
    assert len(pixels_at_once) > 10
    assert max(pixels_at_once) < level.size // 3 / 4


@pytest.mark.parametrize("name", ["astronaut", "grace_hopper", "coffee"])
def test_proposals_of_a_photo_are_those_of_the_plain_reading(
    name: str, sample_path: Callable[[str], Path], networks: Networks
) -> None:
    image = cv2.cvtColor(cv2.imread(str(sample_path(name))), cv2.COLOR_BGR2RGB)
    scales = scales_of(image)
    levels = [AreaSampler(image).level(scale) for scale in scales]
    ours = propose(levels, scales, networks.pnet, *PNET, plain_map, level_overlap=0.5)
    assert len(ours.boxes) > 50
    assert_same(ours, plain_propose(levels, scales, networks.pnet, PNET[0]))


def test_proposals_are_square_boxes_of_whole_numbers_best_first(
    photo: ImageArray, networks: Networks
) -> None:
    scales = scales_of(photo)
    levels = [AreaSampler(photo).level(scale) for scale in scales]
    found = propose(levels, scales, networks.pnet, *PNET, plain_map, level_overlap=0.5)
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    assert len(found.boxes) > 50
    assert (found.boxes == np.round(found.boxes)).all()
    # `fix` moves the corners on either side of zero towards each other.
    assert np.abs(sides[:, 0] - sides[:, 1]).max() <= 1
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores.dtype == np.float32


def cascade(image: ImageArray, networks: Networks, run: Any, octaves: bool = False) -> list[Any]:
    scales = scales_of(image)
    sampler = OctaveSampler(image, scales[-1]) if octaves else AreaSampler(image)
    levels = [sampler.level(scale) for scale in scales]
    proposed = propose(levels, scales, networks.pnet, *PNET, run, level_overlap=0.5)
    refined = refine(proposed, sampler, networks.rnet, *RNET, run)
    found = finish(refined, sampler, networks.onet, *ONET, run)
    return [*proposed, *refined, *found]


def test_refine_agrees_with_windows_seen_one_by_one(
    faces_in_a_row: ImageArray, networks: Networks
) -> None:
    sampler = AreaSampler(faces_in_a_row)
    scales = scales_of(faces_in_a_row)
    levels = [sampler.level(scale) for scale in scales]
    proposed = propose(levels, scales, networks.pnet, *PNET, plain_map, level_overlap=0.5)
    windows = [sampler.windows(box[None], 24) for box in proposed.boxes]
    output = np.concatenate([networks.rnet(network_input(window)) for window in windows])
    scores = probability(output[:, 0])
    passed = scores > RNET[0]
    kept = nms(proposed.boxes[passed], scores[passed], RNET[1])
    boxes = regress(proposed.boxes[passed][kept], output[passed][kept, 1:5])

    refined = refine(proposed, sampler, networks.rnet, *RNET, plain_map)

    assert 6 <= len(refined.boxes) < len(proposed.boxes)
    assert_same(refined, Candidates(np.trunc(square(boxes)), scores[passed][kept]))


def test_finish_agrees_with_windows_seen_one_by_one(
    faces_in_a_row: ImageArray, networks: Networks
) -> None:
    sampler = AreaSampler(faces_in_a_row)
    corners = np.array([[45.0, 30], [255, 30], [465, 30], [50, 275], [5, 5], [300, 120]])
    candidates = Candidates(
        np.hstack([corners, corners + 120]), np.ones(len(corners), dtype=np.float32)
    )
    windows = [sampler.windows(box[None], 48) for box in candidates.boxes]
    output = np.concatenate([networks.onet(network_input(window)) for window in windows])
    scores = probability(output[:, 0])
    passed = scores > ONET[0]
    boxes = regress(candidates.boxes[passed], output[passed, 1:5])
    kept = nms(boxes, scores[passed], ONET[1], "min")

    found = finish(candidates, sampler, networks.onet, *ONET, plain_map)

    assert len(kept) >= 4
    assert_same(
        Candidates(found.boxes, found.scores), Candidates(boxes[kept], scores[passed][kept])
    )
    assert found.logits.tolist() == output[passed][kept, 0].tolist()


def test_caps_on_cells_hold_whatever_the_number_of_tiles(
    faces_in_a_row: ImageArray, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = cv2.resize(faces_in_a_row, (1260, 960))
    seen: list[int] = []

    def capped(cells: Cells) -> Cells:
        seen.append(len(cells.scores))
        return best_cells(cells, 30, 30)

    whole = propose([level], [1.0], networks.pnet, *PNET, plain_map, capped, level_overlap=0.5)
    monkeypatch.setattr(pnet, "CANVASES_AT_ONCE", 1)
    by_tile = propose([level], [1.0], networks.pnet, *PNET, plain_map, capped, level_overlap=0.5)
    assert seen[0] > 30
    assert len(seen) > 10
    assert max(seen[2:]) < seen[0]
    assert 3 < len(whole.boxes) <= 30
    assert_same(by_tile, whole)


def test_no_levels_give_no_candidates(networks: Networks) -> None:
    found = propose([], [], networks.pnet, *PNET, plain_map, level_overlap=0.5)
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


def test_levels_without_candidates_give_none(networks: Networks) -> None:
    level = np.zeros((40, 50, 3), dtype=np.uint8)
    found = propose([level], [0.6], networks.pnet, *PNET, plain_map, level_overlap=0.5)
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


@pytest.mark.parametrize("octaves", [False, True])
def test_no_candidates_pass_through_the_later_stages(networks: Networks, octaves: bool) -> None:
    image = np.zeros((60, 70, 3), dtype=np.uint8)
    sampler = OctaveSampler(image, 0.2) if octaves else AreaSampler(image)
    none = Candidates(np.zeros((0, 4)), np.zeros(0, dtype=np.float32))
    refined = refine(none, sampler, networks.rnet, *RNET, plain_map)
    found = finish(refined, sampler, networks.onet, *ONET, plain_map)
    assert refined.boxes.shape == found.boxes.shape == (0, 4)
    assert refined.scores.shape == found.scores.shape == (0,)


@pytest.mark.parametrize("octaves", [False, True])
def test_windows_without_a_face_leave_nothing(networks: Networks, octaves: bool) -> None:
    image = np.full((60, 70, 3), 90, dtype=np.uint8)
    sampler = OctaveSampler(image, 0.2) if octaves else AreaSampler(image)
    candidates = Candidates(np.array([[5.0, 5, 40, 40]]), np.ones(1, dtype=np.float32))
    refined = refine(candidates, sampler, networks.rnet, *RNET, plain_map)
    found = finish(candidates, sampler, networks.onet, *ONET, plain_map)
    assert len(refined.boxes) == len(found.boxes) == 0


@pytest.mark.parametrize("octaves", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(
    octaves: bool,
    faces_in_a_row: ImageArray,
    networks: Networks,
    workers: Callable[[int], Workers],
) -> None:
    alone = cascade(faces_in_a_row, networks, plain_map, octaves)
    assert len(alone[-1]) >= 6
    for threads in (1, 2, 3, 8):
        shared = cascade(faces_in_a_row, networks, workers(threads).map, octaves)
        for ours, theirs in zip(shared, alone, strict=True):
            # Bit for bit: how the work is cut does not depend on who does it.
            assert np.array_equal(ours, theirs)


def test_a_window_turned_inside_out_by_regression_is_left_out() -> None:
    def wild(pixels: Float32Array) -> Float32Array:
        output = np.zeros((len(pixels), 5), dtype=np.float32)
        output[:, 0] = 20
        output[:, 1:5] = (3, 3, -3, -3)
        return output

    candidates = Candidates(np.array([[5.0, 5, 40, 40]]), np.ones(1, dtype=np.float32))
    sampler = AreaSampler(np.zeros((60, 70, 3), dtype=np.uint8))
    assert len(refine(candidates, sampler, wild, *RNET, plain_map).boxes) == 0


@pytest.mark.parametrize("logit", [-math.inf, -200.0, 200.0, math.inf])
def test_extreme_logits_are_probabilities_without_a_warning(logit: float) -> None:
    def extreme(pixels: Float32Array) -> Float32Array:
        output = np.zeros((len(pixels), 5), dtype=np.float32)
        output[:, 0] = logit
        return output

    candidates = Candidates(np.array([[5.0, 5, 40, 40]]), np.ones(1, dtype=np.float32))
    sampler = AreaSampler(np.zeros((60, 70, 3), dtype=np.uint8))
    found = refine(candidates, sampler, extreme, *RNET, plain_map)
    assert found.scores.tolist() == ([1.0] if logit > 0 else [])


@pytest.mark.parametrize("count", [1, 7, 8, 9, 31, 33, 100, 537])
def test_windows_reach_rnet_in_chunks_that_threads_can_share_evenly(count: int) -> None:
    sizes = []

    def rnet(pixels: Float32Array) -> Float32Array:
        sizes.append(len(pixels))
        return np.full((len(pixels), 5), -10, dtype=np.float32)

    corners = np.random.default_rng(count).integers(0, 60, (count, 2))
    candidates = Candidates(
        np.hstack([corners, corners + 30]).astype(np.float64), np.ones(count, dtype=np.float32)
    )
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    refine(candidates, OctaveSampler(image, 1.0), rnet, *RNET, plain_map)
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 32
    if count >= 32:  # enough for four threads, and a chunk still pays
        assert len(sizes) % 4 == 0
        assert min(sizes) >= 8
