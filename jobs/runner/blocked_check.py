"""Checks of blocked items: no row shows one, a pattern does not block much of the catalogue, ids are known."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runner.findings import EXAMPLES, Finding
from jobs.runner.lake import Lake
from jobs.transforms.blocked import blocked_items
from schemas.blocked import MOST_BLOCKED, Blocked
from schemas.contract import Check, Table


def findings(lake: Lake, table: Table, rows: DataFrame, run_date: dt.date) -> list[Finding]:
    """Findings of a table that is about to be published; none, and no query, where nothing is blocked."""
    deployment = lake.deployment
    if table.name == "silver.items" and deployment.blocked:
        return _of_catalogue(rows, deployment.blocked)
    return [_of_shown(lake, table, rows, run_date)] if table.shows and deployment.blocks else []


def _of_shown(lake: Lake, table: Table, rows: DataFrame, run_date: dt.date) -> Finding:
    """Whether a table shows no blocked item: those of the catalogue, and all ids that are listed, known or not."""
    deployment = lake.deployment
    ids = sorted({item for rule in deployment.blocked for item in rule.items})
    hidden = lake.spark.createDataFrame([(item,) for item in ids], "item_id STRING")
    for kind in ("items", "blocked"):
        if deployment.of_kind(kind):
            part = lake.of_days(f"silver.{kind}", [run_date])
            if kind == "items":
                part = blocked_items(deployment, part, hidden)
            hidden = hidden.unionByName(part.select("item_id"))
    shown = rows.select(F.expr(table.shows).alias("item_id"))
    count = shown.join(hidden.distinct(), "item_id", "left_semi").count()
    return Finding(Check("no_blocked_item", "no row may show a blocked item", ""), count == 0, count)


def _of_catalogue(items: DataFrame, rules: Sequence[Blocked]) -> list[Finding]:
    """Whether each pattern blocks a small part of the catalogue, and the ids are in it (a warning), by one query."""
    ids = sorted({item for rule in rules for item in rule.items})
    patterns = [rule for rule in rules if rule.like]
    counts = [F.count_if(F.expr(rule.sql)).alias(f"_{place}") for place, rule in enumerate(patterns)]
    known = F.collect_set(F.when(F.col("item_id").isin(ids), F.col("item_id"))).alias("known")
    row = items.agg(F.count(F.lit(1)).alias("all"), known, *counts).collect()[0]
    many = [
        f"{rule.reason!r} ({rule.column} like {rule.like!r}) blocks {row[f'_{place}']:,}"
        for place, rule in enumerate(patterns)
        if row[f"_{place}"] > MOST_BLOCKED * row["all"]
    ]
    unknown = sorted(set(ids) - set(row["known"]))
    least = "one rule of [[blocked]] may block at most a fifth of the catalogue"
    found = f": of {row['all']:,} items {'; '.join(many)}" if many else ""
    named = f": {', '.join(unknown[:EXAMPLES])}{', ...' * (len(unknown) > EXAMPLES)}" if unknown else ""
    ids_known = "an item of [[blocked]] should be in silver.items (it stays blocked, should it come)"
    share = Finding(Check("few_blocked", least + found, ""), not many, len(many))
    warning = Finding(Check("blocked_known", ids_known + named, "", severity="warning"), not unknown, len(unknown))
    if unknown:
        print(f"warning: {warning.check.reason}", file=sys.stderr)
    return [share, warning]
