"""Queries of the log and of the catalogue: what each means, and which items it meets."""

from __future__ import annotations

import hashlib
from functools import reduce

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import query_match, searches
from jobs.transforms.arrow_rows import in_one_task, table
from jobs.transforms.catalogue import active
from jobs.transforms.held import held
from jobs.transforms.json_models import applied
from jobs.transforms.query_match import CATALOGUE, Matching
from jobs.transforms.vectors import text_key
from schemas import search
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from udfs.search.head_queries import head_queries
from udfs.search.index import DENSE_WEIGHT
from udfs.search.ranker import from_json

COUNTS = ("searches_28", "users_28")


def match_queries(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    judgements: DataFrame,
    queries: DataFrame,
    query_items: DataFrame,
    search_model: Model | None,
    model: Model,
    *,
    run: RunContext,
    head: int = 1000,
    top_k: int = 100,
    language: str = "english",
) -> dict[str, DataFrame]:
    """features.queries and features.query_items: what each query means, and the active items that it meets.

    Queries are those searched on the last 28 days, the catalogue's `head` commonest words (categories, brands, pairs of
    words of titles), so that there are rankings without a search log too, and those of silver.judgements. With the
    catalogue, the model and the settings unchanged, only queries that the newest run lacks are read; of others the
    counts alone are new. `top_k`: the exact best by words, and as many by meaning, of which the sum of both scores
    decides, weighted as search_model says. `language`: of Snowball's stems, "" for none.
    """
    if min(head, top_k) < 1:
        raise ConfError("[jobs.match_queries] head and top_k must be at least 1")
    stored = item_vectors.select("item_id", "vector", "text_key")
    catalogue = active(items).select(*CATALOGUE).join(stored, "item_id", "left")
    weight = applied(search_model, from_json).dense_weight if search_model else DENSE_WEIGHT
    fingerprint = _fingerprint(catalogue, f"{model.version} {head} {top_k} {language} {weight}")
    known = queries.select("catalogue_hash").first()
    unchanged = known is not None and known["catalogue_hash"] == fingerprint
    before = held(queries.where(F.lit(unchanged)))
    heads = (
        before.where("source = 'catalogue'").select("query_key", "query")
        if unchanged
        else _heads(items, head, language)
    )
    of_log = searches.with_forms(events, language) if searches.has_log(run.deployment) else None
    judged = _judged(judgements, run, language)
    asked = held(_asked(heads, judged, None if of_log is None else searches.counted(of_log, run.run_date)))
    new = asked.join(before.select("query_key", "query"), ["query_key", "query"], "left_anti")
    may_be_new = not unchanged or of_log is not None or bool(run.deployment.of_kind("judgements"))
    fresh = items.sparkSession.createDataFrame([], query_match.MATCHED)
    if may_be_new and new.take(1):
        matching = new.select("query_key", "query"), catalogue.select(*CATALOGUE, "vector"), model
        fresh = held(query_match.matched(*matching, Matching(top_k, language, weight)))
    stays = before.join(asked.select("query_key", "query"), ["query_key", "query"], "left_semi")
    understood, met = _together(stays, query_items, fresh, model)
    of_run = {
        "run_date": F.lit(run.run_date),
        "model_version": F.lit(model.version),
        "catalogue_hash": F.lit(fingerprint),
    }
    labels = None if of_log is None else searches.labels(of_log, run.run_date)
    rows = {
        search.QUERIES: asked.join(understood, "query_key", "inner"),
        search.QUERY_ITEMS: _labelled(met, labels),
    }
    return {table.name: frame.withColumns(of_run).select(*table.column_names) for table, frame in rows.items()}


def _judged(judgements: DataFrame, run: RunContext, language: str) -> DataFrame | None:
    """FORMS of the judged queries; None in a deployment without judgements: then no worker starts for none."""
    if not run.deployment.of_kind("judgements"):
        return None
    return searches.normal_forms(judgements.select(F.col("query").alias("raw")).distinct(), language)


def _together(stays: DataFrame, query_items: DataFrame, fresh: DataFrame, model: Model) -> tuple[DataFrame, DataFrame]:
    """What queries mean and the pairs that they meet: of those that the newest run had, and of `fresh` (MATCHED)."""
    meant = [name for name in search.QUERIES.column_names if name in fresh.columns]
    pairs = ("query_key", "item_id", "bm25", "cosine", "covered", "match")
    again = query_items.join(stays.select("query_key"), "query_key", "left_semi")
    met = again.select(*pairs).unionByName(fresh.select("query_key", F.inline("met")).select(*pairs))
    understood = stays.select(*meant).unionByName(fresh.select(*meant))
    return understood.withColumn("text_key", text_key(F.col("corrected_query"), model)), met


def _fingerprint(catalogue: DataFrame, settings: str) -> str:
    """Hash of all that decides which items a query meets."""
    row = F.xxhash64(*CATALOGUE, "text_key").cast("decimal(38,0)")  # a sum has no order, and must not overflow
    digest = catalogue.agg(F.concat_ws(" ", F.sum(row).cast("string"), F.count("*").cast("string"), F.lit(settings)))
    return hashlib.md5(str(digest.collect()[0][0]).encode()).hexdigest()


def _heads(items: DataFrame, most: int, language: str) -> DataFrame:
    """query_key, query: the catalogue's commonest words."""

    def read(rows: pd.DataFrame) -> pa.Table:
        return table(head_queries(rows, most, language=language), "query_key STRING, query STRING")

    return in_one_task(active(items).select("title", "category", "brand"), read, "query_key STRING, query STRING")


def _asked(heads: DataFrame, judged: DataFrame | None, log: DataFrame | None) -> DataFrame:
    """query_key, query, source, searches_28, users_28, first_on of every query; `log` is searches.counted.

    A query is named by the catalogue, else by the judgements, else by the log: a form that only few users typed is not
    shown.
    """
    parts = [
        frame.select("query_key", "query", F.lit(source).alias("source"), F.lit(place).alias("place"))
        for place, (source, frame) in enumerate({"catalogue": heads, "judged": judged, "log": log}.items())
        if frame is not None
    ]
    first = F.struct("place", "query")
    named = reduce(DataFrame.unionByName, parts).groupBy("query_key")
    asked = named.agg(F.min_by("query", first).alias("query"), F.min_by("source", first).alias("source"))
    if log is None:
        zero = F.lit(0).cast("bigint")
        return asked.withColumns({**dict.fromkeys(COUNTS, zero), "first_on": F.lit(None).cast("date")})
    return asked.join(log.drop("query"), "query_key", "left").fillna(0, list(COUNTS))


def _labelled(met: DataFrame, labels: DataFrame | None) -> DataFrame:
    """The matched pairs with what the log says of each."""
    if labels is not None:
        return met.join(labels, ["query_key", "item_id"], "left").fillna(0, list(searches.LABELS))
    nothing = {name: F.lit(None).cast("double") for name in ("examined", "relevance")}
    return met.withColumns({**{name: F.lit(0).cast("bigint") for name in searches.LABELS}, **nothing})


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("match_queries")
