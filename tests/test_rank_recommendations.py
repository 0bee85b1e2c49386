"""Everyone's list: its order, its length, what fills it, and what it says of itself."""

from __future__ import annotations

import datetime as dt
import math
import random
from typing import Any

from jobs import ranker
from jobs.rank_recommendations import rank_recommendations
from jobs.runtime import Model
from schemas import features, gold, silver
from tests.conftest import Rows
from tests.test_candidates import broken

RUN_DATE = dt.date(2024, 1, 31)


def model(intercept: float = -1.0, **weights: float) -> Model:
    """A model whose ranker looks at the named features only."""
    known = {"weights": dict.fromkeys(ranker.FEATURES, 0.0) | weights, "intercept": intercept}
    return Model(version="m1", folder="/nowhere/m1", ranker=known, cut_date=dt.date(2024, 1, 3))


def sale(user_id: str | None, item_id: str, days_ago: int = 0, **more: Any) -> dict[str, Any]:
    """A purchase event."""
    day = RUN_DATE - dt.timedelta(days=days_ago)
    return {"event_type": "purchase", "user_id": user_id, "item_id": item_id, "event_date": day, **more}


def proposal(
    user_id: str, item_id: str, source: str, rank: int = 1, score: float = 0.5, reason: str | None = None
) -> dict[str, Any]:
    """A candidate."""
    names = ("user_id", "item_id", "source", "rank", "score", "reason_item_id")
    return dict(zip(names, (user_id, item_id, source, rank, score, reason), strict=True))


def titled(*item_ids: str) -> list[dict[str, Any]]:
    return [{"item_id": item_id, "title": f"Title {item_id}"} for item_id in item_ids]


def test_equals_the_oracle_and_keeps_the_contract(rows: Rows) -> None:
    draw = random.Random(8)
    top_k = 4
    names = [f"i{number:02}" for number in range(14)]
    users = [f"u{number}" for number in range(6)]
    drawn = [
        sale(draw.choice(users[:5]), draw.choice(names[:13]), draw.choice([0, 3, 27, 28, 60, 90])) for _ in range(50)
    ]
    drawn += [sale(user, names[13], 90) for user in users[:5]]  # sold best of all, but no longer
    drawn += [sale("u5", names[0], 3)]  # bought, but nobody proposes anything to u5
    # u0 to u2 have lists of their own; u3 and u4 have fewer than four different candidates.
    proposed = [
        proposal(user, item, source, place, draw.choice([0.1, 0.4, 0.7]))  # few scores: ties
        for user, count in zip(users, [6, 5, 4, 3, 1], strict=False)
        for source in ("bert", "trending")
        for place, item in enumerate(sorted(draw.sample(names[:12], count)), start=1)
        if source == "bert" or user in users[:3]
    ]

    age = {id(event): (RUN_DATE - event["event_date"]).days for event in drawn}
    buyers = {item: len({e["user_id"] for e in drawn if e["item_id"] == item and age[id(e)] < 28}) for item in names}
    ever = {item: len({e["user_id"] for e in drawn if e["item_id"] == item}) for item in names}
    active = {event["item_id"] for event in drawn if age[id(event)] < 84}
    sold = sorted((item for item in names if ever[item]), key=lambda item: (item not in active, -ever[item], item))
    expected = {}
    for user in users:
        bert = {c["item_id"]: c["score"] for c in proposed if c["user_id"] == user and c["source"] == "bert"}
        mine = {c["item_id"] for c in proposed if c["user_id"] == user}
        known = mine | (set(sold[: 2 * top_k]) if len(mine) < top_k else set())
        had = {event["item_id"] for event in drawn if event["user_id"] == user}
        linear = {i: -1 - 0.5 * math.log(1 + buyers[i]) + 2 * bert.get(i, 0) - (i in had) for i in known}
        ranked = sorted((-round(1 / (1 + math.exp(-linear[i])), 6), i, i in had, i in mine) for i in known)
        expected[user] = ranked[:top_k]

    draw.shuffle(drawn)
    found = rank_recommendations(
        rows(features.CANDIDATES, *proposed),
        rows(silver.EVENTS, *drawn),
        rows(silver.ITEMS, *titled(*names)),
        model(popularity=-0.5, bert=2.0, is_repeat=-1.0),
        run_date=RUN_DATE,
        top_k=top_k,
    ).persist()
    assert broken(gold.RECOMMENDATIONS, found) == []
    lists: dict[str, list[Any]] = {}
    for row in sorted(found.collect(), key=lambda row: (row.user_id, row.rank)):
        lists.setdefault(row.user_id, []).append(row)
    assert {
        user: [(-row.score, row.item_id, row.is_repeat, row.sources != ["fallback"]) for row in listed]
        for user, listed in lists.items()
    } == expected
    assert [row.rank for row in lists["u5"]] == [1, 2, 3, 4]
    assert {(*row.sources, row.reason) for row in lists["u5"]} == {
        ("fallback", "Sells well in the shop; fills up the list")
    }
    assert {row.model_version for row in found.collect()} == {"m1"}


def test_reasons_say_the_users_own_history_first(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        sale("u1", "once", 5),
        sale("u1", "twice", 9),
        sale("u1", "twice", 2),
        sale("u1", "twice", 2),  # two days, though three lines
        sale(None, "hot", basket_id="b1"),
        sale(None, "hot", basket_id="b2"),
        *(sale(None, item, 40, basket_id="b3") for item in ("with", "mute", "near")),
    )
    candidates = rows(
        features.CANDIDATES,
        proposal("u1", "once", "own_history", reason="once"),
        proposal("u1", "once", "copurchase", reason="twice"),  # weaker than the own history
        proposal("u1", "twice", "own_history", reason="twice"),
        proposal("u1", "with", "bert"),
        proposal("u1", "with", "copurchase", reason="twice"),  # stronger than BERT
        proposal("u1", "mute", "copurchase", reason="untitled"),
        proposal("u1", "near", "bert"),
        proposal("u1", "near", "trending"),  # weaker than BERT
        proposal("u1", "hot", "trending"),
    )
    items = rows(silver.ITEMS, *titled("once", "twice", "with", "mute", "near", "hot"))
    found = rank_recommendations(candidates, events, items, model(), run_date=RUN_DATE, top_k=6).collect()
    assert {row.item_id: (row.reason, row.reason_item_id, row.is_repeat, row.sources) for row in found} == {
        "once": ("Bought once, last on 2024-01-26", "once", True, ["copurchase", "own_history"]),
        "twice": ("Bought 2 times, last on 2024-01-29", "twice", True, ["own_history"]),
        "with": ("Often bought together with Title twice", "twice", False, ["bert", "copurchase"]),
        "mute": ("Often bought together with untitled", "untitled", False, ["copurchase"]),
        "near": ("Close to what you buy, by its description", None, False, ["bert", "trending"]),
        "hot": ("Popular: 2 buyers in the last 28 days", None, False, ["trending"]),
    }


def test_lists_are_equally_short_where_fewer_items_are_sold_than_wanted(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        sale("u1", "a"),
        sale("u2", "b", 200),  # long ago, and yet it can fill
        sale("u3", "c"),
        sale(None, "a", basket_id="b1"),
        sale("u4", "a") | {"event_type": "click"},  # bought nothing: no list
    )
    candidates = rows(
        features.CANDIDATES,
        proposal("u1", "a", "own_history", reason="a"),
        proposal("u1", "c", "bert"),
        proposal("u2", "a", "trending"),
        proposal("u2", "c", "trending", rank=2),
    )
    items = rows(silver.ITEMS, *titled("a", "b", "c", "never_sold"))
    found = rank_recommendations(candidates, events, items, model(), run_date=RUN_DATE, top_k=5).collect()
    lists: dict[str, set[str]] = {}
    for row in found:
        lists.setdefault(row.user_id, set()).add(row.item_id)
    assert lists == {user: {"a", "b", "c"} for user in ("u1", "u2", "u3")}
    assert len(found) == 9  # no item twice
    repeats = {(row.user_id, row.item_id) for row in found if row.is_repeat}
    assert repeats == {("u1", "a"), ("u2", "b"), ("u3", "c")}  # a filled item can be a repeat, too


def test_an_item_that_left_the_catalogue_is_not_recommended(rows: Rows) -> None:
    events = rows(silver.EVENTS, sale("u1", "gone"), sale("u1", "a"), sale("u2", "gone"))
    candidates = rows(
        features.CANDIDATES,
        proposal("u1", "gone", "own_history", reason="gone"),
        proposal("u2", "gone", "own_history", reason="gone"),  # and has nothing else
    )
    items = rows(silver.ITEMS, *titled("a"))
    found = rank_recommendations(candidates, events, items, model(), run_date=RUN_DATE, top_k=5).collect()
    assert {row.item_id for row in found} == {"a"}
