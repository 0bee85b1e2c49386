"""Features of a pair of user and campaign equal plain Python, and nothing after the cut changes them."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_audience import FIRST, LENGTH, on, opened, shop, tally_of, usual_prices
from udfs.audiences import campaigns
from udfs.audiences import model as audience_model
from udfs.audiences.backtest import figures_of
from udfs.audiences.campaigns import book_of
from udfs.audiences.features import FEATURES, features
from udfs.audiences.model import expected_value, fit, predict
from udfs.audiences.rows import SCORED, scoring_rows, training_rows
from udfs.audiences.users import HALF_LIFE_DAYS, block_of, past_of


def test_features_equal_plain_python() -> None:
    lines, ads, told, items = shop()
    book = book_of(told, tally_of(ads), items, FIRST)
    block, cut, campaign, user = block_of(lines, ads, book), 70, 4, "u07"
    table, spent = features(past_of(block, book, FIRST + cut), book, np.array([7]), campaign)
    found = dict(zip(FEATURES, table[0].tolist(), strict=True))
    wanted = set(told["items"][campaign])
    mine = [row for row in lines.itertuples() if row.user_id == user and row.event_date < on(cut)]
    weight = {row.Index: 0.5 ** ((on(cut) - row.event_date).days / HALF_LIFE_DAYS) for row in mine}
    weeks = sum(0.5 ** (age / HALF_LIFE_DAYS) for age in range(1, cut + 1)) / 7
    spend = sum(weight[row.Index] * row.quantity * row.unit_price for row in mine)
    on_items = sum(weight[row.Index] * row.quantity * row.unit_price for row in mine if row.item_id in wanted)
    days = {row.event_date for row in mine}
    baskets = sum(0.5 ** ((on(cut) - day).days / HALF_LIFE_DAYS) for day in days)
    visits = {row.event_date for row in mine if row.item_id in wanted}
    assert found["recency"] == pytest.approx(math.log1p((on(cut) - max(days)).days), rel=1e-5)
    assert found["baskets"] == pytest.approx(baskets / weeks, rel=1e-5)
    assert found["spend"] == pytest.approx(math.log1p(spend / weeks), rel=1e-5)
    assert found["item_spend"] == pytest.approx(math.log1p(on_items / weeks), rel=1e-5)
    assert found["item_share"] == pytest.approx(math.log(on_items / spend + 0.005), rel=1e-5)
    assert found["items_bought"] == pytest.approx(math.log1p(len({row.item_id for row in mine} & wanted)), rel=1e-5)
    assert found["item_recency"] == pytest.approx(math.log1p((on(cut) - max(visits)).days), rel=1e-5)
    assert spent[0, 0] == pytest.approx(on_items)
    past = ads[(ads["event_date"] < on(cut)) & (ads["user_id"] == user) & (ads["campaign_id"] != "k4")]
    contacted = past[past["event_type"] == "impression"]["campaign_id"].nunique()
    assert found["contacts"] == pytest.approx(math.log1p(contacted), rel=1e-5)
    assert found["redemptions"] == pytest.approx(math.log1p((past["event_type"] == "conversion").sum()), rel=1e-5)
    vectors = book.vectors[items.vector_of]
    mean = sum(weight[row.Index] * vectors[int(row.item_id[1:])] for row in mine)
    cosines = sorted(float(vectors[int(item[1:])] @ mean) / float(np.linalg.norm(mean)) for item in wanted)
    assert found["cosine_best"] == pytest.approx(cosines[-1], abs=1e-5)
    assert found["cosine_top"] == pytest.approx(sum(cosines[-10:]) / len(cosines[-10:]), abs=1e-5)


@given(st.integers(30, 110), st.integers(0, 2**32 - 1))
@settings(max_examples=3, deadline=None)
def test_nothing_after_the_cut_changes_anything(cut: int, seed: int) -> None:
    lines, ads, told, items = shop()
    draw = np.random.default_rng(seed)
    later_lines, later_ads = lines["event_date"] >= on(cut), ads["event_date"] >= on(cut)
    other_lines, other_ads = lines.copy(), ads.copy()
    other_lines.loc[later_lines, "unit_price"] *= draw.uniform(0.1, 9, later_lines.sum())
    other_lines.loc[later_lines, "item_id"] = "i00"
    other_ads = pd.concat([ads[~later_ads], ads[later_ads].sample(frac=0.3, random_state=seed % 1_000)])
    found = []
    for some_lines, some_ads in ((lines, ads), (other_lines, other_ads)):
        some_lines = some_lines.assign(usual_price=usual_prices(some_lines))
        block, book = opened(some_lines, some_ads, told, items)
        learned, scored = training_rows(block, book, FIRST + cut), scoring_rows(block, book, FIRST + cut)
        everybody = scored.set_index(["campaign_id", "user_id"])
        found.append((learned, everybody))
    pd.testing.assert_frame_equal(found[0][0], found[1][0])
    pd.testing.assert_frame_equal(found[0][1], found[1][1])


def test_a_row_does_not_depend_on_its_block() -> None:
    lines, ads, told, items = shop()
    block, book = opened(lines, ads, told, items)
    everybody = scoring_rows(block, book, FIRST + 100).sort_values(["campaign_id", "user_id"], ignore_index=True)
    halves = []
    for odd in (True, False):
        mine, theirs = ((frame["user_id"].str[-1].astype(int) % 2 == 1) == odd for frame in (lines, ads))
        shuffled = lines[mine].sample(frac=1, random_state=3)
        halves.append(scoring_rows(block_of(shuffled, ads[theirs], book), book, FIRST + 100))
    both = pd.concat(halves).sort_values(["campaign_id", "user_id"], ignore_index=True)
    pd.testing.assert_frame_equal(both, everybody, rtol=1e-5)
    read = campaigns.from_bytes(book.to_bytes())
    pd.testing.assert_frame_equal(scoring_rows(block, read, FIRST + 100), scoring_rows(block, book, FIRST + 100))


def test_clicks_have_times_of_their_own() -> None:
    lines, ads, told, items = shop()
    start = ads["campaign_id"].map(dict(zip(told["campaign_id"], told["starts_on"], strict=True)))
    sure = ads[ads["event_type"] == "conversion"]
    early = sure.assign(event_type="click", event_date=start[sure.index] + dt.timedelta(days=1))
    again = early.assign(event_date=start[sure.index] + dt.timedelta(days=3))
    late = sure.assign(event_date=start[sure.index] + dt.timedelta(days=LENGTH - 1))
    ads = pd.concat([ads[ads["event_type"] == "impression"], early, again, late], ignore_index=True)
    found = training_rows(*opened(lines, ads, told, items), FIRST + 120)
    answered = found[found["converted"]]
    assert (answered[["first_share", "last_share"]] == 1).all(axis=None)
    assert np.allclose(answered[["first_click_share", "last_click_share"]], [2 / LENGTH, 4 / LENGTH])
    assert found.loc[~found["clicked"], ["first_click_share", "last_click_share"]].isna().all(axis=None)
    conversions, clicks = fit(found), fit(found, "clicked")
    assert conversions is not None
    assert clicks is not None
    fifth = audience_model.GRID // 5 - 1
    assert conversions.answered[fifth] < 0.05
    assert clicks.answered[fifth] > 0.9
    assert clicks.again[fifth] < 0.05, "nobody clicks after the fourth day"


def test_users_and_campaigns_of_whom_nothing_is_known() -> None:
    lines, ads, told, items = shop()
    stranger = pd.DataFrame([(on(50), "u99", "k7", "impression")], columns=ads.columns)
    unknown = pd.DataFrame([(on(50), "u01", "k99", "impression"), (on(50), None, "k1", "click")], columns=ads.columns)
    ads = pd.concat([ads, stranger, unknown], ignore_index=True)
    block, book = opened(lines[lines["user_id"] != "u02"], ads, told, items)
    scored, model = scoring_rows(block, book, FIRST + 105), fit(training_rows(block, book, FIRST + 105))
    assert model is not None
    known = scored["user_id"].isin(["u99", "u02"])
    assert known.sum() >= 2
    told_of_them = predict(model, scored[known])
    assert np.isfinite(told_of_them).all()
    assert np.isfinite(expected_value(model, scored[known], told_of_them)).all()
    assert scored.loc[scored["user_id"] == "u99", "item_share"].isna().all()
    nothing = scoring_rows(block, book, FIRST + 500)  # no campaign runs
    assert (len(nothing), tuple(nothing.columns)) == (0, SCORED)
    assert len(predict(model, nothing)) == 0
    empty = block_of(lines.iloc[:0], ads.iloc[:0], book)
    assert len(scoring_rows(empty, book, FIRST + 105)) == 0


def test_figures_equal_plain_python() -> None:
    draw = np.random.default_rng(5)
    told = draw.integers(1, 9, 60) / 10
    label, group = draw.random(60) < told, draw.integers(0, 2, 60)
    found = {name: value[0] for name, value in figures_of(label, told, group, np.ones((1, 60))).items()}

    def pairs(rows: list[int]) -> tuple[float, int]:
        both = [(told[hit], told[miss]) for hit in rows for miss in rows if label[hit] and not label[miss]]
        return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in both), len(both)

    good, every = pairs(list(range(60)))
    assert found["auc"] == pytest.approx(good / every)
    parts = [pairs(np.flatnonzero(group == number).tolist()) for number in (0, 1)]
    assert found["auc_within"] == pytest.approx(sum(good for good, _ in parts) / sum(every for _, every in parts))
    assert found["brier"] == pytest.approx(np.mean((told - label) ** 2))
    best = figures_of(label, np.where(label, 0.9, 0.1), group, np.ones((1, 60)))
    assert best["lift_top_tenth"][0] == pytest.approx(1 / label.mean())
    assert figures_of(label, np.full(60, label.mean()), group, np.ones((1, 60)))["calibration_error"][0] < 1e-12
