"""Returns against a stack in plain Python; what a night knew of them is what the later nights say it knew."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.transforms.purchases import purchase_history, purchases
from jobs.transforms.returns import undone_units
from schemas import silver
from schemas.deployment import Deployment
from schemas.source import Source
from tests.conftest import Rows

FIRST = dt.date(2024, 1, 1)
WITHIN = 6

LINES = st.lists(
    st.builds(
        dict,
        event_type=st.sampled_from(["purchase", "purchase", "purchase", "return", "return"]),
        user_id=st.sampled_from(["u1", "u2", None]),
        item_id=st.sampled_from("abcdef"),
        location_id=st.sampled_from(["s1", "s2", None]),
        basket_id=st.sampled_from(["17", "18", None]),
        quantity=st.integers(1, 4),
        day=st.integers(0, 12),
        hour=st.integers(9, 12),
        late=st.sampled_from([0, 0, 0, 1, 3]),  # days until its file came
    ),
    min_size=30,
    max_size=120,
)


def line(number: int = 0, *, day: int = 0, hour: int = 9, late: int = 0, **stated: Any) -> dict[str, Any]:
    """A row of silver.events."""
    date = FIRST + dt.timedelta(days=day)
    at = dt.datetime.combine(date, dt.time(hour), dt.UTC)
    known = date + dt.timedelta(days=late)
    when = {"run_date": known, "event_date": date, "occurred_at": at, "event_id": f"e{number:03}"}
    return {"unit_price": 1.0, "event_type": "purchase", "quantity": 1, "item_id": "a"} | when | stated


def whose(bought: dict[str, Any]) -> tuple[Any, ...]:
    """The user, or the place and day of a guest."""
    return bought["user_id"], *(() if bought["user_id"] else (bought["location_id"], bought["event_date"]))


def may_undo(lines: list[dict[str, Any]], back: dict[str, Any]) -> list[dict[str, Any]]:
    """The purchases that a return may undo, the newest first."""

    def order(bought: dict[str, Any]) -> tuple[Any, ...]:
        newest = -bought["occurred_at"].timestamp()
        return bought["basket_id"] != back["basket_id"], newest, bought["run_date"], bought["event_id"]

    before = [
        bought
        for bought in lines
        if (bought["event_type"], bought["item_id"]) == ("purchase", back["item_id"])
        and bought["occurred_at"] <= back["occurred_at"]
        and (back["event_date"] - bought["event_date"]).days <= WITHIN
    ]
    before.sort(key=order)
    if back["user_id"]:
        return [bought for bought in before if bought["user_id"] == back["user_id"]]
    place = back["basket_id"], back["location_id"]
    named = [bought for bought in before if (bought["basket_id"], bought["location_id"]) == place]
    named = [bought for bought in named if bought["basket_id"] and bought["run_date"] <= back["run_date"]]
    if named:
        return [bought for bought in named if whose(bought) == whose(named[0])]
    return [bought for bought in before if whose(bought) == whose(back)]


def oracle(lines: list[dict[str, Any]]) -> Counter[tuple[str, dt.date]]:
    """(event_id of a purchase, the night on which it was known to be undone) -> units."""
    left = {each["event_id"]: each["quantity"] for each in lines}
    undone: Counter[tuple[str, dt.date]] = Counter()
    returns = [each for each in lines if each["event_type"] == "return"]
    returns.sort(key=lambda back: (back["run_date"], back["occurred_at"], back["event_id"]))
    for night in sorted({each["run_date"] for each in lines}):
        for back in (each for each in returns if each["run_date"] <= night):
            for bought in may_undo(lines, back):
                units = min(left[bought["event_id"]], left[back["event_id"]])
                if units and bought["run_date"] <= night:
                    left[bought["event_id"]] -= units
                    left[back["event_id"]] -= units
                    undone[bought["event_id"], night] += units
    return undone


def shop_of(**stated: Any) -> Deployment:
    return Deployment.model_construct(name="test", **({"sources": {}} | stated))


def undone_of(events: Any) -> Counter[tuple[str, dt.date]]:
    found: Counter[tuple[str, dt.date]] = Counter()
    for row in undone_units(events, WITHIN).collect():
        found[row.event_id, row.undone_on] += row.units
    return found


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, st.integers(0, 12))
def test_returns_undo_what_the_stack_says_on_the_night_it_says(rows: Rows, drawn, day) -> None:
    lines = [line(number, **stated) for number, stated in enumerate(drawn)]
    events = rows(silver.EVENTS, *lines)
    everything = undone_of(events)
    assert everything == oracle(lines)
    night = FIRST + dt.timedelta(days=day)
    known_then = undone_of(events.where(f"run_date <= DATE'{night}'"))
    assert known_then == {key: units for key, units in everything.items() if key[1] <= night}


def kept(rows: Rows, *lines: dict[str, Any], within_days: int = 90) -> dict[str, int]:
    numbered = [each | {"event_id": each.get("name", f"line {number}")} for number, each in enumerate(lines)]
    events = rows(silver.EVENTS, *({key: value for key, value in each.items() if key != "name"} for each in numbered))
    return {row.event_id: row.quantity for row in purchases(events, shop_of(returns_within_days=within_days)).collect()}


BACK = {"event_type": "return"}


def test_an_order_cancelled_the_same_morning_was_never_bought(rows: Rows) -> None:
    order = {"user_id": "16446", "quantity": 80_995}
    found = kept(
        rows,
        line(**order, basket_id="581483", hour=9),
        line(**order, **BACK, basket_id="C581484", hour=10),
        line(user_id="16446", day=-60) | {"name": "another day"},
    )
    assert found == {"another day": 1}


def test_the_newest_purchase_is_undone_first_and_a_later_one_is_not(rows: Rows) -> None:
    found = kept(
        rows,
        line(user_id="u1", quantity=3) | {"name": "older"},
        line(user_id="u1", quantity=2, day=1) | {"name": "newer"},
        line(user_id="u1", quantity=4, day=2, **BACK),
        line(user_id="u1", day=3) | {"name": "again"},  # bought after it was returned
    )
    assert found == {"older": 1, "again": 1}


def test_a_return_reaches_back_so_many_days_and_no_further(rows: Rows) -> None:
    lines = line(user_id="u1") | {"name": "first"}, line(user_id="u1", day=30, **BACK)
    assert kept(rows, *lines, within_days=30) == {}
    assert kept(rows, *lines, within_days=29) == {"first": 1}
    assert kept(rows, *lines, within_days=0) == {"first": 1}


def test_a_guests_return_is_of_the_receipt_that_it_names(rows: Rows) -> None:
    store = {"location_id": "s1"}
    found = kept(
        rows,
        line(basket_id="1", **store) | {"name": "named"},
        line(basket_id="2", hour=10, **store) | {"name": "newer"},
        line(basket_id="1", location_id="s2") | {"name": "other store"},  # numbers its receipts from 1 too
        line(basket_id="1", day=5, **BACK, **store),
    )
    assert found == {"newer": 1, "other store": 1}


def test_a_return_without_a_card_undoes_the_card_holders_purchase_by_its_receipt(rows: Rows) -> None:
    bought = line(user_id="u1", location_id="s1", basket_id="7")
    assert kept(rows, bought, line(location_id="s1", basket_id="7", day=2, **BACK)) == {}


def test_a_guests_return_without_a_receipt_is_of_the_same_day_and_place(rows: Rows) -> None:
    store = {"location_id": "s1"}
    found = kept(
        rows,
        line(**store) | {"name": "yesterday"},
        line(day=1, **store) | {"name": "first"},
        line(day=1, hour=10, **store) | {"name": "second"},
        line(day=1, location_id="s2") | {"name": "elsewhere"},
        line(user_id="u1", day=1, **store) | {"name": "a user's"},
        line(day=1, hour=11, **BACK, **store),
    )
    assert set(found) == {"yesterday", "first", "elsewhere", "a user's"}


@pytest.mark.parametrize("stated", [{"user_id": "u2"}, {"user_id": "u1", "item_id": "b"}, {"user_id": "u1", "hour": 8}])
def test_a_return_that_undoes_nothing_changes_nothing(rows: Rows, stated: dict[str, Any]) -> None:
    assert kept(rows, line(user_id="u1") | {"name": "bought"}, line(**stated, **BACK)) == {"bought": 1}


def test_what_is_left_over_of_a_return_is_not_taken_from_others(rows: Rows) -> None:
    found = kept(
        rows,
        line(user_id="u1", quantity=2),
        line(user_id="u2") | {"name": "other"},
        line(user_id="u1", quantity=9, day=1, **BACK),
    )
    assert found == {"other": 1}


RETOLD = {"events": Source.model_construct(replaces="basket_id")}


def test_of_an_order_that_was_told_again_the_last_telling_counts(rows: Rows) -> None:
    order = {"user_id": "u1", "basket_id": "17", "order_id": "events:17"}
    events = rows(
        silver.EVENTS,
        line(1, **order, quantity=5),
        line(2, **order, item_id="b"),
        line(3, **order, late=1, quantity=2),  # corrected the day after: fewer of a, none of b
        line(4, day=1, user_id="u1", basket_id="18", order_id="events:18"),
        line(5, day=2, user_id="u1", **BACK),
    )
    shop = shop_of(sources=RETOLD)
    assert {row.event_id: row.quantity for row in purchases(events, shop).collect()} == {"e003": 2}
    first = purchases(events.where(f"run_date = DATE'{FIRST}'"), shop)
    assert {row.event_id: row.quantity for row in first.collect()} == {"e001": 5, "e002": 1}
    history = {(row.event_id, row.undone_on): row.quantity for row in purchase_history(events, shop).collect()}
    second, third = FIRST + dt.timedelta(days=1), FIRST + dt.timedelta(days=2)
    assert history == {("e001", second): 5, ("e002", second): 1, ("e003", None): 2, ("e004", third): 1}


def test_the_history_says_what_each_night_had(rows: Rows) -> None:
    events = rows(silver.EVENTS, line(1, user_id="u1", quantity=3), line(2, day=4, user_id="u1", quantity=2, **BACK))
    found = {(row.quantity, row.undone_on) for row in purchase_history(events, shop_of()).collect()}
    assert found == {(1, None), (2, FIRST + dt.timedelta(days=4))}
