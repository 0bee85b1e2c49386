"""Counts for a table's checks, by one SQL execution per table. No Great Expectations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.contract import Check

ADAPTIVE = "spark.sql.adaptive.enabled"


@dataclass(frozen=True)
class Counts:
    """Counts of one frame: its rows; by check name the rows (or groups) that break it, and those where it is null.

    `sums`: of the columns that a balance adds up; null over no row. `most`: how many rows have the most frequent
    value of the column requested.
    """

    rows: int
    broken: Mapping[str, int]
    nulls: Mapping[str, int]
    sums: Mapping[str, int | None]
    most: int = 0


def count(frame: DataFrame, checks: Iterable[Check], summed: Sequence[str] = (), frequent: str = "") -> Counts:
    """Count everything in one SQL execution: checks of single rows in one aggregate, those of groups in others.

    Separate aggregates are cheaper: beside a distinct count Spark would hold every count of the rows per group.
    """
    checks = list(checks)
    by_row = [check for check in checks if check.sql]
    distinct = [check for check in checks if check.distinct]
    grouped = [check for check in checks if check.query and not check.distinct]
    wanted = ["count(*)"]
    for check in by_row:
        wanted.append(f"count_if(NOT coalesce({check.sql}, true))")
        wanted.append(f"count_if(({_left_open(check)}) IS NULL)")
    wanted += [f"(SELECT count(*) FROM ({check.query}))" for check in grouped]
    wanted += [f"sum(`{name}`)" for name in summed]
    parts = [_of_rows(frame, wanted, bool(grouped))]
    parts += [frame.select(*check.distinct).distinct().agg(_figures(F.count("*"))) for check in distinct]
    if frequent:
        groups = frame.where(F.col(frequent).isNotNull()).groupBy(frequent).count()
        parts.append(groups.agg(_figures(F.max("count"))))
    of_rows, *of_groups = _collected(parts)
    rows, pairs, others = of_rows[0], of_rows[1 : 1 + 2 * len(by_row)], of_rows[1 + 2 * len(by_row) :]
    broken = {check.name: pairs[2 * place] for place, check in enumerate(by_row)}
    broken |= {check.name: rows - of_groups[place][0] for place, check in enumerate(distinct)}
    return Counts(
        rows,
        broken | {check.name: others[place] for place, check in enumerate(grouped)},
        {check.name: pairs[2 * place + 1] for place, check in enumerate(by_row)},
        dict(zip(summed, others[len(grouped) :], strict=True)),
        (of_groups[-1][0] or 0) if frequent else 0,
    )


def _figures(*figures: Column) -> Column:
    """Whole numbers as one array."""
    return F.array(*(figure.cast("bigint") for figure in figures)).alias("figures")


def _of_rows(frame: DataFrame, wanted: Sequence[str], by_name: bool) -> DataFrame:
    """`figures` of these aggregates; `by_name`: with subqueries over `{batch}`, at the cost of an execution."""
    if not by_name:
        return frame.agg(_figures(*(F.expr(sql) for sql in wanted)))
    listed = ", ".join(f"CAST({sql} AS BIGINT)" for sql in wanted)
    return frame.sparkSession.sql(f"SELECT array({listed}) AS figures FROM {{batch}}", batch=frame)


def _collected(parts: Sequence[DataFrame]) -> list[list[int]]:
    """The figures of each part, by one SQL execution."""
    with planned_once(parts[0].sparkSession):
        numbered = [part.withColumn("part", F.lit(place)) for place, part in enumerate(parts)]
        rows = reduce(DataFrame.unionByName, numbered).collect()
    return [list(row["figures"]) for row in sorted(rows, key=lambda row: row["part"])]


@contextmanager
def planned_once(spark: SparkSession) -> Iterator[None]:
    """Turn adaptive execution off within the block: it would make a Spark job of each stage of an aggregate."""
    before = spark.conf.get(ADAPTIVE)
    spark.conf.set(ADAPTIVE, "false")
    try:
        yield
    finally:
        spark.conf.set(ADAPTIVE, before or "true")


def _left_open(check: Check) -> str:
    """SQL that is null where a check does not apply to a row: its column, or the statement about several."""
    return f"`{check.column}`" if check.column else str(check.sql)
