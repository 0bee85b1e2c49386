"""Demand on shops whose truth is known: binning, distributions, and what a forecast may and may not depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nbinom

from udfs.demand import forecast as demand
from udfs.demand.block import Block, Shop, in_sample
from udfs.demand.day_shares import Holiday, day_weights, profile
from udfs.demand.features import FEATURES, pair_features
from udfs.demand.forecast import Forecast, fit, forecast, forecast_items, item_weeks, training_rows
from udfs.demand.model import Model, Settings, from_json, rate_of

RUN_DAY = 17_000
FIRST_DAY = RUN_DAY - 299
QUICK = Settings(origins=2, trees=10, leaves=8, spread_rows=1_000)


def sales_of(seed: int, items: int = 30, locations: int = 5, days: int = 300 + 28) -> pd.DataFrame:
    """Items of rates between 0.01 and 1 a day and location, more on day 5 of 7; the last 28 days are the future."""
    draw = np.random.default_rng(seed)
    rate = 10 ** draw.uniform(-2, 0, (items, locations, 1))
    day = FIRST_DAY + np.arange(days)
    units = draw.poisson(rate * np.where(day % 7 == 5, 2.0, 0.83))
    item, location, place = np.nonzero(units)
    return pd.DataFrame(
        {
            "location_id": [f"shop {number}" for number in location],
            "item_id": [f"item {number:03d}" for number in item],
            "day": day[place],
            "units": units[item, location, place],
        }
    )


def items_of(sales: pd.DataFrame) -> pd.DataFrame:
    ids = sorted(set(sales["item_id"]))
    return pd.DataFrame({"item_id": ids, "category": [f"kind {int(item[-1]) % 3}" for item in ids]})


def shop_of(sales: pd.DataFrame) -> Shop:
    return Shop.of(sales.merge(items_of(sales), on="item_id"), sales)


def known(sales: pd.DataFrame) -> pd.DataFrame:
    return sales[sales["day"] <= RUN_DAY]


SALES = sales_of(1)
MANY = [known(sales_of(seed, items=300, locations=10)) for seed in (2, 3)]
SHOP = shop_of(known(SALES))
BLOCK = Block.of(known(SALES), items_of(SALES))


@pytest.fixture(scope="module")
def model() -> Model:
    return fit(training_rows(BLOCK, SHOP, RUN_DAY, settings=QUICK), RUN_DAY, QUICK)


def as_rows(found: Forecast) -> Mapping[tuple[str, str], tuple[float, ...]]:
    """Everything said of each pair."""
    columns = np.column_stack([found.expected, found.p10, found.p50, found.p90, *found.spread])
    return {
        (item, location): tuple(row)
        for item, location, row in zip(found.item_id, found.location_id, columns.tolist(), strict=True)
    }


def test_weeks_are_binned_from_the_day_after_the_origin() -> None:
    block = Block.of(SALES.sample(frac=1, random_state=3), items_of(SALES))
    origin = RUN_DAY - 9
    expected: dict[tuple[str, str, int], int] = {}
    for row in SALES.itertuples():
        week = (row.day - origin - 1) // 7
        if 0 <= week < 4:
            key = (row.item_id, row.location_id, week)
            expected[key] = expected.get(key, 0) + row.units
    weeks = block.weeks_ahead(origin)
    for pair in range(len(block.pair_item)):
        ids = block.items[block.pair_item[pair]], block.locations[block.pair_location[pair]]
        assert weeks[pair].tolist() == [expected.get((*ids, week), 0) for week in range(4)]


def test_features_are_what_plain_loops_count() -> None:
    pairs, features = pair_features(BLOCK, SHOP, RUN_DAY)
    lately = SALES[(SALES["day"] <= RUN_DAY) & (SALES["day"] > RUN_DAY - 182)]
    assert len(pairs) == len(lately[["item_id", "location_id"]].drop_duplicates())
    for pair, row in list(zip(pairs, features, strict=True))[::17]:
        item, location = BLOCK.items[BLOCK.pair_item[pair]], BLOCK.locations[BLOCK.pair_location[pair]]
        told = dict(zip(FEATURES, row.tolist(), strict=True))
        of_item = known(SALES)[known(SALES)["item_id"] == item]
        own = of_item[of_item["location_id"] == location]
        assert told["pair_units_28"] == pytest.approx(own[own["day"] > RUN_DAY - 28]["units"].sum() / 4)
        assert told["pair_last_age"] == RUN_DAY - own["day"].max()
        assert told["item_units_182"] == pytest.approx(of_item[of_item["day"] > RUN_DAY - 182]["units"].sum() / 26)
        assert told["item_locations_182"] == of_item[of_item["day"] > RUN_DAY - 182]["location_id"].nunique()
        decayed = (own["units"] * 0.5 ** ((RUN_DAY - own["day"]) / 14)).sum() / sum(0.5 ** (n / 14) for n in range(300))
        assert told["pair_decayed_14"] == pytest.approx(7 * decayed, rel=1e-5)


def test_quantiles_are_in_order_finite_and_not_negative(model: Model) -> None:
    found = forecast(BLOCK, SHOP, model, RUN_DAY)
    columns = np.stack([found.p10, found.p50, found.p90])
    assert np.isfinite(columns).all()
    assert (np.diff(columns, axis=0) >= 0).all()
    assert (columns >= 0).all()
    assert (found.expected > 0).all()
    assert (found.spread.dispersion > 1).all()
    assert (found.spread.overdispersion > 0).all()
    frame = found.to_frame()
    assert frame.columns.tolist() == [
        *(
            "location_id",
            "item_id",
            "category",
            "target_day",
            "expected_units",
            "p10",
            "p50",
            "p90",
            "dispersion",
            "overdispersion",
        ),
    ]
    assert set(frame["target_day"] - RUN_DAY) == {1, 8, 15, 22}
    assert len(frame) == 4 * len(BLOCK.listed(RUN_DAY))
    mean = frame["expected_units"]
    spread = frame["dispersion"] + frame["overdispersion"] * mean
    of_weeks = nbinom(mean / (spread - 1), 1 / spread)
    for level, name in ((0.1, "p10"), (0.5, "p50"), (0.9, "p90")):
        np.testing.assert_array_equal(frame[name], of_weeks.ppf(level), err_msg="a quantile is of the week's demand")


def test_rates_weekdays_and_spread_of_the_shop_are_found(model: Model) -> None:
    found = forecast(BLOCK, SHOP, model, RUN_DAY)
    later = Block.of(SALES, items_of(SALES))
    weeks = later.weeks_ahead(RUN_DAY)[later.listed(RUN_DAY)]
    assert found.expected.sum() == pytest.approx(weeks.sum(), rel=0.1)
    of_pairs = found.expected.sum(axis=1)
    assert np.corrcoef(of_pairs, weeks.sum(axis=1))[0, 1] > 0.9
    by_day = profile(SHOP, RUN_DAY).days(found.expected, found.category).sum(axis=0)
    fifth = (found.run_day + 1 + np.arange(28)) % 7 == 5
    assert by_day[fifth].mean() / by_day[~fifth].mean() == pytest.approx(2.0 / 0.83, rel=0.15)
    assert np.median(found.spread.dispersion) < 1.3  # Poisson's counts


def test_ordinary_weeks_are_alike(model: Model) -> None:
    found = forecast(BLOCK, SHOP, model, RUN_DAY)
    np.testing.assert_allclose(found.expected, np.repeat(found.expected[:, :1], 4, axis=1), rtol=1e-9)
    np.testing.assert_allclose(profile(SHOP, RUN_DAY).shares.sum(axis=1), 4)


def daily_means(block: Block, shop: Shop, model: Model, holidays: list[Holiday]) -> np.ndarray:
    """[pairs, 28]: the pair's rate times the weight of each day, as the days would be forecast one by one."""
    pairs, features = pair_features(block, shop, RUN_DAY)
    rate = rate_of("pair", model.pair_trees, features)
    return rate[:, None] / 7 * day_weights(shop, block.category, RUN_DAY, holidays)[block.pair_item[pairs]]


HOLIDAYS = st.lists(
    st.builds(Holiday, st.integers(RUN_DAY - 250, RUN_DAY + 30), st.sampled_from(["feast", "fair"]), st.booleans()),
    max_size=12,
)


@given(holidays=HOLIDAYS, closed_week=st.booleans(), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_weeks_times_shares_are_the_days(model: Model, holidays: list[Holiday], closed_week: bool, seed: int) -> None:
    """Holidays, closed days, a closed week, items without a category, and some that are new."""
    if closed_week:
        holidays = [*holidays, *(Holiday(RUN_DAY + 8 + day, "works", closed=True) for day in range(7))]
    draw = np.random.default_rng(seed)
    sales = known(sales_of(seed, items=8, locations=3))
    new = sales["item_id"].isin(["item 001", "item 002"]) & (sales["day"] < RUN_DAY - draw.integers(1, 30))
    sales = sales[~new]
    items = items_of(sales)
    items["category"] = items["category"].where(items["item_id"] != "item 003", None)
    named = sales.merge(items, on="item_id").fillna({"category": ""})
    shop, block = Shop.of(named, sales), Block.of(sales, items)
    found, shares = forecast(block, shop, model, RUN_DAY, holidays), profile(shop, RUN_DAY, holidays)
    expected = daily_means(block, shop, model, holidays)
    np.testing.assert_allclose(shares.days(found.expected, found.category), expected, rtol=1e-9, atol=1e-12)
    frame = found.to_frame().merge(shares.to_frame(), on="category", suffixes=("", "_of_day"))  # null is null to pandas
    first, day = frame["target_day"], frame["target_day_of_day"]
    days = frame[(day >= first) & (day < first + 7)].sort_values(["item_id", "location_id", "target_day_of_day"])
    np.testing.assert_allclose(days["expected_units"] * days["share"], expected.ravel(), rtol=1e-9, atol=1e-12)
    assert np.isin(np.round(shares.shares.reshape(-1, 4, 7).sum(axis=2), 9), [0, 1]).all()
    named_days = {holiday.day: holiday.name for holiday in holidays}
    told = shares.to_frame().drop_duplicates("target_day").dropna(subset="holiday")
    assert set(told["target_day"]) == {day for day in named_days if RUN_DAY < day <= RUN_DAY + 28}


@given(drawn=st.sets(st.integers(0, 29), min_size=1, max_size=8))
@settings(max_examples=6, deadline=None)
def test_a_pairs_forecast_does_not_depend_on_its_block(model: Model, drawn: set[int]) -> None:
    ids = {f"item {number:03d}" for number in drawn}
    part = known(SALES)[known(SALES)["item_id"].isin(ids)]
    whole = as_rows(forecast(BLOCK, SHOP, model, RUN_DAY))
    alone = as_rows(forecast(Block.of(part, items_of(SALES)), SHOP, model, RUN_DAY))
    assert alone == {key: row for key, row in whole.items() if key[0] in ids}


def test_nothing_after_run_date_changes_what_is_learned_or_said() -> None:
    later = Block.of(SALES, items_of(SALES)), shop_of(SALES)
    told = []
    for block, shop in ((BLOCK, SHOP), later):
        rows = training_rows(block, shop, RUN_DAY, settings=QUICK)
        fitted = fit(rows, RUN_DAY, QUICK)
        items, weeks, spread = forecast_items(block, shop, fitted, RUN_DAY)
        numbers = [part.tolist() for part in (items, weeks, *spread)]
        told.append((fitted, as_rows(forecast(block, shop, fitted, RUN_DAY)), numbers))
    assert told[0] == told[1]


def test_threads_change_nothing() -> None:
    """Sums of floats depend on their order: LightGBM's `deterministic` keeps it whatever the number of threads."""
    rows = pd.concat(
        [training_rows(Block.of(sales, items_of(sales)), shop_of(sales), RUN_DAY, settings=QUICK) for sales in MANY]
    )
    assert len(rows) > 10_000
    one, two, five = (fit(rows, RUN_DAY, replace(QUICK, trees=40, leaves=31, threads=count)) for count in (1, 2, 5))
    assert one == two == five
    assert one.pair_trees.count("Tree=") == 40


def test_the_order_of_rows_and_their_blocks_change_nothing(model: Model) -> None:
    sales, parts = known(SALES), []
    for odd in (True, False):
        chosen = sales[(sales["item_id"].str[-1].astype(int) % 2 == 1) == odd]
        parts.append(training_rows(Block.of(chosen, items_of(SALES)), SHOP, RUN_DAY, settings=QUICK))
    shuffled = pd.concat(parts).sample(frac=1, random_state=2)
    assert fit(shuffled, RUN_DAY, QUICK) == model
    assert from_json(model.to_json()) == model
    with pytest.raises(ValueError, match="fit it again"):
        from_json(model.to_json().replace("pair_share", "pair_sharing"))


def test_a_sample_is_of_whole_items_whatever_the_block() -> None:
    rows = training_rows(BLOCK, SHOP, RUN_DAY, 0.3, QUICK)
    drawn = {item for item in BLOCK.items if in_sample(item, 0.3)}
    assert 0 < len(drawn) < len(BLOCK.items)
    assert set(rows["item_id"]) == drawn
    everything = training_rows(BLOCK, SHOP, RUN_DAY, settings=QUICK)
    same = everything[everything["item_id"].isin(drawn)].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, same)
    assert demand.sample_share(10_000_000, QUICK) * 10_000_000 * QUICK.origins == pytest.approx(QUICK.max_pairs)


def test_the_weeks_of_the_listed_items_are_those_of_all_their_locations(model: Model) -> None:
    found = item_weeks(BLOCK, SHOP, model, RUN_DAY)
    listed, weeks, _ = forecast_items(BLOCK, SHOP, model, RUN_DAY)
    assert listed.tolist() == np.unique(BLOCK.pair_item[BLOCK.listed(RUN_DAY)]).tolist()
    assert found.groupby("item_id").size().to_dict() == {BLOCK.items[item]: 4 for item in listed}
    assert set(found["target_day"] - RUN_DAY) == {1, 8, 15, 22}
    np.testing.assert_allclose(found["expected_units"].to_numpy().reshape(-1, 4), weeks)
    assert (found["p10"] <= found["p50"]).all()
    assert (found["p50"] <= found["p90"]).all()
    row = found.iloc[5]
    mean = row["expected_units"]
    dispersion = row["dispersion"] + row["overdispersion"] * mean
    assert row["p90"] == nbinom(mean / (dispersion - 1), 1 / dispersion).ppf(0.9)


def test_a_shop_without_sales_or_without_a_past_gives_what_it_can() -> None:
    empty = Block.of(SALES.head(0), items_of(SALES).head(0))
    rows = training_rows(empty, SHOP, RUN_DAY, settings=QUICK)
    model = fit(rows, RUN_DAY, QUICK)
    assert forecast(empty, SHOP, model, RUN_DAY).to_frame().empty
    young = SALES[(SALES["day"] > RUN_DAY - 10) & (SALES["day"] <= RUN_DAY)]
    block, shop = Block.of(young, items_of(young)), shop_of(young)
    model = fit(training_rows(block, shop, RUN_DAY, settings=QUICK), RUN_DAY, QUICK)
    assert model.pair_trees == ""
    found = forecast(block, shop, model, RUN_DAY)
    assert found.expected.sum() / 28 == pytest.approx(young["units"].sum() / 10, rel=0.25)
