"""Purchases as every job after the intake sees them."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.sample import drawn

EVERYWHERE = "all"
LINES = ("user_id", "item_id", "event_date", "basket_id", "quantity")


def purchases(events: DataFrame) -> DataFrame:
    """Purchase events: run_date, user_id (null for a guest), item_id, event_date, basket_id (as `basket` tells it),
    location_id, quantity, unit_price.
    """
    return events.where("event_type = 'purchase'").select(
        *("run_date", "user_id", "item_id", "event_date"), basket(), "location_id", "quantity", "unit_price"
    )


def basket() -> Column:
    """What was bought together: a location's, day's and user's lines with one basket_id; receipts are numbered anew.

    Without a basket_id in the log, what one user bought there on one day is one; a guest's every line is.
    """
    line = F.when(F.col("user_id").isNull(), F.col("event_id"))
    place = [F.coalesce(name, F.lit("")) for name in ("location_id", "user_id")]
    return F.concat_ws("\0", *place, F.col("event_date").cast("string"), F.coalesce("basket_id", line)).alias(
        "basket_id"
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
    """LINES of every purchase of an item in tonight's catalogue: one sold lately may since have been refused.

    Quantities are doubles: models read them as such, and a decimal would be a Python object there.
    """
    bought = purchases(events).withColumn("quantity", F.col("quantity").cast("double"))
    return bought.join(items.select("item_id"), "item_id", "left_semi").select(*LINES)


def sampled(lines: DataFrame, users: int, max_users: int) -> DataFrame:
    """Lines of at most about `max_users` of the `users`, the same ones every time, and as large a share of guests."""
    return drawn(lines, F.coalesce("user_id", "basket_id"), max_users, users, "sample")
