"""Purchases as every job after the intake sees them."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.sample import drawn

EVERYWHERE = "all"
LINES = ("user_id", "item_id", "event_date", "basket_id", "quantity")


def purchases(events: DataFrame) -> DataFrame:
    """Purchase events: run_date, user_id (null for a guest), item_id, event_date, basket_id, location_id, quantity.

    Without a basket in the log, what one user bought on one day is one; a guest's every line is.
    """
    users_day = F.concat("user_id", F.lit("|"), F.col("event_date").cast("string"))  # null for a guest
    basket = F.coalesce("basket_id", users_day, "event_id")
    return events.where("event_type = 'purchase'").select(
        "run_date", "user_id", "item_id", "event_date", basket.alias("basket_id"), "location_id", "quantity"
    )


def location(by_location: bool) -> Column:
    """Where something was bought, as forecasts and stock call it: 'all' where the log does not say.

    Without `by_location` it is 'all' everywhere: the shop's locations are not where its stock is.
    """
    everywhere = F.lit(EVERYWHERE)
    return (F.coalesce("location_id", everywhere) if by_location else everywhere).alias("location_id")


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


def active_items(bought: DataFrame, run_date: dt.date, days: int) -> DataFrame:
    """item_id of every item sold on the last `days` days: what can be recommended."""
    return within(bought, run_date, days).select("item_id").distinct()


def known_purchases(events: DataFrame, items: DataFrame) -> DataFrame:
    """LINES of every purchase of an item in tonight's catalogue: one sold lately may since have been refused."""
    return purchases(events).join(items.select("item_id"), "item_id", "left_semi").select(*LINES)


def sampled(lines: DataFrame, users: int, max_users: int) -> DataFrame:
    """Lines of at most about `max_users` of the `users`, the same ones every time, and as large a share of guests."""
    return drawn(lines, F.coalesce("user_id", "basket_id"), max_users, users, "sample")
