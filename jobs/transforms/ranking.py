"""Candidates into ranked lists: the shop's rules, diversity, exactly K rows, and each with its reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.exploration import Exploration, explored
from jobs.transforms.held import held
from jobs.transforms.offer import PRODUCT, few_variants
from jobs.transforms.recommendation_lists import with_long_tail
from jobs.transforms.top_n import top_n
from schemas import gold
from schemas.errors import ConfError
from schemas.run import Model
from udfs.encoder.stored_vectors import from_bytes
from udfs.recommend.rerank import rerank

FALLBACK = "fallback"
USERS_PER_BLOCK = 5_000
# Columns of lists that some lack.
GIVEN = ("is_explored", "propensity", "variant", "pool_place", "raw_score", "factors")
DUE = 0.8  # of the usual gap since the last purchase


@dataclass(frozen=True)
class Rules:
    """A shop's rules for lists, as the settings of rank_recommendations have them. ConfError where one is no rule."""

    top_k: int = 20
    variants: int = 1  # of one product, where `offered` has PRODUCT
    exclude: str = ""  # which `offered` follows
    boost: str = ""
    cap_per_category: int = 0
    diversity: float = 0.0
    long_tail: float = 0.0
    arrivals_every: int = 0
    explore_places: int = 0
    explore_pool: int = 20
    explore_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no list can follow."""
        if not 0 <= self.long_tail < 1:
            raise ConfError(f"[jobs.rank_recommendations] long_tail must be in [0, 1); it is {self.long_tail}")
        if self.arrivals_every == 1 or self.arrivals_every < 0:
            raise ConfError(
                f"[jobs.rank_recommendations] arrivals_every must be 0 or at least 2; it is {self.arrivals_every}"
            )
        if self.exploration.places >= self.top_k:
            raise ConfError(
                f"[jobs.rank_recommendations] explore_places must be below top_k, {self.top_k}; it is "
                f"{self.explore_places}"
            )

    @property
    def exploration(self) -> Exploration:
        """How its last places are drawn."""
        return Exploration(self.explore_places, self.explore_pool, self.explore_seed)


def ranked_lists(
    candidates: DataFrame,
    offered: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    bought: DataFrame,
    model: Model,
    run_date: dt.date,
    rules: Rules,
) -> DataFrame:
    """Rows of gold.recommendations by these rules, which jobs/rank_recommendations.py explains.

    offered: rows of silver.items that lists may show, with PRODUCT where some are variants (jobs/transforms/offer.py);
    items: those with a title for reasons; bought: `purchases`, read where a list has to be filled.
    """
    top_k, every = rules.top_k, rules.arrivals_every
    # A boost that says nothing of an item, such as CASE without ELSE, leaves its score as it is.
    boost = F.coalesce(F.expr(rules.boost or "1").cast("double"), F.lit(1.0))
    product = [name for name in offered.columns if name == PRODUCT]
    allowed = offered.select("item_id", "category", boost.alias("boost"), *product)
    possible = candidates.join(allowed, "item_id", "inner").withColumn("weight", F.col("score") * F.col("boost"))
    order: list[Column | str] = [F.desc("weight"), "item_id"]
    possible = few_variants(possible, ["user_id"], order, rules.variants, stays=F.col("times_bought") > 0)
    pool = top_n(possible, ["user_id"], order, 3 * top_k)
    if every:
        arrivals = top_n(possible.where(_arrival()), ["user_id"], order, top_k)
        pool = pool.unionByName(arrivals).dropDuplicates(["user_id", "item_id"])
    complete = filled(candidates, pool.transform(held), allowed, bought, rules)
    if rules.cap_per_category or rules.diversity or every:
        ranked = _apart(complete, item_vectors, rules)
    else:
        ranked = top_n(complete, ["user_id"], order, top_k, rank="rank")
    if rules.long_tail:
        if rules.cap_per_category:  # what a list has enough of does not come in by this door either
            counts = ranked.where("category IS NOT NULL").groupBy("user_id", "category").count()
            full = counts.where(F.col("count") >= rules.cap_per_category)
            possible = possible.join(full.select("user_id", "category"), ["user_id", "category"], "left_anti")
        has_arrival = every and top_k % every == 0  # the last place is an arrival's
        ranked = with_long_tail(ranked, possible, top_k - 1 if has_arrival else top_k, rules.long_tail)
    if rules.explore_places:
        ranked = explored(ranked, possible, top_k, rules.cap_per_category, rules.exploration, run_date)
    return _with_reasons(ranked, items, model, run_date)


def _with_reasons(ranked: DataFrame, items: DataFrame, model: Model, run_date: dt.date) -> DataFrame:
    """The columns of gold.recommendations, each row with its reason."""
    titles = items.select(F.col("item_id").alias("reason_item_id"), F.col("title").alias("reason_title"))
    return (
        ranked.join(titles, "reason_item_id", "left")
        .select(
            F.lit(run_date).alias("run_date"),
            "user_id",
            "rank",
            "item_id",
            "score",
            "sources",
            reason(run_date).alias("reason"),
            F.when(F.col("times_bought") > 0, F.col("item_id"))
            .otherwise(F.col("reason_item_id"))
            .alias("reason_item_id"),
            (F.col("times_bought") > 0).alias("is_repeat"),
            F.lit(model.version).alias("model_version"),
            *(_given(ranked, name) for name in GIVEN),
        )
        .select(*gold.RECOMMENDATIONS.column_names)
    )


def _given(ranked: DataFrame, name: str) -> Column:
    """A column of gold.recommendations, null where `ranked` has none."""
    return (
        F.col(name) if name in ranked.columns else F.lit(None).cast(gold.RECOMMENDATIONS.column(name).type).alias(name)
    )


def filled(candidates: DataFrame, wanted: DataFrame, allowed: DataFrame, bought: DataFrame, rules: Rules) -> DataFrame:
    """`wanted` and, for every user with fewer than `top_k` rows of it, rows of score 0: allowed items that sell best.

    What the user has bought of these, on how many days and when last, is counted from `bought`.
    """
    users = candidates.select("user_id").distinct()
    counts = wanted.groupBy("user_id").agg(F.count("*").alias("found"))
    short = users.join(counts, "user_id", "left").where(F.coalesce("found", F.lit(0)) < rules.top_k).select("user_id")
    if not short.take(1):
        return wanted
    buyers = candidates.groupBy("item_id").agg(F.max("recent_buyers").alias("recent_buyers"))
    sellers = allowed.join(buyers, "item_id", "left").withColumn("all", F.lit(1))
    order: list[Column | str] = [F.desc_nulls_last("recent_buyers"), "item_id"]
    # A user with fewer than K rows knows fewer than K of the first 2K sellers: at least K remain.
    best = top_n(few_variants(sellers, [], order, rules.variants), ["all"], order, 2 * rules.top_k).drop("all", "boost")
    sold = bought.join(F.broadcast(best.select("item_id")), "item_id", "left_semi")
    habits = sold.groupBy("user_id", "item_id").agg(
        F.count_distinct("event_date").cast("int").alias("times_bought"), F.max("event_date").alias("last_bought_on")
    )
    fillers = (
        short.crossJoin(F.broadcast(best))
        .join(wanted, ["user_id", "item_id"], "left_anti")
        .join(habits, ["user_id", "item_id"], "left")
        .withColumns(
            {
                "recent_buyers": F.coalesce("recent_buyers", F.lit(0)),
                "score": F.lit(0.0),
                "weight": F.lit(0.0),
                "sources": F.array(F.lit(FALLBACK)),
                "times_bought": F.coalesce("times_bought", F.lit(0)),
            }
        )
    )
    complete = wanted.unionByName(fillers, allowMissingColumns=True)
    is_filler = F.array_contains("sources", FALLBACK)
    its_own = ~is_filler & (F.col("times_bought") > 0)
    return few_variants(complete, ["user_id"], [is_filler, F.desc("weight"), "item_id"], rules.variants, stays=its_own)


def _arrival() -> Column:
    """Whether a row of features.candidates is of an item without a purchase, proposed for its text."""
    return F.array_contains("sources", "fresh") & (F.col("recent_buyers") == 0)


def _apart(complete: DataFrame, item_vectors: DataFrame, rules: Rules) -> DataFrame:
    """`complete` with `rank`, `rules.top_k` rows a user, re-ranked user block by user block on the executors."""
    blocks = max(1, complete.select("user_id").distinct().count() // USERS_PER_BLOCK)
    chosen = (
        complete.select("user_id", "item_id", "weight", "category", _arrival().alias("arrival"))
        .join(item_vectors.select("item_id", "vector"), "item_id", "left")
        .groupBy(F.pmod(F.xxhash64("user_id"), F.lit(blocks)))
        .applyInArrow(_reranker(rules), "user_id STRING, item_id STRING, rank INT")
    )
    return complete.join(chosen, ["user_id", "item_id"], "inner")


def _reranker(rules: Rules) -> Callable[[pa.Table], pa.Table]:
    def rank(rows: pa.Table) -> pa.Table:
        table = rows.to_pandas().sort_values(["user_id", "weight", "item_id"], ascending=[True, False, True])
        cells = table["vector"].dropna()
        vectors = None
        if rules.diversity and len(cells):
            dims = len(cells.iloc[0]) // 2
            vectors = np.zeros((len(table), dims), np.float32)  # an item without a vector is like no other
            vectors[table["vector"].notna().to_numpy()] = from_bytes(cells, dims)
        user, kind = (pd.factorize(table[name])[0] for name in ("user_id", "category"))
        weight = np.maximum(table["weight"].to_numpy(), 1e-9)
        new = table["arrival"].to_numpy(bool)
        chosen = rerank(
            user,
            weight,
            rules.top_k,
            kind=kind,
            vectors=vectors,
            arrivals=new,
            cap=rules.cap_per_category,
            diversity=rules.diversity,
            every=rules.arrivals_every,
        )
        listed = table.iloc[chosen]
        place = listed.groupby("user_id", sort=False).cumcount() + 1
        return pa.table(
            {
                "user_id": pa.array(listed["user_id"], pa.string()),
                "item_id": pa.array(listed["item_id"], pa.string()),
                "rank": pa.array(place.to_numpy(np.int32)),
            }
        )

    return rank


def reason(run_date: dt.date) -> Column:
    """Why, in a sentence: the user's own habit first, then what the item is bought with, its text, its sales."""

    def proposed_by(*sources: str) -> Column:
        return F.arrays_overlap("sources", F.array(*(F.lit(source) for source in sources)))

    times = F.when(F.col("times_bought") == 1, F.lit("once")).otherwise(F.format_string("%d times", "times_bought"))
    since = F.datediff(F.lit(run_date), "last_bought_on")
    habit = F.format_string("Bought %d times, every %.0f days or so", "times_bought", "usual_gap")
    bought = F.concat(F.lit("Bought "), times, F.lit(", last on "), F.col("last_bought_on").cast("string"))
    own = F.when(
        (F.col("times_bought") > 2) & (since >= DUE * F.col("usual_gap")), F.concat(habit, F.lit(": due"))
    ).otherwise(bought)
    together = F.concat(F.lit("Often bought with "), F.coalesce("reason_title", "reason_item_id"))
    popular = F.format_string("Popular: %d buyers in the last 28 days", "recent_buyers")
    chosen = F.coalesce(
        F.when(F.col("times_bought") > 0, own),
        F.when(F.col("reason_item_id").isNotNull() & proposed_by("knn", "next", "basket", "ease", "als"), together),
        F.when(proposed_by("fresh"), F.lit("New, and close to what you buy by its description")),
        F.when(proposed_by("bert"), F.lit("Close to what you buy, by its description")),
        F.when(proposed_by("trend"), F.lit("Sells better this week than in the weeks before")),
        F.when(proposed_by("next", "als", "ease"), F.lit("Bought by people who buy what you buy")),
        F.when(proposed_by("popular"), popular),
        F.lit("Sells well in the shop; fills up the list"),
    )
    return F.substring(chosen, 1, 500)
