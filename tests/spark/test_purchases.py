"""Purchases, windows and buyers: what every generator and the ranker count."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.purchases import active_items, buyer, purchases, within
from schemas import silver
from tests.conftest import Rows

RUN_DATE = dt.date(2024, 1, 31)


def sale(user_id: str | None, item_id: str, days_ago: int = 0, **more: Any) -> dict[str, Any]:
    """A purchase event."""
    day = RUN_DATE - dt.timedelta(days=days_ago)
    return {"event_type": "purchase", "user_id": user_id, "item_id": item_id, "event_date": day, **more}


def pairs(frame: DataFrame) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in frame.collect())


def buyers(bought: DataFrame, days: int) -> DataFrame:
    return within(bought, RUN_DATE, days).groupBy("item_id").agg(F.count_distinct(buyer()))


def test_only_purchases_and_without_a_basket_a_users_day_is_one(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        sale("u1", "a", basket_id="b7", location_id="s1"),  # the log names the basket
        sale("u1", "b"),  # no basket: the user's day
        sale("u1", "c"),  # the same basket
        sale("u1", "b", days_ago=1),  # another day, another basket
        sale(None, "d", basket_id="b8"),  # a guest
        sale("u1", "e") | {"event_type": "click"},
        sale("u1", "f") | {"event_type": "return"},
    )
    bought = purchases(events)
    assert bought.columns == ["run_date", "user_id", "item_id", "event_date", "basket_id", "location_id", "quantity"]
    yesterday = RUN_DATE - dt.timedelta(days=1)
    assert {(row.item_id, row.event_date): tuple(row)[1:-1] for row in bought.collect()} == {
        ("a", RUN_DATE): ("u1", "a", RUN_DATE, "b7", "s1"),
        ("b", RUN_DATE): ("u1", "b", RUN_DATE, "u1|2024-01-31", None),
        ("c", RUN_DATE): ("u1", "c", RUN_DATE, "u1|2024-01-31", None),
        ("b", yesterday): ("u1", "b", yesterday, "u1|2024-01-30", None),
        ("d", RUN_DATE): (None, "d", RUN_DATE, "b8", None),
    }


def test_a_window_holds_run_date_and_not_the_day_it_starts_after(rows: Rows) -> None:
    bought = purchases(
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
    assert pairs(active_items(bought, RUN_DATE, 7)) == [("six",), ("today",)]  # each once


def test_a_buyer_counts_once_and_a_guest_by_basket(rows: Rows) -> None:
    bought = purchases(
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
    bought = purchases(rows(silver.EVENTS, sale(None, "a"), sale(None, "b"), sale(None, "a")))
    assert len({row.basket_id for row in bought.collect()}) == 3
    assert pairs(buyers(bought, 28)) == [("a", 2), ("b", 1)]


def test_a_guests_basket_named_like_a_user_is_another_buyer(rows: Rows) -> None:
    bought = purchases(rows(silver.EVENTS, sale("17", "a", basket_id="1"), sale(None, "a", basket_id="17")))
    assert pairs(buyers(bought, 28)) == [("a", 2)]
