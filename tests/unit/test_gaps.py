"""Gaps between groups of users: their size, intervals, what could have been seen, and groups too small to show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from udfs.evaluation.gaps import FEWEST_USERS, Gap, gaps


def drawn(gap: float, seed: int = 0, mine: int = 60, others: int = 240) -> list[Gap]:
    draw = np.random.default_rng(seed)
    values = np.concatenate([draw.normal(0.4 + gap, 0.2, mine), draw.normal(0.4, 0.2, others)])
    return list(gaps(values, ["a"] * mine + ["b"] * others))


def test_a_gap_is_the_difference_of_means_with_welchs_error() -> None:
    draw = np.random.default_rng(1)
    values, names = draw.random(100), ["x"] * 30 + ["y"] * 30 + ["z"] * 40
    found = {gap.group: gap for gap in gaps(values, names)}
    assert list(found) == ["x", "y", "z"]
    mine, others = values[30:60], np.delete(values, range(30, 60))
    welch = stats.ttest_ind(mine, others, equal_var=False)
    assert found["y"].value == pytest.approx(mine.mean() - others.mean())
    assert found["y"].value / (found["y"].high - found["y"].value) * 1.959964 == pytest.approx(welch.statistic)
    assert found["y"].users == 30


def test_the_interval_holds_no_gap_19_times_in_20_and_the_smallest_gap_is_seen_four_times_in_five() -> None:
    none = [drawn(0.0, seed)[0] for seed in range(600)]
    assert 0.03 <= np.mean([gap.low > 0 or gap.high < 0 for gap in none]) <= 0.075
    smallest = float(np.mean([gap.smallest for gap in none]))
    real = [drawn(smallest, seed)[0] for seed in range(600)]
    assert 0.74 <= np.mean([gap.low > 0 for gap in real]) <= 0.86


def test_groups_under_twenty_users_and_users_without_a_figure_are_left_out() -> None:
    values = np.linspace(0, 1, 100)
    names: list[str | None] = ["few"] * (FEWEST_USERS - 1) + ["enough"] * FEWEST_USERS
    names += ["most"] * (99 - len(names)) + [None]
    assert [gap.group for gap in gaps(values, names)] == ["enough", "most"]
    values[FEWEST_USERS] = np.nan  # one of `enough`
    assert [gap.group for gap in gaps(values, names)] == ["most"]
    assert list(gaps(values, ["all"] * 100)) == []
    assert list(gaps(np.full(100, np.nan), ["a"] * 50 + ["b"] * 50)) == []
