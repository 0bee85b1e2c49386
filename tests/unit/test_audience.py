"""Features of a pair against plain Python, no look beyond the cut, and probabilities that are ones."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from udfs.audiences import backtest as audience_backtest
from udfs.audiences import campaigns
from udfs.audiences import features as audience
from udfs.audiences import model as audience_model
from udfs.audiences.backtest import ALL, CONTENDERS, OURS, backtest
from udfs.audiences.campaigns import Book, book_of
from udfs.audiences.features import usual_of, with_usual
from udfs.audiences.judge import fit_judged, judge
from udfs.audiences.judge import from_json as judged_from_json
from udfs.audiences.model import AudienceModel, Settings, expected_value, fit, from_json, predict, probability
from udfs.audiences.pair import fit_pair
from udfs.audiences.pair import from_json as pair_from_json
from udfs.audiences.rows import TRAINED, scoring_rows, training_rows
from udfs.audiences.users import Block, block_of
from udfs.catalogue import Catalogue, catalogue_of

DAY = dt.date(2024, 1, 1)
FIRST = (DAY - dt.date(1970, 1, 1)).days
ITEMS, USERS, CAMPAIGNS = 12, 60, 8
LENGTH = 20  # days; one campaign begins every ten


def on(day: int) -> dt.date:
    return DAY + dt.timedelta(days=day)


def shop(seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, Catalogue]:
    """Purchases, ad events, campaigns and items of a shop; the first half of its users answers far more often."""
    draw = np.random.default_rng(seed)
    lines = pd.DataFrame(
        {
            "user_id": [f"u{number:02}" for number in draw.integers(0, USERS, 3_000)],
            "item_id": [f"i{number:02}" for number in draw.integers(0, ITEMS, 3_000)],
            "event_date": [on(int(day)) for day in draw.integers(0, 120, 3_000)],
            "quantity": draw.integers(1, 4, 3_000),
            "unit_price": draw.integers(50, 300, 3_000) / 100,
        }
    )
    lines["basket_id"] = lines["user_id"] + lines["event_date"].astype(str)
    described = pd.DataFrame(
        {
            "item_id": [f"i{number:02}" for number in range(ITEMS)],
            "category": [f"c{number % 3}" for number in range(ITEMS)],
            "brand": "b",
            "title": "t",
            "described_on": DAY,
            "vector": [row.astype("<f2").tobytes() for row in draw.normal(size=(ITEMS, 4))],
        }
    )
    table, ads = [], []
    for number in range(CAMPAIGNS):
        start = 15 + number * 12
        items = [f"i{item:02}" for item in draw.choice(ITEMS, 4, replace=False)] if number else None
        table.append((f"k{number}", "A" if number % 2 else "B", on(start), on(start + LENGTH - 1), items))
        for user in draw.choice(USERS, 40, replace=False):
            ads.append((on(start), f"u{user:02}", f"k{number}", "impression"))
            if draw.random() < (0.5 if user < USERS / 2 else 0.05):
                ads.append((on(start + int(draw.integers(0, LENGTH))), f"u{user:02}", f"k{number}", "conversion"))
    ad_events = pd.DataFrame(ads, columns=["event_date", "user_id", "campaign_id", "event_type"])
    told = pd.DataFrame(table, columns=["campaign_id", "kind", "starts_on", "ends_on", "items"])
    return lines, ad_events, told, catalogue_of(described)


def usual_prices(lines: pd.DataFrame) -> pd.Series:
    """Per line the item's median unit price in the last earlier month in which it sold; NaN where there was none.

    A line's usual price is then the same whenever one asks, and no cut has to compute it anew.
    """
    month = pd.to_datetime(lines["event_date"]).dt.to_period("M")
    by_month = lines.groupby([lines["item_id"], month.rename("month")])["unit_price"].median()
    earlier = by_month.groupby(level=0).shift(1)
    found = earlier.reindex(pd.MultiIndex.from_arrays([lines["item_id"], month]))
    return pd.Series(found.to_numpy(), index=lines.index, name="usual_price")


def tally_of(ad_events: pd.DataFrame) -> pd.DataFrame:
    """Per campaign_id and event_date: how many users were first contacted on it, and how many first converted."""
    found = []
    for name, kind in (("contacted", "impression"), ("converted", "conversion")):
        rows = ad_events[ad_events["event_type"] == kind]
        first = rows.groupby(["campaign_id", "user_id"], as_index=False)["event_date"].min()
        found.append(first.groupby(["campaign_id", "event_date"]).size().rename(name))
    return pd.concat(found, axis=1).fillna(0).astype("int64").reset_index()


def opened(lines: pd.DataFrame, ad_events: pd.DataFrame, told: pd.DataFrame, items: Catalogue) -> tuple[Block, Book]:
    book = book_of(told, tally_of(ad_events), items, FIRST)
    block = block_of(lines, ad_events, book)
    return block, with_usual(book, usual_of(block, book, np.arange(len(book.ids))))


@pytest.fixture(scope="module")
def whole() -> tuple[Block, Book]:
    return opened(*shop())


@pytest.fixture(scope="module")
def rows(whole: tuple[Block, Book]) -> pd.DataFrame:
    return training_rows(*whole, FIRST + 120)


@pytest.fixture(scope="module")
def model(rows: pd.DataFrame) -> AudienceModel:
    found = fit(rows)
    assert found is not None
    return found


def test_who_answers_is_found_and_the_model_survives_json(
    whole: tuple[Block, Book], rows: pd.DataFrame, model: AudienceModel
) -> None:
    scored = scoring_rows(*whole, FIRST + 105)
    told = predict(model, scored)
    assert ((told >= 0) & (told <= 1)).all()
    fresh = ~scored["has_converted"]
    keen = scored["user_id"] < "u30"
    assert told[fresh & keen].mean() > 1.5 * told[fresh & ~keen].mean()
    assert abs(probability(model, rows).mean() - rows["converted"].mean()) < 0.05
    again = from_json(model.to_json())
    assert again == model
    assert (predict(again, scored) == told).all()
    assert fit(rows.sample(frac=1, random_state=1)) == model  # the order of the rows does not matter
    with pytest.raises(ValueError, match="train it again"):
        from_json('{"names": []}')


def test_calibration_keeps_the_order(rows: pd.DataFrame, model: AudienceModel) -> None:
    assert model.slope > 0
    plain = (rows[list(model.names)].to_numpy(float) - np.array(model.mean)) / np.array(model.scale)
    plain = np.nan_to_num(plain, nan=0.0)  # what is missing counts as the mean
    odds = plain @ np.array(model.weights) + rows["kind"].map(model.kinds).to_numpy(float)
    inside = np.abs(plain).max(axis=1) <= audience_model.CLIP
    order = np.argsort(odds[inside], kind="stable")
    assert inside.sum() > 100
    assert (np.diff(probability(model, rows[inside])[order]) >= -1e-9).all()


def test_the_later_the_fewer(model: AudienceModel, whole: tuple[Block, Book]) -> None:
    scored = scoring_rows(*whole, FIRST + 105).iloc[:20]
    told = [predict(model, scored.assign(elapsed_share=share, has_converted=False)) for share in np.linspace(0, 1, 9)]
    assert (np.diff(np.array(told), axis=0) <= 1e-12).all()
    assert (told[0] == probability(model, scored)).all()
    assert (told[-1] == 0).all()


def test_without_an_earlier_campaign_everybody_gets_the_prior(whole: tuple[Block, Book]) -> None:
    block, book = whole
    none = training_rows(block, book, FIRST + 20)
    assert (len(none), tuple(none.columns)) == (0, TRAINED)
    found = fit(none)
    assert found is not None
    assert found.is_prior
    scored = scoring_rows(block, book, FIRST + 15)  # the eve of the first campaign, which has no items
    assert len(scored) > 0
    assert np.allclose(predict(found, scored), campaigns.PRIOR_RATE)
    assert (expected_value(found, scored, predict(found, scored), contact_cost=0.1) > 0).all()


def test_no_clicks_no_click_model(rows: pd.DataFrame) -> None:
    assert fit(rows, "clicked") is None
    clicks = fit(rows.assign(clicked=rows["converted"]), "clicked")
    assert clicks is not None
    assert clicks.event == "clicked"


def test_the_backtest_tells_of_each_contender(whole: tuple[Block, Book]) -> None:
    block, book = whole
    everything = training_rows(block, book, FIRST + 120, range(CAMPAIGNS))
    found = backtest(everything, book, FIRST + 120, [5, 6, 7], draws=20)
    told = {(row.contender, row.metric): row for row in found.measures if row.slice == ALL}
    assert {contender for contender, _ in told} == set(CONTENDERS)
    assert told[OURS, "auc"].value > 0.6
    lead = told["user's past rate", "lead_log_loss"]
    gain = told["user's past rate", "log_loss"].value - told[OURS, "log_loss"].value
    assert lead.value == pytest.approx(gain)
    assert lead.low <= lead.value <= lead.high
    assert sum(each.count for each in found.reliability) == told[OURS, "auc"].rows
    # What came of the tested campaigns themselves, or after them, teaches nothing of them.
    other = everything.copy()
    tested = other["campaign_id"].isin(["k5", "k6", "k7"])
    other.loc[tested & (other["campaign_id"] != "k5"), "converted"] = True
    first = backtest(everything, book, FIRST + 120, [5], {OURS: CONTENDERS[OURS]}, draws=2)
    assert first.measures == backtest(other, book, FIRST + 120, [5], {OURS: CONTENDERS[OURS]}, draws=2).measures


def test_figures_do_not_depend_on_how_many_resamples_are_held_at_once(
    whole: tuple[Block, Book], monkeypatch: pytest.MonkeyPatch
) -> None:
    block, book = whole
    everything = training_rows(block, book, FIRST + 120, range(CAMPAIGNS))
    some = {OURS: CONTENDERS[OURS], "user's past rate": CONTENDERS["user's past rate"]}
    found = []
    for cells in (10**9, 7 * len(everything), 1):
        monkeypatch.setattr(audience_backtest, "CELLS", cells)
        found.append(backtest(everything, book, FIRST + 120, [6, 7], some, draws=25).measures)
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            assert (one.contender, one.metric, one.slice) == (another.contender, another.metric, another.slice)
            numbers = [[row.value, row.low, row.high] for row in (one, another)]
            np.testing.assert_allclose(*numbers, rtol=1e-12, atol=1e-12)


def test_without_any_vector_ours_is_the_model_that_reads_none() -> None:
    lines, ads, told, items = shop()
    block, book = opened(lines, ads, told, items.with_vectors(np.zeros((0, 0), np.float32), np.full(ITEMS, -1)))
    found = training_rows(block, book, FIRST + 120)
    assert found[list(audience.VECTORS)].isna().all(axis=None)
    scored = scoring_rows(block, book, FIRST + 105)
    read, unread = fit(found), fit(found, settings=Settings(features=audience_model.WITHOUT_VECTORS))
    assert read is not None
    assert unread is not None
    np.testing.assert_allclose(predict(read, scored), predict(unread, scored), rtol=1e-4)


def test_settings_choose_features(rows: pd.DataFrame) -> None:
    found = fit(rows, settings=Settings(features=audience.USER))
    assert found is not None
    assert found.names == audience.USER


# ---- a new model beside the one in use


@pytest.fixture(scope="module")
def dated(whole: tuple[Block, Book], rows: pd.DataFrame) -> pd.DataFrame:
    """Training rows with the first and last day of their campaign."""
    book = whole[1]
    place = pd.Index(book.ids).get_indexer(pd.Index(rows["campaign_id"]))
    return rows.assign(starts=book.starts[place].astype("int64"), ends=book.ends[place].astype("int64"))


def test_the_newest_campaigns_judge_a_model_that_has_not_learned_of_them(dated: pd.DataFrame) -> None:
    fitted = fit_judged(dated)
    assert fitted is not None
    begun = dated.groupby("campaign_id")["starts"].first().sort_values()
    assert fitted.before == begun.iloc[-(CAMPAIGNS // 3)]
    later = dated["ends"] >= fitted.before
    assert set(dated.loc[later & (dated["starts"] < fitted.before), "campaign_id"]), "some began before and ran on"
    assert fit_judged(dated.assign(converted=dated["converted"] ^ later)) == fitted
    assert judged_from_json(fitted.to_json()) == fitted
    with pytest.raises(ValueError, match="train it again"):
        judged_from_json(fitted.model.to_json())
    assert fit_judged(dated[dated["campaign_id"].isin(begun.index[:2])]) is None


def test_a_model_with_a_higher_loss_beyond_chance_is_not_promoted(dated: pd.DataFrame) -> None:
    fitted = fit_judged(dated)
    assert fitted is not None
    weights = tuple(-3 * weight for weight in fitted.model.weights)
    wrong = replace(fitted, model=replace(fitted.model, weights=weights))
    promoted, figures = judge(wrong, fitted, dated)
    assert not promoted
    assert figures["gain_log_loss_low"] <= figures["gain_log_loss"] <= figures["gain_log_loss_high"] < 0
    assert judge(fitted, wrong, dated)[0]
    assert judge(fitted, fitted, dated) == (True, figures | dict.fromkeys(figures, 0.0) | judge(fitted, None, dated)[1])
    later = replace(wrong, before=int(dated["starts"].max()) + 1)
    assert judge(fitted, later, dated) == (True, {}), "no campaign that neither has learned of"


def test_the_pair_of_models_is_read_as_it_was_written(rows: pd.DataFrame) -> None:
    pair = fit_pair(rows)
    assert pair.click is None
    assert pair_from_json(pair.to_json()) == pair
    for text in (pair.conversion.to_json(), pair.to_json().replace("response", "answers")):
        with pytest.raises(ValueError, match="train"):
            pair_from_json(text)
