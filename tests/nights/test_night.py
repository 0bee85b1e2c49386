"""Whole nights of a tiny shop, as a user runs them: twice the same answer, bad input refused, nothing lost."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.commands import night
from jobs.flow import INTAKE, PLANNING, SCORING
from jobs.runner import run_job
from jobs.runner.lake import Lake
from jobs.runner.settings import function_of
from schemas import TABLES
from schemas.deployment import load
from schemas.errors import ConfError, DataError
from schemas.run import RunContext
from tests.support import tiny_shop
from udfs.encoder.model_folder import weights_file

EVENTS = ("bronze.events", "silver.events", "silver.rejected_events")
GOLD = ("gold.recommendations", "gold.similar_items", "gold.default_recommendations")


def run(conf: Path, number: int, *flags: str) -> int:
    return night.main(["--run-date", str(tiny_shop.day(number)), "--conf", str(conf), *flags])


def intake(conf: Path, spark: SparkSession, number: int, since: dt.date | None = None, **flags: bool) -> None:
    """The first three jobs of a night alone: what becomes of raw files is decided there."""
    lake = Lake(spark, load(conf))
    for job in INTAKE:
        run_job.run(job.name, lake, tiny_shop.day(number), since=since, **flags)


def lake_of(conf: Path) -> Path:
    return conf.parent / "lake"


def read(conf: Path, table: str) -> pl.DataFrame:
    """A table as another system reads it: by path, without Spark."""
    return pl.read_delta(str(lake_of(conf) / table.replace(".", "/")))


def partition(conf: Path, table: str, number: int) -> list[tuple]:
    frame = read(conf, table).filter(pl.col("run_date") == tiny_shop.day(number))
    return sorted(map(repr, frame.rows()))


def versions(conf: Path) -> dict[str, int]:
    """The Delta version of every table that stands."""
    found = {name: lake_of(conf) / name.replace(".", "/") for name in TABLES}
    return {name: DeltaTable(str(path)).version() for name, path in found.items() if (path / "_delta_log").exists()}


def last_run(conf: Path, job: str) -> dict:
    runs = read(conf, "ops.runs").filter(pl.col("job") == job, pl.col("status") != "running").sort("started_at")
    return runs.rows(named=True)[-1]


def test_a_night_scored_twice_gives_the_same_tables(shop, spark, capsys):
    assert run(shop, 14) == 0
    first = {table: partition(shop, table, 14) for table in GOLD}
    earlier = {table: partition(shop, table, 13) for table in GOLD}
    lake = Lake(spark, load(shop))
    for job in (*SCORING, *PLANNING):
        run_job.run(job.name, lake, tiny_shop.day(14))
    assert {table: partition(shop, table, 14) for table in GOLD} == first
    assert {table: partition(shop, table, 13) for table in GOLD} == earlier
    assert first["gold.recommendations"] != earlier["gold.recommendations"]

    # The first load put each file into the partition of its own day, as if every night had run.
    events = read(shop, "bronze.events")
    assert set(events["run_date"]) == {tiny_shop.day(number) for number in (*tiny_shop.EARLIER, *range(15))}

    printed = capsys.readouterr().out
    assert "rows in" in printed
    assert "seconds per job" in printed
    assert "last bought" in printed


@pytest.mark.nights
def test_a_night_for_an_old_date_reads_only_what_was_known_then(shop):
    earlier = {table: partition(shop, table, 13) for table in GOLD}
    assert run(shop, 14) == 0
    assert run(shop, 13) == 0
    assert {table: partition(shop, table, 13) for table in GOLD} == earlier


def test_gold_keeps_its_promises_for_every_reader(shop):
    conf = shop
    lists = read(conf, "gold.recommendations")
    users = set(read(conf, "silver.events").filter(pl.col("event_type") == "purchase")["user_id"])
    assert set(lists["user_id"]) == users
    for user, rows in lists.group_by("user_id"):
        assert sorted(rows["rank"]) == list(range(1, 9)), user
        ordered = rows.sort("rank")
        assert ordered.rows() == rows.sort(["score", "item_id"], descending=[True, False]).rows()
        assert rows["item_id"].n_unique() == 8
        assert all(reason for reason in rows["reason"])
    similar = read(conf, "gold.similar_items")
    assert set(similar.group_by("item_id").len()["len"]) == {5}
    assert similar.filter(pl.col("item_id") == pl.col("similar_item_id")).is_empty()
    segments = read(conf, "gold.default_recommendations")
    assert set(segments["segment_value"]) == {"all", "T0", "T1"}

    for table in GOLD:
        path = str(lake_of(conf) / table.replace(".", "/"))
        # DuckDB's own delta_scan is an extension that it fetches when first used; through Arrow it needs no network.
        arrow = DeltaTable(path).to_pyarrow_table()
        assert arrow.column_names == TABLES[table].column_names
        assert duckdb.sql("SELECT count(*) FROM arrow").fetchall() == [(arrow.num_rows,)]
        assert pl.read_delta(path).height == arrow.num_rows


@pytest.mark.nights
def test_a_day_without_a_file_is_a_night_without_events(shop):
    (shop.parent / "landing" / "sales" / f"sales_{tiny_shop.day(14)}.csv").unlink()
    assert run(shop, 14) == 0
    assert partition(shop, "bronze.events", 14) == []
    lists = read(shop, "gold.recommendations").filter(pl.col("run_date") == tiny_shop.day(14))
    assert lists.height == 24 * 8
    assert last_run(shop, "ingest_logs")["status"] == "done"


def test_a_dry_run_computes_the_same_and_writes_nothing(shop, spark):
    lake, day = Lake(spark, load(shop)), tiny_shop.day(13)
    before, pages = versions(shop), sorted(lake_of(shop).glob("data_docs/**/*"))
    made = run_job.run("rank_recommendations", lake, day, {"top_k": 5}, dry_run=True)
    assert made.rows == {"gold.recommendations": 24 * 5}
    assert versions(shop) == before
    assert sorted(lake_of(shop).glob("data_docs/**/*")) == pages


@pytest.mark.nights
def test_a_night_before_its_predecessor_reads_the_days_between(shop, spark):
    intake(shop, spark, 15)  # night 14 was never run
    assert len(partition(shop, "silver.events", 14)) == len(tiny_shop.sales(tiny_shop.day(14)))
    jumped = {(table, number): partition(shop, table, number) for table in EVENTS for number in (14, 15)}
    intake(shop, spark, 14)
    intake(shop, spark, 15)
    assert {(table, number): partition(shop, table, number) for table, number in jumped} == jumped


def test_since_processes_earlier_days_again(shop, spark):
    before = {number: partition(shop, "silver.events", number) for number in (11, 12, 13)}
    text = shop.read_text().replace(
        '"amount is negative" = "log.amount < 0"', '"till 0 is broken" = "log.till = \'T0\'"'
    )
    shop.write_text(text.replace("max_rejected_share = 0.5", "max_rejected_share = 0.9"))
    intake(shop, spark, 13, since=tiny_shop.day(12))
    assert partition(shop, "silver.events", 11) == before[11]
    for number in (12, 13):
        assert 0 < len(partition(shop, "silver.events", number)) < len(before[number])


@pytest.mark.parametrize(
    ("run_date", "words"),
    [
        ("2024-06-01", "--run-date 2024-06-01 is 77 days after the newest raw file of [sources.events] (2024-03-16)"),
        ("2023-01-01", "--run-date 2023-01-01 is before the first raw file (2023-11-02)"),
    ],
)
def test_dates_without_data_are_refused(tiny_shop_conf, spark, capsys, run_date, words):
    assert night.main(["--run-date", run_date, "--conf", str(tiny_shop_conf)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("text", ["2024-3-1", "yesterday", "2024-02-30", "20240301", ""])
def test_malformed_dates_are_refused(text, capsys):
    with pytest.raises(SystemExit) as caught:
        night.main(["--run-date", text, "--conf", "conf/complete_journey.toml"])
    assert caught.value.code == 2
    assert "write it YYYY-MM-DD" in capsys.readouterr().err


def test_without_a_model_the_night_says_how_to_make_one(shop, capsys):
    assert run(shop, 9) == 2  # the only model has seen day 13
    assert f"make train RUN_DATE={tiny_shop.day(9)}" in capsys.readouterr().err


def test_a_job_without_its_input_says_which_job_makes_it(shop, spark):
    lake = Lake(spark, load(shop))
    with pytest.raises(ConfError, match=r"silver.items has no rows of run_date=2024-03-15.*run clean_items"):
        run_job.run("encode_items", lake, tiny_shop.day(14))
    assert last_run(shop, "encode_items")["status"] == "refused"


def test_a_raw_file_that_vanished_keeps_its_rows(shop, spark):
    before = partition(shop, "bronze.events", 13)
    (shop.parent / "landing" / "sales" / f"sales_{tiny_shop.day(13)}.csv").unlink()
    intake(shop, spark, 13)
    assert partition(shop, "bronze.events", 13) == before


def model_of(shop: Path) -> dict[str, Any]:
    """The row of ops.models of the model that recommends; the night has trained those of demand and of users too."""
    rows = {row["kind"]: row for row in read(shop, "ops.models").rows(named=True)}
    assert set(rows) == {"recommend", "demand", "profile", "search"}
    assert last_run(shop, "forecast_demand")["model_version"] == rows["demand"]["model_version"]
    return rows["recommend"]


def test_a_commit_names_run_job_model_and_code(shop):
    history = DeltaTable(str(lake_of(shop) / "gold" / "recommendations")).history()
    written = json.loads(next(entry["userMetadata"] for entry in history if "userMetadata" in entry))
    record = last_run(shop, "rank_recommendations")
    assert written["run_id"] == record["run_id"]
    assert written["job"] == "rank_recommendations"
    assert written["model_version"] == record["model_version"] == model_of(shop)["model_version"]
    assert written["code_version"].startswith("0.1.0")


def test_output_that_breaks_its_contract_is_never_published(shop, spark, monkeypatch):
    lake = Lake(spark, load(shop))
    before = versions(shop)["gold.recommendations"]
    sound = function_of("rank_recommendations")

    def rank_recommendations(
        candidates, items, item_vectors, events, stock, blocked, model, *, run: RunContext, top_k: int = 20
    ):
        made = sound(candidates, items, item_vectors, events, stock, blocked, model, run=run, top_k=top_k)
        return made.withColumn("score", made["score"] + 1.5)

    monkeypatch.setattr("jobs.rank_recommendations.rank_recommendations", rank_recommendations)
    with pytest.raises(DataError, match=r"gold.recommendations: score must be at least 0 and at most 1: 192 of"):
        run_job.run("rank_recommendations", lake, tiny_shop.day(13))
    assert versions(shop)["gold.recommendations"] == before
    assert last_run(shop, "rank_recommendations")["status"] == "refused"


def test_the_model_folder_is_what_the_registry_says(shop):
    model = model_of(shop)
    folder = lake_of(shop) / model["folder"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest[weights_file(folder).name] == model["weights_sha256"]
    assert model["run_date"] == tiny_shop.day(13)
    shutil.rmtree(folder)
    assert run(shop, 13) == 3  # said before anything is scored, and by name
