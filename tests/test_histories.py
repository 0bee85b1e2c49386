"""The text of what a user bought: its order, its length, whom it leaves out."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

from jobs.build_histories import build_histories, history_texts
from jobs.purchases import purchases
from jobs.runtime import check_schema
from schemas import features, silver
from tests.conftest import Rows

RUN_DATE = dt.date(2024, 1, 31)


def sale(user_id: str | None, item_id: str, days_ago: int = 0, **more: Any) -> dict[str, Any]:
    """A purchase event."""
    day = RUN_DATE - dt.timedelta(days=days_ago)
    return {"event_type": "purchase", "user_id": user_id, "item_id": item_id, "event_date": day, **more}


def titled(*item_ids: str) -> list[dict[str, Any]]:
    """Items, each with a title of its own in capitals."""
    return [{"item_id": item_id, "title": f"Title {item_id.upper()}"} for item_id in item_ids]


def test_most_recent_first_then_the_item_bought_more_often_then_by_id(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        sale("u1", "a", days_ago=2),  # oldest
        sale("u1", "c", days_ago=1),
        sale("u1", "b", days_ago=1),  # as recent and as often as c: by item_id
        sale("u1", "d", days_ago=1),
        sale("u1", "d", days_ago=9),  # d twice, once long ago: before b and c
        sale("u1", "e"),
    )
    items = rows(silver.ITEMS, *titled("a", "b", "c", "d", "e"))
    (history,) = build_histories(events, items, run_date=RUN_DATE).collect()
    assert history.history == "title e; title d; title b; title c; title a"
    assert (history.item_count, history.purchase_count, history.last_purchase_date) == (5, 6, RUN_DATE)
    (short,) = build_histories(events, items, run_date=RUN_DATE, max_items=2).collect()
    assert (short.history, short.item_count, short.purchase_count) == ("title e; title d", 2, 6)


def test_an_item_without_a_title_is_named_by_its_id(rows: Rows) -> None:
    events = rows(silver.EVENTS, sale("u1", "Gone"), sale("u1", "Mute"), sale("u1", "a"))
    items = rows(silver.ITEMS, *titled("a"), {"item_id": "Mute", "title": None})  # Gone is in no catalogue
    (history,) = build_histories(events, items, run_date=RUN_DATE).collect()
    assert history.history == "gone; mute; title a"


def test_who_bought_nothing_has_no_history(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        sale("u1", "a"),
        sale("u1", "b") | {"event_type": "return"},  # a return is no purchase, nor does it take one back
        sale("u1", "a") | {"event_type": "return"},
        sale("u2", "a") | {"event_type": "return"},  # returned what the log does not know as bought
        sale("u3", "a") | {"event_type": "click"},
        sale(None, "a", basket_id="b1"),  # a guest
    )
    (history,) = build_histories(events, rows(silver.ITEMS, *titled("a", "b")), run_date=RUN_DATE).collect()
    assert (history.user_id, history.history, history.purchase_count) == ("u1", "title a", 1)


def test_equals_the_oracle(rows: Rows) -> None:
    draw = random.Random(11)
    names = [f"i{number}" for number in range(9)]
    drawn = [sale(f"u{draw.randrange(5)}", draw.choice(names), draw.randrange(6)) for _ in range(100)]
    expected = {}
    for user in {event["user_id"] for event in drawn}:
        mine = [event for event in drawn if event["user_id"] == user]
        days = {item: [event["event_date"] for event in mine if event["item_id"] == item] for item in names}
        order = sorted((-max(on).toordinal(), -len(on), item) for item, on in days.items() if on)[:4]
        expected[user] = ("; ".join(f"title {item}" for _, _, item in order), len(order), len(mine))
    events, items = rows(silver.EVENTS, *drawn), rows(silver.ITEMS, *titled(*names))
    built = build_histories(events, items, run_date=RUN_DATE, max_items=4)
    check_schema(features.USER_HISTORIES, built, "in a test")
    found = {row.user_id: (row.history, row.item_count, row.purchase_count) for row in built.collect()}
    assert found == expected


def test_a_history_can_be_kept_per_user_and_day(rows: Rows) -> None:
    events = rows(silver.EVENTS, sale("u1", "a"), sale("u1", "b", days_ago=1), sale("u1", "a", days_ago=1))
    texts = history_texts(purchases(events), rows(silver.ITEMS, *titled("a", "b")), ["user_id", "event_date"], 16)
    assert sorted((row.event_date.day, row.history) for row in texts.collect()) == [
        (30, "title a; title b"),
        (31, "title a"),
    ]
