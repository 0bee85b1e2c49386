"""Searches of the log by query: how often, by how many users, and what was shown, clicked and bought after them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.held import held
from schemas.deployment import Deployment
from udfs.search.words import normalised, query_key

LATELY_DAYS, LABEL_DAYS = 28, 90  # of what is counted as of late; of what is learned from
FORMS = "raw STRING, query STRING, query_key STRING"
LABELS = ("shown", "clicks", "carts", "purchases")
_TYPES = dict(zip(LABELS, ("impression", "click", "add_to_cart", "purchase"), strict=True))


def has_log(deployment: Deployment) -> bool:
    """Whether a source of the deployment has queries."""
    return deployment.maps("events", "query")


def normal_forms(raw: DataFrame, language: str) -> DataFrame:
    """FORMS of different queries (raw); without those that have no sign to be seen."""

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            texts = batch.column("raw").to_pylist()
            queries = [normalised(text) for text in texts]
            keys = [query_key(query, language) or query for query in queries]  # of signs alone: as they are
            yield pa.RecordBatch.from_pydict({"raw": texts, "query": queries, "query_key": keys})

    return raw.mapInArrow(read, FORMS).where("query <> ''")


def user() -> Column:
    """Who searched: the user, else the visit; guests without one count once a day."""
    return F.coalesce("user_id", "session_id", F.concat(F.lit("\0"), F.col("event_date").cast("string")))


def with_forms(events: DataFrame, language: str) -> DataFrame:
    """Events with a query, with its normal form as `query` and its key."""
    asked = events.where("query IS NOT NULL").withColumnRenamed("query", "raw")
    return asked.join(held(normal_forms(asked.select("raw").distinct(), language)), "raw", "inner")


def counted(asked: DataFrame, run_date: dt.date) -> DataFrame:
    """query_key, query (the commonest form), searches_28, users_28, first_on of the queries of the last 28 days."""
    searches = asked.where("event_type = 'search'")
    lately = F.col("event_date") > F.lit(run_date - dt.timedelta(days=LATELY_DAYS))
    by_key = searches.groupBy("query_key").agg(
        F.count_if(lately).alias("searches_28"),
        F.count_distinct(F.when(lately, user())).alias("users_28"),
        F.min("event_date").alias("first_on"),
    )
    return by_key.where("searches_28 > 0").join(commonest_forms(searches.where(lately)), "query_key", "inner")


def commonest_forms(asked: DataFrame) -> DataFrame:
    """query_key, query: the form of each query that most users have."""
    forms = asked.groupBy("query_key", "query").agg(F.count_distinct(user()).alias("users"))
    return forms.groupBy("query_key").agg(F.max_by("query", F.struct("users", "query")).alias("query"))


def labels(asked: DataFrame, run_date: dt.date) -> DataFrame:
    """query_key, item_id, LABELS, examined, relevance, from the last LABEL_DAYS days of the log.

    An impression is examined with the probability 1 over its position (the position-based model), so that a high
    place alone makes nothing relevant. relevance: clicks, carts (2) and purchases (3) over examined.
    """
    since = F.lit(run_date - dt.timedelta(days=LABEL_DAYS))
    named = asked.where((F.col("event_date") > since) & F.col("item_id").isNotNull())
    of_type = {name: F.col("event_type") == of for name, of in _TYPES.items()}
    counts = [F.count_if(condition).alias(name) for name, condition in of_type.items()]
    looked_at = F.sum(F.when(of_type["shown"], 1 / F.coalesce("position", F.lit(1)))).alias("examined")
    worth = F.col("clicks") + 2 * F.col("carts") + 3 * F.col("purchases")
    by_item = named.groupBy("query_key", "item_id").agg(*counts, looked_at)
    return by_item.withColumn("relevance", worth / F.nullif("examined", F.lit(0.0)))
