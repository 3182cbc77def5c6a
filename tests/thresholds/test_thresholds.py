"""The statistics behind a threshold: exact intervals, curves, reliability, the choice itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_mtcnn import OptionsError
from edge_mtcnn.thresholds import Rate, Target, choose, clopper_pearson
from edge_mtcnn.thresholds import choice as choosing
from edge_mtcnn.thresholds.intervals import images_to_promise
from edge_mtcnn.thresholds.scores import ScoreSet, curve, reliability, summary
from edge_mtcnn.types import FloatArray

EXACT = 1e-9
NAN = float("nan")
SEEDS = range(60)


def tail(count: int, total: int, share: float) -> float:
    """Probability of ``count`` or more successes, by its definition."""
    return sum(
        math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(count, total + 1)
    )


def scores_of(faces: list[float], nonfaces: list[float]) -> ScoreSet:
    return ScoreSet(np.array(faces, dtype=np.float32), np.array(nonfaces, dtype=np.float32))


def random_scores(seed: int) -> ScoreSet:
    """Two overlapping classes with ties, scores of exactly 1 and some without a detection."""
    random = np.random.default_rng(seed)
    classes = []
    for center in (2.0, -1.0):
        logits = random.normal(center, 1.5, random.integers(1, 80))
        values = np.round(1 / (1 + np.exp(-logits)), int(random.integers(1, 6)))
        values[random.random(len(values)) < 0.15] = NAN
        classes.append(values.astype(np.float32))
    return ScoreSet(*classes)


# Clopper-Pearson.


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (0, 10, 0.0, 1 - 0.025 ** (1 / 10)),  # the closed form where nothing happened
        (10, 10, 0.025 ** (1 / 10), 1.0),
        (1, 1, 0.025, 1.0),
        (0, 1, 0.0, 0.975),
        (5, 10, 0.1870860, 0.8129140),  # as in printed tables
        (1, 20, 0.0012651, 0.2487328),
    ],
)
def test_the_interval_is_that_of_the_tables(
    count: int, total: int, low: float, high: float
) -> None:
    assert clopper_pearson(count, total) == pytest.approx((low, high), abs=1e-7)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize(("count", "total"), [(1, 3), (2, 400), (4, 400), (37, 90), (399, 400)])
def test_at_the_limits_the_count_is_as_unlikely_as_promised(
    count: int, total: int, confidence: float
) -> None:
    low, high = clopper_pearson(count, total, confidence)
    beyond = (1 - confidence) / 2
    assert tail(count, total, low) == pytest.approx(beyond, rel=1e-6)
    assert 1 - tail(count + 1, total, high) == pytest.approx(beyond, rel=1e-6)
    assert low < count / total < high


def test_intervals_of_successes_and_failures_mirror_each_other() -> None:
    for count in range(8):
        low, high = clopper_pearson(count, 7)
        other_low, other_high = clopper_pearson(7 - count, 7)
        assert (1 - other_high, 1 - other_low) == pytest.approx((low, high), abs=EXACT)


def test_a_large_sample_has_a_narrow_interval_around_its_share() -> None:
    low, high = clopper_pearson(10_000, 1_000_000)
    deviation = 1.96 * math.sqrt(0.01 * 0.99 / 1e6)
    assert (low, high) == pytest.approx((0.01 - deviation, 0.01 + deviation), abs=2e-6)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ((-1, 5, 0.9), "count"),
        ((6, 5, 0.9), "count"),
        ((0, 0, 0.9), "total"),
        ((1, 5, 1.0), "confidence"),
        ((1, 5, 0), "confidence"),
    ],
)
def test_a_share_that_cannot_be_is_refused(wrong: tuple[int, int, float], name: str) -> None:
    with pytest.raises(OptionsError, match=f"{name}.* must be"):
        clopper_pearson(*wrong)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("rate", [0.5, 0.1, 0.01, 0.0025])
def test_as_many_images_as_a_promise_takes_keep_it_and_one_less_does_not(
    rate: float, confidence: float
) -> None:
    needed = images_to_promise(rate, confidence)
    assert clopper_pearson(0, needed, confidence)[1] <= rate + EXACT
    assert clopper_pearson(0, needed - 1, confidence)[1] > rate
    if confidence == 0.9:
        # One-sided 95 %, of which the rule of three is the well-known approximation.
        assert needed == pytest.approx(3 / rate, rel=0.2)


def test_a_rate_is_reported_with_its_interval() -> None:
    assert str(Rate(4, 400)) == "1.00% (4 of 400; 95% interval 0.27% to 2.54%)"


# Statistics of one class.


def test_the_summary_is_that_of_a_table_by_hand() -> None:
    found = summary(np.array([0.9, NAN, 0.5, 0.7, 0.8], dtype=np.float64))
    assert (found.count, found.detected) == (5, 4)
    assert (found.min, found.median, found.max) == pytest.approx((0.5, 0.75, 0.9))
    assert (found.q25, found.q75) == pytest.approx((0.65, 0.825))
    assert found.mean == pytest.approx(0.725)
    assert found.std == pytest.approx(math.sqrt(0.0875 / 3))  # of a sample


def test_a_class_without_detections_has_a_count_and_nothing_else() -> None:
    found = summary(np.array([NAN, NAN]))
    assert (found.count, found.detected) == (2, 0)
    assert math.isnan(found.mean)
    assert math.isnan(summary(np.array([0.5])).std)


# Curves and reliability.


def test_the_curve_of_a_small_case_is_as_counted_by_hand() -> None:
    lines = curve(scores_of([0.9, 0.8, 0.4, NAN], [0.8, 0.3, NAN]))
    assert lines.thresholds == pytest.approx([0.9, 0.8, 0.4, 0.3])
    assert lines.recall == pytest.approx([1 / 4, 2 / 4, 3 / 4, 3 / 4])
    assert lines.false_positive_rate == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3])
    assert lines.precision == pytest.approx([1, 2 / 3, 3 / 4, 3 / 5])
    assert lines.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 4)


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    for seed in SEEDS:
        scores = random_scores(seed)
        faces = np.nan_to_num(scores.faces, nan=-1)[:, None]
        nonfaces = np.nan_to_num(scores.nonfaces, nan=-1)[None]
        pairs = (faces > nonfaces) + 0.5 * (faces == nonfaces)
        assert curve(scores).area == pytest.approx(pairs.mean(), abs=EXACT), f"seed {seed}"


def test_scores_that_are_the_shares_of_faces_have_no_calibration_error() -> None:
    trust = reliability(scores_of([0.75] * 3 + [0.25], [0.75] + [0.25] * 3))
    assert trust.ece == pytest.approx(0, abs=1e-7)
    assert trust.brier == pytest.approx(0.75 * 0.25)
    assert [(part.low, part.high, part.count) for part in trust.bins] == [
        (0.2, pytest.approx(0.3), 4),
        (0.7, 0.8, 4),
    ]


def test_certainty_that_is_wrong_is_all_error() -> None:
    trust = reliability(scores_of([0.0, NAN], [1.0]))
    assert (trust.brier, trust.ece) == (1.0, 1.0)
    assert sum(part.count for part in trust.bins) == 2


def test_nothing_detected_has_no_reliability() -> None:
    trust = reliability(scores_of([NAN], [NAN]))
    assert math.isnan(trust.ece)
    assert trust.bins == ()


# The choice.


def chosen(scores: ScoreSet, kind: str, value: float) -> float:
    return choose(scores, Target(kind, value)).threshold  # type: ignore[arg-type]


def test_the_threshold_lies_half_way_between_the_scores_that_it_parts() -> None:
    scores = scores_of([0.9, 0.6, 0.3], [0.7, 0.2, NAN])
    assert chosen(scores, "fpr", 0.34) == pytest.approx(0.25)  # 0.7 may pass, 0.2 may not
    assert chosen(scores, "fpr", 0.33) == pytest.approx(0.8)
    assert chosen(scores, "recall", 0.66) == pytest.approx((0.6 + 0.3) / 2)
    assert chosen(scores, "recall", 1.0) == pytest.approx((0.3 + 0.2) / 2)


def test_nothing_has_to_be_cut_where_everything_is_allowed() -> None:
    assert chosen(scores_of([0.9], [0.5, NAN, NAN]), "fpr", 0.5) == 0.0


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_a_rate_is_kept_and_no_lower_threshold_keeps_it(rate: float) -> None:
    for seed in SEEDS:
        scores = with_a_possible_rate(random_scores(seed), rate)
        choice = choose(scores, Target("fpr", rate))
        assert (scores.nonfaces >= np.float32(choice.threshold)).mean() <= rate, f"seed {seed}"
        assert choice.false_positive_rate.value <= rate, f"seed {seed}"
        keeping = [
            int((scores.faces >= each).sum())
            for each in candidates(scores)
            if (scores.nonfaces >= each).mean() <= rate
        ]
        assert choice.recall.count == max(keeping), f"seed {seed}"


@pytest.mark.parametrize("recall", [0.5, 0.8, 1.0])
def test_a_recall_is_reached_and_no_higher_threshold_reaches_it(recall: float) -> None:
    for seed in SEEDS:
        scores = with_detected_faces(random_scores(seed), recall)
        choice = choose(scores, Target("recall", recall))
        assert choice.recall.value >= recall - EXACT, f"seed {seed}"
        reaching = [
            int((scores.nonfaces >= each).sum())
            for each in candidates(scores)
            if (scores.faces >= each).mean() >= recall - EXACT
        ]
        assert choice.false_positive_rate.count == min(reaching), f"seed {seed}"


def test_a_target_is_refused_only_where_no_threshold_reaches_it() -> None:
    refused_recalls = 0
    for seed in SEEDS:
        scores = random_scores(seed)
        certain = ScoreSet(scores.faces, np.append(scores.nonfaces, np.float32(1)))
        least = float((certain.nonfaces >= 1).mean())
        choice = choose(certain, Target("fpr", least))
        assert choice.false_positive_rate.value <= least, f"seed {seed}"
        with pytest.raises(OptionsError, match="no threshold gives"):
            choose(certain, Target("fpr", least * 0.99))

        most = float((~np.isnan(scores.faces)).mean())
        if 0 < most < 1:
            assert choose(scores, Target("recall", most)).recall.value >= most - EXACT
            with pytest.raises(OptionsError, match="no threshold keeps"):
                choose(scores, Target("recall", min(1.0, most * 1.01)))
            refused_recalls += 1
    assert refused_recalls > len(SEEDS) / 2


def with_a_possible_rate(scores: ScoreSet, rate: float) -> ScoreSet:
    """The same, unless more non-faces than ``rate`` have the score 1, which no threshold cuts."""
    if (scores.nonfaces >= 1).mean() <= rate:
        return scores
    return ScoreSet(scores.faces, np.minimum(scores.nonfaces, np.float32(0.9)))


def with_detected_faces(scores: ScoreSet, share: float) -> ScoreSet:
    """The same, with as many more faces detected, at low scores, as the share needs."""
    faces = scores.faces.copy()
    missed = np.flatnonzero(np.isnan(faces))
    spare = math.floor((1 - share) * len(faces) + EXACT)
    found = missed[: max(len(missed) - spare, 0)]
    faces[found] = np.linspace(0.01, 0.2, len(found), dtype=np.float32)
    return ScoreSet(faces, scores.nonfaces)


def candidates(scores: ScoreSet) -> FloatArray:
    """Every threshold that could make a difference: none, each score, and above all of them."""
    every = np.concatenate([scores.faces, scores.nonfaces])
    return np.concatenate([[0, 1.1], every[~np.isnan(every)]]).astype(np.float32)


def test_a_rate_that_scores_of_1_forbid_is_refused_with_what_can_be_had() -> None:
    with pytest.raises(OptionsError, match=r"0\.5 of the images without faces .* score, 1"):
        choose(scores_of([0.9], [1.0, 0.2]), Target("fpr", 0.1))


def test_a_recall_above_what_is_detected_is_refused_with_what_can_be_had() -> None:
    with pytest.raises(OptionsError, match=r"only 0\.5 are detected at all"):
        choose(scores_of([0.9, NAN], [0.2]), Target("recall", 0.9))


def test_too_few_images_give_a_warning_and_enough_do_not() -> None:
    few = choose(scores_of([0.9], [0.1] * 367), Target("fpr", 0.01))
    assert few.warnings[0].startswith("too few images without faces: 367 cannot promise")
    assert "at least 368" in few.warnings[0]
    assert choose(scores_of([0.9], [0.1] * 368), Target("fpr", 0.01)).warnings == ()
    recall = choose(scores_of([0.9] * 71, [0.1]), Target("recall", 0.95))
    assert "too few faces: 71" in recall.warnings[0]
    assert choose(scores_of([0.9] * 72, [0.1]), Target("recall", 0.95)).warnings == ()
    surer = choose(scores_of([0.9], [0.1] * 368), Target("fpr", 0.01), 0.99)
    assert "at least 528" in surer.warnings[0]
    assert "no number of faces" in choose(scores_of([0.9], [0.1]), Target("recall", 1)).warnings[0]


@pytest.mark.parametrize("total", [300, 400, 1000, 4000])
def test_a_promise_is_kept_by_the_limit_and_the_next_image_would_break_it(total: int) -> None:
    random = np.random.default_rng(total)
    values = random.permutation(np.arange(1, total + 1) / (total + 1)).astype(np.float32)
    for kind, value in (("fpr", 0.02), ("recall", 0.98)):
        scores = ScoreSet(values, values)
        choice = choose(scores, Target(kind, value, promised=True))  # type: ignore[arg-type]
        rate = choice.false_positive_rate if kind == "fpr" else choice.recall
        more = rate.count + 1 if kind == "fpr" else rate.count - 1
        if kind == "fpr":
            assert rate.interval[1] <= value < clopper_pearson(more, total)[1]
        else:
            assert rate.interval[0] >= value > clopper_pearson(more, total)[0]
        assert choice.warnings == ()


@pytest.mark.parametrize(("kind", "value"), [("fpr", 0.05), ("recall", 0.95)])
def test_a_promise_over_very_many_images_takes_few_intervals(
    kind: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def counted(count: int, total: int, confidence: float) -> tuple[float, float]:
        counts.append(count)
        return clopper_pearson(count, total, confidence)

    monkeypatch.setattr(choosing, "clopper_pearson", counted)
    values = np.linspace(0.01, 0.99, 20_000).astype(np.float32)
    choose(ScoreSet(values, values), Target(kind, value, promised=True))  # type: ignore[arg-type]
    assert 5 < len(counts) < 20


def test_what_so_few_images_cannot_promise_is_refused_with_the_limit() -> None:
    scores = scores_of([0.9] * 100, [0.1] * 100)
    with pytest.raises(OptionsError, match=r"100 images .*still 0\.03622; .* least 368 images"):
        choose(scores, Target("fpr", 0.01, promised=True))
    with pytest.raises(OptionsError, match=r"100 faces .*still 0\.9638; .* least 368 faces"):
        choose(scores, Target("recall", 0.99, promised=True))
    with pytest.raises(OptionsError, match="no number of faces can"):
        choose(scores, Target("recall", 1, promised=True))


@pytest.mark.parametrize("kind", ["fpr", "recall"])
def test_what_is_not_warned_of_can_be_promised(kind: str) -> None:
    scores = scores_of([0.9] * 368, [0.1] * 368)
    value = 0.01 if kind == "fpr" else 0.99
    assert choose(scores, Target(kind, value)).warnings == ()  # type: ignore[arg-type]
    choice = choose(scores, Target(kind, value, promised=True))  # type: ignore[arg-type]
    assert (choice.recall.count, choice.false_positive_rate.count) == (368, 0)


@pytest.mark.parametrize(
    ("kind", "value"), [("fpr", 0), ("fpr", 1), ("recall", 0), ("recall", 1.01), ("f1", 0.5)]
)
def test_a_target_out_of_range_is_refused(kind: str, value: float) -> None:
    with pytest.raises(OptionsError):
        Target(kind, value)  # type: ignore[arg-type]


def test_the_upper_limit_holds_although_the_threshold_is_read_off_the_same_images() -> None:
    """Of many samples the true rate lies above the upper limit in no more than 2.5 %."""
    random = np.random.default_rng(7)
    beyond, samples, images = 0, 2000, 200
    for _ in range(samples):
        # Uniform scores: the true rate at a threshold is 1 - threshold.
        scores = ScoreSet(np.ones(1, np.float32), random.random(images).astype(np.float32))
        choice = choose(scores, Target("fpr", 0.02))
        beyond += 1 - choice.threshold > choice.false_positive_rate.interval[1]
    # Three standard deviations of the count of such samples.
    assert beyond <= samples * 0.025 + 3 * math.sqrt(samples * 0.025 * 0.975)
