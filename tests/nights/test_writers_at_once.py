"""Writers of one table at once end as one after the other."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import polars as pl
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runner.delta_log import ConflictError
from jobs.runner.lake import Lake
from jobs.runner.upkeep import maintain
from schemas import gold
from schemas.deployment import load
from schemas.errors import BusyError
from tests.nights.test_publication import GOLD, NIGHT, current, night, read
from tests.support import tiny_shop


def together(*acts: Callable[[], object]) -> None:
    """Do all of it at once; the first error, if any."""
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(act) for act in acts]:
            done.result()


def test_writers_at_once_end_as_one_after_the_other(shop, spark):
    """Of one date, of two, and of one beside the upkeep: the second is refused, looks again and commits anew."""
    table, lake, next_night = "gold.recommendations", Lake(spark, load(shop)), tiny_shop.day(14)
    expected = night(shop, table)
    frame = lake.up_to(table, NIGHT).persist()
    moved = frame.withColumn("run_date", F.lit(next_night)).persist()
    assert frame.count() == moved.count()

    def write(rows: DataFrame, date: dt.date) -> Callable[[], None]:
        return lambda: lake.replace(table, rows, [date], {"run_date": date})

    for _ in range(2):
        together(write(frame, NIGHT), write(frame, NIGHT), write(moved, next_night), write(frame, NIGHT))
        together(write(frame, NIGHT), lambda: maintain(lake, next_night, table, 0, 30), write(moved, next_night))
    assert night(shop, table) == expected
    assert len(night(shop, table, next_night)) == len(expected)


def test_four_backfills_at_once_end_as_one_after_the_other(deployment, spark, rows, tmp_path):
    """Four dates of a table whose files hold several dates each, each written by a driver's own view of the lake."""
    place, table = deployment.model_copy(update={"lake": str(tmp_path / "lake")}), gold.RECOMMENDATIONS
    dates = [dt.date(2024, 3, number) for number in range(1, 8)]
    first = Lake(spark, place)
    for date in dates:
        first.replace(table.name, rows(table, {"run_date": date, "score": 0.1}), [date], {})
    first.compact(table.name, first.files(table.name))
    assert len(first.files(table.name)) == 1

    def backfill(date: dt.date) -> Callable[[], None]:
        made = rows(table, {"run_date": date, "score": 0.2}, {"run_date": date, "score": 0.3})
        return lambda: Lake(spark, place).replace(table.name, made, [date], {"run_id": str(date)})

    together(*(backfill(date) for date in dates[1:5]))
    found = pl.read_delta(first.path(table.name)).sort("run_date", "score").select("run_date", "score").rows()
    expected = [(date, score) for date in dates for score in ((0.2, 0.3) if date in dates[1:5] else (0.1,))]
    assert found == expected


def test_a_writer_that_is_never_first_says_so(shop, spark, monkeypatch):
    lake, waits = Lake(spark, load(shop)), []
    monkeypatch.setattr(
        "jobs.runner.lake.time", SimpleNamespace(sleep=waits.append)
    )  # not of all: Py4J's threads sleep too

    def beaten(_: object) -> None:
        raise ConflictError("somebody else")

    with pytest.raises(BusyError, match=r"gold.recommendations: other writers were faster 8 times; run this job again"):
        lake._committed("gold.recommendations", beaten)
    assert len(waits) == 8


@pytest.mark.faults
def test_jobs_at_once_in_processes_of_their_own(shop):
    """Two runs of one job and date, two dates, and the upkeep beside a night, each as spark-submit would start it."""

    def job(name: str, date: dt.date) -> Callable[[], None]:
        line = [sys.executable, "-m", f"jobs.{name}", "--run-date", str(date), "--conf", str(shop)]
        return lambda: subprocess.run(line, cwd=tiny_shop.REPO, check=True, timeout=600)

    expected = {table: night(shop, table) for table in (*GOLD, "silver.events", "silver.rejected_events")}
    together(job("rank_recommendations", NIGHT), job("rank_recommendations", NIGHT), job("maintain_tables", NIGHT))
    together(job("clean_events", NIGHT), job("clean_events", NIGHT), job("maintain_tables", NIGHT))
    together(job("ingest_logs", tiny_shop.day(14)), job("ingest_logs", tiny_shop.day(15)), job("publish_night", NIGHT))
    assert {table: night(shop, table) for table in expected} == expected
    bronze = read(shop, "bronze.events")
    for number in (14, 15):
        raw = bronze.filter(pl.col("run_date") == tiny_shop.day(number))["raw"]
        assert sorted(raw) == sorted(tiny_shop.sales(tiny_shop.day(number)))
    assert len(current(shop)) == len(GOLD)
