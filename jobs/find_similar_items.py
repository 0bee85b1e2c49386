"""For every item that sells, the items most like it, by their vectors."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.held import held
from jobs.transforms.offer import PRODUCT, few_variants, offered, with_product
from jobs.transforms.purchases import purchases, within
from jobs.transforms.top_n import top_n
from jobs.transforms.vectors import nearest_items
from schemas import gold
from schemas.run import RunContext


def find_similar_items(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    stock: DataFrame,
    blocked: DataFrame,
    *,
    run: RunContext,
    top_k: int = 10,
    active_days: int = 84,
) -> DataFrame:
    """gold.similar_items: `top_k` other active items per item sold in `active_days`, by cosine, then item_id.

    An item that may not be shown (jobs/transforms/offer.py) has a list of its own, and is in no list. Of a product's
    variants those bought most often are shown, `per_list` at most, and none in the list of another of its variants.
    Items that share a text share their neighbours, so each different text is searched once, for `top_k` + 1 items: the
    item itself is removed afterwards (of a product with variants those that are shown of it).
    """
    deployment, per_list = run.deployment, run.deployment.variants.per_list
    sold = within(purchases(events, deployment), run.run_date, active_days)
    active = item_vectors.join(sold.groupBy("item_id").agg(F.count("*").alias("lines")), "item_id", "inner").transform(
        held
    )
    queries = active.select(F.col("text_key").alias("query_key"), "vector").dropDuplicates(["query_key"])
    offer = offered(deployment, items, stock, blocked, run.run_date)
    product = [name for name in offer.columns if name == PRODUCT]
    may_be_shown = few_variants(
        active.join(offer.select("item_id", *product), "item_id", "inner"), [], [F.desc("lines"), "item_id"], per_list
    )
    depth = top_k + (per_list if product else 1)
    neighbours = nearest_items(queries, may_be_shown.select("item_id", "text_key", "vector"), depth)
    pairs = active.select("item_id", "model_version", F.col("text_key").alias("query_key")).join(
        neighbours.withColumnRenamed("item_id", "similar_item_id"), "query_key", "inner"
    )
    others = pairs.where("item_id <> similar_item_id")
    if product:
        named = with_product(deployment, items).select("item_id", PRODUCT)
        of_similar = named.toDF("similar_item_id", "_similar_product")
        both = others.join(named, "item_id", "left").join(of_similar, "similar_item_id", "left")
        others = both.where(~F.col(PRODUCT).eqNullSafe(F.col("_similar_product")))
    ranked = top_n(others, ["item_id"], [F.desc("score"), "similar_item_id"], top_k, rank="rank")
    # Only now: rounded before, near ties would be ties. Stored in float16, a unit vector may be a hair longer than 1.
    rounded = ranked.withColumn("score", F.greatest(F.least(F.round("score", 6), F.lit(1.0)), F.lit(-1.0)))
    return rounded.withColumn("run_date", F.lit(run.run_date)).select(*gold.SIMILAR_ITEMS.column_names)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("find_similar_items")
