"""Items, categories, brands and queries that are met more, or less, of late than their own past explains."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms import arrow_rows, query_trends, review_trends, searches
from jobs.transforms.blocked import blocked_items
from jobs.transforms.catalogue import listed
from jobs.transforms.counted_buyers import counted_lines
from jobs.transforms.held import held
from jobs.transforms.purchases import buyer, purchases, within
from schemas import search
from schemas.run import RunContext
from udfs.days import day_number
from udfs.search.trend_rows import COLUMNS, SPAN_DAYS, trend_rows
from udfs.search.trends import WINDOWS

FOUND = ", ".join(f"{name} {search.TRENDS.column(name).type}" for name in ("kind", *COLUMNS))


def find_trends(
    events: DataFrame,
    items: DataFrame,
    blocked: DataFrame,
    queries: DataFrame,
    search_trends: DataFrame,
    reviews: DataFrame,
    review_sentences: DataFrame,
    suspects: DataFrame,
    *,
    run: RunContext,
    min_users: int = 5,
) -> DataFrame:
    """gold.search_trends: the keys that rise or fall, with at least `min_users` different buyers where they rise.

    With a search log also queries, those without a result and misspelt ones, against the users who search; a query
    that falls is published if as many users have ever searched for it. With reviews also their aspects, by category:
    one of which more reviews complain falls.

    A task holds the counts by day of one kind in a year. A trend that the newest run before had in the same direction
    keeps its started_on. A blocked item is no key.
    """
    bought = counted_lines(within(purchases(events, run.deployment), run.run_date, SPAN_DAYS), suspects, run)
    # 64 bits a buyer: two of a million coincide once in ten million nights, and a count is one less then.
    lines = held(bought.select("event_date", "item_id", F.xxhash64(buyer()).alias("buyer")).distinct())
    catalogue = listed(run.deployment, items, events).select("item_id", "category", "brand")
    keyed = lines.join(catalogue, "item_id", "left")
    keys = F.array(*(F.struct(F.lit(kind).alias("kind"), F.col(_column(kind)).alias("key")) for kind in search.KINDS))
    each = keyed.select("event_date", "buyer", F.explode(keys).alias("of")).where("of.key IS NOT NULL")
    met = each.select("of.kind", "of.key", "event_date", "buyer")
    asked = None
    if searches.has_log(run.deployment):
        asked = held(searches.with_forms(within(events, run.run_date, SPAN_DAYS), "english"))
        met = held(met.distinct().unionByName(query_trends.searched(asked, queries)))
    read = None
    if run.deployment.of_kind("reviews"):
        read = review_trends.read_lately(reviews, review_sentences, items, run, SPAN_DAYS)
        met = met.unionByName(review_trends.complaints(read))
    day = F.unix_date("event_date").alias("day")
    counts = met.groupBy("kind", "key", day).agg(F.count_distinct("buyer").alias("count"))
    sessions = _sessions(lines, met, asked is not None, read)
    found = counts.groupBy("kind").cogroup(sessions.groupBy("kind")).applyInArrow(_finder(run.run_date), FOUND)
    in_window = F.col("event_date") > F.lit(run.run_date - dt.timedelta(days=WINDOWS[0]))
    users = met.where(in_window).groupBy("kind", "key").agg(F.count_distinct("buyer").alias("users"))
    before = search_trends.select("kind", "key", "direction", "started_on")
    counted = found.join(users, ["kind", "key"], "left").fillna(0, ["users"])
    public = counted.where((F.col("direction") == "falling") | (F.col("users") >= min_users))
    public = public.withColumn("direction", review_trends.direction())
    if run.deployment.blocks:
        hidden = blocked_items(run.deployment, listed(run.deployment, items, events), blocked)
        keys_hidden = hidden.select(F.lit("item").alias("kind"), F.col("item_id").alias("key"))
        public = public.join(keys_hidden, ["kind", "key"], "left_anti")
    public = _with_shares(public, met, asked, run.run_date, min_users)
    return (
        public.join(before, ["kind", "key", "direction"], "left")
        .withColumn("run_date", F.lit(run.run_date))
        .withColumn("started_on", F.coalesce("started_on", "run_date"))
        .withColumns({"reason": _reason(), "action": query_trends.action()})
        .select(*search.TRENDS.column_names)
    )


def _with_shares(
    public: DataFrame, met: DataFrame, asked: DataFrame | None, run_date: dt.date, min_users: int
) -> DataFrame:
    """With OF_QUERY, null but for queries; without queries that fewer than `min_users` have ever searched for."""
    if asked is None:
        return public.withColumns({name: F.lit(None).cast("double") for name in query_trends.OF_QUERY})
    known = met.groupBy("kind", "key").agg(F.count_distinct("buyer").alias("ever"))
    enough = F.col("kind").isin(*search.KINDS, search.ASPECT) | (F.col("ever") >= min_users)
    shares = query_trends.shares(asked, run_date, WINDOWS[0])
    of_query = shares.withColumn("kind", F.explode(F.array(*map(F.lit, search.QUERY_KINDS))))
    return public.join(known, ["kind", "key"], "left").where(enough).join(of_query, ["kind", "key"], "left")


def _sessions(lines: DataFrame, met: DataFrame, has_log: bool, read: DataFrame | None) -> DataFrame:
    """kind, day, sessions: who bought anything on a day, for the kinds of queries who searched for anything, and for
    aspects the reviews that were read.
    """
    day = F.unix_date("event_date").alias("day")

    def of(kinds: tuple[str, ...], buyers: DataFrame) -> DataFrame:
        every_kind = F.explode(F.array(*map(F.lit, kinds))).alias("kind")
        return (
            buyers.groupBy(day).agg(F.count_distinct("buyer").alias("sessions")).select(every_kind, "day", "sessions")
        )

    bought = of(search.KINDS, lines)
    if has_log:
        bought = bought.unionByName(of(search.QUERY_KINDS, met.where("kind = 'query'")))
    return bought if read is None else bought.unionByName(of((search.ASPECT,), read))


def _column(kind: str) -> str:
    return "item_id" if kind == "item" else kind


def _finder(run_date: dt.date) -> Callable[[tuple[Any, ...], pa.Table, pa.Table], pa.Table]:
    last_day = day_number(run_date)

    def find(group: tuple[Any, ...], counts: pa.Table, sessions: pa.Table) -> pa.Table:
        rows = trend_rows(counts.to_pandas(), sessions.to_pandas(), last_day)
        rows.insert(0, "kind", group[0].as_py())
        return arrow_rows.table(rows, FOUND)

    return find


def _reason() -> Column:
    done = F.when(F.col("kind") == search.ASPECT, "Criticised").otherwise("Searched for")
    done = F.when(F.col("kind").isin(*search.KINDS), "Bought").otherwise(done)
    words = "%s %d times in %d days: %.1f times (%.1f to %.1f) what its own past and the shop's sessions lead to"
    return F.format_string(words, done, "count", "window_days", "ratio", "low", "high")


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("find_trends")
