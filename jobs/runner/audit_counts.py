"""What a table's checks count, in one pass over the rows: one SQL execution a table. No Great Expectations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.contract import Check

ADAPTIVE = "spark.sql.adaptive.enabled"


@dataclass(frozen=True)
class Counts:
    """Figures of one frame: its rows; by check name the rows (or groups) that break it, and nulls it leaves open.

    `sums` are of the columns that a balance adds up; null over no row. `most` is how many rows have the most frequent
    value of a column that was asked for, give or take a thousandth of all where that has over 7,500 values.
    """

    rows: int
    broken: Mapping[str, int]
    nulls: Mapping[str, int]
    sums: Mapping[str, int | None]
    most: int = 0


def count(frame: DataFrame, checks: Iterable[Check], summed: Sequence[str] = (), frequent: str = "") -> Counts:
    """Count all of it in one aggregate; what is said of groups of rows is a scalar subquery of it."""
    checks = list(checks)
    by_row = [check for check in checks if check.sql]
    distinct = [check for check in checks if check.distinct]
    grouped = [check for check in checks if check.query and not check.distinct]
    wanted = ["count(*) AS rows"]
    for place, check in enumerate(by_row):
        wanted.append(f"count_if(NOT coalesce({check.sql}, true)) AS broken_{place}")
        wanted.append(f"count_if(({_left_open(check)}) IS NULL) AS nulls_{place}")
    for place, check in enumerate(distinct):  # a struct: count(DISTINCT a, b) leaves out a row with a null
        columns = ", ".join(f"`{name}`" for name in check.distinct)
        wanted.append(f"count(*) - count(DISTINCT struct({columns})) AS twice_{place}")
    wanted += [f"(SELECT count(*) FROM ({check.query})) AS query_{place}" for place, check in enumerate(grouped)]
    wanted += [f"sum(`{name}`) AS sum_{place}" for place, name in enumerate(summed)]
    if frequent:  # a sketch, in the same pass: a group-by would be another; two, for null may be one of them
        wanted.append(f"approx_top_k(`{frequent}`, 2) AS most")
    row = _only_row(frame, wanted, bool(grouped))
    return Counts(
        row["rows"],
        {check.name: row[f"broken_{place}"] for place, check in enumerate(by_row)}
        | {check.name: row[f"twice_{place}"] for place, check in enumerate(distinct)}
        | {check.name: row[f"query_{place}"] for place, check in enumerate(grouped)},
        {check.name: row[f"nulls_{place}"] for place, check in enumerate(by_row)},
        {name: row[f"sum_{place}"] for place, name in enumerate(summed)},
        max((found["count"] for found in row.get("most") or () if found["item"] is not None), default=0),
    )


def _only_row(frame: DataFrame, wanted: Sequence[str], by_name: bool) -> Mapping[str, Any]:
    """The row of an aggregate; one whose subqueries name the rows costs the naming, an execution of its own."""
    with planned_once(frame.sparkSession):
        if by_name:
            found = frame.sparkSession.sql(f"SELECT {', '.join(wanted)} FROM {{batch}}", batch=frame)
        else:
            columns: list[Column] = [F.expr(sql) for sql in wanted]
            found = frame.agg(*columns)
        return found.collect()[0].asDict()


@contextmanager
def planned_once(spark: SparkSession) -> Iterator[None]:
    """While it lasts queries are not planned anew after each stage: for an aggregate that is a Spark job a stage."""
    before = spark.conf.get(ADAPTIVE)
    spark.conf.set(ADAPTIVE, "false")
    try:
        yield
    finally:
        spark.conf.set(ADAPTIVE, before or "true")


def _left_open(check: Check) -> str:
    """The SQL that is null where a check says nothing of a row: its column, or the statement about several."""
    return f"`{check.column}`" if check.column else str(check.sql)
