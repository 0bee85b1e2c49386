"""Purchases as the generators and the ranker see them; all sums are of whole numbers, so order does not matter."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# A weight of 1 in fixed point: a sum of integers is the same in whatever order Spark adds, a sum of doubles is not.
ONE = 1_000_000


def purchases(events: DataFrame) -> DataFrame:
    """Purchase events: run_date, user_id (null for a guest), item_id, event_date, basket_id, location_id.

    Without a basket in the log, what one user bought on one day is one; a guest's every line is.
    """
    users_day = F.concat("user_id", F.lit("|"), F.col("event_date").cast("string"))  # null for a guest
    basket = F.coalesce("basket_id", users_day, "event_id")
    return events.where("event_type = 'purchase'").select(
        "run_date", "user_id", "item_id", "event_date", basket.alias("basket_id"), "location_id"
    )


def buyer() -> Column:
    """Who bought: the user, or for a guest the basket. A struct: a basket named like a user is another buyer."""
    guest = F.when(F.col("user_id").isNull(), F.col("basket_id")).alias("guest_basket_id")
    return F.struct("user_id", guest).alias("buyer")


def within(bought: DataFrame, run_date: dt.date, days: int) -> DataFrame:
    """What was bought on the last `days` days up to run_date.

    No event is dated after its file, so older partitions hold none of them and are not read.
    """
    before = F.lit(run_date - dt.timedelta(days=days))
    return bought.where((F.col("event_date") > before) & (F.col("run_date") > before))


def decay(run_date: dt.date, half_life_days: float) -> Column:
    """The weight of an event in fixed point (bigint): ONE on run_date, half of it every `half_life_days`."""
    age = F.datediff(F.lit(run_date), "event_date")
    return F.round(ONE * F.pow(F.lit(0.5), age / F.lit(half_life_days))).cast("bigint")


def active_items(bought: DataFrame, run_date: dt.date, days: int) -> DataFrame:
    """item_id of every item sold on the last `days` days: what can be recommended."""
    return within(bought, run_date, days).select("item_id").distinct()


def item_buyers(bought: DataFrame, run_date: dt.date, days: int) -> DataFrame:
    """item_id, buyers: how many users (a guest's basket is one) bought it on the last `days` days."""
    return within(bought, run_date, days).groupBy("item_id").agg(F.count_distinct(buyer()).alias("buyers"))
