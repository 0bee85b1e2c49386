"""Counts of what everybody did with each item, as of one day or several: never of a sample."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.purchases import buyer
from udfs.days import date_of
from udfs.horizon import HABIT_DAYS
from udfs.recommend.item_statistics import COUNTS, MILLION

WINDOWS = {"buyers_7": (1, 7), "buyers_28": (1, 28), "buyers_56": (29, 56), "buyers_84": (1, 84)}


def known_by(lines: DataFrame, day: int) -> Column:
    """Whether the run before `day` saw a line: not older than HABIT_DAYS, known by then, and not returned by then.

    Lines without known_on (jobs.transforms.purchases.LINES) are those that the run before `day` saw.
    """
    at = F.lit(date_of(day))
    since = F.col("event_date") >= F.lit(date_of(day - HABIT_DAYS))
    if "known_on" not in lines.columns:
        return since
    return since & (F.col("known_on") < at) & F.coalesce(F.col("undone_on") >= at, F.lit(True))


def item_counts(lines: DataFrame, days: Sequence[int]) -> DataFrame:
    """day, item_id, COUNTS: of each item that the run before `day` had seen sold, for all days in one pass.

    lines: as `known_purchases` (for one day) or `known_history` gives them; udfs.recommend.item_statistics.count_items
    has the same in arrays.
    """
    seen_by = F.array_compact(F.array(*(F.when(known_by(lines, day), F.lit(day)) for day in days)))
    seen = lines.select(
        "item_id", buyer(), F.unix_date("event_date").alias("on"), "quantity", F.explode(seen_by).alias("day")
    )
    seen = seen.repartition("day", "item_id")  # one exchange for all three aggregates
    of_days = seen.groupBy("day", "item_id", "buyer", "on").agg(F.sum("quantity").alias("units"))
    age = F.col("day") - F.col("on")
    within = [F.max(age.between(first, last).cast("int")).alias(name) for name, (first, last) in WINDOWS.items()]
    units = F.round(F.log1p("units") * F.lit(MILLION)).cast("bigint")  # whole numbers: their sum has no order
    of_buyers = of_days.groupBy("day", "item_id", "buyer").agg(
        *within,
        F.min("on").alias("first_day"),
        F.max("on").alias("last_day"),
        F.count(F.lit(1)).alias("days"),
        F.sum(units).alias("log_units"),
    )
    known = F.col("buyer.user_id").isNotNull()

    def of_known(value: Column) -> Column:
        return F.coalesce(F.sum(F.when(known, value)), F.lit(0))

    columns = {name: F.sum(name) for name in WINDOWS} | {
        "buyers": F.count(F.lit(1)),
        "first_day": F.min("first_day"),
        "last_day": F.max("last_day"),
        "known_buyers": F.count_if(known),
        "repeaters": F.count_if(known & (F.col("days") > 1)),
        "gaps": of_known(F.col("days") - 1),
        "gap_days": of_known(F.col("last_day") - F.col("first_day")),
        "log_units": of_known(F.col("log_units")),
    }
    counted = [columns[name].cast("bigint").alias(name) for name in COUNTS]
    return of_buyers.groupBy("day", "item_id").agg(*counted)
