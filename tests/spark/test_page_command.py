"""The queries of a run's page over stored rows: what they count, whom they choose, what a lake lacks."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import functions as F

from jobs.commands.page import rows_of
from jobs.reports import shop_sections
from schemas import TABLES
from schemas.deployment import Deployment

DAY = dt.date(2024, 3, 20)
MOMENT = dt.datetime(2024, 3, 10, 12, tzinfo=dt.UTC)


def event(user: str, days_ago: int, quantity: float, kind: str = "purchase", item: str = "I1") -> dict[str, Any]:
    day = DAY - dt.timedelta(days=days_ago)
    at = dt.datetime.combine(day, dt.time(9), dt.UTC)
    what = {"user_id": user, "event_type": kind, "item_id": item, "quantity": quantity, "occurred_at": at}
    return what | {"event_date": day, "run_date": day, "event_id": f"{user}{days_ago}{item}{kind}"}


def action(item: str, what: str, quantity: float, chance: float | None) -> dict[str, Any]:
    row = {"run_date": DAY, "item_id": item, "action": what, "quantity": quantity, "stockout_probability": chance}
    return row | {"location_id": "L1", "from_location_id": None}


STORED: dict[str, list[dict[str, Any]]] = {
    "silver.events": [
        event("U1", 0, 2),
        event("U1", 6, 3, item="I2"),
        event("U2", 7, 5),
        event("U2", 7, 9, kind="return"),
        event("U2", 60, 100),
    ],
    "silver.items": [{"run_date": DAY, "item_id": f"I{n}", "title": f"Item {n}"} for n in (1, 2)],
    "gold.demand_forecast": [
        {"run_date": DAY, "target_week": DAY + dt.timedelta(days=1 + 7 * week), "item_id": item, "expected_units": 1.5}
        for week in range(2)
        for item in ("I1", "I2")
    ],
    "gold.inventory_actions": [
        action("I1", "ok", 0, 0.9),
        action("I2", "replenish", 12, 0.2),
        action("I3", "replenish", 6, 0.7),
        action("I4", "alert", 1, None),
    ],
    "gold.recommendations": [
        {"run_date": DAY, "user_id": f"U{user}", "rank": rank, "item_id": f"I{rank}", "score": 0.5 / rank}
        for user in range(1, 6)
        for rank in (1, 2)
    ],
}


@pytest.fixture
def lake(spark: Any, rows: Any, deployment: Deployment) -> Any:
    """A lake that has STORED; of other tables none exists."""
    frames = {name: rows(TABLES[name], *stated) for name, stated in STORED.items()}
    kinds = ("events", "items", "stock", "searches")
    return SimpleNamespace(
        spark=spark,
        deployment=SimpleNamespace(kinds=kinds),
        exists=lambda name: name in frames,
        up_to=lambda name, day: frames[name].where(F.col("run_date") <= F.lit(day)),
        of_days=lambda name, days: frames[name].where(F.col("run_date").isin(days)),
    )


def test_demand_is_summed_by_week(lake: Any) -> None:
    sold = {row["week"]: float(row["units"]) for row in rows_of(lake, DAY, shop_sections.SOLD)}
    assert sold == {DAY - dt.timedelta(days=6): 5.0, DAY - dt.timedelta(days=13): 5.0}, "no return, none of 60 days ago"
    expected = [tuple(row.values()) for row in rows_of(lake, DAY, shop_sections.EXPECTED)]
    assert expected == [(DAY + dt.timedelta(days=1), 3.0), (DAY + dt.timedelta(days=8), 3.0)]


def test_stock_is_counted_by_action_and_the_most_urgent_comes_first(lake: Any) -> None:
    counted = [(row["action"], row["rows"], float(row["units"])) for row in rows_of(lake, DAY, shop_sections.ACTIONS)]
    assert counted == [("alert", 1, 1.0), ("ok", 1, 0.0), ("replenish", 2, 18.0)]
    assert [row["item_id"] for row in rows_of(lake, DAY, shop_sections.URGENT)] == ["I3", "I2", "I4"]


def test_lists_are_counted_by_item_and_shown_of_three_users(lake: Any) -> None:
    listed = [(row["item_id"], row["title"], row["lists"]) for row in rows_of(lake, DAY, shop_sections.LISTED)]
    assert listed == [("I1", "Item 1", 5), ("I2", "Item 2", 5)]
    lists = rows_of(lake, DAY, shop_sections.LISTS)
    users = sorted({row["user_id"] for row in lists})
    assert len(users) == 3
    assert [(row["user_id"], row["rank"]) for row in lists] == [(user, rank) for user in users for rank in (1, 2)]
    bought = [(row["user_id"], row["item_id"]) for row in rows_of(lake, DAY, shop_sections.BOUGHT)]
    everything = [("U1", "I1"), ("U1", "I2"), ("U2", "I1"), ("U2", "I1")]  # the newest first, no return
    assert bought == [pair for pair in everything if pair[0] in users]


def test_a_table_that_the_lake_lacks_gives_no_rows(lake: Any) -> None:
    assert rows_of(lake, DAY, shop_sections.TRENDS) == []
