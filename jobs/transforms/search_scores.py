"""Scores of queries' items, and users' boosts of items, by the search ranker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms import arrow_rows
from jobs.transforms.top_n import top_n
from udfs.search.ranker import SearchRanker, query_features, untrained
from udfs.search.user_features import user_features

FEWEST = 10  # items of a query, in a shop that has so many
SCORED = "query_key STRING, item_id STRING, match STRING, score_logit DOUBLE, rank INT"
BOOSTED = "user_id STRING, item_id STRING, boost DOUBLE, times_bought INT, last_bought_on DATE"
FEATURES = ("bm25", "cosine", "covered", "clicks", "carts", "purchases", "examined")
OF_USER = ("score", "times_bought", "last_bought_on", "usual_gap", "recent_buyers")
USER_BLOCKS = 64  # of users, each with their candidates in one task
ROUNDED = 6  # decimals of scores, so that their sums have the same order wherever they are added up


def with_popular(met: DataFrame, queries: DataFrame, offer: DataFrame) -> DataFrame:
    """The items that queries meet and, of queries with fewer than FEWEST, the most bought ones of their category, or
    of all where it has none.

    offer: item_id, category, popularity and lately of the items that may be shown.
    """
    best: list[Column | str] = [F.desc("popularity"), "item_id"]
    of_category = top_n(offer.where("category IS NOT NULL"), ["category"], best, FEWEST)
    everywhere = top_n(offer.withColumn("category", F.lit("")), ["category"], best, FEWEST)
    counts = met.groupBy("query_key").agg(F.count("*").alias("found"))
    few = (
        queries.select("query_key", "category")
        .join(counts, "query_key", "left")
        .where(f"coalesce(found, 0) < {FEWEST}")
    )
    own = few.join(of_category, "category", "inner").withColumn("_first", F.lit(0))
    other = few.drop("category").crossJoin(everywhere.drop("category")).withColumn("_first", F.lit(1))
    columns = ("query_key", "item_id", "popularity", "lately", "found")
    both = own.select(*columns, "_first").unionByName(other.select(*columns, "_first"))
    once = both.groupBy(*columns).agg(F.min("_first").alias("_first"))
    missing = once.join(met.select("query_key", "item_id"), ["query_key", "item_id"], "left_anti")
    place = F.row_number().over(Window.partitionBy("query_key").orderBy("_first", *best))
    filled = missing.withColumn("_place", place).where(F.col("_place") <= FEWEST - F.coalesce("found", F.lit(0)))
    nothing = {name: F.lit(0).cast(kind).alias(name) for name, kind in met.dtypes if name in FEATURES}
    nothing |= {name: F.lit(None).cast("double") for name in ("cosine", "examined")}
    popular = filled.withColumns({**nothing, "match": F.lit("popular")})
    names = ("query_key", "item_id", "match", "popularity", "lately", *FEATURES)
    return met.select(*names).unionByName(popular.select(*names))


def ranked(shown: DataFrame, queries: DataFrame, model: SearchRanker | None, top_k: int) -> DataFrame:
    """SCORED: the first `top_k` items of each query by score, then item_id; all rows of a query are in one task."""
    weights = shown.join(queries.select("query_key", "dense_weight"), "query_key", "inner")
    slots = shown.sparkSession.sparkContext.defaultParallelism
    bucket = F.pmod(F.xxhash64("query_key"), F.lit(slots)).cast("int")
    return weights.withColumn("bucket", bucket).groupBy("bucket").applyInArrow(_scorer(model, top_k), SCORED)


def _scorer(model: SearchRanker | None, top_k: int) -> Callable[[pa.Table], pa.Table]:
    def score(rows: pa.Table) -> pa.Table:
        pairs = rows.to_pandas().rename(columns={"query_key": "query"}).sort_values(["query", "item_id"])
        ranker = model or untrained(float(pairs["dense_weight"].iloc[0]))
        logit = np.round(ranker.score(query_features(pairs)), ROUNDED)
        pairs = pairs.assign(score_logit=logit).sort_values(
            ["query", "score_logit", "item_id"], ascending=[True, False, True]
        )
        rank = pairs.groupby("query", sort=False).cumcount() + 1
        best = pairs.assign(rank=rank.astype("int32"), query_key=pairs["query"])[rank <= top_k]
        return arrow_rows.table(best, SCORED)

    return score


def boosts(candidates: DataFrame, listed: DataFrame, model: SearchRanker | None, run_date: dt.date) -> DataFrame:
    """user_id, item_id, boost, reason of the candidates to which the user adds anything, of the items of `listed`.

    All candidates of a user are in one task: what suits a user is relative to the others.
    """
    ranker = model or untrained()

    def boost(rows: pa.Table) -> pa.Table:
        pairs = rows.to_pandas().sort_values(["user_id", "item_id"], ignore_index=True)
        added = np.round(ranker.boost(user_features(pairs, run_date)), ROUNDED)
        return arrow_rows.table(pairs.assign(boost=added)[added != 0], BOOSTED)

    block = F.pmod(F.xxhash64("user_id"), F.lit(USER_BLOCKS)).cast("int").alias("block")
    known = candidates.select("user_id", "item_id", *OF_USER, block)
    added = known.groupBy("block").applyInArrow(boost, BOOSTED).join(listed, "item_id", "left_semi")
    last = F.col("last_bought_on").cast("string")
    bought = F.format_string("Bought %d times, last on %s", "times_bought", last)
    why = F.when(F.col("times_bought") > 1, bought).when(
        F.col("times_bought") == 1, F.concat(F.lit("Bought on "), last)
    )
    return added.withColumn("reason", F.coalesce(why, F.lit("Suits what the user buys")))


def reason() -> Column:
    """Why a query shows an item: how it was found."""
    words = {
        "exact": "Has all words of the query",
        "relaxed": "Has some words of the query",
        "semantic": "Is near to the query in meaning",
        "popular": "Bought by many lately; little else meets the query",
    }
    corrected = F.concat(F.lit("Has all words of the corrected query: "), "corrected_query")
    sentence = F.when(F.col("match") == "corrected", corrected)
    for match, text in words.items():
        sentence = sentence.when(F.col("match") == match, F.lit(text))
    return sentence
