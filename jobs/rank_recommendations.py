"""Candidates into the list each user gets: scored, ranked, filled to K, and each with its reason."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs import launch, ranker
from jobs.purchases import active_items, item_buyers, purchases
from jobs.runtime import Model
from jobs.top_n import top_n
from schemas import features, gold


def rank_recommendations(
    candidates: DataFrame,
    events: DataFrame,
    items: DataFrame,
    model: Model,
    *,
    run_date: dt.date,
    top_k: int = 20,
    active_days: int = 84,
) -> DataFrame:
    """gold.recommendations: the `top_k` best items for every user with a purchase, by score, then item_id.

    A user with too few candidates is filled up from what sells best; only where fewer than `top_k` items are sold at
    all are lists shorter, and then all of them equally long.
    """
    bought = purchases(events).join(items.select("item_id"), "item_id", "left_semi").persist()
    users = bought.select("user_id").where("user_id IS NOT NULL").distinct()
    proposed = candidates.join(items.select("item_id"), "item_id", "left_semi").join(users, "user_id", "left_semi")
    pairs = proposed.select("user_id", "item_id", "source", "rank", "score", "reason_item_id")
    wanted = pairs.unionByName(fallback(pairs, users, bought, run_date, top_k, active_days))
    scored = ranker.features(wanted, bought, run_date).withColumn("score", ranker.score(model.ranker))
    best = top_n(scored, ["user_id"], [F.desc("score"), "item_id"], top_k, rank="rank")
    titles = items.select(F.col("item_id").alias("reason_item_id"), F.col("title").alias("reason_title"))
    return (
        best.join(titles, "reason_item_id", "left")
        .select(
            F.lit(run_date).alias("run_date"),
            "user_id",
            "rank",
            "item_id",
            "score",
            "sources",
            reason().alias("reason"),
            F.when(F.array_contains("sources", "own_history"), F.col("item_id"))
            .when(F.array_contains("sources", "copurchase"), F.col("reason_item_id"))
            .alias("reason_item_id"),
            (F.col("times_bought") > 0).alias("is_repeat"),
            F.lit(model.version).alias("model_version"),
        )
        .select(*gold.RECOMMENDATIONS.column_names)
    )


def fallback(
    pairs: DataFrame, users: DataFrame, bought: DataFrame, run_date: dt.date, top_k: int, active_days: int
) -> DataFrame:
    """Rows like candidates, source 'fallback', for every user with fewer than `top_k` different candidates.

    They are what sells best among items sold lately, or, where too few are, among all ever sold.
    """
    counts = pairs.groupBy("user_id").agg(F.count_distinct("item_id").alias("found"))
    short = users.join(counts, "user_id", "left").where(F.coalesce("found", F.lit(0)) < top_k).select("user_id")
    sellers = (
        item_buyers(bought, run_date, 100_000)
        .join(active_items(bought, run_date, active_days).withColumn("active", F.lit(1)), "item_id", "left")
        .withColumn("all", F.lit(1))
    )
    order: list[Column | str] = [F.desc_nulls_last("active"), F.desc("buyers"), "item_id"]
    # Of the first 2K best sellers a user with fewer than K candidates can know fewer than K: at least K remain.
    best = top_n(sellers, ["all"], order, 2 * top_k, rank="rank")
    filled = short.crossJoin(F.broadcast(best.select("item_id", "rank")))
    return filled.join(pairs, ["user_id", "item_id"], "left_anti").select(
        "user_id",
        "item_id",
        F.lit("fallback").alias("source"),
        "rank",
        F.lit(0.0).alias("score"),
        F.lit(None).cast("string").alias("reason_item_id"),
    )


def reason() -> Column:
    """Why, in a sentence: the user's own history first, then what was bought with it, BERT, trending, fallback."""

    def proposed_by(source: str) -> Column:
        return F.array_contains("sources", source)

    times = F.when(F.col("times_bought") == 1, F.lit("once")).otherwise(
        F.concat(F.col("times_bought").cast("string"), F.lit(" times"))
    )
    own = F.concat(F.lit("Bought "), times, F.lit(", last on "), F.col("last_bought_on").cast("string"))
    together = F.concat(F.lit("Often bought together with "), F.coalesce("reason_title", "reason_item_id"))
    buyers = F.format_string(f"Popular: %d buyers in the last {ranker.RECENT_DAYS} days", "buyers")
    sentences = {
        "own_history": own,
        "copurchase": together,
        "bert": F.lit("Close to what you buy, by its description"),
        "trending": buyers,
    }
    if set(sentences) != set(features.SOURCES):
        raise KeyError(f"every generator needs a sentence: {features.SOURCES}")
    chosen = F.coalesce(*(F.when(proposed_by(source), text) for source, text in sentences.items()))
    return F.substring(F.coalesce(chosen, F.lit("Sells well in the shop; fills up the list")), 1, 500)


if __name__ == "__main__":
    launch.main("rank_recommendations")
