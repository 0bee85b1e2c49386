"""Purchases, windows and buyers: what every generator and the ranker count."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.purchases import buyer, purchases, within
from schemas import silver
from tests.conftest import Rows, run_of

RUN_DATE = dt.date(2024, 1, 31)


def sale(user_id: str | None, item_id: str, days_ago: int = 0, **more: Any) -> dict[str, Any]:
    """A purchase event."""
    day = RUN_DATE - dt.timedelta(days=days_ago)
    return {"event_type": "purchase", "user_id": user_id, "item_id": item_id, "event_date": day, **more}


def pairs(frame: DataFrame) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in frame.collect())


def bought_of(events: DataFrame) -> DataFrame:
    return purchases(events, run_of(RUN_DATE).deployment)


def buyers(bought: DataFrame, days: int) -> DataFrame:
    return within(bought, RUN_DATE, days).groupBy("item_id").agg(F.count_distinct(buyer()))


def test_only_purchases_count(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        sale("u1", "a", location_id="s1"),
        sale(None, "d", days_ago=1),  # a guest
        sale("u1", "e") | {"event_type": "click"},
        sale("u1", "f") | {"event_type": "return"},
    )
    bought = bought_of(events)
    parts = ("user_id", "item_id", "event_date", "location_id")
    yesterday = RUN_DATE - dt.timedelta(days=1)
    assert {tuple(row) for row in bought.select(*parts).collect()} == {
        ("u1", "a", RUN_DATE, "s1"),
        (None, "d", yesterday, None),
    }


def test_a_basket_is_of_one_location_day_and_user(rows: Rows) -> None:
    """Tills number receipts anew, by store and by day: lines that share the number alone were not bought together."""
    together = [
        [sale("u1", "a", basket_id="7", location_id="s1"), sale("u1", "b", basket_id="7", location_id="s1")],
        [sale("u1", "c", basket_id="7", location_id="s2")],  # another store
        [sale("u1", "d", basket_id="7", location_id="s1", days_ago=1)],  # another day
        [sale("u2", "e", basket_id="7", location_id="s1")],  # another user
        [sale(None, "f", basket_id="7", location_id="s1"), sale(None, "g", basket_id="7", location_id="s1")],  # a guest
        [sale("u1", "h", basket_id="7")],  # nobody says where
        [sale("u3", "i"), sale("u3", "j")],  # no receipt: the user's day
        [sale("u3", "k", days_ago=1)],
        [sale("s1", "l", basket_id="7")],  # a user named like a store
    ]
    bought = bought_of(rows(silver.EVENTS, *(line for lines in together for line in lines))).collect()
    found: dict[str, set[str]] = {}
    for row in bought:
        found.setdefault(row.basket_id, set()).add(row.item_id)
    assert sorted(map(sorted, found.values())) == [[line["item_id"] for line in lines] for lines in together]


def test_a_window_holds_run_date_and_not_the_day_it_starts_after(rows: Rows) -> None:
    bought = bought_of(
        rows(
            silver.EVENTS,
            sale("u1", "today"),
            sale("u1", "six"),
            sale("u2", "six", days_ago=6),  # the first of seven days
            sale("u1", "seven", days_ago=7),  # the eighth day back is outside
        )
    )
    assert pairs(within(bought, RUN_DATE, 7).select("item_id")) == [("six",), ("six",), ("today",)]
    assert pairs(within(bought, RUN_DATE, 8).select("item_id"))[0] == ("seven",)


def test_a_buyer_counts_once_and_a_guest_by_basket(rows: Rows) -> None:
    bought = bought_of(
        rows(
            silver.EVENTS,
            sale("u1", "a", basket_id="b1"),
            sale("u1", "a", days_ago=3, basket_id="b2"),  # the same user again
            sale("u2", "a", basket_id="b1"),  # another user, whatever the basket
            sale(None, "a", basket_id="b3"),  # a guest
            sale(None, "a", basket_id="b3"),  # the same guest: one basket
            sale(None, "a", basket_id="b4"),  # another guest
            sale("u3", "a", days_ago=28),  # before the window
            sale("u1", "b", days_ago=27),  # its first day
        )
    )
    assert pairs(buyers(bought, 28)) == [("a", 4), ("b", 1)]


def test_guests_without_a_basket_share_none(rows: Rows) -> None:
    bought = bought_of(rows(silver.EVENTS, sale(None, "a"), sale(None, "b"), sale(None, "a")))
    assert len({row.basket_id for row in bought.collect()}) == 3
    assert pairs(buyers(bought, 28)) == [("a", 2), ("b", 1)]


def test_a_guests_basket_named_like_a_user_is_another_buyer(rows: Rows) -> None:
    bought = bought_of(rows(silver.EVENTS, sale("17", "a", basket_id="1"), sale(None, "a", basket_id="17")))
    assert pairs(buyers(bought, 28)) == [("a", 2)]
