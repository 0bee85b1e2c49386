"""Purchases as every job after the intake sees them."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.orders import with_replaced
from jobs.transforms.returns import LINE, undone_units
from schemas.deployment import Deployment

EVERYWHERE = "all"
LINES = ("user_id", "item_id", "event_date", "basket_id", "quantity")
COLUMNS = (
    *("run_date", "event_id", "occurred_at", "user_id", "item_id", "event_date"),
    *("basket_id", "location_id", "quantity", "unit_price"),
)


def purchases(events: DataFrame, deployment: Deployment) -> DataFrame:
    """COLUMNS of purchases not returned: `quantity` is the rest of a line after returns, user_id null for a guest.

    basket_id is that of `basket`. Returns undo what was bought at most `returns_within_days` days before
    (jobs/transforms/returns.py). Of an order that was written several times the last version counts
    (jobs/transforms/orders.py).
    """
    current = with_replaced(events, deployment).where("replaced_on IS NULL")
    pieces = undone_units(current, deployment.returns_within_days)
    undone = pieces.groupBy(*LINE).agg(F.sum("units").alias("undone"))
    lines = _bought(current).join(F.broadcast(undone), list(LINE), "left").where("undone IS NULL OR quantity > undone")
    left = (F.col("quantity") - F.coalesce("undone", F.lit(0))).cast(events.schema["quantity"].dataType)
    return lines.withColumn("quantity", left).select(*COLUMNS)


def purchase_history(events: DataFrame, deployment: Deployment) -> DataFrame:
    """COLUMNS and undone_on of all purchases, returned ones too; undone_on is null for units still sold.

    A partly returned line becomes several rows. The run of a date knew the rows with a run_date up to it and no
    undone_on up to it: their units are those of `purchases` for the events known then.
    """
    known, units = with_replaced(events, deployment), events.schema["quantity"].dataType
    pieces = undone_units(known.where("replaced_on IS NULL"), deployment.returns_within_days)
    undone = pieces.groupBy(*LINE).agg(F.collect_list(F.struct("units", "undone_on")).alias("undone"))
    none = F.array().cast(f"array<struct<units: {units.simpleString()}, undone_on: date>>")
    returned = F.coalesce("undone", none)
    total = F.aggregate(returned, F.lit(0).cast(units), lambda sum_, piece: (sum_ + piece["units"]).cast(units))
    left = (F.col("quantity") - total).cast(units)
    remaining = F.array(F.struct(left.alias("units"), F.col("replaced_on").alias("undone_on")))
    parts = F.filter(F.concat(remaining, returned), lambda part: F.coalesce(part["units"] > 0, F.lit(True)))
    lines = _bought(known).join(F.broadcast(undone), list(LINE), "left").withColumn("part", F.explode(parts))
    return lines.withColumn("quantity", F.col("part.units")).select(*COLUMNS, "part.undone_on")


def _bought(events: DataFrame) -> DataFrame:
    """COLUMNS and replaced_on of purchase events."""
    return events.where("event_type = 'purchase'").withColumn("basket_id", basket()).select(*COLUMNS, "replaced_on")


def basket() -> Column:
    """What was bought together: a location's, day's and user's lines with one basket_id; receipts are numbered anew.

    Without a basket_id in the log, a user's lines there on one day are one basket; each line of a guest is its own.
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


def of_catalogue(bought: DataFrame, items: DataFrame) -> DataFrame:
    """Purchases of items in the run's catalogue: an item sold lately may since have been rejected.

    Quantities are doubles, as models read them; a decimal would be a Python object in pandas.
    """
    typed = bought.withColumn("quantity", F.col("quantity").cast("double"))
    return typed.join(items.select("item_id"), "item_id", "left_semi")


def known_purchases(events: DataFrame, items: DataFrame, deployment: Deployment) -> DataFrame:
    """LINES of every purchase of an item in the run's catalogue."""
    return of_catalogue(purchases(events, deployment), items).select(*LINES)


def known_history(events: DataFrame, items: DataFrame, deployment: Deployment) -> DataFrame:
    """The same of `purchase_history`, with known_on and undone_on: the input of past runs."""
    bought = of_catalogue(purchase_history(events, deployment), items)
    return bought.select(*LINES, F.col("run_date").alias("known_on"), "undone_on")
