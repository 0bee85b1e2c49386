"""The stock simulation: every day's bookkeeping against a plain loop, and the comparison at equal fill rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.offline.backtest_stock import PolicyCurve
from jobs.reports.stock_page import stock_section
from udfs.demand.counts import quantile
from udfs.demand.dispersion import Spread
from udfs.inventory.simulation import (
    MEAN_DAYS,
    Comparison,
    Levels,
    Outcome,
    compare,
    curve,
    newsvendor,
    reorder_point,
    simulate,
    weekly_forecasts,
)


def plain(demand, lead, levels):
    """One pair at one setting: units sold, and the stock at the end of each day."""
    hand, sold, held, coming = levels(-1)[1], 0, [], {}
    for day, wanted in enumerate(demand):
        hand += coming.pop(day, 0)
        taken = min(hand, wanted)
        hand, sold = hand - taken, sold + taken
        held.append(hand)
        at, up_to = levels(day)
        position = hand + sum(coming.values())
        if position <= at and position < up_to:
            coming[day + lead + 1] = coming.get(day + lead + 1, 0) + up_to - position
    return sold, sum(held) / len(held)


@settings(max_examples=60, deadline=None)
@given(pairs=st.integers(1, 4), count=st.integers(1, 20), seed=st.integers(0, 9_999))
def test_each_pair_lives_through_the_days_as_in_a_plain_loop(pairs, count, seed) -> None:
    draw = np.random.default_rng(seed)
    demand, lead = draw.integers(0, 4, (count, pairs)), draw.integers(0, 6, pairs)
    up_to = draw.integers(0, 8, (count + 1, 3, pairs))
    at = up_to - draw.integers(1, 4, up_to.shape)
    found = simulate(demand, lead, lambda day: Levels(at[day + 1], up_to[day + 1]))
    for setting in range(3):
        for pair in range(pairs):
            sold, held = plain(
                demand[:, pair].tolist(),
                int(lead[pair]),
                lambda day, s=setting, p=pair: (int(at[day + 1, s, p]), int(up_to[day + 1, s, p])),
            )
            assert found.sold[setting, pair] == sold
            assert found.stock[setting, pair] == pytest.approx(held)
    assert (found.sold <= demand.sum(axis=0)).all()


def test_the_peer_is_the_textbooks_formula_on_28_days() -> None:
    draw = np.random.default_rng(3)
    sales, lead = draw.poisson(0.7, (MEAN_DAYS + 10, 1)), np.array([5])
    policy = reorder_point(sales, lead, [0.0, 2.0], cover_days=7)
    for day in (-1, 4):
        window = sales[day + 1 : day + 1 + MEAN_DAYS, 0]  # the last of them is the day itself
        mean, deviation = window.mean(), window.std()
        for place, factor in enumerate((0.0, 2.0)):
            point = mean * 6 + factor * deviation * np.sqrt(6)
            assert policy(day).at[place, 0] == np.floor(point)
            assert policy(day).up_to[place, 0] == np.ceil(point + 7 * mean)


def test_what_sold_nothing_in_28_days_is_dropped_unless_there_is_a_floor() -> None:
    sales, lead = np.zeros((MEAN_DAYS + 1, 1), int), np.array([5])
    dropped, kept = (reorder_point(sales, lead, [3.0], cover_days=7, floor=floor)(-1) for floor in (0, 1))
    assert (dropped.at.item(), dropped.up_to.item()) == (-1, 0)
    assert (kept.at.item(), kept.up_to.item()) == (0, 1)


def test_a_weeks_forecast_is_summed_over_the_days_that_stock_must_last() -> None:
    expected = [np.arange(28.0)[None] + 100 * week for week in range(2)]
    spreads = [Spread(np.array([of]), np.array([0.1])) for of in (1.5, 2.5)]
    ahead = weekly_forecasts(expected, spreads, np.array([3]))
    assert [ahead(day)[0].item() for day in (-1, 0, 5, 6)] == [0 + 1 + 2 + 3, 1 + 2 + 3 + 4, 6 + 7 + 8 + 9, 406]
    assert [ahead(day)[1].item() for day in (-1, 6)] == [1.5 + 0.6, 2.5 + 40.6]
    levels = newsvendor(ahead, [0.5, 0.9])(-1)
    assert levels.up_to[:, 0].tolist() == [
        quantile(np.array([6.0]), np.array([2.1]), level).item() for level in (0.5, 0.9)
    ]
    assert (levels.at == levels.up_to - 1).all()


def outcome(*settings_):
    """(fill rate, stock) of each setting, for 20 items of one pair with 10 units wanted each."""
    return Outcome(*(np.array([[number] * 20 for number in column], float) for column in zip(*settings_, strict=True)))


def test_stock_is_compared_at_the_same_fill_rate() -> None:
    demand = np.full((1, 20), 10)
    ours, peer = outcome((8, 4), (10, 8)), outcome((6, 4), (9, 10))
    fill, stock = curve(ours, demand)
    assert fill.tolist() == [0.8, 1.0]
    assert stock.tolist() == [80, 160]
    half, out = compare(ours, peer, demand, np.arange(20), [0.85, 0.95], draws=60)
    assert half[:4] == pytest.approx((0.85, 100, 180, 100 / 180 - 1))
    assert half.low == pytest.approx(half.high)  # all items alike: no chance in it
    assert np.isnan([out.peer, out.change, out.low]).all()
    assert out.ours == pytest.approx(140)


def test_equal_policies_do_not_differ_and_unequal_items_widen_the_interval() -> None:
    draw = np.random.default_rng(4)
    demand = draw.poisson(2, (30, 60))
    item = np.repeat(np.arange(20), 3)
    up_to = np.arange(1, 9)[:, None].repeat(60, axis=1)
    ours = simulate(demand, np.full(60, 2), lambda _: Levels(up_to - 1, up_to))
    (same,) = compare(ours, ours, demand, item, [0.6], draws=40)
    assert same[3:] == pytest.approx((0, 0, 0))
    peer = simulate(demand, np.full(60, 2), lambda _: Levels(up_to - 2, up_to))
    (row,) = compare(ours, peer, demand, item, [0.6], draws=100)
    assert row.low < row.change < row.high
    assert compare(ours, peer, demand, item, [0.6], draws=100) == [row]


def test_the_page_shows_the_curves_and_every_figure() -> None:
    fill, stock = np.array([0.4, 0.7, 0.9]), np.array([1.0, 3.0, 9.0])
    rows = [("a peer", Comparison(0.9, 900.0, 1_200.0, -0.25, -0.3, -0.2)), ("b", Comparison(0.95, *[np.nan] * 5))]
    ours, peers = PolicyCurve("ours", fill, stock), [PolicyCurve("a peer", fill, stock * 2)]
    page = stock_section(ours, peers, rows, "8 < 9 weeks")
    assert page == stock_section(ours, peers, rows, "8 < 9 weeks")
    assert "<svg" in page
    assert "8 &lt; 9 weeks" in page
    assert "-25.0 %<br><small>-30.0 % to -20.0 %" in page
    assert page.count("n/a") == 4  # no stock of either, no change (and no interval then), and the note below
