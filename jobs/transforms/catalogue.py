"""Catalogue checks of the items that records name: in the catalogue, or why the item was rejected there."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.reasons import because, only
from schemas.contract import PARTITION
from schemas.deployment import Deployment
from schemas.reason_codes import ITEM_CODES, ITEM_REFUSED, ITEM_UNLISTED
from udfs.catalogue import ATTRIBUTES, LISTING


def is_of_item(code: str) -> bool:
    """Whether a reason, by its code, is that the record's item is not a sound item of the catalogue."""
    return code in ITEM_CODES


Catalogue = tuple[DataFrame, DataFrame]  # silver.items and silver.rejected_items


def catalogue_of(deployment: Deployment, items: DataFrame, rejected_items: DataFrame) -> Catalogue | None:
    """What the items that records name are held against; None where the deployment has no source of items."""
    return (items, rejected_items) if deployment.of_kind("items") else None


def listed(deployment: Deployment, items: DataFrame, events: DataFrame) -> DataFrame:
    """silver.items; where the deployment has no source of items, those that events name, with nothing but item_id."""
    if deployment.of_kind("items"):
        return items
    unknown = [F.lit(None).cast(kind).alias(name) for name, kind in items.dtypes if name != "item_id"]
    named = events.where("item_id IS NOT NULL").select("item_id").distinct()
    return named.select("item_id", *unknown).select(*items.columns)


def active(items: DataFrame) -> DataFrame:
    """Those of silver.items that may be recommended, ordered and forecast: listed still, in stock, not switched off."""
    return items.where(F.coalesce("active", F.lit(True)))


def with_item_verdict(records: DataFrame, catalogue: Catalogue | None) -> DataFrame:
    """`_item_reasons`: empty where the item is sound, else why it is not one. Without a catalogue every item is."""
    if catalogue is None:
        return records.withColumn("_item_reasons", only())
    items, rejected_items = catalogue
    refused = (
        rejected_items.where("item_id IS NOT NULL")
        .join(items, "item_id", "left_anti")
        .groupBy("item_id")
        .agg(F.min(F.array_join("reasons", ", ")).alias("_why"))
    )
    verdicts = (
        items.select("item_id", F.lit(None).cast("string").alias("_why"))
        .unionByName(refused)
        .withColumn("_listed", F.lit(True))
    )
    reason = (
        F.when(F.col("item_id").isNull(), only())
        .when(F.col("_listed").isNull(), only(because(ITEM_UNLISTED)))
        .when(F.col("_why").isNotNull(), only(because(ITEM_REFUSED, F.col("_why"))))
        .otherwise(only())
    )
    joined = records.join(verdicts, "item_id", "left")
    return joined.withColumn("_item_reasons", reason).drop("_why", "_listed")


def days_of_items_listed_since(rejected: DataFrame, items: DataFrame) -> DataFrame:
    """run_date of each day with a record that was rejected for its item, which is in the catalogue by now.

    A row without codes, written by an earlier version, may have been rejected for that.
    """
    for_its_item = F.coalesce(F.exists("codes", lambda code: code.isin(*sorted(ITEM_CODES))), F.lit(True))
    return rejected.where(for_its_item).join(items, "item_id", "left_semi").select(PARTITION).distinct()


def described(items: DataFrame, item_vectors: DataFrame) -> DataFrame:
    """item_id, ATTRIBUTES, LISTING, vector (null without one): what udfs.catalogue.catalogue_of reads."""
    columns = items.select("item_id", *ATTRIBUTES, *LISTING)
    return columns.join(item_vectors.select("item_id", "vector"), "item_id", "left")
