"""Item records into one row per item: the newest day's description, the most frequent one of that day."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.held import held
from jobs.transforms.mapping import all_reasons, completed, mapped
from jobs.transforms.reasons import rejected_once, sound
from jobs.transforms.top_n import top_n
from schemas import silver
from schemas.run import RunContext

DESCRIBED_BY = ("text", "title", "category", "brand", "unit")
OFFERED_BY = ("active", "in_stock")  # the deployment's words on whether it is for sale
VARIANT_OF = "product_id"


def clean_items(bronze_items: DataFrame, *, run: RunContext) -> dict[str, DataFrame]:
    """silver.items, one row per item known up to run_date, and silver.rejected_items, the records that describe none.

    An item described by several records keeps the description of the newest day; of that day's the most frequent;
    of these the first in the alphabet. Texts and titles that are too long are cut at a word. An item is active unless
    that description says otherwise (`active`, `in_stock`) or it is gone: each of its sources is `full`, and the newest
    files of none of them have it. A rejected record that comes again another day is one row, the newest, with their
    count.
    """
    described_by = (*DESCRIBED_BY, *OFFERED_BY, VARIANT_OF)
    canonical = completed(mapped(bronze_items, run.deployment, "items"), silver.ITEMS, described_by)
    texts = {
        "text": _cut(F.col("text"), silver.MOST_TEXT),
        "title": _cut(F.coalesce("title", "text"), silver.MOST_TITLE),
    }
    reasons = all_reasons(silver.ITEMS, ("item_id", *described_by))
    judged = canonical.withColumns(texts).withColumn("reasons", reasons).transform(held)

    described = sound(judged).groupBy("item_id", "run_date", *described_by).agg(F.count("*").alias("records"))
    newest = top_n(described, ["item_id"], [F.desc("run_date"), F.desc("records"), *described_by], 1)
    items = newest.join(_listed(judged, run.deployment.full_catalogues), "item_id", "inner").select(
        F.lit(run.run_date).alias("run_date"),
        "item_id",
        *DESCRIBED_BY,
        F.col("run_date").alias("described_on"),
        "record_count",
        (F.coalesce("active", F.lit(True)) & F.coalesce("in_stock", F.lit(True)) & F.col("still")).alias("active"),
        "in_stock",
        "listed_on",
        "last_listed_on",
        VARIANT_OF,
    )
    refused = rejected_once(judged).withColumn("run_date", F.lit(run.run_date))
    return {"silver.items": items, "silver.rejected_items": refused.select(*silver.REJECTED_ITEMS.column_names)}


def _listed(judged: DataFrame, full: Sequence[str]) -> DataFrame:
    """item_id, record_count (sound ones), listed_on, last_listed_on, still (whether it is not gone), a row an item."""
    named = judged.where("item_id IS NOT NULL")
    still = F.lit(True)
    if full:
        newest = judged.where(F.col("source").isin(list(full))).groupBy("source")
        named = named.join(newest.agg(F.max("run_date").alias("newest")), "source", "left")
        still = F.bool_or(F.col("newest").isNull() | (F.col("run_date") == F.col("newest")))
    is_sound = F.size("reasons") == 0
    return named.groupBy("item_id").agg(
        F.count_if(is_sound).alias("record_count"),
        F.min(F.when(is_sound, F.col("run_date"))).alias("listed_on"),
        F.max("run_date").alias("last_listed_on"),
        still.alias("still"),
    )


def _cut(text: Column, most: int) -> Column:
    """A text of at most so many characters, cut before a word; one that is all one word, within it."""
    head = F.substring(text, 1, most + 1)
    at_a_word = F.nullif(F.regexp_replace(head, r"\s+\S*\z", ""), F.lit(""))
    return F.when(F.length(text) > most, F.substring(F.coalesce(at_a_word, head), 1, most)).otherwise(text)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("clean_items")
