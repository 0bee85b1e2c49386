"""gold.user_profiles and gold.segments from events: what is published of whom, and who moves."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace
from typing import Any

import pytest

from jobs.evaluate_profiles import evaluate_profiles
from jobs.profile_users import profile_users
from jobs.train_profiles import train_profiles
from schemas import features, ops, silver, users
from schemas.errors import ConfError, TooEarlyError
from tests.conftest import Rows, broken, run_of

RUN_DATE = dt.date(2024, 6, 30)
ITEMS = [{"item_id": f"i{number}", "category": f"c{number % 2}", "brand": "b"} for number in range(4)]


def event(user_id: str | None, item_id: str, days_ago: int, **more: Any) -> dict[str, Any]:
    day = RUN_DATE - dt.timedelta(days=days_ago)
    given = {"event_type": "purchase", "user_id": user_id, "item_id": item_id, "event_date": day, "run_date": day}
    return given | {"quantity": 1, "unit_price": 2.0, "location_id": "S1"} | more


def shop() -> list[dict[str, Any]]:
    draw = random.Random(1)
    return [
        event(f"u{user:02}", f"i{draw.randrange(4)}", days_ago)
        for user in range(30)
        for days_ago in range(1, 120)
        if draw.random() < (user + 1) / 100
    ]


def profiled(rows: Rows, events: list[dict[str, Any]], before: tuple = (), date: dt.date = RUN_DATE) -> dict:
    found = profile_users(
        rows(silver.EVENTS, *events),
        rows(silver.ITEMS, *ITEMS),
        rows(
            features.CANDIDATES,
            {"user_id": "u29", "item_id": "i0", "score": 0.5},
            {"user_id": "u29", "item_id": "i2", "score": 0.5},
        ),
        rows(users.USER_PROFILES, *before),
        None,
        run=run_of(date),
        trees=5,
    )
    for table in (users.USER_PROFILES, users.SEGMENTS):
        assert not broken(table, found[table.name])
    return found


def test_profiles_and_segments_of_a_shop(rows: Rows) -> None:
    special = [
        event("back", "i0", 9, basket_id="x"),
        event("back", "i0", 5, event_type="return", basket_id="x"),
        event("once", "i3", 3, location_id=None),
        event(None, "i0", 3),
    ]
    found = profiled(rows, shop() + special)
    profiles = {row.user_id: row for row in found["gold.user_profiles"].collect()}
    assert "back" not in profiles, "everything was returned"
    once, often = profiles["once"], profiles["u29"]
    assert (once.purchase_days, once.usual_gap_days, once.favourite_location, once.is_new) == (1, None, None, True)
    assert (once.segment, once.segment_since, once.recency_days) == ("new", RUN_DATE, 3)
    assert once.affinities[0].category == "c1"
    assert once.affinities[0].share == 1.0
    assert once.affinities[0].p_next_28 is None
    likely = {each.category: each.p_next_28 for each in often.affinities}
    assert likely["c0"] == pytest.approx(0.75)
    assert often.brands[0].brand == "b"
    assert often.favourite_location == "S1"
    assert often.price_level == pytest.approx(1.0)
    assert often.p_active_28 > profiles["u00"].p_active_28
    assert "to buy within 28 days" in often.reason
    frame = found["gold.user_profiles"]
    listed = found["gold.segments"].collect()
    assert sum(row.users for row in listed) == len(profiles)
    for row in listed:
        inside = {user.user_id for user in frame.where(row.definition).collect()}
        assert inside == {name for name, user in profiles.items() if user.segment == row.segment}, row.segment
        assert (row.moved_in, row.moved_out) == (0, 0), "there was no run before"


def test_segments_have_a_memory(rows: Rows) -> None:
    events = shop()
    first = {row.user_id: row for row in profiled(rows, events)["gold.user_profiles"].collect()}
    yesterday = RUN_DATE - dt.timedelta(days=1)
    long_ago = RUN_DATE - dt.timedelta(days=9)
    held, moved = (next(u for u, row in first.items() if row.segment == name) for name in ("regular", "top"))
    before = [
        {"user_id": held, "run_date": yesterday, "segment": "regular", "segment_since": long_ago},
        {"user_id": moved, "run_date": yesterday, "segment": "lapsed", "segment_since": long_ago},
    ]
    found = profiled(rows, events, tuple(before))
    again = {row.user_id: row for row in found["gold.user_profiles"].collect()}
    assert (again[held].segment_since, again[moved].segment_since) == (long_ago, RUN_DATE)
    counts = {row.segment: (row.moved_in, row.moved_out) for row in found["gold.segments"].collect()}
    assert (counts["top"], counts["lapsed"], counts["regular"]) == ((1, 0), (0, 1), (0, 0))
    written = [{**row.asDict(), "affinities": [], "brands": []} for row in again.values()]
    twice = profiled(rows, events, tuple(written))
    assert {row.segment: (row.moved_in, row.moved_out) for row in twice["gold.segments"].collect()} == counts


def test_a_trained_model_is_registered(rows: Rows) -> None:
    published = []
    run = run_of(RUN_DATE)
    object.__setattr__(run, "publish_model", published.append)
    events, models = rows(silver.EVENTS, *shop()), rows(ops.MODELS)
    (row,) = train_profiles(events, models, None, run=run, trees=5).collect()
    assert (row.kind, row.promoted, row.cut_date) == ("profile", True, RUN_DATE)
    assert row.metrics["log_loss"] > 0
    assert published
    assert train_profiles(events.limit(0), models, None, run=run).collect() == []
    with pytest.raises(ConfError, match="must be at least 1"):
        train_profiles(events, models, None, run=run, trees=0)


def test_profiles_of_past_cuts_are_judged_beside_their_peers(rows: Rows) -> None:
    pages: dict[str, str] = {}
    run = replace(run_of(RUN_DATE), write_page=pages.__setitem__)
    once = [event(f"once{day:03}", "i0", day) for day in range(30, 120, 2)]  # who never came again
    made = evaluate_profiles(rows(silver.EVENTS, *shop(), *once), run=run, trees=5, earlier_cuts=1)
    assert not broken(users.PROFILE_METRICS, made)
    found = {(str(row.cut_date), row.horizon_days, row.contender, row.metric): row for row in made.collect()}
    cuts = {key[:2] for key in found}
    assert cuts == {("2024-06-02", 28), ("2024-05-05", 28), ("2024-04-01", 90)}
    contenders = {"naive rate", "BG/NBD", "MBG/NBD", "nightshelf"}
    assert {name for *_, name, metric in found if metric == "AUC"} == contenders
    ours = found["2024-06-02", 28, "nightshelf", "AUC"]
    assert 0.5 < ours.value <= 1
    lead = found["2024-06-02", 28, "nightshelf", "lead AUC"]
    assert lead.value == pytest.approx(ours.value - found["2024-06-02", 28, "MBG/NBD", "AUC"].value)
    assert lead.low <= lead.value <= lead.high
    page = pages[f"evaluation/profiles_{RUN_DATE}.html"]
    assert page.count("Do chances come true?") == 2, "of the newest cut of each horizon"
    assert page.index("28 days after 2024-06-02") < page.index("90 days after") < page.index("28 days after 2024-05-05")
    with pytest.raises(TooEarlyError, match="a week of purchases"):
        evaluate_profiles(rows(silver.EVENTS, event("u1", "i0", 3)), run=run)
    with pytest.raises(ConfError, match="must be at least 1"):
        evaluate_profiles(rows(silver.EVENTS), run=run, trees=0)
