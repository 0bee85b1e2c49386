"""Whether the item that a record names is one: it stands in the catalogue, or why it was refused there."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.contract import PARTITION
from udfs.catalogue import ATTRIBUTES

UNLISTED = "item_id is not in the catalogue"
REFUSED = "item: "  # and why no record of the catalogue describes it


def is_of_item(reason: str) -> bool:
    """Whether a record was rejected for its item."""
    return reason == UNLISTED or reason.startswith(REFUSED)


def with_item_verdict(records: DataFrame, items: DataFrame, rejected_items: DataFrame) -> DataFrame:
    """`_item_reasons`: empty where the item is sound, else why it is not one."""
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
        F.when(F.col("item_id").isNull(), F.array())
        .when(F.col("_listed").isNull(), F.array(F.lit(UNLISTED)))
        .when(F.col("_why").isNotNull(), F.array(F.concat(F.lit(REFUSED), "_why")))
        .otherwise(F.array())
        .cast("array<string>")
    )
    joined = records.join(verdicts, "item_id", "left")
    return joined.withColumn("_item_reasons", reason).drop("_why", "_listed")


def days_of_items_listed_since(rejected: DataFrame, items: DataFrame) -> DataFrame:
    """run_date of each day with a record that was rejected for its item, which stands in the catalogue by now."""
    for_its_item = F.exists("reasons", lambda reason: (reason == UNLISTED) | reason.startswith(REFUSED))
    return rejected.where(for_its_item).join(items, "item_id", "left_semi").select(PARTITION).distinct()


def described(items: DataFrame, item_vectors: DataFrame) -> DataFrame:
    """item_id, ATTRIBUTES, described_on, vector (null without one): what udfs.recommend.scoring.catalogue reads."""
    told = items.select("item_id", *ATTRIBUTES, "described_on")
    return told.join(item_vectors.select("item_id", "vector"), "item_id", "left")
