"""The job beside udfs/demand/forecast.py: what it reads as sales, promotions everywhere, shops without a past."""

from __future__ import annotations

import datetime as dt
import re

import pandas as pd
import pytest
from pyspark.sql import functions as F

from jobs.forecast_demand import forecast_demand
from jobs.transforms.demand_inputs import block_of, daily_sales, promoted_weeks
from schemas import gold, silver
from schemas.deployment import Holiday
from schemas.run import RunContext
from tests.conftest import broken, run_of
from tests.support.tiny_shop import REPO
from udfs.days import NEVER, day_number

RUN_DATE = dt.date(2024, 3, 1)
SHOP = run_of(RUN_DATE).deployment


@pytest.fixture
def few_days(rows):
    """Three purchases on two days, one without a location; a return of two units; what is no sale of the catalogue."""
    sale = {"event_type": "purchase", "quantity": 2, "unit_price": 1.0, "location_id": "T0", "item_id": "i1"}
    day = {"run_date": RUN_DATE, "event_date": RUN_DATE}
    before = {"run_date": dt.date(2024, 2, 28), "event_date": dt.date(2024, 2, 28)}
    events = rows(
        silver.EVENTS,
        sale | day,
        sale | day | {"quantity": 3},
        sale | before | {"item_id": "i2", "location_id": None},
        sale | day | {"event_type": "return"},
        sale | day | {"item_id": "gone"},
        sale | {"run_date": dt.date(2020, 1, 1), "event_date": dt.date(2020, 1, 1)},  # years before what is read
    )
    return events, rows(silver.ITEMS, {"item_id": "i1", "category": "tea"}, {"item_id": "i2"})


def test_sales_are_purchases_of_the_catalogue_added_by_day(few_days):
    sales = daily_sales(*few_days, RUN_DATE, SHOP)
    kept = sales.where(f"undone = {NEVER}")
    found = kept.select("location_id", "item_id", "category", "day", "units").collect()
    assert {(row.known, row.undone, row.units) for row in sales.where("item_id = 'i1'").collect()} == {
        (day_number(RUN_DATE), NEVER, 3.0),
        (day_number(RUN_DATE), day_number(RUN_DATE), 2.0),
    }
    today = day_number(RUN_DATE)
    assert sorted(map(tuple, found), key=str) == sorted(
        [("T0", "i1", "tea", today, 3.0), ("all", "i2", None, today - 2, 2.0)], key=str
    )
    anywhere = daily_sales(*few_days, RUN_DATE, SHOP, by_location=False)
    assert {row.location_id for row in anywhere.collect()} == {"all"}


def test_a_shop_with_no_past_to_learn_from_has_a_forecast(few_days, rows, deployment):
    """Its first weeks have no four weeks that followed an earlier date: the forecast is the pairs' own mean."""
    none = rows(silver.PROMOTIONS)
    made = forecast_demand(*few_days, none, None, run=RunContext(run_date=RUN_DATE, deployment=deployment))
    found = made["gold.demand_forecast"].collect()
    assert {(row.location_id, row.item_id) for row in found} == {("T0", "i1"), ("all", "i2")}
    assert len(found) == 2 * 4
    assert all(row.expected_units >= 0 and row.p10 <= row.p50 <= row.p90 for row in found)
    for pair in (("T0", "i1"), ("all", "i2")):
        assert sum(row.expected_units for row in found if (row.location_id, row.item_id) == pair) > 0
    assert {row.item_id: row.category for row in found} == {"i1": "tea", "i2": None}
    starts = [RUN_DATE + dt.timedelta(days=1 + 7 * week) for week in range(4)]
    assert {row.target_week for row in found} == set(starts)
    shares = made["gold.demand_profile"].collect()
    days = [RUN_DATE + dt.timedelta(days=day) for day in range(1, 29)]
    assert {(row.location_id, row.category, row.target_date) for row in shares} == {
        (None, category, day) for category in ("tea", None) for day in days
    }
    assert len(shares) == 2 * 28
    assert broken(gold.DEMAND_FORECAST, made["gold.demand_forecast"]) == []
    assert broken(gold.DEMAND_PROFILE, made["gold.demand_profile"]) == []
    weeks = made["gold.item_demand"].collect()
    assert sorted((row.item_id, row.target_week) for row in weeks) == [(i, day) for i in ("i1", "i2") for day in starts]
    assert all(row.expected_units > 0 and row.p10 <= row.p50 <= row.p90 for row in weeks)


def test_an_order_that_was_cancelled_at_once_is_no_demand(rows, deployment):
    """80,000 units on one of sixty days of two units each, undone twelve minutes later: field case cancelled-giant."""
    line = {"event_type": "purchase", "quantity": 2, "unit_price": 2.0, "location_id": "T0", "item_id": "S02"}
    days = [RUN_DATE - dt.timedelta(days=number) for number in range(60)]
    giant = line | {"user_id": "U50", "quantity": 80_000, "run_date": days[3], "event_date": days[3]}
    at = dt.datetime.combine(days[3], dt.time(10), dt.UTC)
    events = rows(
        silver.EVENTS,
        *(
            line | {"user_id": f"U{day.day}", "run_date": day, "event_date": day, "item_id": item}
            for day in days
            for item in ("S01", "S02", "S03", "S04")
        ),
        giant | {"occurred_at": at},
        giant | {"event_type": "return", "occurred_at": at + dt.timedelta(minutes=12)},
    )
    items = rows(silver.ITEMS, *({"item_id": f"S0{number}", "category": "food"} for number in range(1, 5)))
    run = RunContext(run_date=RUN_DATE, deployment=deployment)
    made = forecast_demand(events, items, rows(silver.PROMOTIONS), None, run=run, trees=20)
    found = made["gold.item_demand"].where("item_id = 'S02'").collect()
    assert 28 <= sum(row.expected_units for row in found) <= 112


def test_the_line_of_sql_in_the_docs_gives_any_run_of_days(few_days, rows, deployment, spark):
    holidays = [Holiday(date=dt.date(2024, 3, 5), name="feast", closed=True)]
    shop = deployment.model_copy(update={"holidays": holidays})
    run = RunContext(run_date=RUN_DATE, deployment=shop)
    made = forecast_demand(*few_days, rows(silver.PROMOTIONS), None, run=run)
    (line,) = re.findall(
        r"```sql\n(SELECT.*?gold\.demand_profile.*?)```", (REPO / "docs/quality.md").read_text(), re.DOTALL
    )
    for name, frame in made.items():
        frame.createOrReplaceTempView(name.replace(".", "_"))
    day = "2017-12-05", "2017-12-10"
    assert all(text in line for text in (*day, "2017-12-03")), "the dates that are replaced here"
    for text, date in (("2017-12-03", RUN_DATE), (day[0], dt.date(2024, 3, 4)), (day[1], dt.date(2024, 3, 10))):
        line = line.replace(text, str(date))
    found = {(row.location_id, row.item_id): row.units for row in spark.sql(line.replace("gold.", "gold_")).collect()}
    shares = {(row.category, row.target_date): row for row in made["gold.demand_profile"].collect()}
    assert shares["tea", dt.date(2024, 3, 5)].holiday == "feast"
    assert {row.share for row in shares.values() if row.target_date == dt.date(2024, 3, 5)} == {0.0}
    expected: dict[tuple[str, str], float] = {}
    for week in made["gold.demand_forecast"].collect():
        for date in (week.target_week + dt.timedelta(days=day) for day in range(7)):
            if dt.date(2024, 3, 4) <= date <= dt.date(2024, 3, 10):  # two weeks have a part of it
                part = week.expected_units * shares[week.category, date].share
                pair = (week.location_id, week.item_id)
                expected[pair] = expected.get(pair, 0.0) + part
    assert found == pytest.approx(expected, rel=1e-9)
    assert len(found) == 2


def test_a_promotion_is_a_row_a_week_from_its_first_day_to_its_last(rows):
    def plan(item: str, starts: int, ends: int, told: int = -40, **more) -> dict:
        """From and until so many days after RUN_DATE, in that day's file."""
        day = {name: RUN_DATE + dt.timedelta(days=days) for name, days in (("starts_on", starts), ("ends_on", ends))}
        return {"item_id": item, "location_id": "T0", "run_date": RUN_DATE + dt.timedelta(days=told)} | day | more

    promotions = rows(
        silver.PROMOTIONS,
        plan("month", -8, 19, mailer="front"),
        plan("over", -20, -12),
        plan("day", -5, -5, location_id=None),
        plan("ahead", 1, 7),
        *(plan("daily", -3, 3, told, display="end") for told in range(-10, -3)),
        plan("prolonged", -14, -8, -30),
        plan("prolonged", -14, -7, -20),
    )
    weeks = promoted_weeks(promotions, RUN_DATE).collect()

    def known(on: int) -> list[tuple[str, int]]:
        night = day_number(RUN_DATE) + on
        return sorted((row.item_id, row.day - day_number(RUN_DATE)) for row in weeks if row.known <= night < row.undone)

    prolonged = [("prolonged", -14), ("prolonged", -7)]
    others = [("day", -5), ("month", -8), ("month", -1), ("over", -20), ("over", -13)]
    assert known(0) == sorted([*others, *prolonged, ("daily", -3)])
    assert known(-11) == sorted([*others, *prolonged]), "its first file has not come"
    assert known(-21) == sorted([*others, ("prolonged", -14)]), "as the earlier file has it"


def test_a_promotion_everywhere_holds_in_each_location_that_sells_the_item():
    lines = pd.DataFrame(
        {"location_id": ["T0", "T1", "T0"], "item_id": ["a", "a", "b"], "category": "tea", "day": 9, "units": 1.0}
    ).assign(known=9, undone=NEVER)
    told = pd.DataFrame(
        {"location_id": [None, "T0"], "item_id": ["a", "b"], "day": [7, 7], "mailer": True, "display": [False, True]}
    )
    block = block_of(lines, told)
    promotions = block.promotions
    assert promotions is not None
    of = [(block.items[block.pair_item[pair]], block.locations[block.pair_location[pair]]) for pair in promotions.pair]
    assert sorted(zip(of, promotions.display.tolist(), strict=True)) == [
        (("a", "T0"), False),
        (("a", "T1"), False),
        (("b", "T0"), True),
    ]


def test_an_item_that_is_not_active_has_no_forecast(few_days, rows, deployment):
    events, items = few_days
    gone = items.withColumn("active", F.col("item_id") != "i1")
    run = RunContext(run_date=RUN_DATE, deployment=deployment)
    made = forecast_demand(events, gone, rows(silver.PROMOTIONS), None, run=run)
    for table in ("gold.demand_forecast", "gold.item_demand"):
        assert {row.item_id for row in made[table].collect()} == {"i2"}
