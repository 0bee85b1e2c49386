"""Counts of queries by user and day for trends: all, those without a result, and misspelt ones."""

from __future__ import annotations

import datetime as dt
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms import searches

OF_QUERY = ("zero_result_share", "click_share", "purchase_share")


def searched(asked: DataFrame, queries: DataFrame) -> DataFrame:
    """kind, key, event_date, buyer (64 bits), each once: who searched for what on which day.

    key is the query's commonest form.

    asked: searches.with_forms; queries: features.queries, which says what is misspelt.
    """
    searches_ = _named(asked).where("event_type = 'search'")
    wrong = queries.where("correction <> 'none'").select("query_key", F.lit(True).alias("misspelt"))
    marked = searches_.join(wrong, "query_key", "left")
    kinds = {
        "query": F.lit(True),
        "zero_result": F.col("result_count") == 0,
        "misspelling": F.col("misspelt"),
    }
    buyer = F.xxhash64(searches.user()).alias("buyer")
    parts = [
        marked.where(condition).select(F.lit(kind).alias("kind"), "key", "event_date", buyer)
        for kind, condition in kinds.items()
    ]
    return reduce(DataFrame.unionByName, parts).distinct()


def shares(asked: DataFrame, run_date: dt.date, days: int) -> DataFrame:
    """key, OF_QUERY on the last `days` days: of users and days with a search, those without a result, with a click, and
    with a cart or a purchase after it.
    """
    lately = _named(asked).where(F.col("event_date") > F.lit(run_date - dt.timedelta(days=days)))

    def met(condition: Column) -> Column:
        return F.max(F.coalesce(condition, F.lit(False)))

    visits = lately.groupBy("key", searches.user().alias("user"), "event_date").agg(
        met(F.col("event_type") == "search").alias("searched"),
        met(F.col("result_count") == 0).alias("zero_result_share"),
        met(F.col("event_type") == "click").alias("click_share"),
        met(F.col("event_type").isin("add_to_cart", "purchase")).alias("purchase_share"),
    )
    means = [F.round(F.avg(F.col(name).cast("double")), 4).alias(name) for name in OF_QUERY]
    return visits.where("searched").groupBy("key").agg(*means)


def action() -> Column:
    """What to do about a query that rises; null for a fall and for what is bought."""
    return (
        F.when(F.col("direction") != "rising", F.lit(None).cast("string"))
        .when(F.col("kind") == "zero_result", "add items or words")
        .when(F.col("kind") == "misspelling", "check the correction")
        .when((F.col("kind") == "query") & (F.col("zero_result_share") >= 0.5), "add items or words")
        .when((F.col("kind") == "query") & (F.col("click_share") < 0.1), "check the results")
        .when(F.col("kind") == "query", "show it")
    )


def _named(asked: DataFrame) -> DataFrame:
    """The events with `key`, the commonest form of their query among users."""
    return asked.join(searches.commonest_forms(asked).withColumnRenamed("query", "key"), "query_key", "inner")
