"""Off-policy estimates: by simulation, where the truth is known; by plain sums; and rows without a propensity."""

from __future__ import annotations

from dataclasses import astuple, fields

import numpy as np
import pytest

from udfs.experiments.off_policy import Choices, PropensityError, Sums, added, estimates, sums

ARMS = np.array([0.30, 0.25, 0.15, 0.10, 0.05])  # probability of a reward of each of five choices
LOGGED = np.array([0.05, 0.10, 0.15, 0.30, 0.40])  # the logging policy likes the worse ones
TARGET = np.array([0.60, 0.20, 0.10, 0.05, 0.05])
TRUTH = float(TARGET @ ARMS)


def drawn(seed: int, clusters: int = 400, each: int = 5, model: float = 1.0, spread: float = 0.1) -> Choices:
    """`each` choices of every cluster, whose rewards share a luck of +-`spread`; `model` scales what is expected."""
    draw = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(clusters), each)
    arm = draw.choice(len(ARMS), len(cluster), p=LOGGED)
    luck = np.repeat(draw.choice([1 - spread, 1 + spread], clusters), each)
    reward = (draw.random(len(cluster)) < ARMS[arm] * luck).astype(float)
    expected = ARMS * model
    of_target = np.full(len(cluster), TARGET @ expected)
    return Choices(cluster, LOGGED[arm], TARGET[arm], reward, expected[arm], of_target)


def test_estimates_are_those_of_plain_sums() -> None:
    rows = drawn(1, clusters=200)
    weight = rows.target / rows.propensity
    robust = rows.expected_of_target + weight * (rows.reward - rows.expected)
    ips, snips, dr = estimates(sums(rows))
    assert ips.value == pytest.approx(np.mean(weight * rows.reward))
    assert snips.value == pytest.approx(np.sum(weight * rows.reward) / np.sum(weight))
    assert dr.value == pytest.approx(np.mean(robust))
    assert sums(rows).effective == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    # With equally large clusters the interval of IPS is that of the mean of cluster means.
    means = (weight * rows.reward).reshape(200, 5).mean(axis=1)
    assert ips.high - ips.low == pytest.approx(2 * 1.959964 * means.std(ddof=1) / np.sqrt(200))


@pytest.mark.parametrize("model", [1.0, 0.0, 3.0])
def test_intervals_hold_the_truth_and_no_model_of_rewards_biases(model: float) -> None:
    """400 logs: each estimator's interval misses the truth about one time in twenty, and its mean is the truth."""
    found = [estimates(sums(drawn(seed, model=model))) for seed in range(400)]
    for number, name in enumerate(("ips", "snips", "dr")):
        mine = [each[number] for each in found]
        assert {each.estimator for each in mine} == {name}
        covered = np.mean([each.low <= TRUTH <= each.high for each in mine])
        assert 0.91 <= covered <= 0.98, name
        values = np.array([each.value for each in mine])
        assert abs(values.mean() - TRUTH) < 4 * values.std() / 20, name


def test_a_model_of_rewards_narrows_the_interval_where_rewards_are_certain() -> None:
    rows = drawn(3)
    known = Choices(rows.cluster, rows.propensity, rows.target, rows.expected, rows.expected, rows.expected_of_target)
    ips, _, dr = estimates(sums(known))
    assert dr.value == pytest.approx(TRUTH)
    assert dr.high - dr.low < 1e-6 < ips.high - ips.low


def test_sums_of_parts_are_those_of_the_whole() -> None:
    rows = drawn(5)
    parts = []
    for remainder in range(3):
        mine = rows.cluster % 3 == remainder
        parts.append(sums(Choices(*(getattr(rows, field.name)[mine] for field in fields(Choices)))))
    assert astuple(added(parts)) == pytest.approx(astuple(sums(rows)))
    assert added([]) == Sums()


def test_an_effective_sample_under_a_hundred_has_no_value() -> None:
    few = sums(drawn(2, clusters=40))
    assert few.rows == 200
    assert few.effective < 100
    assert all(np.isnan([each.value, each.low, each.high]).all() for each in estimates(few))
    assert all(np.isnan(each.value) for each in estimates(Sums()))
    assert not any(np.isnan(each.value) for each in estimates(sums(drawn(2))))


@pytest.mark.parametrize("wrong", [0.0, np.nan, -0.1, 1.5])
def test_a_row_without_a_propensity_is_refused_with_its_value(wrong: float) -> None:
    rows = drawn(4)
    rows.propensity[7] = wrong
    with pytest.raises(PropensityError, match=rf"propensity is {wrong} in row 7 \(1 such rows\), must be above 0"):
        sums(rows)


def test_the_mean_of_logged_propensities_is_no_policy() -> None:
    """Propensities of chosen rows are size-biased: their mean by item is too large wherever they vary."""
    draw = np.random.default_rng(0)
    often = draw.choice([0.1, 0.9], 20_000)  # the probability of item x changes with the hour
    chosen = draw.random(20_000) < often
    assert often[chosen].mean() > 0.75
    assert chosen.mean() == pytest.approx(0.5, abs=0.02)
