"""Spread of sums of days that share their rate: fitted, published, and read by the stock plan."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.stats import nbinom

from tests.unit.test_demand import BLOCK, QUICK, RUN_DAY, SALES, SHOP, items_of, known, shop_of
from tests.unit.test_stock import forecasts, plan, snapshot, told
from udfs.demand.block import Block
from udfs.demand.counts import pit_inside
from udfs.demand.dispersion import fit_spread, spread_of
from udfs.demand.forecast import fit, forecast, item_weeks, training_rows
from udfs.demand.model import Model, from_json


@pytest.fixture(scope="module")
def model() -> Model:
    return fit(training_rows(BLOCK, SHOP, RUN_DAY, settings=QUICK), RUN_DAY, QUICK)


def sums_of(draw: np.random.Generator, mean: np.ndarray, dispersion: float, over: float) -> np.ndarray:
    """[rows, 4] weekly units: independent weeks given a rate that all of them share, with that relative variance."""
    rate = np.maximum(mean * draw.gamma(1 / over, over, len(mean)), 1e-9)[:, None]
    return nbinom.rvs(rate / (dispersion - 1), 1 / dispersion, size=(len(mean), 4), random_state=draw).astype(float)


def test_sums_of_days_that_share_their_rate_have_the_spread_that_is_fitted() -> None:
    draw = np.random.default_rng(5)
    learned, new = (10 ** draw.uniform(-1, 1, 6_000) for _ in range(2))
    units = sums_of(draw, learned, 2.0, 0.4)
    inputs = np.log(new)[:, None]
    spread = spread_of(*fit_spread(units, learned, np.log(learned)[:, None]), inputs)
    assert np.median(spread.dispersion) == pytest.approx(2.0, rel=0.2)
    assert np.median(spread.overdispersion) == pytest.approx(0.4, rel=0.4)
    later = np.cumsum(sums_of(draw, new, 2.0, 0.4), axis=1)
    for week in range(4):
        mean = new * (week + 1)
        (covered, above) = pit_inside(later[:, week], mean, spread.of(mean), (0.1, 0.9), (0.95, 1.0))
        assert covered.mean() == pytest.approx(0.8, abs=0.02)
        assert above.mean() == pytest.approx(0.05, abs=0.01)


def test_weeks_that_share_nothing_have_hardly_any_overdispersion() -> None:
    draw = np.random.default_rng(6)
    mean = draw.uniform(0.5, 5, 4_000)
    units = nbinom.rvs(mean[:, None] / 2, 1 / 3, size=(4_000, 4), random_state=draw).astype(float)
    spread = spread_of(*fit_spread(units, mean, np.zeros((4_000, 1))), np.zeros((1, 1)))
    assert spread.dispersion[0] == pytest.approx(3.0, rel=0.1)
    assert spread.overdispersion[0] < 0.05


def test_no_bound_holds_a_wide_spread_down() -> None:
    draw = np.random.default_rng(7)
    mean = draw.uniform(100, 400, 2_000)
    units = nbinom.rvs(mean[:, None] / 199, 1 / 200, size=(2_000, 4), random_state=draw).astype(float)
    spread = spread_of(*fit_spread(units, mean, np.zeros((2_000, 1))), np.zeros((1, 1)))
    assert spread.of(np.array([250.0]))[0] == pytest.approx(200, rel=0.15)


def test_a_model_of_before_overdispersion_has_none(model: Model) -> None:
    values = json.loads(model.to_json())
    old = from_json(json.dumps({name: part for name, part in values.items() if not name.endswith("overdispersion")}))
    assert not forecast(BLOCK, SHOP, old, RUN_DAY).spread.overdispersion.any()
    assert old.pair_dispersion == model.pair_dispersion


def test_the_tables_of_a_shop_of_one_location_agree(model: Model) -> None:
    sales = known(SALES).assign(location_id="all")
    block, shop = Block.of(sales, items_of(SALES)), shop_of(sales)
    pairs, items = forecast(block, shop, model, RUN_DAY).to_frame(), item_weeks(block, shop, model, RUN_DAY)
    pd.testing.assert_frame_equal(pairs.drop(columns=["location_id", "category"]), items)


def test_a_rate_that_is_uncertain_needs_more_the_longer_the_lead_time() -> None:
    """Variance 1.5 m + 0.4 m^2; a forecast of before overdispersion was published has null, which is none."""
    for lead in (6, 20):
        mean = 0.5 * (lead + 1)
        ratio = 1.5 + 0.4 * mean
        needed = int(stats.nbinom.ppf(0.95, mean / (ratio - 1), 1 / ratio))
        stock, pair = snapshot(("a", "i", 0, 0, lead)), ("a", "i", 0.5, 1.5)
        assert told(plan(stock, forecasts(pair, over=0.4)))[1] == ("a", "replenish", needed, None)
        assert f"(sd {np.sqrt(mean * ratio):.2f})" in plan(stock, forecasts(pair, over=0.4)).reason[1]
        pd.testing.assert_frame_equal(plan(stock, forecasts(pair, over=None)), plan(stock, forecasts(pair)))
