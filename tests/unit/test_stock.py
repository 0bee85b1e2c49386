"""Stock actions: what each pair is told, and what must hold of every plan."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from udfs.demand.counts import quantile
from udfs.inventory import plan as actions
from udfs.inventory.needs import Pairs, needs

NIGHT = dt.date(2017, 12, 3)
WEEKS = 2


def snapshot(*rows):
    """(location, item, on hand, on order, lead time) each."""
    columns = ["location_id", "item_id", "on_hand", "on_order", "lead_time_days"]
    return pd.DataFrame([*rows], columns=columns)


def forecasts(*rows, weeks=WEEKS, first=1, over=0.0):
    """(location, item, units a day, dispersion) each, for so many weeks from the first day after the night on.

    over: the overdispersion of all.
    """
    dates = [NIGHT + dt.timedelta(days=first + 7 * week) for week in range(weeks)]
    lines = [(location, item, None, date, 7 * mean, spread) for location, item, mean, spread in rows for date in dates]
    columns = ["location_id", "item_id", "category", "target_week", "expected_units", "dispersion"]
    return pd.DataFrame(lines, columns=columns).assign(overdispersion=over)


def even(first=-20, last=35):
    """A profile of days that are all alike, of items without a category."""
    dates = [NIGHT + dt.timedelta(days=day) for day in range(first, last + 1)]
    return pd.DataFrame({"category": None, "target_date": dates, "share": 1 / 7})


def plan(stock, forecast, profile=None, **knobs):
    knobs = {"run_date": NIGHT, "service_level": 0.95, "alert_above": 0.2} | knobs
    return actions.plan(stock, forecast, even() if profile is None else profile, **knobs)


def told(found):
    """(location, action, quantity, from) of each row of one item."""
    return list(zip(found.location_id, found.action, found.quantity, found.from_location_id, strict=True))


def test_an_order_fills_up_to_what_covers_lead_time_and_review() -> None:
    found = plan(snapshot(("a", "i", 5, 1, 6)), forecasts(("a", "i", 0.5, 1.5)))
    needed = next(units for units in range(99) if stats.nbinom.cdf(units, 3.5 / 0.5, 1 / 1.5) >= 0.95)
    assert told(found) == [("a", "replenish", needed - 6, None)]
    assert found.stockout_probability[0] == pytest.approx(stats.nbinom.sf(6, 3.0 / 0.5, 1 / 1.5))
    assert found.reason[0] == (
        "5 on hand, 1 on order; 3.50 expected (sd 2.29) in 6 days of lead time and 1 of review, 8 needed for 95 %: "
        "order 2"
    )


def test_enough_is_left_alone() -> None:
    found = plan(snapshot(("a", "i", 9, 0, 6)), forecasts(("a", "i", 0.5, 1.5)))
    assert told(found) == [("a", "ok", 0, None)]
    assert found.reason[0].endswith("8 needed for 95 %: nothing to do")


def test_a_likely_stockout_alerts_beside_the_order_that_comes_too_late() -> None:
    found = plan(snapshot(("a", "i", 1, 0, 6)), forecasts(("a", "i", 0.5, 1.5)))
    assert told(found) == [("a", "alert", 6, None), ("a", "replenish", 7, None)]
    assert found.reason[0] == (
        "1 on hand, 0 on order; 3.00 expected (sd 2.12) in 6 days of lead time: 73.66 % chance to run out, above 20 %; "
        "6 short of 95 %"
    )
    assert found.stockout_probability.nunique() == 1


def test_a_location_with_more_than_its_own_need_helps_before_anything_is_bought() -> None:
    stock = snapshot(("a", "i", 1, 0, 6), ("b", "i", 12, 0, 6))
    found = plan(stock, forecasts(("a", "i", 0.5, 1.5), ("b", "i", 0.5, 1.5)))
    assert told(found) == [("a", "replenish", 3, None), ("a", "transfer", 4, "b"), ("b", "ok", 0, None)]
    assert found.reason[1] == (
        "1 on hand, 0 on order; 3.00 expected (sd 2.12) in 6 days of lead time, 7 needed for 95 %: 4 of the 4 it gets "
        "from b, which keeps 8 on hand and needs 8 for 95 % of its own 7 days (3.50 expected)"
    )
    assert found.reason[2].endswith("8 needed for 95 %: gives 4 and keeps 8")


def test_a_transfer_that_covers_the_lead_time_silences_the_alert() -> None:
    stock = snapshot(("a", "i", 1, 0, 6), ("b", "i", 30, 0, 6))
    found = plan(stock, forecasts(("a", "i", 0.5, 1.5), ("b", "i", 0.5, 1.5)))
    assert told(found) == [("a", "replenish", 1, None), ("a", "transfer", 6, "b"), ("b", "ok", 0, None)]


def test_no_transfer_where_an_order_is_as_fast() -> None:
    stock = snapshot(("a", "i", 0, 0, 2), ("b", "i", 30, 0, 2))
    forecast = forecasts(("a", "i", 0.5, 1.0), ("b", "i", 0.5, 1.0))
    assert "transfer" not in set(plan(stock, forecast, transfer_days=2).action)
    assert "transfer" in set(plan(stock, forecast, transfer_days=1).action)


def test_orders_are_whole_packs() -> None:
    stock = snapshot(("a", "i", 6, 0, 6), ("b", "i", 6, 0, 6), ("c", "i", 6, 0, 6))
    stock["pack_size"] = [6, 1, np.nan]
    found = plan(stock, forecasts(*((name, "i", 0.5, 1.5) for name in "abc")))
    assert told(found) == [("a", "replenish", 6, None), ("b", "replenish", 2, None), ("c", "replenish", 2, None)]
    assert found.reason[0].endswith("order 6 (2 missing; whole packs)")


def test_what_is_weighed_is_ordered_by_packs_that_are_fractions() -> None:
    """8 kg cover lead time and review; 6.45 are there: 1.55 are missing, of which some stores can order 100 g."""
    stock = snapshot(*((name, "cheese", 6.0, 0.45, 6) for name in "abc"))
    stock["pack_size"] = [0.1, 2.5, np.nan]
    found = plan(stock, forecasts(*((name, "cheese", 0.5, 1.5) for name in "abc")), alert_above=1)
    assert told(found) == [("a", "replenish", 1.6, None), ("b", "replenish", 2.5, None), ("c", "replenish", 2, None)]
    assert found.reason[0].startswith("6 on hand, 0.45 on order; ")
    assert found.reason[0].endswith("8 needed for 95 %: order 1.6 (1.55 missing; whole packs)")


def test_a_location_gives_whole_units_of_what_is_weighed() -> None:
    stock = snapshot(("a", "i", 1.3, 0, 6), ("b", "i", 12.7, 0, 6))
    found = plan(stock, forecasts(("a", "i", 0.5, 1.5), ("b", "i", 0.5, 1.5)))
    assert told(found) == [("a", "replenish", 3, None), ("a", "transfer", 4, "b"), ("b", "ok", 0, None)]
    assert "which keeps 8.7 on hand" in found.reason[1]
    assert found.reason[2].endswith("gives 4 and keeps 8.7")


def test_the_nearest_location_gives() -> None:
    stock = snapshot(("a", "i", 1, 0, 6), ("b", "i", 30, 0, 6), ("c", "i", 30, 0, 6), ("d", "i", 99, 0, 6))
    ways = pd.DataFrame(
        [("b", "a", 5.0), ("c", "a", 2.0), ("x", "a", 1.0)], columns=["from_location_id", "to_location_id", "cost"]
    )
    found = plan(stock, forecasts(*((name, "i", 0.5, 1.5) for name in "abcd")), way_costs=ways)
    assert [row for row in told(found) if row[1] == "transfer"] == [("a", "transfer", 6, "c")]


def test_a_pair_without_a_forecast_is_left_alone() -> None:
    stock = snapshot(("a", "i", 0, 0, 6), ("b", "i", 50, 0, 6), ("c", "new", 3, 0, 6))
    found = plan(stock, forecasts(("a", "i", 0.5, 1.5), ("z", "i", 9.0, 1.5), ("a", "gone", 9.0, 1.5)))
    assert told(found[found.location_id != "a"]) == [("b", "ok", 0, None), ("c", "ok", 0, None)]
    assert found[found.location_id != "a"].stockout_probability.isna().all()
    assert found.reason.iloc[-1] == "3 on hand, 0 on order; no forecast: left alone"
    assert "transfer" not in set(found.action)


def test_a_negative_count_is_read_as_none() -> None:
    forecast = forecasts(("a", "i", 0.5, 1.5))
    counted, empty = (plan(snapshot(("a", "i", units, 0, 6)), forecast) for units in (-7, 0))
    pd.testing.assert_frame_equal(counted, empty)


def test_days_past_the_forecast_count_as_its_mean_day_and_days_of_the_past_not_at_all() -> None:
    stock, pair = snapshot(("a", "i", 0, 0, 20)), ("a", "i", 0.5, 1.5)
    whole = forecasts(pair, weeks=4)
    past, half_past = forecasts(pair, weeks=2, first=-13), forecasts(pair, first=-3)  # the night is day 4 of a week
    for forecast in (forecasts(pair, weeks=1), pd.concat([past, forecasts(pair, weeks=1)]), half_past):
        pd.testing.assert_frame_equal(plan(stock, forecast), plan(stock, whole))


def test_a_week_without_its_shares_is_refused() -> None:
    stock, forecast = snapshot(("a", "i", 0, 0, 6)), forecasts(("a", "i", 0.5, 1.5))
    with pytest.raises(ValueError, match=r"the profile lacks days of category '?None'? in the week of 2017-12-11"):
        plan(stock, forecast, even(last=10))
    with pytest.raises(ValueError, match="the profile lacks days of category 'tea'"):
        plan(stock, forecast.assign(category="tea"))


def daily_needs(stock, daily, run_date, service_level, review_days) -> Pairs:
    """The needs from a forecast day by day (target_date instead of target_week), pair by pair."""
    found = []
    for row in stock.itertuples():
        of_pair = daily[(daily.item_id == row.item_id) & (daily.location_id == row.location_id)]
        days = {line.target_date: line for line in of_pair.itertuples() if line.target_date > run_date}
        mean_day = sum(line.expected_units for line in days.values()) / max(len(days), 1)
        last = max(days, default=run_date)

        def expected(until, days=days, last=last, mean_day=mean_day):
            end = NIGHT + dt.timedelta(days=until)
            within = sum(line.expected_units for date, line in days.items() if date <= end)
            return within + max((end - last).days, 0) * mean_day

        total = sum(line.expected_units for line in days.values())
        spread = sum(line.expected_units * line.dispersion for line in days.values()) / total if total else 1.0
        over = sum(line.expected_units * line.overdispersion for line in days.values()) / total if total else 0.0
        means = [expected(int(row.lead_time_days) + more) for more in (0, review_days)]
        found.append((bool(days), *means, *(spread + over * mean for mean in means)))
    known, in_lead, in_cover, *spreads = (np.array(column) for column in zip(*found, strict=True))
    units = [stock[name].clip(lower=0).to_numpy(np.int64) for name in ("on_hand", "on_order", "lead_time_days")]
    codes = [pd.factorize(stock[name], sort=True)[0].astype(np.int64) for name in ("item_id", "location_id")]
    needed = [quantile(*demand, service_level) for demand in zip((in_lead, in_cover), spreads, strict=True)]
    return Pairs(*codes, *units, known, in_lead, in_cover, *spreads, *needed)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 9_999), shift=st.integers(-9, 1), review=st.integers(1, 9))
def test_actions_of_weeks_and_shares_are_those_of_the_days(data, seed, shift, review) -> None:
    """Weeks that began before the night too: a night that is taken back has an earlier one's forecast."""
    draw = np.random.default_rng(seed)
    names = [(place, item) for place in "abcd" for item in "ij" if data.draw(st.booleans())] or [("a", "i")]
    stock = snapshot(*((*name, *draw.integers(-1, 12, 2), int(draw.integers(0, 40))) for name in names))
    kinds = {"i": None, "j": "tea"}
    shares = draw.dirichlet(np.full(7, 0.7), (2, 4)) * (draw.random((2, 4, 1)) < 0.9)  # some weeks are closed
    dates = [NIGHT + dt.timedelta(days=shift + day) for day in range(28)]
    profile = pd.concat(
        pd.DataFrame({"category": kinds[item], "target_date": dates, "share": shares[place].ravel()})
        for place, item in enumerate("ij")
    )
    pairs = [(place, item, mean, 1.7) for place, item in names if (mean := draw.choice([np.nan, 0, 0.05, 0.8])) >= 0]
    forecast = forecasts(*pairs, weeks=4, first=shift, over=0.3)
    forecast["category"] = forecast["item_id"].map(kinds).astype(object).where(lambda kind: kind.notna(), None)
    forecast["expected_units"] *= draw.uniform(0.5, 2, len(forecast))
    joined = forecast.merge(profile, on="category")
    within = (joined.target_date >= joined.target_week) & (
        joined.target_date < joined.target_week + pd.Timedelta(days=7).to_pytimedelta()
    )
    daily = joined[within].assign(expected_units=joined.expected_units * joined.share)
    ordered = stock.sort_values(["item_id", "location_id"], ignore_index=True)
    expected, found = (
        daily_needs(ordered, daily, NIGHT, 0.9, review),
        needs(ordered, forecast, profile, NIGHT, 0.9, review),
    )
    for name, ours, theirs in zip(Pairs._fields, found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=name)
    knobs = {"service_level": 0.9, "review_days": review}
    by_weeks = plan(stock, forecast, profile, **knobs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actions, "needs", lambda stock, daily, _, *rest: daily_needs(stock, daily, *rest))
        pd.testing.assert_frame_equal(by_weeks, plan(stock, daily, profile, **knobs))


def test_no_stock_no_rows() -> None:
    found = plan(snapshot(), forecasts(("a", "i", 1.0, 1.0)))
    assert list(found.columns) == list(actions.COLUMNS)
    assert found.empty
    assert told(plan(snapshot(("a", "i", 1, 0, 2)), forecasts())) == [("a", "ok", 0, None)]


def test_two_rows_of_a_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="two stock rows of item i at location a"):
        plan(snapshot(("a", "i", 1, 0, 2), ("a", "i", 2, 0, 2)), forecasts(("a", "i", 1.0, 1.0)))


def test_a_limit_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="alert_above is a probability; it is 20"):
        plan(snapshot(("a", "i", 1, 0, 2)), forecasts(("a", "i", 1.0, 1.0)), alert_above=20)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), seed=st.integers(0, 9_999), level=st.sampled_from([0.5, 0.9, 0.99]), priced=st.booleans())
def test_what_holds_of_every_plan(data, seed, level, priced) -> None:
    pair = st.tuples(st.integers(-3, 15), st.integers(0, 4), st.integers(0, 9), st.sampled_from([None, 0.0, 0.1, 0.9]))
    pairs = {(place, item): data.draw(pair) for place in "abcd" for item in "ij" if data.draw(st.booleans())}
    stock = snapshot(*((*key, hand, order, lead) for key, (hand, order, lead, _) in pairs.items()))
    forecast = forecasts(*((*key, mean, 1.7) for key, (*_, mean) in pairs.items() if mean is not None))
    draw = np.random.default_rng(seed)
    ways = pd.DataFrame({"from_location_id": list("abcabd"), "to_location_id": list("bcadca")})
    ways["cost"] = draw.integers(0, 4, len(ways))
    knobs = {"service_level": level, "way_costs": ways if priced else None}
    found = plan(stock, forecast, **knobs)

    shuffled = plan(stock.sample(frac=1, random_state=seed), forecast.sample(frac=1, random_state=seed), **knobs)
    pd.testing.assert_frame_equal(found, shuffled)
    assert not found.duplicated(["location_id", "item_id", "action", "from_location_id"]).any()
    assert set(zip(found.location_id, found.item_id, strict=True)) == set(pairs)
    quiet = found.action.isin(["ok", "alert"])
    assert (found.quantity >= 0).all()
    assert (found[~quiet].quantity > 0).all()
    assert (found.quantity == found.quantity.round()).all(), "whole where stock and packs are"
    assert found.stockout_probability.dropna().between(0, 1).all()
    assert not ((found.action == "ok") & found.duplicated(["location_id", "item_id"], keep=False)).any()

    moves = found[found.action == "transfer"]
    given = moves.groupby(["from_location_id", "item_id"]).quantity.sum()
    received = moves.groupby(["location_id", "item_id"]).quantity.sum()
    assert given.sum() == received.sum()
    assert not set(given.index) & set(received.index)
    for (place, item), units in given.items():
        hand, _, lead, mean = pairs[place, item]
        own = mean * (lead + 1)
        kept = hand - units
        assert kept >= 0
        assert own == 0 or stats.nbinom.cdf(kept, own / 0.7, 1 / 1.7) >= level - 1e-9
        assert not ((found.location_id == place) & (found.item_id == item) & (found.action == "replenish")).any()
    for key, (hand, order, lead, mean) in pairs.items():
        mine = found[(found.location_id == key[0]) & (found.item_id == key[1])]
        if mean is None or mean == 0:
            assert set(mine.action) == {"ok"}
            continue
        bought = mine[mine.action.isin(["replenish", "transfer"])].quantity.sum()
        after = max(hand, 0) + order + bought - given.get(key, 0)
        assert stats.nbinom.cdf(after, mean * (lead + 1) / 0.7, 1 / 1.7) >= level - 1e-9
