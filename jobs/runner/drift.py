"""Drift of a gold table: its figures beside those of earlier runs, and the limits that conf sets."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runner.audit_counts import planned_once
from jobs.runner.findings import Finding
from schemas.contract import PARTITION, Check, Severity, Table
from schemas.drift import Limits

DRIFT = "drift_"  # names of its checks begin so
SCORES = {"score_low": 0.1, "score_median": 0.5, "score_high": 0.9}
ACCURACY = 1_000  # of the quantiles: ranks are right to a thousandth of the rows


@dataclass(frozen=True)
class Figure:
    """A figure of a table: its value, the median of earlier runs (None: too few), and the limits of conf.

    `section`: the section of conf with the limits; `day`: the date of the figure, where that is not run_date.
    """

    name: str
    value: float
    usual: float | None
    low: float | None
    high: float | None
    section: str = "[drift]"
    day: dt.date | None = None

    @property
    def passed(self) -> bool:
        """Whether it is within the limits; a figure without limits is."""
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    def finding(self, accepted: str = "") -> Finding:
        """The figure as a finding of the table. `accepted`: drift is a warning for this run, and by what."""
        of_day = f" of {self.day}" if self.day else ""
        severity: Severity = "warning" if accepted and not self.passed else "critical"
        check = Check(
            name=f"{DRIFT}{self.name}{of_day.replace(' ', '_')}",
            reason=f"{self.name}{of_day} is {self.value:.6g}, must be {self.low:.6g} to {self.high:.6g} "
            f"(conf, {self.section}); usual is {'nothing yet' if self.usual is None else f'{self.usual:.6g}'}"
            f"{f'; accepted by {accepted}' if severity == 'warning' else ''}",
            expectation="",
            severity=severity,
        )
        return Finding(check, self.passed, None)


def measure(table: Table, rows: DataFrame, before: DataFrame | None) -> dict[str, float]:
    """Figures of one run_date of a gold table: rows, and its contract's amounts; lists and items where it has ranked
    lists; quantiles of the score.

    `changed`: of the lists that also are in `before`, the rows of the date before, the share that differ; left out
    where there are none.
    """
    wanted = [F.count(F.lit(1)).alias("rows")]
    wanted += [F.coalesce(F.expr(sql), F.lit(0)).cast("double").alias(name) for name, sql in table.amounts.items()]
    item = next((name for name in ("similar_item_id", "item_id") if name in table.column_names), None)
    lists = table.key[:-1] if table.key[-1:] == ("rank",) and item else ()
    if lists and item:
        wanted += [F.count_distinct(*lists).alias("lists"), F.count_distinct(item).alias("items")]
    if "score" in table.column_names:
        wanted.append(F.percentile_approx("score", list(SCORES.values()), ACCURACY).alias("scores"))
    with planned_once(rows.sparkSession):
        aggregates = rows.agg(*wanted).collect()[0].asDict()
    scores = aggregates.pop("scores", None) or []
    figures = {name: float(value) for name, value in aggregates.items()} | dict(zip(SCORES, scores, strict=False))
    if before is not None and lists and item:
        tonight, last = (_list_hashes(frame, lists, item) for frame in (rows, before))
        common = tonight.join(last.withColumnRenamed("listed", "listed_before"), list(lists), "inner")
        differs = (F.col("listed") != F.col("listed_before")).cast("double")
        with planned_once(rows.sparkSession):
            share = common.agg(F.avg(differs).alias("share")).collect()[0]["share"]
        if share is not None:
            figures["changed"] = share
    return figures


def _list_hashes(rows: DataFrame, lists: Sequence[str], item: str) -> DataFrame:
    """Each list as one hash of its items in order, without those drawn at random."""
    if "is_explored" in rows.columns:
        rows = rows.where(~F.coalesce("is_explored", F.lit(False)))
    ranked = F.sort_array(F.collect_list(F.struct("rank", item)))
    return rows.groupBy(*lists).agg(F.xxhash64(ranked).alias("listed"))


def compare(
    figures: Mapping[str, float],
    nights: Mapping[object, Mapping[str, float]],
    limits: Limits,
    amounts: Collection[str] = (),
) -> list[Figure]:
    """Each figure beside its median over `nights`, the newest dates before; limits apply from `min_nights` dates on.

    An amount that usually is below `least` has no limits.
    """
    compared = []
    for name, value in figures.items():
        past = [night[name] for night in nights.values() if name in night]
        usual = statistics.median(past) if len(past) >= limits.min_nights else None
        share, is_amount = limits.share(name), name in amounts
        if name == "changed":
            compared.append(Figure(name, value, usual, 0.0, share))
        elif usual is None or (is_amount and usual < max(limits.least, 1)):
            compared.append(Figure(name, value, None, None, None))
        else:
            compared.append(Figure(name, value, usual, usual * (1 - share), up(usual, share)))
    return compared


def up(usual: float, share: float) -> float:
    """The upper limit that mirrors a lower limit of `share`: with 0.5, half and twice as many are equally far."""
    return usual / (1 - share) if share < 1 else math.inf


def past_nights(
    figures: Iterable[Mapping[str, Any]], runs: Iterable[Mapping[str, Any]], table: Table, nights: int
) -> dict[object, dict[str, float]]:
    """Figures of the newest dates in ops.figures, by run_date: of several runs of a date, those of the last."""
    begun = {row["run_id"]: row["started_at"] for row in runs}
    mine = [row for row in figures if row["table_name"] == table.name]
    newest = sorted({row[PARTITION] for row in mine}, reverse=True)[:nights]
    first = dt.datetime.min.replace(tzinfo=dt.UTC)
    by_night: dict[object, dict[str, float]] = {}
    for night in sorted(newest):
        of_night = [row for row in mine if row[PARTITION] == night]
        last = max((begun.get(row["run_id"]) or first, row["run_id"]) for row in of_night)[1]
        by_night[night] = {row["figure"]: row["value"] for row in of_night if row["run_id"] == last}
    return by_night
