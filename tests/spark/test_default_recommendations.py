"""Lists for strangers: overall and per segment, filled and explained."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace
from typing import Any

import pytest

from jobs.build_default_recommendations import build_default_recommendations
from schemas import gold, silver
from schemas.errors import ConfError
from schemas.suspects import SUSPECTS
from tests.conftest import Rows, broken, run_of

RUN_DATE = dt.date(2024, 1, 31)
FILLED = "Popular in the whole shop; fills up the list"


def sale(user_id: str | None, item_id: str, days_ago: int = 0, **more: Any) -> dict[str, Any]:
    """A purchase event."""
    day = RUN_DATE - dt.timedelta(days=days_ago)
    return {"event_type": "purchase", "user_id": user_id, "item_id": item_id, "event_date": day, **more}


def listed(frame: Any) -> dict[str, list[tuple[str, float, str]]]:
    """Per segment value its (item, score, reason), by rank."""
    answer: dict[str, list[tuple[str, float, str]]] = {}
    for row in sorted(frame.collect(), key=lambda row: (row.segment_value, row.rank)):
        answer.setdefault(row.segment_value, []).append((row.item_id, row.score, row.reason))
    return answer


def by_hand(lines: list[tuple[str, str]], top_k: int) -> list[tuple[str, float, str]]:
    """The list of one segment from its (item, buyer) pairs."""
    everyone = len({buyer for _, buyer in lines})
    counts = {item: len({buyer for name, buyer in lines if name == item}) for item, _ in lines}
    ranked = sorted(counts, key=lambda item: (-counts[item], item))[:top_k]
    reason = f"Bought by {{}} of {everyone} buyers here on the last 28 days"
    return [(item, round(counts[item] / everyone, 6), reason.format(counts[item])) for item in ranked]


def guest(event: dict[str, Any]) -> tuple[Any, ...]:
    """Receipts are numbered anew in every store and on every day."""
    return event["location_id"], event["event_date"], event["basket_id"]


def test_equals_the_oracle_overall_and_by_segment(rows: Rows) -> None:
    draw = random.Random(10)
    names = [f"i{number:02}" for number in range(12)]
    drawn = []
    for basket in range(90):
        user, store = draw.choice([*"uvwxyz", None]), draw.choice(["s1", "s2", "s3", None])
        item = draw.choice(names if store != "s3" else names[:2])  # s3 sells two items only
        drawn.append(sale(user, item, draw.choice([0, 5, 27, 28]), basket_id=f"b{basket % 40}", location_id=store))
    drawn.append(sale("u", "service", location_id="s1"))  # not in the catalogue
    recent = [
        (event["location_id"], event["item_id"], event["user_id"] or guest(event))
        for event in drawn
        if (RUN_DATE - event["event_date"]).days < 28 and event["item_id"] in names
    ]
    expected = {"all": by_hand([pair for _, *pair in recent], 4)}
    widest = by_hand([pair for _, *pair in recent], 12)
    for store in ("s1", "s2", "s3"):
        own = by_hand([pair for where, *pair in recent if where == store], 4)
        fill = [(item, score, FILLED) for item, score, _ in widest if item not in {item for item, *_ in own}]
        expected[store] = [*own, *fill][:4]
    assert [reason for *_, reason in expected["s3"]][2:] == [FILLED] * 2

    draw.shuffle(drawn)
    items = rows(silver.ITEMS, *({"item_id": name} for name in names))
    events = rows(silver.EVENTS, *drawn)
    found = build_default_recommendations(
        events,
        items,
        rows(silver.STOCK),
        rows(silver.BLOCKED),
        rows(SUSPECTS),
        run=run_of(RUN_DATE),
        segment="location_id",
        top_k=4,
        min_buyers=3,
    ).persist()
    assert broken(gold.DEFAULT_RECOMMENDATIONS, found) == []
    assert listed(found) == expected
    assert {(row.segment_name, row.segment_value) for row in found.collect()} == {
        ("overall", "all"),
        *(("location_id", store) for store in ("s1", "s2", "s3")),  # a purchase without a store is of no segment
    }


def test_without_a_segment_there_is_one_list(rows: Rows) -> None:
    events = rows(
        silver.EVENTS,
        sale("u1", "a", location_id="s1"),
        sale("u1", "a", 3, location_id="s2"),  # the same buyer
        sale("u2", "b"),
        sale(None, "b", basket_id="b1"),  # a guest
        sale(None, "c", basket_id="b1"),
        sale("u3", "c") | {"event_type": "return"},
    )
    items = rows(silver.ITEMS, *({"item_id": name} for name in "abc"))
    found = build_default_recommendations(
        events, items, rows(silver.STOCK), rows(silver.BLOCKED), rows(SUSPECTS), run=run_of(RUN_DATE), top_k=20
    )
    reason = "Bought by {} of 3 buyers here on the last 28 days"
    assert listed(found) == {
        "all": [
            ("b", 0.666667, reason.format(2)),
            ("a", 0.333333, reason.format(1)),  # as many as c: by item_id
            ("c", 0.333333, reason.format(1)),
        ]
    }


def test_when_nothing_was_sold_lately_what_sold_before_is_shown(rows: Rows) -> None:
    events = rows(silver.EVENTS, sale("u1", "a", 200), sale("u2", "a", 300), sale("u2", "b", 300))
    items = rows(silver.ITEMS, *({"item_id": name} for name in "ab"))
    found = listed(
        build_default_recommendations(
            events, items, rows(silver.STOCK), rows(silver.BLOCKED), rows(SUSPECTS), run=run_of(RUN_DATE)
        )
    )
    assert [(item, score) for item, score, _ in found["all"]] == [("a", 1.0), ("b", 0.5)]


def test_a_reason_does_not_claim_a_sale_that_was_long_ago(rows: Rows) -> None:
    items = rows(silver.ITEMS, {"item_id": "a"})
    found = listed(
        build_default_recommendations(
            rows(silver.EVENTS, sale("u1", "a", 200)),
            items,
            rows(silver.STOCK),
            rows(silver.BLOCKED),
            rows(SUSPECTS),
            run=run_of(RUN_DATE),
        )
    )
    assert "last 28 days" not in found["all"][0][2]


def test_a_segment_of_few_known_buyers_shows_the_overall_list(rows: Rows) -> None:
    shop = [sale(f"u{number}", item, location_id="big") for number in range(10) for item in ("milk", f"own{number}")]
    events = rows(
        silver.EVENTS,
        *shop,
        *(sale("household", item, location_id="small") for item in ("insulin", "nappies")),
        *(sale("household", "insulin", days, location_id="small") for days in range(20)),  # one buyer on many days
        *(sale(None, "nappies", basket_id=f"b{number}", location_id="small") for number in range(20)),  # guests
        *(sale(f"u{number}", "insulin", 40, location_id="small") for number in range(9)),  # not on these days
    )
    names = ["milk", "insulin", "nappies", *(f"own{number}" for number in range(10))]
    items = rows(silver.ITEMS, *({"item_id": name} for name in names))
    found = build_default_recommendations(
        events,
        items,
        rows(silver.STOCK),
        rows(silver.BLOCKED),
        rows(SUSPECTS),
        run=run_of(RUN_DATE),
        segment="location_id",
        top_k=3,
    ).persist()
    assert broken(gold.DEFAULT_RECOMMENDATIONS, found) == []
    lists = listed(found)
    overall = [(item, score) for item, score, _ in lists["all"]]
    assert [(item, score) for item, score, _ in lists["small"]] == overall
    assert {reason for *_, reason in lists["small"]} == {FILLED}
    assert lists["big"][0] == ("milk", 1.0, "Bought by 10 of 10 buyers here on the last 28 days")

    shown = build_default_recommendations(
        events,
        items,
        rows(silver.STOCK),
        rows(silver.BLOCKED),
        rows(SUSPECTS),
        run=run_of(RUN_DATE),
        segment="location_id",
        top_k=3,
        min_buyers=1,
    )
    assert "insulin" in {item for item, *_ in listed(shown)["small"]}


def test_an_excluded_item_is_in_no_list(rows: Rows) -> None:
    run = run_of(RUN_DATE)
    excluding = run.deployment.model_copy(update={"jobs": {"rank_recommendations": {"exclude": "category = 'cards'"}}})
    events = rows(silver.EVENTS, *(sale(f"u{n}", "gift card", location_id="s1") for n in range(9)), sale("u1", "milk"))
    items = rows(silver.ITEMS, {"item_id": "gift card", "category": "cards"}, {"item_id": "milk", "category": None})
    found = build_default_recommendations(
        events,
        items,
        rows(silver.STOCK),
        rows(silver.BLOCKED),
        rows(SUSPECTS),
        run=replace(run, deployment=excluding),
        segment="location_id",
        min_buyers=1,
    )
    assert {item for of_segment in listed(found).values() for item, *_ in of_segment} == {"milk"}


def test_an_item_that_is_not_active_is_in_no_list(rows: Rows) -> None:
    events = rows(silver.EVENTS, *(sale(f"u{n}", "gone", location_id="s1") for n in range(9)), sale("u1", "milk"))
    items = rows(silver.ITEMS, {"item_id": "gone", "active": False}, {"item_id": "milk", "active": True})
    found = build_default_recommendations(
        events,
        items,
        rows(silver.STOCK),
        rows(silver.BLOCKED),
        rows(SUSPECTS),
        run=run_of(RUN_DATE),
        segment="location_id",
        min_buyers=1,
    )
    assert {item for of_segment in listed(found).values() for item, *_ in of_segment} == {"milk"}


def test_a_negative_floor_is_refused(rows: Rows) -> None:
    with pytest.raises(ConfError, match=r"min_buyers must be at least 0; it is -1"):
        build_default_recommendations(
            rows(silver.EVENTS),
            rows(silver.ITEMS),
            rows(silver.STOCK),
            rows(silver.BLOCKED),
            rows(SUSPECTS),
            run=run_of(RUN_DATE),
            min_buyers=-1,
        )
