"""Lists in which items otherwise shown to no user take a last place."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.held import held
from jobs.transforms.top_n import top_n

OFFERS = 5  # lists that an item competes for; it is placed in one of those it wins


def with_long_tail(ranked: DataFrame, possible: DataFrame, place: int, share: float) -> DataFrame:
    """`ranked` (user_id, item_id, rank, weight, ...) where some last places hold an item that was in no list.

    Aggregate diversity by re-ranking (Adomavicius and Kwon 2012), one exchange a list. `possible`: every candidate,
    with the columns of `ranked` but for its rank. An item that is in no list goes to a user for whom it weighs most
    against what it replaces, the `place`-th of its list, if that is at least 1 - `share` of it; every item that was in
    a list stays in one.
    """
    best_place = Window.partitionBy("item_id").orderBy("rank", "user_id")
    first_of_item = F.row_number().over(best_place) == 1  # this row stays, so that every shown item remains shown
    last = (
        ranked.select("user_id", "item_id", "rank", "weight", first_of_item.alias("stays"))
        .where((F.col("rank") == place) & ~F.col("stays"))
        .select("user_id", F.col("item_id").alias("leaves"), F.col("weight").alias("against"))
    )
    shown = ranked.select("item_id").distinct()
    worth = F.col("weight") / F.greatest("against", F.lit(1e-12))
    offers = (
        possible.join(shown, "item_id", "left_anti")
        .join(last, "user_id", "inner")
        .withColumn("worth", worth)
        .where(F.col("worth") >= 1 - share)
        .select("user_id", "item_id", "worth", "leaves")
    )
    best_offers = top_n(offers, ["item_id"], [F.desc("worth"), "user_id"], OFFERS)
    taken = top_n(best_offers, ["user_id"], [F.desc("worth"), "item_id"], 1)
    placed = top_n(taken, ["item_id"], [F.desc("worth"), "user_id"], 1).transform(held)
    leaving = placed.select("user_id", F.col("leaves").alias("item_id"))
    coming = possible.join(placed.select("user_id", "item_id"), ["user_id", "item_id"], "inner")
    return ranked.join(leaving, ["user_id", "item_id"], "left_anti").unionByName(
        coming.withColumn("rank", F.lit(place)), allowMissingColumns=True
    )
