"""Trends: planted ones are found, chance ones are not, and each step equals its definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.search import trend_rows, trends

KEYS, DAYS = 300, 220
LAST = 19_000  # days since 1970-01-01


def counts(seed: int = 0, mean: float = 3.0, by_day: float | np.ndarray = 1.0) -> np.ndarray:
    """[KEYS, DAYS] of a shop without trends: Poisson, of keys of different sizes, times `by_day`."""
    draw = np.random.default_rng(seed)
    return draw.poisson(draw.gamma(2.0, mean / 2, KEYS)[:, None] / 2 * np.ones(DAYS) * by_day).astype(float)


def found(table: np.ndarray, sessions: np.ndarray | None = None) -> trends.Trends:
    return trends.trends(sp.csr_matrix(table), np.full(table.shape[1], 200.0) if sessions is None else sessions)


def test_a_week_at_three_times_its_share_rises_and_one_at_a_third_falls() -> None:
    table = counts()
    most_sold = np.argsort(-table.sum(axis=1), kind="stable")[:40]
    up, down = most_sold[::2], most_sold[1::2]
    table[up, -7:] *= 3
    table[down, -7:] = np.floor(table[down, -7:] / 3)
    answer = found(table)
    assert answer.rises[up].mean() >= 0.95
    assert answer.falls[down].mean() >= 0.8
    others = np.setdiff1d(np.arange(KEYS), most_sold)
    assert answer.rises[others].sum() <= 0.4 * answer.rises.sum(), "the false discovery rate"
    assert answer.falls[others].sum() <= 0.2 * answer.falls.sum()
    assert (answer.low <= answer.ratio).all()
    assert (answer.ratio <= answer.high).all()
    assert np.isfinite(answer.high).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_shop_without_trends_has_next_to_none(seed: int) -> None:
    answer = found(counts(seed))
    assert answer.rises.sum() + answer.falls.sum() <= 3, "of 300 keys"


def test_a_busy_week_of_the_shop_is_no_trend_of_its_keys() -> None:
    busy = np.ones(DAYS)
    busy[-7:] = 3
    answer = found(counts(by_day=busy), 200 * busy)
    assert answer.rises.sum() <= 3
    assert np.median(answer.ratio) == pytest.approx(1, abs=0.2)


def test_a_key_that_has_always_been_erratic_needs_more_than_a_steady_one() -> None:
    draw = np.random.default_rng(3)
    table = draw.poisson(2.0, (KEYS, DAYS)).astype(float)
    weeks = draw.gamma(0.8, 1 / 0.8, (30, DAYS // 7 + 1)).repeat(7, axis=1)[:, :DAYS]
    table[:30] = draw.poisson(2.0 * weeks)
    table[[0, 30], -14:] = 4.0
    answer = found(table)
    assert answer.q[30] < answer.q[0]


def test_expected_is_the_decayed_share_of_the_past_times_the_sessions_of_the_window() -> None:
    table = counts(mean=1.0)[:5, :60]
    sessions = np.random.default_rng(1).integers(50, 300, 60).astype(float)
    answer = found(table, sessions)
    for key in range(5):
        weights = [0.5 ** ((52 - day) / trends.HALF_LIFE) for day in range(53)]
        shown = sum(weight * table[key, day] for day, weight in enumerate(weights)) + 0.5
        visits = sum(weight * sessions[day] for day, weight in enumerate(weights))
        assert answer.expected[key] == pytest.approx(shown / visits * sessions[53:].sum())
        assert answer.count[key] == table[key, 53:].sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 0.5))
def test_discoveries_are_those_of_benjamini_and_hochberg(p: list[float], rate: float) -> None:
    chosen, q = trends.discoveries(np.array(p), rate)
    ordered = sorted(p)
    most = max((number for number, value in enumerate(ordered, 1) if value <= rate * number / len(p)), default=0)
    threshold = ordered[most - 1] if most else -1.0
    near = np.abs(q - rate) < 1e-12  # equal up to rounding
    assert ((np.array(p) <= threshold) == chosen)[~near].all()


def frame(table: np.ndarray, last: int = LAST) -> tuple[pd.DataFrame, pd.DataFrame]:
    key, day = np.nonzero(table)
    first = last - table.shape[1] + 1
    rows = {"key": [f"k{number:03}" for number in key], "day": day + first, "count": table[key, day].astype(int)}
    sessions = pd.DataFrame({"day": np.arange(first, last + 1), "sessions": 200})
    return pd.DataFrame(rows), sessions


def test_rows_name_the_key_and_do_not_depend_on_the_order_of_the_counts() -> None:
    table = counts()
    table[7, -7:] += 20
    of_keys, sessions = frame(table)
    rows = trend_rows.trend_rows(of_keys, sessions, LAST)
    assert rows.loc[rows["key"] == "k007", "direction"].tolist() == ["rising"]
    shuffled = trend_rows.trend_rows(of_keys.sample(frac=1, random_state=1), sessions[::-1], LAST)
    pd.testing.assert_frame_equal(rows, shuffled)


def test_days_of_before_a_year_and_two_weeks_change_nothing() -> None:
    table = np.tile(counts(), 2)
    table[7, -7:] += 20
    rows = trend_rows.trend_rows(*frame(table), LAST)
    pd.testing.assert_frame_equal(rows, trend_rows.trend_rows(*frame(table[:, -trend_rows.SPAN_DAYS :]), LAST))


@pytest.mark.parametrize("days", [1, 7, 30, 34])
def test_a_shop_of_a_month_has_no_past_to_differ_from(days: int) -> None:
    assert trend_rows.trend_rows(*frame(counts()[:, :days] + 5), LAST).empty


def test_a_shop_that_has_sold_nothing_of_late_has_no_trends() -> None:
    of_keys, sessions = frame(counts())
    assert trend_rows.trend_rows(of_keys, sessions, LAST + 8).empty
    assert trend_rows.trend_rows(of_keys[:0], sessions[:0], LAST).empty
