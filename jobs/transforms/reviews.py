"""Reviews as they count: the newest record of each, with its item's category, and copies of one text marked."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.top_n import top_n
from schemas.reviews import NO_CATEGORY

NO_WORDS = r"[^\p{L}\p{M}\p{N}\p{So}]+"  # what does not count when texts are compared; nor does case


def newest_reviews(reviews: DataFrame, items: DataFrame) -> DataFrame:
    """One row per review_id, its newest record, with `category` (NO_CATEGORY without one).

    reviews: silver.reviews up to a date; items: silver.items, empty without a catalogue.
    """
    order = [F.desc("event_date"), F.desc("run_date")]
    latest = top_n(reviews, ["review_id"], order, 1)
    known = items.select("item_id", "category")
    return latest.join(known, "item_id", "left").withColumn("category", F.coalesce("category", F.lit(NO_CATEGORY)))


def marked_copies(reviews: DataFrame) -> DataFrame:
    """The reviews with `is_copy`: another of the same item, an earlier one, has the same text."""
    text = F.md5(F.trim(F.lower(F.regexp_replace(F.concat_ws(" ", "title", "text"), NO_WORDS, " "))))
    order = Window.partitionBy("item_id", "_text").orderBy("occurred_at", "review_id")
    written = F.coalesce("title", "text").isNotNull()
    keyed = reviews.withColumn("_text", F.when(written, text))
    return keyed.withColumn("is_copy", written & (F.row_number().over(order) > 1)).drop("_text")
