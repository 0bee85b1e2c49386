"""Candidates into the list each user gets: the shop's rules, diversity, exactly K rows, and each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame

from jobs.transforms.blocked import without_blocked_reasons
from jobs.transforms.experiments import by_arm
from jobs.transforms.offer import offered
from jobs.transforms.purchases import purchases
from jobs.transforms.ranking import Rules, ranked_lists
from schemas.run import Model, RunContext


def rank_recommendations(
    candidates: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    events: DataFrame,
    stock: DataFrame,
    blocked: DataFrame,
    model: Model,
    *,
    run: RunContext,
    top_k: int = 20,
    exclude: str = "",
    boost: str = "",
    cap_per_category: int = 0,
    diversity: float = 0.0,
    long_tail: float = 0.0,
    arrivals_every: int = 0,
    explore_places: int = 0,
    explore_pool: int = 20,
    explore_seed: int = 0,
) -> DataFrame:
    """gold.recommendations: `top_k` items for every user, by score, then item_id, as the shop's rules have it.

    Rules, over the columns of silver.items: no item for which `exclude` (SQL) is true, none that is blocked or out of
    stock, and of a product's variants those that the user has bought, or else the likeliest; all of this holds for
    similar_items and default_recommendations too (jobs/transforms/offer.py). The order is by score times `boost` (SQL,
    a positive number; null counts as 1); at most `cap_per_category` of one category (0: any number), as long as others
    are left. `diversity` in [0, 1) is what a list gives up of its scores to be less alike (udfs/recommend/rerank.py).
    `long_tail` in [0, 1) is the share of its score that a last place may give up for an item that would be in no list
    (jobs/transforms/recommendation_lists.py). Each `arrivals_every`-th place (0: none) is reserved for the user's
    likeliest item of those described recently and not yet bought by any user: items that sell outrank them for good
    reason, and without a place they would never sell. The last `explore_places` places (0: none) are drawn at random
    from the `explore_pool` candidates that follow; `propensity` is the probability of each item at its place
    (jobs/transforms/exploration.py). Users in a variant of one of [[experiments]] have lists by its settings. A user
    with too few candidates is filled up from what sells best; only where fewer than `top_k` items may be recommended at
    all (of variants, `per_list` a product) are lists shorter.
    """
    rules = Rules(
        top_k=top_k,
        variants=run.deployment.variants.per_list,
        exclude=exclude,
        boost=boost,
        cap_per_category=cap_per_category,
        diversity=diversity,
        long_tail=long_tail,
        arrivals_every=arrivals_every,
        explore_places=explore_places,
        explore_pool=explore_pool,
        explore_seed=explore_seed,
    )
    bought = purchases(events, run.deployment)
    candidates = without_blocked_reasons(run.deployment, candidates, items, blocked)

    def ranked(some: DataFrame, changed: Mapping[str, Any]) -> DataFrame:
        now = replace(rules, **changed)
        may_be_shown = offered(run.deployment, items, stock, blocked, run.run_date, now.exclude)
        return ranked_lists(some, may_be_shown, items, item_vectors, bought, model, run.run_date, now)

    return by_arm(candidates, run.deployment.experiments, run.run_date, ranked)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("rank_recommendations")
