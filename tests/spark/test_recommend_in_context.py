"""gold.context_recommendations: lists for a user's stores and weekdays."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from jobs.recommend_in_context import SOLD_DAYS, recommend_in_context
from schemas import features, silver, users
from schemas.deployment import Deployment
from schemas.errors import ConfError
from schemas.lists import Lists
from schemas.source import Source
from tests.conftest import Rows, broken, run_of

RUN_DATE = dt.date(2024, 6, 30)  # a Sunday


def event(user_id: str, item_id: str, location_id: str | None, days_ago: int = 1) -> dict[str, Any]:
    day = RUN_DATE - dt.timedelta(days=days_ago)
    given = {"event_type": "purchase", "user_id": user_id, "item_id": item_id, "event_date": day, "run_date": day}
    return given | {"quantity": 1, "unit_price": 2.0, "location_id": location_id}


def lists(rows: Rows, events: list[dict], candidates: dict[str, float], stock: tuple = (), **settings: Any) -> dict:
    items = [{"item_id": item} for item in candidates]
    sources = {kind: Source.model_construct(map={}) for kind in ("events", "items", "stock")}
    deployment = Deployment.model_construct(name="test", sources=sources, lists=Lists(in_stock=bool(stock)))
    frame = recommend_in_context(
        rows(silver.EVENTS, *events),
        rows(silver.ITEMS, *items),
        rows(features.CANDIDATES, *({"user_id": "u", "item_id": item, "score": p} for item, p in candidates.items())),
        rows(silver.STOCK, *stock),
        rows(silver.BLOCKED),
        run=run_of(RUN_DATE, deployment),
        **settings,
    )
    assert not broken(users.CONTEXT_RECOMMENDATIONS, frame)
    found: dict[tuple[str, str], list[str]] = {}
    for row in sorted(frame.collect(), key=lambda row: row.rank):
        found.setdefault((row.context_name, row.context_value), []).append(row.item_id)
    return found


def test_a_location_lists_what_it_sold_lately_alone(rows: Rows) -> None:
    events = [event("u", "a", "S1"), event("u", "a", "S2", 8), event("v", "b", "S1", SOLD_DAYS - 1)]
    events += [event("v", "c", "S1", SOLD_DAYS), event("v", "c", "S9"), event("u", "a", None, 2)]
    found = lists(rows, events, {"a": 0.1, "b": 0.2, "c": 0.9})
    assert found["location", "S1"] == ["b", "a"], "c was sold too long ago"
    assert found["location", "S2"] == ["a"]
    assert ("location", "S9") not in found, "u was never there"
    assert found["weekday", "Saturday"] == ["c", "b", "a"]


def test_what_a_location_has_on_hand_may_be_listed(rows: Rows) -> None:
    stock = [
        {"location_id": "S1", "item_id": item, "on_hand": units, "snapshot_date": RUN_DATE}
        for item, units in (("b", 3), ("c", 0))
    ]
    found = lists(rows, [event("u", "a", "S1"), event("v", "c", "S2")], {"a": 0.1, "b": 0.2, "c": 0.3}, tuple(stock))
    assert found["location", "S1"] == ["b", "a"]


def test_what_is_bought_more_in_a_context_moves_up(rows: Rows) -> None:
    events = [event("u", "a", "S1"), event("u", "a", "S2")]
    events += [event(f"v{number}", "a", "S1") for number in range(40)]
    events += [event(f"w{number}", "b", "S2") for number in range(40)] + [event("w", "b", "S1")]
    found = lists(rows, events, {"a": 0.2, "b": 0.2001}, weekdays=0)
    assert found == {("location", "S1"): ["a", "b"], ("location", "S2"): ["b", "a"]}


def test_a_user_has_a_bounded_number_of_contexts(rows: Rows) -> None:
    events = [event("u", "a", f"S{store}", 1 + day) for store in range(5) for day in range(5 - store)]
    found = lists(rows, events, {"a": 0.1}, locations=2, weekdays=1)
    assert {key for key in found if key[0] == "location"} == {("location", "S0"), ("location", "S1")}
    assert len(found) == 3
    with pytest.raises(ConfError, match="top_k must be at least 1"):
        lists(rows, events, {"a": 0.1}, top_k=0)
