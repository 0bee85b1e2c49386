"""Every metric against a few lines of plain Python, on drawn lists, truths and vectors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.evaluation import calibration, metrics
from udfs.evaluation.metrics import Bootstrap

ITEMS = 12


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[int]], list[set[int]], int]:
    """Lists of distinct items, each user's true purchases (maybe none), and a k that may exceed the lists."""
    item = st.integers(0, ITEMS - 1)
    users = draw(st.integers(1, 6))
    lists = [draw(st.lists(item, unique=True, max_size=8)) for _ in range(users)]
    return lists, [draw(st.sets(item, max_size=6)) for _ in range(users)], draw(st.integers(1, 10))


def padded(lists: list[list[int]], width: int = 8) -> np.ndarray:
    return np.array([row + [-1] * (width - len(row)) for row in lists], np.int64).reshape(-1, width)


def matrix(truths: list[set[int]]) -> sp.csr_matrix:
    return sp.csr_matrix([[float(item in truth) for item in range(ITEMS)] for truth in truths])


@given(problems())
def test_ranking_equals_plain_python(problem: tuple[list[list[int]], list[set[int]], int]) -> None:
    lists, truths, k = problem
    found = metrics.ranking(padded(lists), matrix(truths), k)
    for user, (row, truth) in enumerate(zip(lists, truths, strict=True)):
        if not truth:
            assert all(math.isnan(values[user]) for values in found.values())
            continue
        gain = sum(1 / math.log2(rank + 1) for rank, item in enumerate(row[:k], 1) if item in truth)
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(truth)) + 1))
        count = len(set(row[:k]) & truth)
        assert found["ndcg"][user] == pytest.approx(gain / ideal)
        assert found["recall"][user] == pytest.approx(count / len(truth))
        assert found["precision"][user] == pytest.approx(count / k)
        assert found["hit_rate"][user] == float(count > 0)


@given(problems(), st.sets(st.integers(0, ITEMS - 1)))
def test_slice_hits_equal_plain_python(problem: tuple[list[list[int]], list[set[int]], int], chosen: set[int]) -> None:
    lists, truths, _ = problem
    mask = np.array([item in chosen for item in range(ITEMS)])
    found, there = metrics.slice_hits(padded(lists), matrix(truths), mask)
    assert found.tolist() == [len(set(row) & truth & chosen) for row, truth in zip(lists, truths, strict=True)]
    assert there.tolist() == [len(truth & chosen) for truth in truths]


@given(problems(), st.lists(st.integers(0, 9), min_size=ITEMS, max_size=ITEMS))
def test_novelty_equals_plain_python(problem: tuple[list[list[int]], list[set[int]], int], buyers: list[int]) -> None:
    lists = problem[0]
    found = metrics.novelty(padded(lists), np.array(buyers), 9)
    for value, row in zip(found, lists, strict=True):
        surprise = [-math.log2(max(buyers[item], 1) / 9) for item in row]
        assert value == pytest.approx(sum(surprise) / len(row)) if row else math.isnan(value)


@given(problems(), st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=ITEMS, max_size=ITEMS))
def test_diversity_equals_plain_python(
    problem: tuple[list[list[int]], list[set[int]], int], vectors: list[tuple[int, int]]
) -> None:
    def cosine(one: tuple[int, int], other: tuple[int, int]) -> float:
        lengths = math.hypot(*one) * math.hypot(*other)
        return (one[0] * other[0] + one[1] * other[1]) / lengths if lengths else 0.0

    lists = problem[0]
    found = metrics.diversity(padded(lists), np.array(vectors, np.float64))
    for value, row in zip(found, lists, strict=True):
        pairs = [cosine(vectors[one], vectors[other]) for one, other in itertools.combinations(row, 2)]
        assert value == pytest.approx(1 - sum(pairs) / len(pairs), abs=1e-9) if pairs else math.isnan(value)


@given(problems(), st.sets(st.integers(0, ITEMS - 1)))
def test_coverage_equals_plain_python(problem: tuple[list[list[int]], list[set[int]], int], shop: set[int]) -> None:
    lists = problem[0]
    found = metrics.coverage(padded(lists), np.array([item in shop for item in range(ITEMS)]))
    listed = set(itertools.chain.from_iterable(lists))
    assert found == pytest.approx(len(listed & shop) / len(shop)) if shop else math.isnan(found)


@given(problems())
def test_personalisation_equals_all_pairs(problem: tuple[list[list[int]], list[set[int]], int]) -> None:
    lists = problem[0]
    found = metrics.personalisation(padded(lists))
    overlaps = [len(set(one) & set(other)) / 8 for one, other in itertools.combinations(lists, 2)]
    assert found == pytest.approx(1 - sum(overlaps) / len(overlaps)) if overlaps else math.isnan(found)


def test_what_cannot_be_a_list_is_refused() -> None:
    truth = matrix([{1}])
    with pytest.raises(ValueError, match="at most once"):
        metrics.hits(np.array([[3, 4, 3]]), truth)
    with pytest.raises(ValueError, match="each of the 12 items"):
        metrics.hits(np.array([[12]]), truth)
    with pytest.raises(ValueError, match="2 lists for 1 users"):
        metrics.hits(np.array([[1], [2]]), truth)
    assert not metrics.hits(np.array([[-1, -1]]), truth).any()  # a short list is no fault


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.data())
def test_the_value_is_the_plain_mean_and_lies_within_its_interval(values: list[float], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    found = Bootstrap(len(values), draws=400).mean(np.array(values), np.array(chosen))
    kept = [value for value, take in zip(values, chosen, strict=True) if take]
    assert found.user_count == len(kept)
    if not kept:
        assert math.isnan(found.value)
        assert math.isnan(found.low)
        return
    assert found.value == pytest.approx(sum(kept) / len(kept))
    assert min(kept) - 1e-6 <= found.low <= found.high <= max(kept) + 1e-6


def test_the_interval_is_that_of_resampling_one_by_one() -> None:
    draw = np.random.default_rng(5)
    contender, peer = draw.beta(2, 5, 300), draw.beta(2, 6, 300)
    contender[:20] = np.nan  # users without truth count in no figure
    bootstrap = Bootstrap(300, draws=4_000, seed=3)
    alone = np.random.default_rng(6)
    picked = [alone.integers(0, 300, 300) for _ in range(4_000)]
    left = [np.isnan(contender[rows]) for rows in picked]
    pairs = [(contender[rows][~out], peer[rows][~out]) for rows, out in zip(picked, left, strict=True)]
    for found, plain in [
        (bootstrap.mean(contender), [one.mean() for one, _ in pairs]),
        (bootstrap.difference(contender, peer), [(one - other).mean() for one, other in pairs]),
        (bootstrap.relative(contender, peer), [one.mean() / other.mean() - 1 for one, other in pairs]),
    ]:
        width = found.high - found.low
        assert [found.low, found.high] == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.08 * width)
        assert found.low < found.value < found.high
        assert found.user_count == 280


def test_95_percent_intervals_hold_the_truth_19_times_of_20() -> None:
    draw = np.random.default_rng(8)
    samples = draw.exponential(1.0, (300, 150))
    bootstrap = Bootstrap(150, draws=500)
    held = [found.low <= 1 <= found.high for found in map(bootstrap.mean, samples)]
    assert 0.90 <= np.mean(held) <= 0.98


def test_equal_contenders_differ_by_nothing_and_seeds_repeat() -> None:
    values = np.random.default_rng(1).random(50)
    found = Bootstrap(50, seed=2).relative(values, values.copy())
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert Bootstrap(50, seed=2).mean(values) == Bootstrap(50, seed=2).mean(values)
    assert Bootstrap(50, seed=2).mean(values) != Bootstrap(50, seed=4).mean(values)
    with pytest.raises(ValueError, match="50 users expected"):
        Bootstrap(50).mean(values[:9])


def test_counts_drawn_again_are_those_that_were_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random(50)
    kept = Bootstrap(50).mean(values)
    monkeypatch.setattr(metrics, "KEPT_VALUES", 0)
    assert Bootstrap(50).mean(values) == kept


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), st.booleans()), max_size=60), st.integers(1, 9))
def test_reliability_keeps_every_row_and_parts_no_equals(rows: list[tuple[float, bool]], bins: int) -> None:
    probability, bought = np.array([p for p, _ in rows]), np.array([b for _, b in rows], bool)
    found = calibration.reliability(probability, bought, bins)
    assert sum(each.count for each in found) == len(rows)
    assert len(found) <= bins
    assert sum(each.count * each.observed for each in found) == pytest.approx(bought.sum())
    predicted = [each.predicted for each in found]
    assert predicted == sorted(predicted)
    assert all(-1e-9 <= each.low <= each.observed + 1e-9 and each.observed - 1e-9 <= each.high for each in found)
    if len(found) == len(set(probability.tolist())):  # one bin a value: its error is plain to see
        off = [abs(p - bought[probability == p].mean()) * (probability == p).sum() for p in set(probability.tolist())]
        error = calibration.calibration_error(found)
        assert error == pytest.approx(sum(off) / len(rows)) if rows else math.isnan(error)


def test_a_calibrated_score_has_little_error_and_a_doubled_one_much() -> None:
    draw = np.random.default_rng(2)
    true = draw.beta(1, 20, 100_000)
    bought = draw.random(100_000) < true
    assert calibration.calibration_error(calibration.reliability(true, bought)) < 0.004
    assert calibration.calibration_error(calibration.reliability(2 * true, bought)) == pytest.approx(
        true.mean(), abs=0.004
    )


def test_an_interval_over_refits_is_wider_than_one_over_users_alone() -> None:
    """Fits that differ by 3 % and users by little: what one fit seems to gain, another does not."""
    draw, holds, alone = np.random.default_rng(5), 0, 0
    for _ in range(40):
        users = draw.uniform(0.4, 0.6, 200)
        ours, theirs = (users * (1 + 0.03 * draw.normal(size=(5, 1))) for _ in range(2))
        bootstrap = Bootstrap(200, draws=400)
        found, one = bootstrap.refitted(ours, theirs), bootstrap.relative(ours[0], theirs[0])
        assert found.value == pytest.approx(ours.mean() / theirs.mean() - 1)
        assert found.user_count == 200
        holds += found.low <= 0 <= found.high
        alone += one.low <= 0 <= one.high
    assert holds >= 32
    assert alone < 5
    same = bootstrap.refitted(ours, ours)
    assert (same.value, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-12)  # sums round
