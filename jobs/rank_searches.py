"""Rankings of queries, and what each user adds to them."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import search_scores
from jobs.transforms.held import held
from jobs.transforms.json_models import applied
from jobs.transforms.offer import offered
from jobs.transforms.purchases import buyer, purchases, within
from schemas import search
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from udfs.search.past_lists import HALF_LIFE, POPULAR_DAYS
from udfs.search.ranker import from_json

MILLION = 1_000_000


def rank_searches(
    queries: DataFrame,
    query_items: DataFrame,
    items: DataFrame,
    stock: DataFrame,
    blocked: DataFrame,
    events: DataFrame,
    candidates: DataFrame,
    search_model: Model | None,
    *,
    run: RunContext,
    top_k: int = 50,
    min_users: int = 5,
) -> dict[str, DataFrame]:
    """gold.search_rankings: `top_k` items of each query; gold.search_boosts: what a user adds to an item's score.

    The ranker is a sum f(query, item) + g(user, item), so a user's list is a join of the two tables. Without a promoted
    model of kind search it has fixed weights. Items that may not be shown (jobs/transforms/offer.py) are in no list; a
    query that has fewer than ten left gets the most bought items of its category, or of all, with the match "popular".
    A query that is known from the log alone is published once `min_users` different users have searched for it.
    """
    if top_k < 1 or min_users < 1:
        raise ConfError("[jobs.rank_searches] top_k and min_users must be at least 1")
    model = applied(search_model, from_json) if search_model else None
    offer = _popularity(items, stock, blocked, events, run)
    public = queries.where((F.col("source") != "log") | (F.col("users_28") >= min_users)).transform(held)
    met = query_items.join(public.select("query_key"), "query_key", "left_semi").join(offer, "item_id", "inner")
    shown = search_scores.with_popular(met.drop("category"), public, offer)
    ranked = held(search_scores.ranked(shown, public, model, top_k))
    day = F.lit(run.run_date).alias("run_date")
    score = F.round(1 / (1 + F.exp(-F.col("score_logit"))), search_scores.ROUNDED)
    said = {"run_date": day, "score": score, "reason": search_scores.reason()}
    named = ranked.join(public, "query_key", "inner").withColumns(said)
    listed = ranked.select("item_id").distinct()
    boosts = search_scores.boosts(candidates, listed, model, run.run_date)
    return {
        "gold.search_rankings": named.select(*search.RANKINGS.column_names),
        "gold.search_boosts": boosts.withColumn("run_date", day).select(*search.BOOSTS.column_names),
    }


def _popularity(
    items: DataFrame, stock: DataFrame, blocked: DataFrame, events: DataFrame, run: RunContext
) -> DataFrame:
    """item_id, category, popularity and lately (udfs/search/past_lists.py) of the items that may be shown."""
    offer = offered(run.deployment, items, stock, blocked, run.run_date).select("item_id", "category")
    none = {name: F.lit(0.0) for name in ("popularity", "lately")}
    if not run.deployment.of_kind("events"):
        return offer.withColumns(none).transform(held)
    bought = within(purchases(events, run.deployment), run.run_date, POPULAR_DAYS)
    days = bought.select("item_id", buyer(), "event_date").distinct()
    worth = F.pow(F.lit(0.5), F.date_diff(F.lit(run.run_date), "event_date") / HALF_LIFE)
    whole = F.sum(F.round(worth * F.lit(MILLION)).cast("bigint"))  # whole numbers: their sum has no order
    counts = F.count_distinct("buyer").cast("double").alias("popularity"), (whole / F.lit(MILLION)).alias("lately")
    return offer.join(days.groupBy("item_id").agg(*counts), "item_id", "left").fillna(0.0, [*none]).transform(held)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("rank_searches")
