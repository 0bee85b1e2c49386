"""Whose purchases count when it is counted what many buy: persons, and no crowd of newcomers."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.item_counts import WINDOWS, item_counts
from jobs.transforms.purchases import buyer
from schemas.run import RunContext

CHANCE = 0.01  # that so large a share of new buyers is one of the shop's usual ones
LEAST_SHARE, MOST_SHARE = 0.01, 0.99


def counted_lines(
    lines: DataFrame, suspects: DataFrame, run: RunContext, keys: Sequence[str] = ("item_id",)
) -> DataFrame:
    """The rows of `lines` (user_id, item_id, event_date, basket_id, ...) that counts of buyers are of; all by default.

    Left out are users whom silver.suspects of the date marks as acting. With `known_days`, so are new buyers, guests
    among them, of those `keys` of which they are too many: where chance would give them such a share of the key's
    buyers of these days in fewer than one of a hundred cases (Chernoff's bound), the shop's own share given. The key's
    known buyers count. `lines` must have every user's first purchase, or those of the newest year.
    """
    conf = run.deployment.suspects
    if conf.act_on(run.run_date):
        acting = suspects.where(F.col("acts") & (F.col("run_date") == F.lit(run.run_date)))
        lines = lines.join(acting.select("user_id"), "user_id", "left_anti")
    if not conf.known_days:
        return lines
    before = F.lit(run.run_date - dt.timedelta(days=conf.known_days))
    first = lines.where("user_id IS NOT NULL").groupBy("user_id").agg(F.min("event_date").alias("_first"))
    known = first.where(F.col("_first") <= before).select("user_id", F.lit(True).alias("_known"))
    marked = lines.join(known, "user_id", "left").withColumn("_new", F.col("_known").isNull()).drop("_known")
    lately = marked.where(F.col("event_date") > before)
    who = [F.count_distinct(buyer()), F.count_distinct(F.when(F.col("_new"), buyer()))]
    shop = lately.agg(who[0].alias("_all"), who[1].alias("_all_new"))
    usual = F.col("_all_new") / F.greatest(F.col("_all"), F.lit(1))
    usual = F.greatest(F.lit(LEAST_SHARE), F.least(F.lit(MOST_SHARE), usual))
    of_key = lately.groupBy(*keys).agg(who[0].alias("_n"), who[1].alias("_k")).crossJoin(shop)
    crowd = of_key.where(_surprise(F.col("_k"), F.col("_n"), usual) > F.lit(-math.log(CHANCE)))
    flagged = crowd.select(*keys, F.lit(True).alias("_crowd"))
    judged = marked.join(flagged, list(keys), "left")
    return judged.where(~(F.col("_new") & F.coalesce("_crowd", F.lit(False)))).select(*lines.columns)


def counted_items(lines: DataFrame, suspects: DataFrame, run: RunContext, day: int) -> DataFrame:
    """`item_counts` of the run before `day`, whose counts of recent buyers are those of `counted_lines`.

    All other counts are of every line: an item that only uncounted buyers have bought has been sold, and has a row.
    """
    counts, some = item_counts(lines, [day]), counted_lines(lines, suspects, run)
    if some is lines:
        return counts
    recent = item_counts(some, [day]).select("item_id", *WINDOWS)
    return counts.drop(*WINDOWS).join(recent, "item_id", "left").fillna(0, list(WINDOWS))


def _surprise(some: Column, every: Column, share: Column) -> Column:
    """-log of Chernoff's bound on at least `some` of `every`, each with probability `share`; 0 where it is not many."""
    part = some / every
    others = F.when(part < 1, (1 - part) * F.log((1 - part) / (1 - share))).otherwise(0.0)
    return F.when(part > share, every * (part * F.log(part / share) + others)).otherwise(0.0)
