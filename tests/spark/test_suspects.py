"""Users who act as no person does, in shadow and after it; and a few fake buyers, without the defence and with it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import DataFrame

from jobs.build_default_recommendations import build_default_recommendations
from jobs.find_suspects import find_suspects
from jobs.find_trends import find_trends
from jobs.transforms.counted_buyers import counted_items, counted_lines
from jobs.transforms.purchases import known_purchases, purchases
from schemas import reviewed, reviews, search, silver
from schemas.run import RunContext
from schemas.suspects import SUSPECTS, Suspects
from tests.conftest import Rows, broken, run_of
from udfs.days import day_number

RUN_DATE = dt.date(2024, 5, 31)
SINCE = RUN_DATE - dt.timedelta(weeks=4)
Event = dict[str, Any]


def sale(user: str | None, item: str, ago: int = 1, basket: str | None = None, store: str = "s1", at: int = 0) -> Event:
    """A purchase so many days ago, `at` seconds after ten o'clock."""
    day = RUN_DATE - dt.timedelta(days=ago)
    moment = dt.datetime.combine(day, dt.time(10), dt.UTC) + dt.timedelta(seconds=at)
    stated = {"event_type": "purchase", "event_date": day, "run_date": day, "occurred_at": moment, "quantity": 1.0}
    where = {"location_id": store, "basket_id": basket, "event_id": f"{user}-{item}-{ago}-{basket}-{store}-{at}"}
    return stated | where | {"user_id": user, "item_id": item, "unit_price": 1.0}


def run_with(**conf: Any) -> RunContext:
    run = run_of(RUN_DATE)
    return replace(run, deployment=run.deployment.model_copy(update={"suspects": Suspects.model_validate(conf)}))


@pytest.fixture
def bots(rows: Rows) -> DataFrame:
    """Each rule with a user at its limit and one just below it; limits as in LIMITS."""
    events = [sale("slow", f"i{n}", 3, f"b{n}", at=61 * n) for n in range(3)]  # three baskets a day, a minute apart
    events += [sale("slow", f"i{n}", 4, f"b{n}", at=n) for n in range(2)]
    events += [sale("fast", f"i{n}", 3, f"b{n}", at=n) for n in range(3)]  # three baskets within a minute
    events += [sale("family", f"i{n}", 3, "one") for n in range(30)]  # one basket of many lines
    events += [sale("often", f"i{n}", 3, f"b{n}", at=61 * n) for n in range(4)]
    events += [sale("long ago", f"i{n}", 40, f"b{n}", at=n) for n in range(9)]
    events += [sale(None, f"i{n}", 3, f"b{n}", at=n) for n in range(9)]  # guests
    views = [sale("viewer", f"i{n}", 2, at=n) | {"event_type": "view", "basket_id": None} for n in range(3)]
    dated = [sale("by day", f"i{n}", 2, at=-36_000) | {"event_type": "view", "event_id": f"d{n}"} for n in range(9)]
    for user in ("same1", "same2", "same3"):
        events += [sale(user, item, 5, "x") for item in ("i1", "i2", "i3")]
    events += [sale("same3", item, 9, "y") for item in ("i4", "i5", "i6")]  # half of the baskets are its own
    events += [sale("same3", item, 10, "z") for item in ("i4", "i5", "i7")]
    events += [sale(user, item, 5, "pair") for user in ("p1", "p2", "p3") for item in ("i1", "i2")]  # two items alone
    return rows(silver.EVENTS, *events, *views, *dated)


LIMITS = {"acts_a_minute": 3, "baskets_a_day": 4, "same_basket_users": 2}


def test_users_at_a_limit_are_suspects_by_that_rule(rows: Rows, bots: DataFrame) -> None:
    found = find_suspects(bots, rows(SUSPECTS), run=run_with(since=SINCE, **LIMITS)).persist()
    assert broken(SUSPECTS, found) == []
    by_user = {row.user_id: row for row in found.collect()}
    assert {user: row.rules for user, row in by_user.items()} == {
        "fast": ["acts_a_minute"],
        "viewer": ["acts_a_minute"],
        "often": ["baskets_a_day"],
        "same1": ["same_baskets"],
        "same2": ["same_baskets"],
    }
    assert by_user["fast"].score == pytest.approx(1.0)
    assert by_user["same1"].score == pytest.approx(2.0), "all of its baskets, of at least half"
    assert {row.since for row in by_user.values()} == {RUN_DATE}


def test_suspects_act_after_their_weeks_in_shadow_unless_they_are_trusted(rows: Rows, bots: DataFrame) -> None:
    before = rows(SUSPECTS, {"user_id": "fast", "since": SINCE, "run_date": RUN_DATE - dt.timedelta(days=1)})
    conf = {"since": SINCE, "trusted": ["often"], **LIMITS}
    acting = {row.user_id: row for row in find_suspects(bots, before, run=run_with(**conf)).collect()}
    assert {user for user, row in acting.items() if row.acts} == {"fast", "viewer", "same1", "same2"}
    assert acting["fast"].since == SINCE
    shadow = find_suspects(bots, before, run=run_with(shadow_weeks=5, **conf)).collect()
    assert {row.user_id: row.acts for row in shadow} == dict.fromkeys(acting, False)
    later = find_suspects(bots, before, run=run_with(**(conf | {"since": RUN_DATE + dt.timedelta(days=1)})))
    assert later.count() == find_suspects(bots, before, run=run_with(**LIMITS)).count() == 0


def test_purchases_of_acting_suspects_of_the_date_are_not_counted(rows: Rows) -> None:
    named = {"run_date": RUN_DATE, "since": RUN_DATE}
    suspects = rows(
        SUSPECTS,
        named | {"user_id": "bot", "acts": True},
        named | {"user_id": "trusted", "acts": False},
        {"user_id": "once", "acts": True, "since": SINCE, "run_date": RUN_DATE - dt.timedelta(days=1)},
    )
    users = ("bot", "trusted", "once", "person", None)
    run = run_with(since=SINCE)
    lines = purchases(rows(silver.EVENTS, *(sale(user, "tea", basket="b") for user in users)), run.deployment)
    kept = {row.user_id for row in counted_lines(lines, suspects, run).collect()}
    assert kept == {"trusted", "once", "person", None}
    in_shadow = run_with(since=SINCE, shadow_weeks=5)
    assert counted_lines(lines, suspects, in_shadow).count() == len(users)
    assert counted_lines(lines, suspects, run_of(RUN_DATE)) is lines, "off by default: the same plan"


# -- a few fake buyers -----------------------------------------------------------------------------------------------
WEEKS, SHOPPERS, FAKES = 26, 120, 10
ITEMS = [f"i{number}" for number in range(8)]


def sound_shop() -> list[Event]:
    """SHOPPERS who buy two of ITEMS each week, every tenth of them new in the last month; `dead` was sold once."""
    events = [sale("u0", "dead", 170), sale("u1", "dead", 150, store="s2")]
    for number in range(SHOPPERS):
        weeks = WEEKS if number % 10 else 3
        for week in range(weeks):
            for pick in range(2):
                item = ITEMS[(number * 7 + week * (pick + 1) * 5 + pick * 3) % len(ITEMS)]
                store = f"s{number % 6 + 1}"
                events.append(sale(f"u{number}", item, week * 7 + (number + pick) % 7, f"w{week}", store))
    return events


def attack(buyers: int = FAKES, store: str = "s1") -> list[Event]:
    return [sale(f"fake{number}", "dead", 1 + number % 5, store=store) for number in range(buyers)]


def items_of(rows: Rows) -> DataFrame:
    return rows(silver.ITEMS, *({"item_id": name, "title": name} for name in [*ITEMS, "dead"]))


def lists(rows: Rows, events: list[Event], run: RunContext) -> dict[str, list[str]]:
    found = build_default_recommendations(
        rows(silver.EVENTS, *events),
        *(items_of(rows), rows(silver.STOCK), rows(silver.BLOCKED), rows(SUSPECTS)),
        run=run,
        segment="location_id",
        top_k=5,
    )
    listed: dict[str, list[str]] = {}
    for row in found.orderBy("segment_value", "rank").collect():
        listed.setdefault(row.segment_value, []).append(row.item_id)
    return listed


def trending(rows: Rows, events: list[Event], run: RunContext) -> set[tuple[str, str]]:
    found = find_trends(
        rows(silver.EVENTS, *events),
        items_of(rows),
        rows(silver.BLOCKED),
        rows(search.QUERIES),
        rows(search.TRENDS),
        rows(reviewed.REVIEWS),
        rows(reviews.REVIEW_SENTENCES),
        rows(SUSPECTS),
        run=run,
    )
    return {(row.kind, row.key) for row in found.where("direction = 'rising'").collect()}


DEFENDED = {"known_days": 28}


def test_ten_fake_buyers_make_a_trend_and_with_the_defence_they_do_not(rows: Rows) -> None:
    attacked = sound_shop() + attack()
    assert ("item", "dead") in trending(rows, attacked, run_with())
    defended = trending(rows, attacked, run_with(**DEFENDED))
    assert ("item", "dead") not in defended
    assert defended == trending(rows, sound_shop(), run_with(**DEFENDED)) == trending(rows, sound_shop(), run_with())


def test_a_trend_of_known_buyers_and_of_a_usual_share_of_new_ones_is_still_found(rows: Rows) -> None:
    real = [sale(f"u{number}", "dead", 1 + number % 5) for number in range(0, 60, 5)]  # half of u0, u5, ... are new
    real += [sale(f"u{number}", "dead", 2) for number in range(1, 30)]
    assert ("item", "dead") in trending(rows, sound_shop() + real, run_with(**DEFENDED))


def test_fake_buyers_at_one_store_are_in_its_default_list_and_with_the_defence_in_none(rows: Rows) -> None:
    shop, attacked = sound_shop(), sound_shop() + attack(25, "s1") + attack(25, "s2")
    before = lists(rows, shop, run_with())
    assert not any("dead" in listed for listed in before.values())
    assert lists(rows, attacked, run_with())["s1"][0] == "dead"
    defended = lists(rows, attacked, run_with(**DEFENDED))
    assert not any("dead" in listed for listed in defended.values())
    assert defended == before


def test_the_generator_of_trends_counts_no_crowd_of_new_buyers(rows: Rows) -> None:
    """The counts that score_candidates gives to its generators and its ranker."""
    events, items = rows(silver.EVENTS, *sound_shop(), *attack()), items_of(rows)
    day = day_number(RUN_DATE) + 1

    def counts(run: RunContext) -> dict[str, dict[str, int]]:
        lines = known_purchases(events, items, run.deployment)
        return {row.item_id: row.asDict() for row in counted_items(lines, rows(SUSPECTS), run, day).collect()}

    plain, defended = counts(run_with()), counts(run_with(**DEFENDED))
    assert plain["dead"]["buyers_7"] == plain["dead"]["buyers_28"] == FAKES
    assert defended["dead"]["buyers_7"] == defended["dead"]["buyers_28"] == 0
    assert defended["dead"]["buyers"] == FAKES + 2, "an item that was sold stays one"
    assert {item: plain[item] for item in ITEMS} == {item: defended[item] for item in ITEMS}
