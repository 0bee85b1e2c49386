"""What the demand model reads: daily sales, promoted weeks, holidays, and blocks of them."""

from __future__ import annotations

import datetime as dt

import pandas as pd
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.purchases import location, purchase_history, within
from jobs.transforms.top_n import top_n
from schemas.contract import QUANTITY
from schemas.deployment import Deployment
from udfs.days import NEVER, day_number
from udfs.demand.block import HISTORY_DAYS, WEEK, Block
from udfs.demand.day_shares import Holiday

SALES = ("location_id", "item_id", "day", "units", "known", "undone")


def holidays_of(deployment: Deployment) -> list[Holiday]:
    """The deployment's holidays as udfs/demand/day_shares.py has them."""
    return [Holiday(day_number(holiday.date), holiday.name, holiday.closed) for holiday in deployment.holidays]


def daily_sales(
    events: DataFrame, items: DataFrame, run_date: dt.date, deployment: Deployment, by_location: bool = True
) -> DataFrame:
    """SALES and category: units bought of items still in the catalogue, with the days that bound what past runs knew.

    One row per location, item, sale day, `known` (the day from which the sale was known) and `undone` (the day from
    which its return or replacement was; NEVER: neither).
    """
    bought = within(purchase_history(events, deployment), run_date, 2 * HISTORY_DAYS + 1)
    undone = F.coalesce(F.unix_date("undone_on"), F.lit(NEVER)).alias("undone")
    when = (F.unix_date("event_date").alias("day"), F.unix_date("run_date").alias("known"), undone)
    daily = bought.groupBy(location(by_location), "item_id", *when).agg(F.sum("quantity").alias("units"))
    typed = daily.withColumn("units", F.col("units").cast("double"))
    return typed.join(items.select("item_id", "category"), "item_id", "inner").select(*SALES, "category")


def promoted_weeks(promotions: DataFrame, run_date: dt.date) -> DataFrame:
    """location_id (null: everywhere), item_id, day, known, undone, mailer, display: a row per week of a begun plan.

    Weeks are counted from the plan's first day; `day` is the first day of each, up to run_date. Of a plan that arrived
    several times, each version holds from the day it was known to the day of the next (NEVER: there is none).
    """
    begun = promotions.where(F.col("starts_on") <= F.lit(run_date))
    plan = ["location_id", "item_id", "starts_on"]
    of_a_day = top_n(begun, [*plan, "run_date"], ["source_file", "source_row"], 1)
    again = F.lead("run_date").over(Window.partitionBy(*plan).orderBy("run_date"))
    last = F.least("ends_on", F.lit(run_date))
    return of_a_day.withColumn("again", again).select(
        "location_id",
        "item_id",
        F.unix_date("run_date").alias("known"),
        F.coalesce(F.unix_date("again"), F.lit(NEVER)).alias("undone"),
        F.explode(F.sequence(F.unix_date("starts_on"), F.unix_date(last), F.lit(WEEK))).alias("day"),
        F.col("mailer").isNotNull().alias("mailer"),
        F.col("display").isNotNull().alias("display"),
    )


def shop_totals(sales: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Totals of the complete shop for Shop.of: one row per category or location, day, known and undone.

    Sums are of decimals: those of doubles depend on the order of the rows, and some units are fractions.
    """
    when, units = ("day", "known", "undone"), F.sum(F.col("units").cast(QUANTITY)).cast("double").alias("units")
    by_category, by_location = (
        sales.groupBy(F.coalesce(name, F.lit("")).alias(name), *when).agg(units) for name in ("category", "location_id")
    )
    return by_category, by_location


def block_of(lines: pd.DataFrame, promotions: pd.DataFrame) -> Block:
    """The block of rows of `daily_sales` and `promoted_weeks`; a promotion everywhere holds where the item is sold."""
    of_items = lines[["item_id", "category"]].drop_duplicates("item_id")
    if not len(promotions):
        return Block.of(lines[list(SALES)], of_items)
    everywhere = promotions[promotions["location_id"].isna()].drop(columns="location_id")
    sold_in = lines[["item_id", "location_id"]].drop_duplicates()
    promotions = pd.concat(
        [promotions[promotions["location_id"].notna()], everywhere.merge(sold_in, "inner", "item_id")]
    )
    return Block.of(lines[list(SALES)], of_items, promotions=promotions)
