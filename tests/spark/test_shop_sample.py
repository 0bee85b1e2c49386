"""Counts of everybody in Spark as in arrays, and the sample that item models are fitted on, within its budget."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.offline.training_data import collect
from jobs.transforms.item_counts import item_counts
from jobs.transforms.shop_sample import sampled, shop_size
from schemas import silver
from tests.conftest import Rows, run_of
from udfs.days import date_of, day_number
from udfs.interactions import from_frame
from udfs.recommend.item_statistics import COUNTS, count_items, counts_of
from udfs.recommend.sample_budget import SampleBudget

DAY = day_number(dt.date(2024, 4, 1))
LINES = (
    "user_id STRING, item_id STRING, event_date DATE, basket_id STRING, quantity DOUBLE, known_on DATE, undone_on DATE"
)


def history(seed: int = 3, count: int = 2_000) -> list[tuple[Any, ...]]:
    """Lines of 30 users and of guests, some known late, some returned."""
    draw = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        day = DAY - int(draw.integers(-10, 130))
        who = int(draw.integers(0, 40))
        known = day + int(draw.choice([0, 0, 0, 5]))
        undone = known + int(draw.integers(1, 20)) if draw.random() < 0.1 else None
        basket = f"{who}/{day}" if who < 30 else f"guest {number // 3}/{day}"
        lines.append(
            (
                f"u{who:02}" if who < 30 else None,
                f"i{int(draw.integers(0, 12)):02}",
                date_of(day),
                basket,
                float(draw.integers(1, 9)),
                date_of(known),
                None if undone is None else date_of(undone),
            )
        )
    return lines


def frame(spark: SparkSession, lines: list[tuple[Any, ...]]) -> DataFrame:
    return spark.createDataFrame(lines, LINES)


def test_counts_of_several_days_in_one_pass_are_those_of_arrays(spark: SparkSession) -> None:
    lines = history()
    names = [column.split()[0] for column in LINES.split(", ")]
    table = pd.DataFrame(lines, columns=names)
    arrays = from_frame(table.assign(undone_on=table["undone_on"].astype(object)))
    days = [DAY - 40, DAY - 7, DAY]
    counted = item_counts(frame(spark, lines), days).toPandas()
    size = shop_size(frame(spark, lines), days)
    assert list(counted.columns) == ["day", "item_id", *COUNTS]
    for day in days:
        expected = count_items(arrays.before(day), day)
        found = counts_of(counted[counted["day"] == day], arrays.items, size.buyers[day])
        np.testing.assert_array_equal(found.table, expected.table)
        assert found.shop_buyers == expected.shop_buyers


def test_the_size_of_a_shop_is_what_it_has(spark: SparkSession) -> None:
    table = [("u1", "a", 1), ("u1", "b", 1), ("u1", "b", 2), (None, "a", 1), (None, "b", 2), (None, "c", 2)]
    lines = [(who, item, date_of(DAY - 9), f"{who} {on}", 1.0, date_of(DAY - 9), None) for who, item, on in table]
    size = shop_size(frame(spark, lines), [DAY - 9, DAY])
    assert (size.users, size.user_lines, size.guest_baskets, size.guest_lines) == (1, 3, 2, 3)
    assert (size.longest_history, size.longest_basket) == (3, 2)
    assert size.buyers == {DAY - 9: 0, DAY: 3}


def test_a_sample_is_of_complete_users_and_always_the_same(spark: SparkSession) -> None:
    lines = frame(spark, history()).persist()
    size, budget = shop_size(lines), SampleBudget(users=15)
    some = sampled(lines, size, budget).collect()
    assert sorted(map(repr, some)) == sorted(map(repr, sampled(lines.repartition(3), size, budget).collect()))
    users = {row.user_id for row in some} - {None}
    assert 0 < len(users) < 30
    complete = [row for row in lines.collect() if row.user_id in users]
    assert len([row for row in some if row.user_id is not None]) == len(complete)
    assert sampled(lines, size, SampleBudget(users=30)) is lines


def test_a_robot_and_a_huge_basket_are_cut_to_the_newest_lines_and_to_a_draw_of_items(spark: SparkSession) -> None:
    robot = [("bot", f"i{n}", date_of(DAY - 1 - n % 50), f"b{n}", 1.0, date_of(DAY - 1), None) for n in range(3_000)]
    basket = [(None, f"i{n}", date_of(DAY - 1), "huge", 1.0, date_of(DAY - 1), None) for n in range(400)]
    lines = frame(spark, robot + basket).persist()
    some = sampled(lines, shop_size(lines), SampleBudget(lines_per_user=600, lines_per_basket=40)).toPandas()
    of_robot, of_basket = some[some["user_id"] == "bot"], some[some["basket_id"] == "huge"]
    assert (len(of_robot), len(of_basket)) == (600, 40)
    assert of_robot["event_date"].min() == date_of(DAY - 10)
    assert len(set(of_basket["item_id"])) == 40
    assert of_basket["item_id"].str[1:].astype(int).median() == pytest.approx(200, abs=80), "no end of the basket"


def test_what_the_driver_holds_of_a_guest_heavy_shop_is_bounded(rows: Rows) -> None:
    """100 users with 5,000 lines, and 30,000 baskets of guests, one of them with 5,000."""
    budget = SampleBudget(users=80, lines=600, guest_baskets=300, lines_per_user=400, lines_per_basket=4)
    day = date_of(DAY - 1)
    some = rows(silver.EVENTS, {"event_type": "purchase", "event_date": day, "run_date": day, "quantity": 1})
    number = F.col("id")
    events = (
        some.drop("event_id", "user_id", "basket_id", "item_id")
        .crossJoin(some.sparkSession.range(40_000))
        .withColumn("event_id", number.cast("string"))
        .withColumn("user_id", F.when(number < 5_000, F.concat(F.lit("u"), F.pmod(number, F.lit(100)))))
        .withColumn("basket_id", F.concat(F.lit("b"), F.least(number, F.lit(35_000)).cast("string")))
        .withColumn("item_id", F.concat(F.lit("i"), F.pmod(number, F.lit(40))))
        .select(some.columns)
    )
    items = rows(silver.ITEMS, *({"item_id": f"i{code}"} for code in range(40)))
    shop = collect(events, items, budget, run_of(day).deployment, day, [DAY])
    lines = shop.interactions
    guests = lines.part(lines.user < 0)
    assert 0 < len(np.unique(guests.basket)) <= 1.2 * budget.guest_baskets
    assert np.bincount(guests.basket).max() <= budget.lines_per_basket
    assert 0 < len(lines.known()) <= 1.5 * budget.lines
    assert np.bincount(lines.known().user).max() <= budget.lines_per_user
    assert sum(getattr(lines, name).nbytes for name in ("user", "item", "day", "basket", "quantity")) <= budget.bytes
    assert shop.counts[DAY].column("buyers").sum() > 30_000, "counts are of everybody"
