"""What the newest rankings of judged queries are worth, beside plain rankings of the same matches."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.offline.search_judged import SearchFigure, judged_searches
from jobs.reports import progress
from jobs.reports.search_page import search_page
from jobs.transforms import searches
from schemas import search
from schemas.derive import plain_ddl
from schemas.errors import TooEarlyError
from schemas.run import RunContext


def evaluate_searches(
    judgements: DataFrame,
    queries: DataFrame,
    query_items: DataFrame,
    search_rankings: DataFrame,
    *,
    run: RunContext,
    language: str = "english",
) -> DataFrame:
    """ops.search_metrics: NDCG@10 of gold.search_rankings on silver.judgements, and of BM25F, cosine and their fusion.

    Judged are the newest rankings up to run_date, over the whole catalogue: what was not judged counts as not relevant.
    Intervals are of a bootstrap over the queries, paired for the leads. `language`: as in match_queries. The HTML page
    is `evaluation/search_<run_date>.html` in the lake.
    """
    named = searches.normal_forms(judgements.select(F.col("query").alias("raw")).distinct(), language)
    keys = queries.join(named.select("query_key"), "query_key", "left_semi").select("query_key", "query")
    met = query_items.join(keys, "query_key", "left_semi").select("query_key", "item_id", "bm25", "cosine")
    shown = search_rankings.join(keys, "query", "inner").select("query_key", "item_id", "rank")
    figures = judged_searches(
        judgements.select("query", "item_id", "rating"), named.select("raw", "query_key"), met, shown
    )
    if not figures:
        raise TooEarlyError(f"no judged query has a ranking up to {run.run_date}: run that night first")
    run.write_page(f"evaluation/search_{run.run_date}.html", search_page(run.deployment.name, run.run_date, figures))
    for figure in figures:
        progress.say(str(figure))
    return _rows(judgements.sparkSession, run, figures)


def _rows(spark: SparkSession, run: RunContext, figures: list[SearchFigure]) -> DataFrame:
    values = [
        (run.run_date, each.contender, each.metric, each.value, each.low, each.high, each.queries) for each in figures
    ]
    return spark.createDataFrame(values, plain_ddl(search.SEARCH_METRICS))


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("evaluate_searches")
