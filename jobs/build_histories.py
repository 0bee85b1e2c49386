"""Purchases into one text per user: what they bought, most recent first, which the encoder reads."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import launch
from jobs.purchases import purchases
from jobs.top_n import top_n

SEPARATOR = "; "


def build_histories(events: DataFrame, items: DataFrame, *, run_date: dt.date, max_items: int = 16) -> DataFrame:
    """features.user_histories: one row per user with at least one purchase up to run_date.

    The history names the `max_items` items bought last, each once; the encoder cuts what is over its token budget,
    so that the oldest go first.
    """
    bought = purchases(events).where("user_id IS NOT NULL")
    totals = bought.groupBy("user_id").agg(
        F.count("*").alias("purchase_count"), F.max("event_date").alias("last_purchase_date")
    )
    texts = history_texts(bought, items, ["user_id"], max_items)
    return texts.join(totals, "user_id", "inner").select(
        F.lit(run_date).alias("run_date"), "user_id", "history", "item_count", "purchase_count", "last_purchase_date"
    )


def history_texts(bought: DataFrame, items: DataFrame, per: list[str], max_items: int) -> DataFrame:
    """`per` columns, history, item_count: the titles of the items each group bought last, most recent first.

    On one day the item bought more often comes first, then by item_id. An item without a title is named by its id.
    Titles are shorter than the items' own texts: more of them fit into the encoder's token budget.
    """
    last = bought.groupBy(*per, "item_id").agg(F.max("event_date").alias("on"), F.count("*").alias("times"))
    recent = top_n(last, per, [F.desc("on"), F.desc("times"), "item_id"], max_items, rank="place")
    named = recent.join(items.select("item_id", "title"), "item_id", "left").select(
        *per, F.struct("place", F.lower(F.coalesce("title", "item_id")).alias("text")).alias("entry")
    )
    listed = named.groupBy(*per).agg(F.sort_array(F.collect_list("entry")).alias("entries"))
    return listed.select(
        *per,
        F.array_join(F.col("entries.text"), SEPARATOR).alias("history"),
        F.size("entries").alias("item_count"),
    )


if __name__ == "__main__":
    launch.main("build_histories")
