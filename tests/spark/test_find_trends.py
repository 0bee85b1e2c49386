"""gold.search_trends from events: who is counted, what is published, since when."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

from jobs.find_trends import find_trends
from schemas import reviewed, reviews, search, silver
from schemas.deployment import Deployment
from schemas.source import Source
from schemas.suspects import SUSPECTS
from tests.conftest import Rows, broken, run_of

RUN_DATE = dt.date(2024, 6, 30)
DAYS = 120
WEEK_AGO = RUN_DATE - dt.timedelta(days=7)


def event(user_id: str | None, item_id: str, days_ago: int, **more: Any) -> dict[str, Any]:
    day = RUN_DATE - dt.timedelta(days=days_ago)
    return {
        "event_type": "purchase",
        "user_id": user_id,
        "item_id": item_id,
        "event_date": day,
        "run_date": day,
        "quantity": 1,
    } | more


def shop(rising_buyers: int = 20) -> list[dict[str, Any]]:
    """Fifteen items bought evenly; in the last week `rising_buyers` users buy the item `up` on each of six days."""
    draw = random.Random(1)
    lines = []
    for days_ago in range(DAYS):
        lines += [event(f"u{draw.randrange(400)}", f"i{draw.randrange(15):02}", days_ago) for _ in range(25)]
        lines += [event(f"u{draw.randrange(400)}", "up", days_ago)] * (days_ago % 3 == 0)
    return lines + [event(f"r{user}", "up", day) for user in range(rising_buyers) for day in range(6)]


def catalogue() -> list[dict[str, Any]]:
    items = [{"item_id": f"i{number:02}", "category": f"c{number % 3}", "brand": None} for number in range(15)]
    return [*items, {"item_id": "up", "category": "c9", "brand": "b9"}]


def trends(
    rows: Rows,
    events: list[dict[str, Any]],
    before: list[dict[str, Any]] = (),
    queries: list[dict[str, Any]] = (),
    deployment: Deployment | None = None,
    said: list[dict[str, Any]] = (),
    read: list[dict[str, Any]] = (),
    **settings: Any,
) -> dict:
    frame = find_trends(
        rows(silver.EVENTS, *events),
        rows(silver.ITEMS, *catalogue()),
        rows(silver.BLOCKED),
        rows(search.QUERIES, *queries),
        rows(search.TRENDS, *before),
        rows(reviewed.REVIEWS, *said),
        rows(reviews.REVIEW_SENTENCES, *read),
        rows(SUSPECTS),
        run=run_of(RUN_DATE, deployment),
        **settings,
    )
    assert not broken(search.TRENDS, frame)
    return {(row.kind, row.key): row for row in frame.collect()}


def test_an_item_its_category_and_its_brand_rise_by_buyers_and_days(rows: Rows) -> None:
    events = shop()
    twice = [event("r0", "up", 1, quantity=5), event("r0", "up", 1)]  # the same user on the same day
    older = {"kind": "item", "key": "up", "direction": "rising", "started_on": RUN_DATE - dt.timedelta(days=3)}
    other = {"kind": "brand", "key": "b9", "direction": "falling", "started_on": RUN_DATE - dt.timedelta(days=9)}
    found = trends(rows, events + twice, [older, other])
    rising = {key: row for key, row in found.items() if row.direction == "rising"}
    assert set(rising) == {("item", "up"), ("category", "c9"), ("brand", "b9")}
    week = {(line["user_id"], line["event_date"]) for line in events if line["item_id"] == "up"}
    week = {(user, day) for user, day in week if day > WEEK_AGO}
    up = rising["item", "up"]
    assert (up["count"], up.users) == (len(week), len({user for user, _ in week}))
    assert up.started_on == older["started_on"], "the run before had it already"
    assert rising["brand", "b9"].started_on == RUN_DATE, "it fell then"
    assert f"Bought {up['count']} times in 7 days" in up.reason
    assert up.low > 1.5


def test_what_a_few_users_buy_over_and_over_is_not_published(rows: Rows) -> None:
    few = shop(rising_buyers=0) + [event(f"r{user}", "up", day) for user in range(3) for day in range(7)]
    users = {line["user_id"] for line in few if line["item_id"] == "up" and line["event_date"] > WEEK_AGO}
    assert ("item", "up") not in trends(rows, few, min_users=len(users) + 1)
    assert trends(rows, few, min_users=len(users))["item", "up"].users == len(users)


def test_returned_purchases_do_not_count(rows: Rows) -> None:
    events = shop()
    returned = [
        event(f"r{user}", "up", day, event_type="return", basket_id="x") for user in range(20) for day in range(6)
    ]
    bought = [line | {"basket_id": "x"} if line["user_id"].startswith("r") else line for line in events]
    assert ("item", "up") not in trends(rows, bought + returned)


def searched(user: str, query: str, days_ago: int, **more: Any) -> dict[str, Any]:
    of_search = {"event_type": "search", "item_id": None, "quantity": None, "query": query}
    return event(user, "", days_ago) | of_search | more


def test_queries_rise_by_users_and_days_with_what_came_of_them(rows: Rows) -> None:
    draw = random.Random(2)
    events = shop(rising_buyers=0)
    for days_ago in range(DAYS):
        events += [
            searched(f"s{draw.randrange(300)}", f"word {chr(97 + draw.randrange(15))}", days_ago) for _ in range(25)
        ]
        events += [searched(f"s{draw.randrange(300)}", "grean tea", days_ago, result_count=0)] * (days_ago % 3 == 0)
    for user in range(20):
        events += [searched(f"r{user}", ("Grean Tea", "grean teas")[user % 2], day, result_count=0) for day in range(6)]
    events += [searched("r1", "grean tea", 1, event_type="click", item_id="up")]
    source = Source.model_construct(kind="", map={"query": "q"}, changes=[])
    logged = Deployment.model_construct(
        name="test", sources={"events": source, "items": Source.model_construct(kind="", map={}, changes=[])}
    )
    read = [{"query_key": "grean tea", "query": "grean tea", "corrected_query": "green tea", "correction": "spelling"}]
    found = trends(rows, events, queries=read, deployment=logged)
    rising = {
        kind: row for (kind, key), row in found.items() if row.direction == "rising" and kind in search.QUERY_KINDS
    }
    assert set(rising) == set(search.QUERY_KINDS)
    assert len({row.key for row in rising.values()}) == 1
    row = rising["query"]
    assert row.users >= 20
    assert row.zero_result_share == 1
    assert 0 < row.click_share < 0.02
    assert (row.action, rising["misspelling"].action) == ("add items or words", "check the correction")
    assert row.reason.startswith(f"Searched for {row['count']} times in 7 days")
    without = trends(rows, events, queries=read)
    assert not {kind for kind, _ in without} & set(search.QUERY_KINDS), "no source has queries"


def test_an_aspect_falls_as_more_reviews_complain_of_it(rows: Rows) -> None:
    draw = random.Random(4)
    said, read = [], []
    for days_ago in range(DAYS):
        for number in range(30):
            complains = draw.random() < (0.5 if days_ago < 7 and number % 3 == 0 else 0.08)
            review, day = f"r{days_ago}-{number}", RUN_DATE - dt.timedelta(days=days_ago)
            of_review = {"review_id": review, "item_id": f"i{number % 15:02}", "text": f"text {review}"}
            said.append(of_review | {"event_date": day, "run_date": day})
            aspect = ("size", "fabric", "colour")[number % 3]
            p = 0.9 if complains else 0.1
            read.append(
                {"review_id": review, "sentence_no": 1, "aspects": [aspect], "p_negative": p, "unknown_share": 0.0}
            )
    source = Source.model_construct(kind="", map={}, changes=[])
    reviewed_shop = Deployment.model_construct(
        name="test", sources={"events": source, "items": source, "reviews": source}
    )
    found = trends(rows, shop(), deployment=reviewed_shop, said=said, read=read)
    falling = {key: row for (kind, key), row in found.items() if kind == search.ASPECT}
    assert falling
    assert {row.direction for row in falling.values()} == {"falling"}
    assert all(key.startswith("size in ") for key in falling)
    assert "Criticised" in next(iter(falling.values())).reason
    without = trends(rows, shop(), said=said, read=read)
    assert not {kind for kind, _ in without} & {search.ASPECT}, "no source has reviews"
