"""Edges of features.relations that the catalogue gives: what each item is, read again only where it has changed."""

from __future__ import annotations

import hashlib

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms import arrow_rows
from schemas import relations as tables
from schemas.deployment import Deployment
from udfs.relations.entities import COLUMNS, READ, RULES, entities

EDGE = "subject STRING, relation STRING, object STRING, weight DOUBLE, support BIGINT, source STRING"
PARTS = 16  # tasks that share the categories


def catalogue_edges(items: DataFrame, relations: DataFrame, deployment: Deployment) -> DataFrame:
    """EDGE and catalogue_hash of all relations but in_category that columns and titles of silver.items give.

    relations: the newest features.relations; with columns, titles and rules unchanged its edges are taken again.
    """
    product = F.expr(deployment.product_sql).cast("string") if deployment.product_sql else F.lit(None).cast("string")
    read = items.withColumn("product_id", product).select(*READ)
    fingerprint = _fingerprint(read)
    known = relations.where(F.col("relation").isin(*tables.OF_CATALOGUE)).select("catalogue_hash").first()
    if known is not None and known["catalogue_hash"] == fingerprint:
        before = relations.where(F.col("catalogue_hash") == fingerprint)
        edges = before.where(F.col("relation").isin(*tables.OF_CATALOGUE)).select(*COLUMNS)
    else:
        part = F.pmod(F.xxhash64(F.coalesce("category", F.lit(""))), F.lit(PARTS))
        edges = read.groupBy(part.alias("part")).applyInArrow(_reader, EDGE)
    return edges.withColumn("catalogue_hash", F.lit(fingerprint))


def _reader(rows: pa.Table) -> pa.Table:
    return arrow_rows.table(entities(rows.select(list(READ)).to_pandas()), EDGE)


def _fingerprint(read: DataFrame) -> str:
    """Hash of all that the edges are read from."""
    row = F.xxhash64(*(F.coalesce(name, F.lit("\0")) for name in READ)).cast(
        "decimal(38,0)"
    )  # a sum has no order, and must not overflow
    digest = read.agg(F.concat_ws(" ", F.sum(row).cast("string"), F.count("*").cast("string"), F.lit(RULES)))
    return hashlib.md5(str(digest.collect()[0][0]).encode()).hexdigest()


def needs_of(items: DataFrame, edges: DataFrame) -> DataFrame:
    """item_id, need (its category; without one its type; null for neither) and source of every item.

    edges: `catalogue_edges`. A category is a name: one that names another as its parent, or a circle of such names, is
    followed nowhere.
    """
    types = edges.where("relation = 'of_type'").select(F.col("subject").alias("item_id"), F.col("object").alias("type"))
    source = F.when(F.col("category").isNotNull(), "catalogue").otherwise("text").alias("source")
    named = items.select("item_id", "category").join(types, "item_id", "left")
    return named.select("item_id", F.coalesce("category", "type").alias("need"), source)


def in_category(needs: DataFrame, counts: DataFrame) -> DataFrame:
    """EDGE: each item and its need (`needs_of`), with its share of the need's buyers; counts: item_id, buyers."""
    placed = needs.where("need IS NOT NULL").join(counts.select("item_id", "buyers"), "item_id", "left")
    buyers = placed.withColumn("support", F.coalesce("buyers", F.lit(0)).cast("bigint"))
    share = F.try_divide(F.col("support"), F.sum("support").over(Window.partitionBy("need")))
    return buyers.select(
        F.col("item_id").alias("subject"),
        F.lit(tables.NEED).alias("relation"),
        F.col("need").alias("object"),
        F.coalesce(share.cast("double"), F.lit(0.0)).alias("weight"),
        "support",
        "source",
    )
