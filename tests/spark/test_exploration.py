"""Places drawn at random: exact propensities, the same draw again, and nothing drawn that a rule forbids."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import pytest
from pyspark.sql import DataFrame
from scipy import stats

from jobs.rank_recommendations import rank_recommendations
from jobs.runner import drift
from schemas import features, gold, silver
from schemas.errors import ConfError
from schemas.run import Model
from tests.conftest import Rows, broken, run_of

RUN_DATE = dt.date(2024, 1, 31)
MODEL = Model(version="m1", folder="/nowhere/m1")
USERS, ITEMS = 60, 9


@pytest.fixture
def shop(rows: Rows) -> tuple[DataFrame, ...]:
    """USERS with the same ITEMS, i0 the likeliest, and a user `few` with four; all but i0 and i1 of one category."""
    candidates = [
        {
            "user_id": user,
            "item_id": f"i{number}",
            "score": 0.9 - number / 20,
            "sources": ["knn"],
            "times_bought": 0,
            "recent_buyers": 3,
        }
        for user, count in [*((f"u{place:02}", ITEMS) for place in range(USERS)), ("few", 4)]
        for number in range(count)
    ]
    items = [
        {"item_id": f"i{number}", "title": f"T{number}", "category": "x" if number > 1 else "y"}
        for number in range(ITEMS)
    ]
    return (
        rows(features.CANDIDATES, *candidates),
        rows(silver.ITEMS, *items),
        rows(features.ITEM_VECTORS),
        rows(silver.EVENTS),
        rows(silver.STOCK),
        rows(silver.BLOCKED),
    )


def listed(shop: tuple[DataFrame, ...], **settings: Any) -> DataFrame:
    return rank_recommendations(*shop, MODEL, run=run_of(RUN_DATE), top_k=4, **settings)


def test_last_places_are_drawn_evenly_with_their_propensity(shop: tuple[DataFrame, ...]) -> None:
    """Over ten seeds each of a pool's items is at each place equally often: chi-square. Propensities add to 1."""
    plain = {(row.user_id, row.rank): row.item_id for row in listed(shop).collect()}
    drawn: dict[int, Counter[str]] = {3: Counter(), 4: Counter()}
    for seed in range(10):
        found = listed(shop, explore_places=2, explore_pool=6, explore_seed=seed).persist()
        assert broken(gold.RECOMMENDATIONS, found) == []
        for row in found.collect():
            pool = 2 if row.user_id == "few" else 6
            assert row.is_explored == (row.rank > 2)
            assert row.propensity * (pool if row.is_explored else 1) == pytest.approx(1.0, abs=1e-12)
            assert row.pool_place == (int(row.item_id[1:]) - 1 if row.is_explored else None), "i2 is the pool's first"
            if row.rank <= 2:
                assert row.item_id == plain[row.user_id, row.rank]
            elif row.user_id != "few":
                drawn[row.rank][row.item_id] += 1
    for counts in drawn.values():
        assert set(counts) == {f"i{number}" for number in range(2, 8)}
        assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_the_same_seed_and_date_draw_the_same_and_others_do_not(shop: tuple[DataFrame, ...]) -> None:
    def drawn(seed: int) -> set[tuple[str, int, str]]:
        found = listed(shop, explore_places=1, explore_pool=6, explore_seed=seed)
        return {(row.user_id, row.rank, row.item_id) for row in found.collect()}

    first = drawn(1)
    assert first == drawn(1)
    assert len(first - drawn(2)) > USERS / 2


def test_a_capped_category_stays_capped_and_a_short_pool_is_not_drawn_from(shop: tuple[DataFrame, ...]) -> None:
    """The places above have i0 and i1, of y: with a cap of two, two of x may follow. With one they have i0, i2."""
    capped = listed(shop, explore_places=2, explore_pool=6, cap_per_category=2).collect()
    assert all(count <= 2 for count in Counter((row.user_id, row.item_id > "i1") for row in capped).values())
    assert sum(row.is_explored for row in capped) == 2 * (USERS + 1)
    single = listed(shop, explore_places=2, explore_pool=6, cap_per_category=1).collect()
    assert not any(row.is_explored for row in single), "two of x could be drawn, and one is left"
    assert {row.propensity for row in single} == {1.0}


def test_without_exploration_nothing_is_claimed_and_drift_ignores_what_is_drawn(shop: tuple[DataFrame, ...]) -> None:
    assert {(row.is_explored, row.propensity, row.pool_place) for row in listed(shop).collect()} == {(None,) * 3}
    nights = [listed(shop, explore_places=1, explore_pool=6, explore_seed=seed) for seed in (1, 2)]
    assert drift.measure(gold.RECOMMENDATIONS, *nights)["changed"] == 0


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"explore_places": 4}, "explore_places must be below top_k"),
        ({"explore_places": -1}, "explore_places must be at least 0"),
        ({"explore_places": 3, "explore_pool": 2}, "explore_pool must be at least 3"),
    ],
)
def test_settings_that_no_list_can_follow_are_refused(
    shop: tuple[DataFrame, ...], settings: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfError, match=key):
        listed(shop, **settings)
