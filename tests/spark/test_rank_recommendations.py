"""Everyone's list: its order, its length, the shop's rules, what fills it, and what it says of itself."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame

from jobs.rank_recommendations import rank_recommendations
from schemas import features, gold, silver
from schemas.errors import ConfError
from schemas.run import Model
from tests.conftest import Rows, broken, run_of
from udfs.encoder.stored_vectors import to_bytes

RUN_DATE = dt.date(2024, 1, 31)
MODEL = Model(version="m1", folder="/nowhere/m1")


def proposal(user_id: str, item_id: str, score: float = 0.5, *sources: str, **more: Any) -> dict[str, Any]:
    """A candidate that the user never bought, unless `more` says so."""
    told = {"reason_item_id": None, "times_bought": 0, "last_bought_on": None, "usual_gap": None, "recent_buyers": 3}
    named = {"user_id": user_id, "item_id": item_id, "score": score, "sources": list(sources or ("knn",))}
    return named | told | more


def titled(*item_ids: str, **more: Any) -> list[dict[str, Any]]:
    return [{"item_id": item_id, "title": f"Title {item_id}", **more} for item_id in item_ids]


def vectors(rows: Rows, **cells: list[float]) -> DataFrame:
    coded = {item: to_bytes(np.array([cell], np.float32))[0] for item, cell in cells.items()}
    return rows(features.ITEM_VECTORS, *({"item_id": item, "vector": cell} for item, cell in coded.items()))


def none_else(rows: Rows) -> tuple[DataFrame, DataFrame]:
    """Events and stock of a shop of which lists are of candidates alone."""
    return rows(silver.EVENTS), rows(silver.STOCK), rows(silver.BLOCKED)


def lists(found: DataFrame) -> dict[str, list[str]]:
    listed: dict[str, list[str]] = {}
    for row in sorted(found.collect(), key=lambda row: (row.user_id, row.rank)):
        listed.setdefault(row.user_id, []).append(row.item_id)
    return listed


def test_equals_the_oracle_and_keeps_the_contract(rows: Rows) -> None:
    draw = random.Random(8)
    names = [f"i{number:02}" for number in range(14)]
    proposed = [
        proposal(f"u{user}", item, draw.choice([0.1, 0.4, 0.7]), recent_buyers=int(item[1:]))  # few scores: ties
        for user, count in enumerate([9, 6, 4, 3, 1])
        for item in draw.sample(names, count)
    ]
    sellers = sorted({row["item_id"] for row in proposed}, reverse=True) + sorted(
        set(names) - {row["item_id"] for row in proposed}
    )
    expected = {}
    for user in {row["user_id"] for row in proposed}:
        mine = sorted((-row["score"], row["item_id"]) for row in proposed if row["user_id"] == user)
        filled = sorted(item for item in sellers[:8] if item not in {item for _, item in mine})
        expected[user] = ([item for _, item in mine] + filled)[:4]
    found = rank_recommendations(
        rows(features.CANDIDATES, *proposed),
        rows(silver.ITEMS, *titled(*names)),
        vectors(rows),
        *none_else(rows),
        MODEL,
        run=run_of(RUN_DATE),
        top_k=4,
    ).persist()
    assert broken(gold.RECOMMENDATIONS, found) == []
    assert lists(found) == expected
    assert {row.model_version for row in found.collect()} == {"m1"}


def test_rules_exclude_boost_and_cap_but_keep_the_probability(rows: Rows) -> None:
    items = [*titled("wine", category="drinks"), *titled("beer", "water", category="drinks"), *titled("ham", "oil")]
    candidates = [
        proposal("u1", item, score)
        for item, score in {"wine": 0.9, "beer": 0.8, "water": 0.7, "ham": 0.6, "oil": 0.5}.items()
    ]
    found = rank_recommendations(
        rows(features.CANDIDATES, *candidates),
        rows(silver.ITEMS, *items),
        vectors(rows),
        *none_else(rows),
        MODEL,
        run=run_of(RUN_DATE),
        top_k=3,
        exclude="item_id = 'wine'",
        boost="CASE WHEN item_id = 'oil' THEN 2.0 ELSE 1.0 END",
        cap_per_category=1,
    )
    assert lists(found) == {"u1": ["oil", "beer", "ham"]}
    assert {row.item_id: row.score for row in found.collect()} == {"oil": 0.5, "beer": 0.8, "ham": 0.6}


def test_an_item_of_which_boost_says_nothing_keeps_its_weight(rows: Rows) -> None:
    candidates = [proposal("u1", item, score) for item, score in {"wine": 0.9, "ham": 0.6, "oil": 0.5}.items()]
    found = rank_recommendations(
        rows(features.CANDIDATES, *candidates),
        rows(silver.ITEMS, *titled("wine", "ham", "oil")),
        vectors(rows),
        *none_else(rows),
        MODEL,
        run=run_of(RUN_DATE),
        top_k=3,
        boost="CASE WHEN item_id = 'oil' THEN 1.5 END",  # no ELSE
    )
    assert lists(found) == {"u1": ["wine", "oil", "ham"]}


def test_diversity_prefers_what_is_unlike_the_rest_of_the_list(rows: Rows) -> None:
    candidates = [proposal("u1", item, score) for item, score in {"a": 0.9, "twin": 0.8, "other": 0.7}.items()]
    near = vectors(rows, a=[1.0, 0.0], twin=[1.0, 0.0], other=[0.0, 1.0])

    def ranked(diversity: float) -> dict[str, list[str]]:
        items = rows(silver.ITEMS, *titled("a", "twin", "other"))
        made = rank_recommendations(
            rows(features.CANDIDATES, *candidates),
            items,
            near,
            *none_else(rows),
            MODEL,
            run=run_of(RUN_DATE),
            top_k=2,
            diversity=diversity,
        )
        return lists(made)

    assert ranked(0.0) == {"u1": ["a", "twin"]}
    assert ranked(0.3) == {"u1": ["a", "other"]}


def placed_by_hand(scores: dict[str, dict[str, float]], k: int, share: float) -> dict[str, list[str]]:
    """The lists, a last place given to an item of no list, as jobs/transforms/recommendation_lists.py says it."""
    listed = {user: sorted(mine, key=lambda item: (-mine[item], item))[:k] for user, mine in scores.items()}
    keeper = {}
    for user in sorted(listed):
        for rank, item in enumerate(listed[user]):
            keeper[item] = min(keeper.get(item, (rank, user)), (rank, user))
    free = {user for user, mine in listed.items() if len(mine) == k and keeper[mine[-1]] != (k - 1, user)}
    asks: dict[str, list[tuple[float, str]]] = {}
    for item in {item for mine in scores.values() for item in mine} - set(keeper):
        worth = [(-scores[user][item] / scores[user][listed[user][-1]], user) for user in free if item in scores[user]]
        asks[item] = sorted(pair for pair in worth if -pair[0] >= 1 - share)[:5]
    taken: dict[str, list[tuple[float, str]]] = {}
    for user in free:
        offers = sorted((worth, item) for item, made in asks.items() for worth, asked in made if asked == user)
        if offers:
            taken.setdefault(offers[0][1], []).append((offers[0][0], user))
    for item, won in taken.items():
        listed[min(won)[1]][-1] = item
    return listed


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_the_long_tail_gets_last_places_and_nothing_shown_goes_unshown(rows: Rows, share: float) -> None:
    draw = random.Random(5)
    names = [f"i{number:02}" for number in range(40)]
    steps = [number / 64 for number in range(1, 60)]  # binary fractions, some of them twice: quotients tie
    scores = {f"u{user:02}": {item: draw.choice(steps) for item in draw.sample(names, 12)} for user in range(12)}
    made = rank_recommendations(
        rows(features.CANDIDATES, *(proposal(u, item, p) for u, mine in scores.items() for item, p in mine.items())),
        rows(silver.ITEMS, *titled(*names)),
        vectors(rows),
        *none_else(rows),
        MODEL,
        run=run_of(RUN_DATE),
        top_k=3,
        long_tail=share,
    ).persist()
    plain = {user: sorted(mine, key=lambda item: (-mine[item], item))[:3] for user, mine in scores.items()}
    found = lists(made)
    assert broken(gold.RECOMMENDATIONS, made) == []
    assert found == placed_by_hand(scores, 3, share)
    shown, before = ({item for mine in told.values() for item in mine} for told in (found, plain))
    assert shown > before
    assert all(mine[:-1] == plain[user][:-1] for user, mine in found.items())


def test_the_long_tail_keeps_the_cap(rows: Rows) -> None:
    candidates = [
        proposal(user, item, score)
        for user, mine in {
            "u1": {"beer": 0.9, "ham": 0.8, "wine": 0.7, "oil": 0.1},
            "u2": {"ham": 0.9, "beer": 0.8},
        }.items()
        for item, score in mine.items()
    ]
    items = [*titled("beer", "wine", category="drinks"), *titled("ham", "oil")]

    def made(cap: int) -> dict[str, list[str]]:
        given = rows(features.CANDIDATES, *candidates), rows(silver.ITEMS, *items), vectors(rows)
        return lists(
            rank_recommendations(
                *given, *none_else(rows), MODEL, run=run_of(RUN_DATE), top_k=2, long_tail=0.9, cap_per_category=cap
            )
        )

    assert made(0) == {"u1": ["beer", "wine"], "u2": ["ham", "beer"]}
    assert made(1) == {"u1": ["beer", "oil"], "u2": ["ham", "beer"]}


def test_places_are_kept_for_what_nobody_has_bought_and_the_long_tail_leaves_them_alone(rows: Rows) -> None:
    scores = {"u1": {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6, "tail": 0.5}, "u2": {"b": 0.9, "c": 0.8, "a": 0.7}}
    coming = {"new1": 0.001, "new2": 0.002, "new3": 0.0}
    candidates = [proposal(user, item, p) for user, mine in scores.items() for item, p in mine.items()]
    candidates += [proposal("u1", item, p, "bert", "fresh", recent_buyers=0) for item, p in coming.items()]
    candidates += [proposal("u1", "lately", 0.4, "fresh", recent_buyers=2)]  # it sells: no place is kept for it
    items = rows(silver.ITEMS, *titled(*scores["u1"], *coming, "lately"))

    def ranked(top_k: int, **knobs: Any) -> dict[str, list[str]]:
        given = rows(features.CANDIDATES, *candidates), items, vectors(rows)
        made = rank_recommendations(
            *given, *none_else(rows), MODEL, run=run_of(RUN_DATE), top_k=top_k, **knobs
        ).persist()
        assert broken(gold.RECOMMENDATIONS, made) == []
        return lists(made)

    assert ranked(3) == {"u1": ["a", "b", "c"], "u2": ["b", "c", "a"]}
    assert ranked(3, arrivals_every=3) == {"u1": ["a", "b", "new2"], "u2": ["b", "c", "a"]}
    assert ranked(5, arrivals_every=2)["u1"] == ["a", "new2", "b", "new1", "c"]
    kept = {"arrivals_every": 3, "long_tail": 0.9}
    assert ranked(3, **kept) == {"u1": ["a", "d", "new2"], "u2": ["b", "c", "a"]}, "the last place is not for the tail"


@pytest.mark.parametrize("every", [1, -2])
def test_not_every_place_can_be_kept(rows: Rows, every: int) -> None:
    none = rows(features.CANDIDATES), rows(silver.ITEMS), vectors(rows)
    with pytest.raises(ConfError, match=f"arrivals_every must be 0 or at least 2; it is {every}"):
        rank_recommendations(*none, *none_else(rows), MODEL, run=run_of(RUN_DATE), arrivals_every=every)


@pytest.mark.parametrize("knobs", [{}, {"cap_per_category": 9}], ids=["sql", "by blocks"])
def test_an_item_that_left_the_catalogue_is_not_recommended_and_short_lists_are_filled(rows: Rows, knobs: Any) -> None:
    candidates = [proposal("u1", "gone", 0.9), proposal("u1", "a", 0.5), proposal("u2", "gone", 0.9)]
    items = rows(silver.ITEMS, *titled("a", "b"), {"item_id": "out of stock", "active": False})
    candidates.append(proposal("u2", "out of stock", 0.8))
    found = rank_recommendations(
        rows(features.CANDIDATES, *candidates),
        items,
        vectors(rows),
        *none_else(rows),
        MODEL,
        run=run_of(RUN_DATE),
        top_k=5,
        **knobs,
    )
    assert {user: sorted(listed) for user, listed in lists(found).items()} == {"u1": ["a", "b"], "u2": ["a", "b"]}
    filled = {(row.user_id, row.item_id) for row in found.collect() if row.sources == ["fallback"]}
    assert filled == {("u1", "b"), ("u2", "a"), ("u2", "b")}
    assert Counter(row.score for row in found.collect()) == {0.0: 3, 0.5: 1}


def test_reasons_say_the_users_own_habit_first(rows: Rows) -> None:
    def bought(item: str, times: int, days_ago: int, gap: float | None) -> dict[str, Any]:
        last = RUN_DATE - dt.timedelta(days=days_ago)
        return proposal("u1", item, 0.5, "own", times_bought=times, last_bought_on=last, usual_gap=gap)

    told = {
        "once": (bought("once", 1, 5, None), "Bought once, last on 2024-01-26"),
        "due": (bought("due", 4, 28, 30.0), "Bought 4 times, every 30 days or so: due"),
        "fresh": (bought("fresh", 4, 2, 30.0), "Bought 4 times, last on 2024-01-29"),
        "with": (proposal("u1", "with", 0.5, "bert", "knn", reason_item_id="once"), "Often bought with Title once"),
        "mute": (proposal("u1", "mute", 0.5, "basket", reason_item_id="untitled"), "Often bought with untitled"),
        "near": (proposal("u1", "near", 0.5, "bert", "popular"), "Close to what you buy, by its description"),
        "new": (proposal("u1", "new", 0.5, "fresh", "bert"), "New, and close to what you buy by its description"),
        "like": (proposal("u1", "like", 0.5, "als"), "Bought by people who buy what you buy"),
        "ease": (proposal("u1", "ease", 0.5, "ease"), "Bought by people who buy what you buy"),
        "hot": (proposal("u1", "hot", 0.5, "popular"), "Popular: 3 buyers in the last 28 days"),
    }
    found = rank_recommendations(
        rows(features.CANDIDATES, *(candidate for candidate, _ in told.values())),
        rows(silver.ITEMS, *titled(*told)),
        vectors(rows),
        *none_else(rows),
        MODEL,
        run=run_of(RUN_DATE),
        top_k=len(told),
    ).collect()
    assert {row.item_id: row.reason for row in found} == {item: reason for item, (_, reason) in told.items()}
    assert {row.item_id for row in found if row.is_repeat} == {"once", "due", "fresh"}
    reasons = {row.item_id: row.reason_item_id for row in found}
    assert (reasons["once"], reasons["with"], reasons["near"]) == ("once", "once", None)
