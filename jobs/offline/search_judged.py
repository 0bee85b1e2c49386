"""Figures of judged queries, computed on the driver: some hundred queries with a hundred matches each."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame

from udfs.evaluation.metrics import Bootstrap, Interval
from udfs.search import gains, judged

NIGHT, NDCG, LEAD = "nightshelf", f"ndcg@{gains.K}", f"lead_ndcg@{gains.K}"


@dataclass(frozen=True)
class SearchFigure:
    """One figure of one contender: a row of ops.search_metrics; low and high are None without an interval."""

    contender: str
    metric: str
    value: float
    low: float | None
    high: float | None
    queries: int

    @classmethod
    def of(cls, contender: str, metric: str, found: Interval) -> SearchFigure:
        """The figure with its interval, if it has one."""
        return cls(contender, metric, found.value, *found.ends, found.user_count)

    def __str__(self) -> str:
        ends = "" if self.low is None else f" ({self.low:.4f} to {self.high:.4f})"
        return f"searches, {self.contender}: {self.metric} {self.value:.4f}{ends}, {self.queries} queries"


def judged_searches(judgements: DataFrame, named: DataFrame, met: DataFrame, shown: DataFrame) -> list[SearchFigure]:
    """NDCG@10 of the shop's lists and of each plain ranking, and the shop's lead: mean difference, paired by query.

    judgements: query, item_id, rating; named: raw (the judged query), query_key; met: query_key, item_id, bm25, cosine;
    shown: query_key, item_id, rank. Empty where nothing is shown.
    """
    lists = shown.toPandas()
    if not len(lists):
        return []
    rated = judgements.toPandas()
    queries = dict(sorted(named.toPandas()[["raw", "query_key"]].itertuples(index=False, name=None)))
    contenders = {NIGHT: lists} | judged.plain_rankings(met.toPandas())
    values = {name: judged.ndcg(ranking, rated, queries) for name, ranking in contenders.items()}
    draws = Bootstrap(len(queries))
    figures = [SearchFigure.of(name, NDCG, draws.mean(each)) for name, each in values.items()]
    peers = [name for name in values if name != NIGHT]
    return figures + [SearchFigure.of(name, LEAD, draws.difference(values[NIGHT], values[name])) for name in peers]
