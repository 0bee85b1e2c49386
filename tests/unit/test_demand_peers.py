"""Plain forecasts against plainer ones, and the figures that all are judged by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nbinom

from tests.unit.test_demand import QUICK, RUN_DAY, SALES, items_of, shop_of
from udfs.demand.backtest import ALL_CUTS, ITEM, ITEM_LISTED, OURS, PAIR, backtest, weekly
from udfs.demand.block import Block
from udfs.demand.counts import pit_inside
from udfs.demand.metrics import Judged, errors, pinball
from udfs.demand.peers import ALPHAS, PEERS, auto_ets, croston_sba, empirical, mean_28_days, seasonal_naive

QUICK_PEERS = {name: peer for name, peer in PEERS.items() if name != "auto_ets"}
HISTORIES = st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 7.0]), min_size=12, max_size=12), min_size=1, max_size=5
)


def sba(series: list[float], alpha: float) -> tuple[float, float]:
    """Syntetos & Boylan (2005), word for word: the forecast, and the sum of squared one-step errors."""
    size, interval, since, rate, loss = 0.0, 1.0, 0, 0.0, 0.0
    for sold in series:
        loss += (sold - rate) ** 2
        since += 1
        if sold:
            size = sold if size == 0 else size + alpha * (sold - size)
            interval = since if rate == 0 else interval + alpha * (since - interval)
            since = 0
            rate = (1 - alpha / 2) * size / interval
    return rate, loss


@given(HISTORIES)
@settings(max_examples=40, deadline=None)
def test_croston_is_the_loop(histories: list[list[float]]) -> None:
    found = croston_sba(np.array(histories)).point
    for series, row in zip(histories, found, strict=True):
        rate = min((sba(series, alpha)[1], alpha, sba(series, alpha)[0]) for alpha in ALPHAS)[2]
        np.testing.assert_allclose(row, np.full(4, rate), rtol=1e-12)


@given(HISTORIES)
@settings(max_examples=30, deadline=None)
def test_every_peer_is_ordered_and_not_negative(histories: list[list[float]]) -> None:
    for peer in QUICK_PEERS.values():
        found = peer(np.array(histories))
        assert all(column.shape == (len(histories), 4) for column in found.columns())
        assert (found.low >= 0).all()
        assert (found.low <= found.middle).all()
        assert (found.middle <= found.high).all()


def test_the_plainest_are_what_they_say() -> None:
    history = np.arange(1.0, 31)[None, :]
    assert seasonal_naive(history).point.tolist() == [[27, 28, 29, 30]]
    assert seasonal_naive(history, 1).point.tolist() == [[30] * 4]
    assert mean_28_days(history).point.tolist() == [[28.5] * 4]
    assert mean_28_days(history).high.tolist() == [[28.5 + 2.5] * 4]  # it was 2.5 too low each week
    assert [column[0, 0] for column in empirical(history).columns()] == [17, 7, 17, 28]


def test_auto_ets_forecasts_each_series() -> None:
    pytest.importorskip("statsforecast")
    draw = np.random.default_rng(0)
    history = np.stack([np.zeros(40), draw.poisson(2.0, 40), 50 + 3 * np.arange(40) + draw.normal(0, 1, 40)])
    found = auto_ets(history)
    assert not found.point[0].any()
    assert found.point[1] == pytest.approx(2, abs=1)
    assert np.diff(found.point[2]) == pytest.approx(3, abs=0.5)
    assert (found.low <= found.point).all()
    assert (found.point <= found.high).all()


@given(st.integers(0, 9), st.floats(0, 9), st.sampled_from([0.1, 0.5, 0.9]))
def test_pinball_is_the_two_sided_cost(units: int, quantile: float, level: float) -> None:
    cost = level * (units - quantile) if units > quantile else (1 - level) * (quantile - units)
    assert pinball(np.array([units]), np.array([quantile]), level)[0] == pytest.approx(cost)


@pytest.mark.parametrize("mean", [0.02, 0.5, 3.0, 40.0])
def test_the_randomised_pit_of_the_right_distribution_is_even(mean: float) -> None:
    units = nbinom.rvs(mean / 1.5, 1 / 2.5, size=(40_000, 1), random_state=1).astype(np.float64)
    inside, beside = pit_inside(units, np.full_like(units, mean), np.array([2.5]), (0.1, 0.9), (0.0, 0.1))
    assert inside.mean() == pytest.approx(0.8, abs=0.01)
    assert beside.mean() == pytest.approx(0.1, abs=0.01)


def test_errors_are_summed_by_item() -> None:
    units, point = np.array([[1.0, 0.0], [2.0, 2.0], [0.0, 3.0]]), np.ones((3, 2))
    told = errors(units, Judged(point, point * 0, point, point * 2), np.array([0, 2, 2]), 3)
    assert [column.tolist() for column in told["wape"]] == [[1, 0, 5], [1, 0, 7]]
    assert [column.tolist() for column in told["covered"]] == [[2, 0, 3], [2, 0, 4]]


def test_weekly_history_is_what_a_loop_counts() -> None:
    block = Block.of(SALES, items_of(SALES))
    series = np.where(block.pair_item < 10, block.pair_item, -1)
    found = weekly(block, RUN_DAY, 8, series, 10)
    for item, week in ((0, 0), (3, 5), (9, 7)):
        end = RUN_DAY - 7 * (7 - week)
        rows = SALES[(SALES["item_id"] == block.items[item]) & (SALES["day"] > end - 7) & (SALES["day"] <= end)]
        assert found[item, week] == rows["units"].sum()


def test_a_backtest_has_every_contender_at_every_level() -> None:
    cuts = (RUN_DAY - 28, RUN_DAY)
    block, shop = Block.of(SALES, items_of(SALES)), shop_of(SALES)
    found = backtest(block, shop, cuts, settings=QUICK, peers=QUICK_PEERS, draws=100)
    told = {row[:4]: row for row in found.rows}
    for level in (PAIR, ITEM, ITEM_LISTED):
        for cut in (*cuts, ALL_CUTS):
            for contender in (OURS, *QUICK_PEERS):
                row = told[contender, level, "wape", cut]
                assert 0 < row.low <= row.value <= row.high
            naive, zero = (told[peer, level, "gain_wape", cut].value for peer in ("seasonal_naive", "zero"))
            assert naive > 0.1  # Poisson's counts: last month is as noisy as this one
            assert zero == pytest.approx(1 - told[OURS, level, "wape", cut].value)
            assert told["zero", level, "wape", cut].value == 1
    assert abs(told[OURS, PAIR, "covered_pit", ALL_CUTS].value - 0.8) < 0.05
    bands = {row.level for row in found.rows if row.level.startswith(f"{PAIR}, mean ")}
    assert {row.metric for row in found.rows if row.level in bands} == {
        f"{name}_{days}d" for name in ("covered", "above") for days in (7, 14, 21, 28)
    }
    month = told[OURS, PAIR, "covered_28d", ALL_CUTS]
    keys = [(OURS, band, "covered_28d", ALL_CUTS) for band in bands]
    parts = [told[key] for key in keys if key in told]  # no month of a pair has a mean below 0.1
    assert abs(month.value - 0.8) < 0.07
    assert min(part.value for part in parts) <= month.value <= max(part.value for part in parts)
    assert found.units[ITEM].sum() == SALES[SALES["day"] > RUN_DAY - 28]["units"].sum()
    assert max(found.outside) < 0.05
    cut_off = SALES[SALES["day"] <= RUN_DAY]
    alone = backtest(
        Block.of(cut_off, items_of(SALES)), shop_of(cut_off), cuts[:1], settings=QUICK, peers=QUICK_PEERS, draws=100
    )
    first = [(row.contender, row.level, row.metric, row.value) for row in found.rows if row.cut == cuts[0]]
    assert first == [(row.contender, row.level, row.metric, row.value) for row in alone.rows if row.cut == cuts[0]]


def test_a_slow_peer_meets_a_sample_also_where_only_the_newest_cut_has_that_many_series() -> None:
    cuts, late = (RUN_DAY, RUN_DAY - 28), SALES["item_id"] >= "item 015"
    some = SALES[~late | (SALES["day"] > RUN_DAY - 28)]
    found = backtest(
        Block.of(some, items_of(SALES)),
        shop_of(some),
        cuts,
        settings=QUICK,
        peers={"auto_ets": PEERS["croston_sba"]},
        slow_series=20,
        draws=100,
    )
    told = {row[:4]: row for row in found.rows}
    assert told["auto_ets", ITEM, "gain_wape", ALL_CUTS].value < 1
    all_of_them = told[f"{OURS} (auto_ets)", ITEM, "wape", cuts[1]]
    assert all_of_them.value == told[OURS, ITEM, "wape", cuts[1]].value, "fewer than the sample would be"


def test_a_cut_without_seven_weeks_before_it_is_left_out() -> None:
    young = SALES[SALES["day"] > RUN_DAY - 7 * 7]
    block, shop = Block.of(young, items_of(SALES)), shop_of(young)
    assert {row.cut for row in backtest(block, shop, (RUN_DAY, RUN_DAY - 28), settings=QUICK, draws=100).rows} == {
        RUN_DAY,
        ALL_CUTS,
    }
    assert backtest(block, shop, (RUN_DAY - 28,), settings=QUICK).rows == []
