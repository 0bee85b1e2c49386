"""Complaints about aspects by day, for trends: an aspect of which more reviews complain than of late falls."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.held import held
from jobs.transforms.purchases import within
from jobs.transforms.reviews import marked_copies, newest_reviews
from schemas.run import RunContext
from schemas.search import ASPECT
from udfs.sentiment.unknown import MOST

NEGATIVE = 0.5  # P(1 or 2 stars) from which a clause is a complaint


def read_lately(
    reviews: DataFrame, review_sentences: DataFrame, items: DataFrame, run: RunContext, days: int
) -> DataFrame:
    """event_date, buyer (the review), key ("size in Dresses"), p_negative: a row per clause and aspect of `days` days.

    key is null for a clause without an aspect. Copies of a text count once.
    """
    counted = marked_copies(newest_reviews(within(reviews, run.run_date, days), items)).where(~F.col("is_copy"))
    read = review_sentences.where(F.col("unknown_share") <= MOST).select("review_id", "aspects", "p_negative")
    buyer = F.xxhash64("review_id")
    named = counted.select("review_id", "event_date", "category").join(read, "review_id", "inner")
    exploded = named.withColumn("aspect", F.explode_outer("aspects"))
    key = F.concat("aspect", F.lit(" in "), "category")
    return held(exploded.select("event_date", buyer.alias("buyer"), key.alias("key"), "p_negative"))


def complaints(read: DataFrame) -> DataFrame:
    """kind, key, event_date, buyer, each once: which review complains of what."""
    negative = read.where(F.col("key").isNotNull() & (F.col("p_negative") >= NEGATIVE))
    return negative.select(F.lit(ASPECT).alias("kind"), "key", "event_date", "buyer").distinct()


def direction() -> Column:
    """The direction of a key's trend: an aspect falls as complaints rise."""
    other = F.when(F.col("direction") == "rising", "falling").otherwise("rising")
    return F.when(F.col("kind") == ASPECT, other).otherwise(F.col("direction"))
