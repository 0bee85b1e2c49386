"""The search model fitted in one task: the weight of the vectors, and the ranker of past purchases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.arrow_rows import schema
from jobs.transforms.query_match import encoded
from schemas.run import Model
from udfs.search.asked import asked_for
from udfs.search.dense_weight import dense_weight, masked_titles
from udfs.search.head_queries import head_queries
from udfs.search.past_lists import interactions
from udfs.search.ranker import SearchRanker, untrained
from udfs.search.train import Fitted, fitted

BOUGHT = "user_id STRING, item_id STRING, basket BIGINT, day INT"
LINES = f"{BOUGHT}, query STRING, searches BIGINT"  # a row a purchase, and a row a query of the log


@dataclass(frozen=True)
class Lessons:
    """tomorrow: the first day that is not known; share: of the shop's buyers, those whose lines are at hand; queries,
    lists: at most so many; language: of Snowball's stems.
    """

    tomorrow: int
    share: float
    queries: int
    lists: int
    language: str


def bought_lines(purchases: DataFrame) -> DataFrame:
    """BOUGHT of purchases, each item of a basket once."""
    day, basket = F.unix_date("event_date").alias("day"), F.xxhash64("basket_id").alias("basket")
    return purchases.select("user_id", "item_id", basket, day).distinct()


def with_queries(lines: DataFrame, counted: DataFrame | None, most: int) -> DataFrame:
    """LINES of BOUGHT and of the log's queries searched most (query, searches_28); None without a log."""
    nothing = {"query": F.lit(None).cast("string"), "searches": F.lit(None).cast("bigint")}
    if counted is None:
        return lines.withColumns(nothing)
    best = counted.orderBy(F.desc("searches_28"), "query").limit(most)
    asked = best.select("query", F.col("searches_28").alias("searches"))
    return lines.unionByName(asked, allowMissingColumns=True)


def fitted_search(
    lines: DataFrame,
    catalogue: DataFrame,
    model: Model,
    current: SearchRanker | None,
    lessons: Lessons,
    row_of: Callable[[Fitted, int], pa.Table],
    ddl: str,
) -> DataFrame:
    """The row of a fit on LINES and the CATALOGUE, none without items; in one task, which holds both.

    model: its encoder reads the masked titles; row_of: the row, by the fit and the first day of the purchases.
    """

    def fit(rows: pa.Table, items: pa.Table) -> pa.Table:
        if not items.num_rows:
            return schema(ddl).empty_table()
        return row_of(*_fit(rows.to_pandas(), items.to_pandas(), model, current, lessons))

    left, right = (frame.withColumn("all", F.lit(0)).groupBy("all") for frame in (lines, catalogue))
    return left.cogroup(right).applyInArrow(fit, ddl)


def _fit(
    rows: pd.DataFrame, items: pd.DataFrame, model: Model, current: SearchRanker | None, lessons: Lessons
) -> tuple[Fitted, int]:
    items = items.sort_values("item_id", ignore_index=True)
    masked = masked_titles(items, lessons.language)
    vectors = encoded([*masked.texts, *masked.queries], model)
    texts, queries = vectors[: len(masked.texts)], vectors[len(masked.texts) :]
    start = untrained(dense_weight(masked, texts, queries, items, lessons.language))
    log = rows[rows["query"].notna()].sort_values(["searches", "query"], ascending=[False, True])["query"].tolist()
    heads = head_queries(items, lessons.queries, language=lessons.language)["query"].tolist()
    asked = list(dict.fromkeys([*log, *heads]))[: lessons.queries]
    lines = interactions(rows[rows["item_id"].notna()], items["item_id"].to_numpy(str))
    of_query = asked_for(items, asked, lessons.language)
    found = fitted(lines, of_query, lessons.tomorrow, start, current, lessons.lists, lessons.share)
    return found, int(lines.day.min(initial=lessons.tomorrow - 1))
