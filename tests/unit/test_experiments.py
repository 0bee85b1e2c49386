"""Read-outs of experiments: intervals that hold under A/A, effects found with the promised power."""

from __future__ import annotations

import numpy as np
import pytest

from udfs.experiments import readout
from udfs.experiments.readout import Moments, SampleRatioError, read_out


def spend(draw: np.random.Generator, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Spend in 28 days before and during: users differ, a tenth buys nothing in a month."""
    habit = draw.lognormal(3, 0.7, users)
    months = [habit * draw.gamma(4, 0.25, users) * (draw.random(users) < 0.9) for _ in range(2)]
    return months[0], months[1]


def moments(variant: np.ndarray, during: np.ndarray, before: np.ndarray) -> list[Moments]:
    """Of the variants 0 and 1."""
    found = []
    for code in (0, 1):
        y, x = during[variant == code], before[variant == code]
        found.append(Moments(len(y), *map(float, (y.sum(), x.sum(), y @ y, x @ x, y @ x))))
    return found


def test_the_adjusted_effect_is_that_of_a_regression_on_the_past() -> None:
    draw = np.random.default_rng(2)
    before, during = spend(draw, 500)
    variant = draw.integers(0, 2, 500)
    found, _ = read_out(moments(variant, during, before), 0.1)
    slope = np.cov(during, before)[0, 1] / before.var(ddof=1)
    adjusted = during - slope * (before - before.mean())
    means = [adjusted[variant == code].mean() for code in (0, 1)]
    error = np.sqrt(sum(adjusted[variant == code].var(ddof=1) / (variant == code).sum() for code in (0, 1)))
    assert [one.mean for one in found] == pytest.approx(means)
    assert (found[1].low, found[1].high) == pytest.approx(
        tuple(means[1] - means[0] + z * error for z in (-1.959964, 1.959964))
    )
    assert found[1].cuped_r2 == pytest.approx(np.corrcoef(during, before)[0, 1] ** 2)


def test_no_variant_wins_an_experiment_of_equal_ones() -> None:
    """A/A: one look errs in 5 % of experiments; the other, looked at every day, in at most 5 %."""
    draw = np.random.default_rng(3)
    once = always = 0
    rounds, users, days = 500, 300, 14
    for _ in range(rounds):
        before, _ = spend(draw, users)
        daily = before[:, None] / days * draw.gamma(2, 0.5, (users, days))
        variant = draw.integers(0, 2, users)
        wrong = []
        for day in range(1, days + 1):
            found, _ = read_out(moments(variant, daily[:, :day].sum(axis=1), before), 0.05)
            wrong.append(found[1].verdict != "undecided")
        once += not found[1].low <= 0 <= found[1].high
        always += any(wrong)
    assert 0.03 <= once / rounds <= 0.075
    assert always / rounds <= 0.05


def test_an_effect_is_found_with_the_promised_power_by_the_users_needed() -> None:
    draw = np.random.default_rng(4)
    before, during = spend(draw, 100_000)
    needed = read_out(moments(draw.integers(0, 2, 100_000), during, before), 0.1)[0][0].needed
    plain = readout.users_needed(float(during.var(ddof=1)), 0.1 * during.mean())
    assert needed < 0.8 * plain, "the past explains a part"
    hits = 0
    for _ in range(300):
        before, during = spend(draw, 2 * needed)
        variant = np.arange(2 * needed) % 2
        found, _ = read_out(moments(variant, np.where(variant == 1, 1.1, 1.0) * during, before), 0.1)
        hits += found[1].low > 0
    assert 0.72 <= hits / 300 <= 0.9


def test_shares_that_chance_does_not_give_are_refused_with_the_counts() -> None:
    variant = np.repeat([0, 1], [1_000, 1_200])
    ones = np.ones(2_200)
    with pytest.raises(SampleRatioError, match="1,000, 1,200 users"):
        read_out(moments(variant, ones, ones), 0.1)


def test_a_metric_without_variance_or_without_users_decides_nothing() -> None:
    variant, zeros = np.array([0, 1, 0, 1]), np.zeros(4)
    found, p = read_out(moments(variant, zeros, zeros), 0.1)
    assert [(one.verdict, one.effect, one.users) for one in found] == [("undecided", 0.0, 2)] * 2
    assert p == 1
    none, _ = read_out(moments(variant[:0], zeros[:0], zeros[:0]), 0.1)
    assert [one.users for one in none] == [0, 0]
