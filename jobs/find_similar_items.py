"""For every item that sells, the items most like it, by their vectors."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.catalogue import shown
from jobs.transforms.held import held
from jobs.transforms.purchases import active_items, purchases
from jobs.transforms.top_n import top_n
from jobs.transforms.vectors import nearest_items
from schemas import gold
from schemas.run import RunContext


def find_similar_items(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    *,
    run: RunContext,
    top_k: int = 10,
    active_days: int = 84,
) -> DataFrame:
    """gold.similar_items: `top_k` other active items per item sold in `active_days`, by cosine, then item_id.

    An item ruled out by `exclude` of rank_recommendations has a list of its own, and is in no list.
    Items that share a text share their neighbours, so each different text is searched once, for `top_k` + 1 items: the
    item itself is removed afterwards.
    """
    active = item_vectors.join(
        active_items(purchases(events, run.deployment), run.run_date, active_days),
        "item_id",
        "left_semi",
    ).transform(held)
    queries = active.select(F.col("text_key").alias("query_key"), "vector").dropDuplicates(["query_key"])
    may_be_shown = active.join(shown(run.deployment, items).select("item_id"), "item_id", "left_semi")
    neighbours = nearest_items(queries, may_be_shown, top_k + 1).withColumnRenamed("item_id", "similar_item_id")
    pairs = active.select("item_id", "model_version", F.col("text_key").alias("query_key")).join(
        neighbours, "query_key", "inner"
    )
    others = pairs.where("item_id <> similar_item_id")
    ranked = top_n(others, ["item_id"], [F.desc("score"), "similar_item_id"], top_k, rank="rank")
    # Only now: rounded before, near ties would be ties. Stored in float16, a unit vector may be a hair longer than 1.
    rounded = ranked.withColumn("score", F.greatest(F.least(F.round("score", 6), F.lit(1.0)), F.lit(-1.0)))
    return rounded.withColumn("run_date", F.lit(run.run_date)).select(*gold.SIMILAR_ITEMS.column_names)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("find_similar_items")
