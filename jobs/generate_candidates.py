"""Candidates from four generators: the user's own history, co-purchase, BERT neighbours, trending."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import launch
from jobs.purchases import ONE, active_items, buyer, decay, purchases, within
from jobs.top_n import top_n
from jobs.vectors import nearest_items
from schemas import features


def generate_candidates(
    events: DataFrame,
    item_vectors: DataFrame,
    user_vectors: DataFrame,
    *,
    run_date: dt.date,
    active_days: int = 84,
    per_source: int = 60,
    own_items: int = 40,
    half_life_days: float = 45.0,
    copurchase_days: int = 91,
    neighbours: int = 30,
    min_baskets: int = 2,
    max_basket: int = 80,
    trending_days: int = 14,
) -> DataFrame:
    """features.candidates: up to `per_source` items per user and generator, items sold in `active_days` only."""
    # Tonight's catalogue: an item sold lately may since have been refused.
    known = purchases(events).join(item_vectors.select("item_id"), "item_id", "left_semi")
    bought = known.repartition("user_id").persist()  # most of what follows is per user
    active = active_items(bought, run_date, active_days).persist()
    own = own_history(bought, active, run_date, half_life_days).persist()
    similar = copurchased(
        bought, active, run_date, copurchase_days, half_life_days, neighbours, min_baskets, max_basket
    )
    users = user_vectors.select("user_id")
    lists = {
        "own_history": own.withColumn("reason_item_id", F.col("item_id")),
        "copurchase": through_neighbours(own, similar, own_items),
        "bert": bert_neighbours(user_vectors, item_vectors.join(active, "item_id", "left_semi"), per_source),
        "trending": users.crossJoin(F.broadcast(trending(bought, run_date, trending_days, per_source))),
    }
    ranked = [
        top_n(found, ["user_id"], [F.desc("score"), "item_id"], per_source, rank="rank")
        .withColumn("source", F.lit(source))
        .withColumn("run_date", F.lit(run_date))
        .select(*features.CANDIDATES.column_names)
        for source, found in lists.items()
    ]
    return ranked[0].unionByName(ranked[1]).unionByName(ranked[2]).unionByName(ranked[3])


def own_history(bought: DataFrame, active: DataFrame, run_date: dt.date, half_life_days: float) -> DataFrame:
    """user_id, item_id, score: days on which the user bought the item, each halved every `half_life_days`."""
    days = bought.where("user_id IS NOT NULL").select("user_id", "item_id", "event_date").distinct()
    weighed = days.groupBy("user_id", "item_id").agg((F.sum(decay(run_date, half_life_days)) / ONE).alias("score"))
    return weighed.join(active, "item_id", "left_semi")


def copurchased(
    bought: DataFrame,
    active: DataFrame,
    run_date: dt.date,
    days: int,
    half_life_days: float,
    neighbours: int,
    min_baskets: int,
    max_basket: int,
) -> DataFrame:
    """item_id, other_id, similarity: the items most often in one basket with each item, recent baskets counting more.

    Cosine over baskets, the denominator one basket larger so that few meetings do not score 1; pairs that met in fewer
    than `min_baskets` are chance. Baskets of more than `max_basket` items (wholesale) say nothing about taste and are
    left out.
    """
    lines = within(bought, run_date, days).join(active, "item_id", "left_semi")
    # Pairs are counted by 64-bit hashes: half the bytes to shuffle, and two of a million items share one once in 10^7.
    baskets = (
        lines.groupBy("basket_id")
        .agg(F.sort_array(F.collect_set(F.xxhash64("item_id"))).alias("codes"), F.max("event_date").alias("event_date"))
        .where(F.size("codes").between(1, max_basket))
        .select("codes", decay(run_date, half_life_days).alias("weight"))
        .persist()
    )
    sizes = (
        baskets.select(F.explode("codes").alias("code"), "weight").groupBy("code").agg(F.sum("weight").alias("size"))
    )
    named = active.select("item_id", F.xxhash64("item_id").alias("code")).join(sizes, "code", "inner").persist()
    once = (  # each pair of a basket one way round
        baskets.where(F.size("codes") > 1)
        .select(F.explode("codes").alias("code"), "codes", "weight")
        .select("code", F.explode(F.expr("filter(codes, other -> other > code)")).alias("other_code"), "weight")
        .groupBy("code", "other_code")
        .agg(F.sum("weight").alias("together"), F.count("*").alias("baskets"))
        .where(F.col("baskets") >= min_baskets)
    )
    others = named.select(
        F.col("code").alias("other_code"), F.col("item_id").alias("other_id"), F.col("size").alias("other_size")
    )
    meeting = F.col("together") / ONE / (F.sqrt(F.col("size") * F.col("other_size")) / ONE + 1)
    one_way = (
        once.join(named, "code", "inner")
        .join(others, "other_code", "inner")
        .select("item_id", "other_id", F.round(meeting, 6).alias("similarity"))
        .persist()
    )
    scored = one_way.unionByName(
        one_way.select(F.col("other_id").alias("item_id"), F.col("item_id").alias("other_id"), "similarity")
    )
    return top_n(scored, ["item_id"], [F.desc("similarity"), "other_id"], neighbours)


def through_neighbours(own: DataFrame, similar: DataFrame, own_items: int) -> DataFrame:
    """user_id, item_id, score, reason_item_id: neighbours of the `own_items` strongest own items, which add up.

    The reason is the own item that adds most.
    """
    strongest = top_n(own, ["user_id"], [F.desc("score"), "item_id"], own_items)
    share = F.round(ONE * F.col("score") * F.col("similarity")).cast("bigint")
    brought = strongest.join(similar, "item_id", "inner").select(
        "user_id", F.col("other_id").alias("item_id"), share.alias("share"), F.col("item_id").alias("own_id")
    )
    return brought.groupBy("user_id", "item_id").agg(
        (F.sum("share") / ONE).alias("score"),
        F.max_by("own_id", F.struct("share", "own_id")).alias("reason_item_id"),
    )


def bert_neighbours(user_vectors: DataFrame, item_vectors: DataFrame, k: int) -> DataFrame:
    """user_id, item_id, score: the items nearest to the user's history, by the cosine of their vectors."""
    queries = user_vectors.select(F.col("user_id").alias("query_key"), "vector")
    found = nearest_items(queries, item_vectors, k)
    return found.select(
        F.col("query_key").alias("user_id"), "item_id", "score", F.lit(None).cast("string").alias("reason_item_id")
    )


def trending(bought: DataFrame, run_date: dt.date, days: int, k: int) -> DataFrame:
    """item_id, score: the k items with most buyers on the last `days` days, each day's halved every half of them."""
    met = within(bought, run_date, days).select("item_id", "event_date", buyer()).distinct()
    weighed = met.groupBy("item_id").agg((F.sum(decay(run_date, days / 2)) / ONE).alias("score"))
    best = top_n(weighed.withColumn("one", F.lit(1)), ["one"], [F.desc("score"), "item_id"], k).drop("one")
    return best.withColumn("reason_item_id", F.lit(None).cast("string"))


if __name__ == "__main__":
    launch.main("generate_candidates")
