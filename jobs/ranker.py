"""The ranker: what is known of one user and one candidate as numbers, and a logistic regression over them.

The regression gives the probability that the user buys the item within the horizon; its weights are part of the
model's registry row, so that anyone can recompute a score.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.purchases import item_buyers, within
from schemas.features import SOURCES

RECENT_DAYS = 28

# Each feature as SQL over the columns that `features` joins; a generator that did not propose the item gives 0.
FEATURES = {
    "own_days": "ln(1 + coalesce(own_history_score, 0))",
    "own_place": "coalesce(1 / (4 + own_history_rank), 0)",
    "copurchase": "ln(1 + coalesce(copurchase_score, 0))",
    "copurchase_place": "coalesce(1 / (4 + copurchase_rank), 0)",
    "bert": "coalesce(bert_score, 0)",
    "bert_place": "coalesce(1 / (4 + bert_rank), 0)",
    "proposed_by_bert": "cast(bert_rank IS NOT NULL AS DOUBLE)",
    "trending_place": "coalesce(1 / (4 + trending_rank), 0)",
    "popularity": "ln(1 + buyers)",
    "times": "ln(1 + times_bought)",
    "is_repeat": "cast(times_bought > 0 AS DOUBLE)",
    "recency": "CASE WHEN times_bought > 0 THEN ln(1 + days_since) ELSE 0 END",
    "due": "CASE WHEN times_bought > 1 THEN least(days_since / greatest(usual_gap, 1), 4) ELSE 0 END",
    "activity": "ln(1 + active_days)",
    "repeat_of_active_user": "CASE WHEN times_bought > 0 THEN ln(1 + active_days) ELSE 0 END",
}


def features(candidates: DataFrame, bought: DataFrame, run_date: dt.date) -> DataFrame:
    """One row per user and candidate item: user_id, item_id, sources, reason_item_id, buyers, times_bought,
    last_bought_on, and one double per feature.

    `bought` are the purchases up to run_date; buyers are those of the last 28 days; usual_gap is the mean number of
    days between the user's purchases of the item.
    """
    by_source: list[Column] = []
    for source in SOURCES:
        mine = F.col("source") == source
        by_source.append(F.max(F.when(mine, F.col("score"))).alias(f"{source}_score"))
        by_source.append(F.max(F.when(mine, F.col("rank"))).alias(f"{source}_rank"))
    carried = F.max(F.when(F.col("source") == "copurchase", F.col("reason_item_id")))
    pairs = candidates.groupBy("user_id", "item_id").agg(
        F.sort_array(F.collect_set("source")).alias("sources"), carried.alias("reason_item_id"), *by_source
    )
    days = bought.where("user_id IS NOT NULL").select("user_id", "item_id", "event_date").distinct()
    repeats = days.groupBy("user_id", "item_id").agg(
        F.count("*").alias("times_bought"),
        F.min("event_date").alias("first_bought_on"),
        F.max("event_date").alias("last_bought_on"),
    )
    activity = (
        within(bought, run_date, RECENT_DAYS)
        .groupBy("user_id")
        .agg(F.count_distinct("event_date").alias("active_days"))
    )
    joined = (
        pairs.join(repeats, ["user_id", "item_id"], "left")
        .join(item_buyers(bought, run_date, RECENT_DAYS), "item_id", "left")
        .join(activity, "user_id", "left")
        .fillna(0, ["times_bought", "buyers", "active_days"])
        .withColumn("days_since", F.datediff(F.lit(run_date), "last_bought_on"))
        .withColumn("usual_gap", F.expr("datediff(last_bought_on, first_bought_on) / greatest(times_bought - 1, 1)"))
    )
    kept = ("user_id", "item_id", "sources", "reason_item_id", "buyers", "times_bought", "last_bought_on")
    return joined.select(*kept, *(F.expr(sql).cast("double").alias(name) for name, sql in FEATURES.items()))


def fit(labelled: DataFrame) -> dict[str, Any]:
    """The ranker as registered: features, their weights, the intercept. `labelled`: features and `label` (0, 1)."""
    vectors = VectorAssembler(inputCols=list(FEATURES), outputCol="features").transform(labelled)
    model = LogisticRegression(maxIter=60, regParam=1e-5, labelCol="label").fit(vectors.select("features", "label"))
    weights = {name: round(float(weight), 6) for name, weight in zip(FEATURES, model.coefficients, strict=True)}
    return {"kind": "logistic_regression", "weights": weights, "intercept": round(float(model.intercept), 6)}


def score(ranker: Mapping[str, Any]) -> Column:
    """The probability of a purchase within the horizon, to six decimals. KeyError if the ranker lacks a feature."""
    linear = F.lit(float(ranker["intercept"]))
    for name in FEATURES:
        linear = linear + F.col(name) * F.lit(float(ranker["weights"][name]))
    return F.round(1 / (1 + F.exp(-linear)), 6)
