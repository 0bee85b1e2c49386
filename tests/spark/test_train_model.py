"""Which ranker is promoted, and what the encoder is trained on."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from jobs.offline.promotion import compare, last_promoted
from jobs.offline.training_data import PastNight, Shop
from jobs.train_model import train_model
from schemas import ops, silver
from schemas.errors import ConfError
from schemas.gate import Gate
from tests.conftest import Rows, run_of
from udfs.catalogue import catalogue_of
from udfs.days import date_of
from udfs.interactions import Interactions, from_frame
from udfs.recommend import candidates, fit_ranker, ranker, scoring
from udfs.recommend.feature_meanings import FEATURES

DAY = 20_000
USERS, ITEMS = 60, 12
NAMES = tuple(FEATURES)
PLACE = NAMES.index("popular_score")
MISLEADING = [name for name in NAMES if name.startswith("item_")][:10]


def interactions() -> Interactions:
    """Every user bought item 0 before the day, and after it item 0 and one new item of their own choice."""
    rows: list[dict[str, Any]] = []
    for user in range(USERS):
        for item, day in ((0, DAY - 5), (0, DAY + 1), (1 + user % (ITEMS - 1), DAY + 2)):
            rows.append({"user_id": f"u{user:02}", "item_id": f"i{item:02}", "day": day})
    table = pd.DataFrame(rows)
    table["event_date"] = np.datetime64("1970-01-01") + table["day"].to_numpy("timedelta64[D]")
    return from_frame(table.assign(basket_id="b", quantity=1), np.array([f"i{item:02}" for item in range(ITEMS)]))


def shop() -> Shop:
    items = pd.DataFrame({"item_id": [f"i{item:02}" for item in range(ITEMS)], "described_on": "2020-01-01"})
    known = catalogue_of(items.assign(category="c", brand=None, title=items["item_id"]))
    return Shop(interactions(), known, [f"text {item // 2}" for item in range(ITEMS)])


def night() -> PastNight:
    """Every item is proposed to everybody; one feature says exactly what was bought."""
    user = np.repeat(np.arange(USERS, dtype=np.int32), ITEMS)
    item = np.tile(np.arange(ITEMS, dtype=np.int32), USERS)
    bought = (item == 0) | (item == 1 + user % (ITEMS - 1))
    table = np.zeros((len(user), len(NAMES)), np.float32)
    table[:, PLACE] = bought
    table[:, NAMES.index("is_own")] = item == 0
    nothing = np.zeros((len(user), len(candidates.GENERATORS)), np.float32)
    pairs = candidates.Candidates(user, item, item, nothing, nothing > 0, item, nothing[:, 0], nothing[:, 0])
    return PastNight(DAY, pairs, fit_ranker.Night(user, table, bought))


def of(weight: float) -> ranker.Ranker:
    """A ranker that looks at that one feature, with the same weight for own and for new items."""
    weights = np.zeros(2 * len(NAMES))
    weights[[PLACE, len(NAMES) + PLACE]] = weight
    plain = (0.0,) * len(NAMES), (1.0,) * len(NAMES)
    return ranker.Ranker(NAMES, *plain, tuple(weights.tolist()), "", "", candidates.GENERATORS)


def stumbling(steps: int) -> ranker.Ranker:
    """The ranker `of(1.0)`, misled for so many of the users of `stumbles`."""
    weights = np.array(of(1.0).weights)
    for step in range(steps):
        for kind in (0, len(NAMES)):
            weights[kind + NAMES.index(MISLEADING[step])] = 1.0
    return replace(of(1.0), weights=tuple(weights.tolist()))


def stumbles() -> PastNight:
    """`night`, where each feature of MISLEADING points at a wrong item of one user."""
    found = night()
    table = found.night.features.copy()
    for user, name in enumerate(MISLEADING):
        wrong = np.flatnonzero((found.pairs.user == user) & ~found.night.label)[0]
        table[wrong, NAMES.index(name)] = 5.0
    return replace(found, night=replace(found.night, features=table))


def test_the_first_ranker_is_promoted_and_its_figures_are_kept() -> None:
    found = compare(of(1.0), [], shop(), night())
    assert (found["promoted"], found["ndcg_A"], found["ndcg_B"]) == (1.0, 1.0, 1.0)
    assert "gain_A" not in found
    assert found["peer_gain_A"] == pytest.approx(1 - found["peer_A"])
    assert compare(of(-1.0), [], shop(), night())["promoted"] == 1.0, "runs need a first model, even below a peer"


def test_a_ranker_that_is_worse_beyond_chance_is_not_promoted() -> None:
    found = compare(of(-1.0), [of(1.0)], shop(), night())
    assert found["promoted"] == 0.0
    assert found["gain_A_high"] < 0
    assert found["gain_A_low"] <= found["gain_A"] <= found["gain_A_high"]


@pytest.mark.parametrize("current", [-1.0, 1.0], ids=["worse", "equal"])
def test_a_ranker_that_is_no_worse_is_promoted(current: float) -> None:
    assert compare(of(1.0), [of(current)], shop(), night())["promoted"] == 1.0


def test_ten_small_steps_down_do_not_pass() -> None:
    """Each step is within chance and within the margin of the one before, and would pass against it alone."""
    past, promoted = stumbles(), [stumbling(0)]
    for step in range(1, 11):
        assert compare(stumbling(step), [stumbling(step - 1)], shop(), past)["promoted"] == 1.0
        if compare(stumbling(step), promoted[: Gate().models], shop(), past)["promoted"]:
            promoted.insert(0, stumbling(step))
    first, last = (compare(each, [], shop(), past) for each in (promoted[-1], promoted[0]))
    for task in "AB":
        assert last[f"ndcg_{task}"] >= (1 - Gate().margin) * first[f"ndcg_{task}"]
    assert 1 < len(promoted) < 4
    wide = Gate(margin=0.5)
    assert compare(stumbling(2), [stumbling(0)], shop(), past, wide)["promoted"] == 1.0


def test_a_ranker_below_a_peer_is_promoted_only_where_it_is_better_than_the_last() -> None:
    below = of(-1.0)
    assert compare(below, [below], shop(), night())["peer_gain_A"] < 0
    assert compare(below, [below], shop(), night())["promoted"] == 0.0
    weights = np.array(below.weights)
    weights[len(NAMES) + PLACE] = 0.0  # new items in any order, own ones still last
    better = compare(replace(below, weights=tuple(weights.tolist())), [below], shop(), night())
    assert better["peer_gain_A"] < 0 < better["gain_A"]
    assert better["promoted"] == 1.0


def test_rivals_are_the_last_promoted_rankers_that_read_todays_features(spark: SparkSession, rows: Rows) -> None:
    def registered(*told: tuple[str, bool, str], count: int = 10) -> list[ranker.Ranker]:
        models = [
            {"model_version": version, "promoted": promoted, "ranker": text, "metrics": {}}
            for version, promoted, text in told
        ]
        return last_promoted(rows(ops.MODELS, *models), of(1.0).generators, count)

    one, two, three = (of(weight).to_json() for weight in (1.0, 2.0, 3.0))
    assert registered() == []
    assert registered(("m1", False, one)) == []
    assert registered(("m1", True, one), ("m3", True, three), ("m2", True, two)) == [of(3.0), of(2.0), of(1.0)]
    assert registered(("m1", True, one), ("m3", True, three), ("m2", True, two), count=2) == [of(3.0), of(2.0)]
    assert registered(("m1", True, '{"kind": "logistic_regression"}')) == []
    assert registered(("m1", True, replace(of(1.0), generators=("own",)).to_json())) == []


def test_an_unknown_generator_cannot_be_left_out(spark: SparkSession, rows: Rows) -> None:
    nothing = rows(silver.EVENTS), rows(silver.ITEMS), rows(ops.MODELS)
    with pytest.raises(ConfError, match="leave_out: 'own' is none of knn"):
        train_model(
            *nothing,
            run=run_of(date_of(DAY)),
            leave_out="next, own",
        )


def test_items_of_one_text_are_one_to_the_encoder() -> None:
    texts, lines = shop().by_text(3)
    assert len(texts) == 3
    assert "text 0" in texts  # of the item that everybody bought
    assert len(lines.items) == 3
    first = lines.part(lines.item == texts.index("text 0"))
    original = interactions()
    assert len(first) == int((original.item <= 1).sum())


def test_what_followed_a_past_night_is_its_label() -> None:
    found = shop().past_night(shop().catalogue, DAY)
    key = set(zip(found.pairs.user.tolist(), found.pairs.item.tolist(), strict=True))
    bought = {pair for pair, yes in zip(sorted(key), found.night.label, strict=True) if yes}
    assert bought == {pair for pair in key if pair[1] in (0, 1 + pair[0] % (ITEMS - 1))}
    assert found.own.tolist() == [item == 0 for _, item in sorted(key)]


def test_a_past_night_of_buyers_is_their_part_of_the_whole_night() -> None:
    everybody = shop()
    lines = everybody.interactions
    some = replace(everybody, interactions=lines.part((lines.day < DAY) | (lines.user % 3 != 0)))
    whole, part = (some.past_night(some.catalogue, DAY, buyers_only=only) for only in (False, True))
    theirs = whole.pairs.user % 3 != 0
    assert 0 < theirs.sum() < len(theirs)
    np.testing.assert_array_equal(part.pairs.user, whole.pairs.user[theirs])
    np.testing.assert_array_equal(part.night.features, whole.night.features[theirs])
    np.testing.assert_array_equal(part.night.label, whole.night.label[theirs])
    past = [fit_ranker.fit_order([night.night], NAMES, (), fit_ranker.Settings(trees=3)) for night in (whole, part)]
    assert past[0] == past[1]


def test_past_nights_side_by_side_are_those_built_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    some, days = shop(), {DAY + 2: True, DAY: False, DAY + 1: True}
    told: list[int] = []
    together = some.past_nights(
        some.catalogue, days, ("own", "knn", "als", "ease", "popular"), cores=3, done=told.append
    )
    monkeypatch.setattr("jobs.offline.training_data.NIGHTS_BYTES", 1)  # not even two fit
    alone = some.past_nights(some.catalogue, days, ("own", "knn", "als", "ease", "popular"), cores=3)
    assert list(together) == list(alone) == list(days)
    assert told == [1, 2, 3]
    for day, buyers_only in days.items():
        one = some.past_night(some.catalogue, day, ("own", "knn", "als", "ease", "popular"), buyers_only=buyers_only)
        for found in (together[day], alone[day]):
            assert found.day == day
            np.testing.assert_array_equal(found.pairs.item, one.pairs.item)
            np.testing.assert_array_equal(found.night.features, one.night.features)
            np.testing.assert_array_equal(found.night.label, one.night.label)


@pytest.mark.parametrize(("room", "expected"), [(1, 1), (2, 2), (99, 3)])
def test_as_many_past_nights_at_once_as_memory_holds(room: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = [0], [0], threading.Lock()
    barrier = threading.Barrier(expected)  # nobody ends before as many run as may

    def night_of(_shop: Shop, _known: Any, day: int, *_given: Any, **_more: Any) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        barrier.wait(timeout=30)
        with lock:
            running[0] -= 1
        return day

    monkeypatch.setattr(Shop, "past_night", night_of)
    monkeypatch.setattr("jobs.offline.training_data.NIGHTS_BYTES", room * USERS * 340 * 1_500)
    days = dict.fromkeys(range(6), True)
    assert shop().past_nights(shop().catalogue, days, cores=3) == {day: day for day in days}
    assert most[0] == expected


@pytest.mark.parametrize("left_out", [("next",), ("basket", "ease"), ("next", "basket", "ease", "als")])
def test_a_past_night_fits_no_neighbours_that_only_left_out_generators_read(
    left_out: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = shop()
    used = tuple(name for name in candidates.GENERATORS if name not in left_out)
    fitted: list[scoring.State] = []
    right = scoring.fit_state

    def watched(*given: Any) -> scoring.State:
        fitted.append(right(*given))
        return fitted[-1]

    monkeypatch.setattr(scoring, "fit_state", watched)
    found = some.past_night(some.catalogue, DAY, used)
    full = right(some.interactions, some.catalogue, DAY)
    pairs, features = scoring.propose(some.interactions.before(DAY), full, DAY, used)
    np.testing.assert_array_equal(found.pairs.item, pairs.item)
    np.testing.assert_array_equal(found.night.features, features)
    for name in ("next", "basket", "ease"):
        kept = getattr(fitted[0].models, f"{name}_neighbours").shape[1]
        assert kept == (0 if name in left_out else getattr(full.models, f"{name}_neighbours").shape[1])
