"""What lists may show: items that can be bought, and few variants of one product."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.blocked import without_blocked
from jobs.transforms.catalogue import active
from schemas.deployment import Deployment
from schemas.errors import DataError

MAX_AGE_DAYS = 7  # of a snapshot of stock, where max_age_days of plan_stock is not set
PRODUCT = "_product"


def offered(
    deployment: Deployment,
    items: DataFrame,
    stock: DataFrame,
    blocked: DataFrame,
    run_date: dt.date,
    exclude: str | None = None,
) -> DataFrame:
    """Rows of silver.items that lists may show: active, not excluded, not blocked, and in stock as far as is known.

    `exclude` (SQL, "" for none) is that of [jobs.rank_recommendations] unless it is given. Stock counts as [lists] of
    the deployment says (schemas/lists.py); a snapshot that is too old for plan_stock says nothing. PRODUCT is added
    where the deployment names the products of variants: equal for the variants of one product.
    """
    rule = deployment.jobs.get("rank_recommendations", {}).get("exclude", "") if exclude is None else exclude
    allowed = without_blocked(deployment, active(items), blocked)
    rows = allowed.where(~F.coalesce(F.expr(str(rule) or "false"), F.lit(False)))
    return with_product(deployment, _in_stock(deployment, rows, stock, run_date))


def with_product(deployment: Deployment, items: DataFrame) -> DataFrame:
    """silver.items with PRODUCT, equal for variants of one product alone; as it is where the deployment has none."""
    if not deployment.product_sql:
        return items
    product = F.expr(deployment.product_sql).cast("string")
    alone = F.when(product.isNull(), F.col("item_id"))
    # A struct: an item named like a product is not one of its variants.
    return items.withColumn(PRODUCT, F.struct(product.alias("product_id"), alone.alias("item_id")))


def few_variants(
    frame: DataFrame, per: Sequence[str], order: Sequence[Column | str], most: int, stays: Column | None = None
) -> DataFrame:
    """The first `most` rows of each PRODUCT in `order` within a group, and all rows for which `stays` is true.

    Those come first in the order, so they leave fewer places to others. Without PRODUCT the frame as it is.
    """
    if PRODUCT not in frame.columns:
        return frame
    kept = F.lit(False) if stays is None else stays
    window = Window.partitionBy(*per, PRODUCT).orderBy(F.desc(kept), *order)
    placed = frame.withColumn("_place", F.row_number().over(window))
    return placed.where((F.col("_place") <= most) | kept).drop("_place")


def _in_stock(deployment: Deployment, items: DataFrame, stock: DataFrame, run_date: dt.date) -> DataFrame:
    """The items of which some location that counts has units on hand, and, if they are to be shown, unknown ones."""
    rules = deployment.lists
    if not rules.in_stock or not deployment.of_kind("stock"):
        return items
    age = deployment.jobs.get("plan_stock", {}).get("max_age_days", MAX_AGE_DAYS)
    fresh = stock.where(F.col("snapshot_date") >= F.lit(run_date - dt.timedelta(days=age)))
    counts = F.col("location_id").isin(rules.stock_locations) if rules.stock_locations else F.lit(True)
    by_item = fresh.groupBy("item_id").agg(F.bool_or((F.col("on_hand") > 0) & counts).alias("on_hand"))
    hides = rules.without_stock_rows == "hide"
    if (hides or rules.stock_locations) and not fresh.where(counts).take(1):  # stock says nothing
        _refuse_unknown_locations(stock, rules.stock_locations)
        return items
    if hides:
        return items.join(by_item.where("on_hand"), "item_id", "left_semi")
    return items.join(by_item.where("NOT on_hand"), "item_id", "left_anti")


def _refuse_unknown_locations(stock: DataFrame, locations: Sequence[str]) -> None:
    """DataError where silver.stock has rows, and none of these locations."""
    other = stock.select("location_id").first()
    if locations and other and not stock.where(F.col("location_id").isin(list(locations))).take(1):
        raise DataError(
            f"silver.stock has no row of [lists] stock_locations = {list(locations)}; "
            f"its locations are like {other['location_id']!r}"
        )
