"""Blocked items: [[blocked]] of the deployment, and the list of a source of kind blocked."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.blocked import blocked_sql
from schemas.deployment import Deployment


def without_blocked(deployment: Deployment, items: DataFrame, blocked: DataFrame) -> DataFrame:
    """The rows of silver.items that lists may show. blocked: silver.blocked, empty without such a source."""
    if deployment.blocked:
        items = items.where(~F.expr(blocked_sql(deployment.blocked)))
    if deployment.of_kind("blocked"):
        items = items.join(blocked.select("item_id"), "item_id", "left_anti")
    return items


def blocked_items(deployment: Deployment, items: DataFrame, blocked: DataFrame) -> DataFrame:
    """item_id of each blocked item of silver.items, and of each of silver.blocked, known or not."""
    ids = items.where(blocked_sql(deployment.blocked)).select("item_id")
    return ids.unionByName(blocked.select("item_id")).distinct() if deployment.of_kind("blocked") else ids


def without_blocked_reasons(
    deployment: Deployment, candidates: DataFrame, items: DataFrame, blocked: DataFrame
) -> DataFrame:
    """features.candidates, whose reason_item_id is null where it is blocked: a sentence would show its title."""
    if not deployment.blocks:
        return candidates
    named = blocked_items(deployment, items, blocked).select(
        F.col("item_id").alias("reason_item_id"), F.lit(True).alias("_hidden")
    )
    joined = candidates.join(named, "reason_item_id", "left")
    shown = F.when(F.col("_hidden").isNull(), F.col("reason_item_id"))
    return joined.withColumn("reason_item_id", shown).select(*candidates.columns)
