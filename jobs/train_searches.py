"""The weekly fit of the search model, from the catalogue and from what users bought of what queries ask for."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.offline.model_registry import FITTED, fitted_row, registered
from jobs.reports import progress
from jobs.transforms import search_fit, searches
from jobs.transforms.catalogue import active
from jobs.transforms.held import held
from jobs.transforms.json_models import judged
from jobs.transforms.purchases import purchases, within
from jobs.transforms.query_match import CATALOGUE
from jobs.transforms.sample import drawn
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from udfs.days import day_number
from udfs.horizon import HABIT_DAYS
from udfs.search.ranker import from_json
from udfs.search.train import Fitted


def train_searches(
    events: DataFrame,
    items: DataFrame,
    models: DataFrame,
    search_model: Model | None,
    model: Model,
    *,
    run: RunContext,
    max_users: int = 20_000,
    max_queries: int = 300,
    lists: int = 4_000,
    language: str = "english",
) -> DataFrame:
    """The row of ops.models of a new search model; none without items.

    The weight of the vectors beside the words is learned from titles that are hidden (udfs/search/dense_weight.py). The
    ranker learns from lists of past purchases (udfs/search/past_lists.py): a query, one of the `max_queries` searched
    most or else of the catalogue's commonest words, and a user who bought something of it within 28 days; no log of
    clicks is needed. Of each of three spans of 28 days `lists` are drawn, from the purchases of `max_users` users, in
    one executor's memory. The newest span judges a ranker of the two before it: the new model is promoted unless its
    NDCG@10 is lower than that of the model in use, or of the fixed weights, beyond chance. `language`: as in
    match_queries.
    """
    if min(max_users, max_queries, lists) < 1:
        raise ConfError("[jobs.train_searches] max_users, max_queries and lists must be at least 1")
    lines, share = _bought(events, run, max_users)
    has_log = searches.has_log(run.deployment)
    counted = searches.counted(searches.with_forms(events, language), run.run_date) if has_log else None
    lessons = search_fit.Lessons(day_number(run.run_date) + 1, share, max_queries, lists, language)
    fitted = search_fit.fitted_search(
        search_fit.with_queries(lines, counted, max_queries),
        active(items).select(*CATALOGUE),
        model,
        judged(search_model, from_json),
        lessons,
        _row,
        FITTED,
    )
    return registered("search", run, models, fitted, progress.say, "searches: no items: nothing to train")


def _bought(events: DataFrame, run: RunContext, most: int) -> tuple[DataFrame, float]:
    """Purchases of about `most` users and of as large a share of guests' baskets, and that share."""
    bought = within(purchases(events, run.deployment), run.run_date, HABIT_DAYS)
    lines = search_fit.bought_lines(bought).transform(held)
    users = lines.select("user_id").distinct().count()
    who = F.coalesce("user_id", F.col("basket").cast("string"))
    return drawn(lines, who, most, users, "searches"), min(1.0, most / max(users, 1))


def _row(found: Fitted, since: int) -> pa.Table:
    """FITTED."""
    figures = {"dense_weight": found.model.dense_weight, **found.figures}
    judged_by = found.judged.to_json() if found.judged else ""
    rows = max(found.lists, 1)  # without a list, as where there are no events: the catalogue, which gives the weight
    return fitted_row(found.model.to_json(), judged_by, figures, promoted=found.promoted, rows=rows, since=since)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("train_searches")
