"""A lake of an older layout is refused with the command to run, and is today's after it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
from pyspark.sql import functions as F

from jobs.commands.upgrade_lake import upgrade
from jobs.runner.catalog import name_tables
from jobs.runner.lake import Lake
from schemas import TABLES
from schemas.contract import QUANTITY
from schemas.errors import ConfError

DATES = [dt.date(2024, 1, 30), dt.date(2024, 2, 1)]
EVENTS, PUBLICATIONS, LISTS = "silver.events", "ops.publications", "gold.recommendations"
STOCK, ACTIONS = "silver.stock", "gold.inventory_actions"


@pytest.fixture
def old(spark, deployment, rows, tmp_path) -> Lake:
    """Two tables and a publication as 0.1 wrote them: partitioned by run_date; a column of today is not there yet."""
    lake = Lake(spark, deployment.model_copy(update={"lake": str(tmp_path / "lake")}))
    events = rows(TABLES[EVENTS], *({"run_date": d, "event_date": d, "item_id": "i", "quantity": 3} for d in DATES))
    lists = rows(TABLES[LISTS], *({"run_date": d, "rank": 1} for d in DATES))
    published = {"table_name": LISTS, "rows_of": DATES[1], "run_date": DATES[1], "row_count": 1}
    earlier = {"version": 3, "current": False, "publication_id": "a"}
    newest = {"version": 7, "current": True, "publication_id": "b"}
    tables = {
        EVENTS: events,
        LISTS: lists.drop("reason_item_id"),
        PUBLICATIONS: rows(TABLES[PUBLICATIONS], published | earlier, published | newest),
    }
    for table, frame in tables.items():
        frame.write.format("delta").partitionBy("run_date").save(lake.path(table))
    return lake


def test_an_old_lake_is_refused_with_the_command_that_mends_it(old: Lake) -> None:
    with pytest.raises(ConfError, match=r"silver.events in .* make upgrade-lake CONF=.*tiny_shop.toml once"):
        old.up_to(EVENTS, DATES[1])


def test_an_upgraded_lake_has_the_same_rows(old: Lake, spark) -> None:
    before = {table: pl.read_delta(old.path(table)).sort("run_date") for table in (EVENTS, LISTS)}
    assert upgrade(spark, old) == [EVENTS, LISTS, PUBLICATIONS]
    now = Lake(spark, old.deployment)
    for table, rows in before.items():
        found = pl.read_delta(now.path(table)).sort("run_date")
        assert found.select(rows.columns).equals(rows)
        assert set(found.columns) == set(TABLES[table].column_names)
    assert len(now.files(EVENTS)) == 2, "a file a month"
    kept = [(row["publication_id"], row["version"]) for row in now.rows(PUBLICATIONS)]
    assert kept == [("b", 1)]
    assert "published.recommendations" in name_tables(now)
    assert spark.table("published.recommendations").select("run_date").collect()[0][0] == DATES[1]
    assert upgrade(spark, now) == [], "a second time there is nothing to do"


def test_daily_forecasts_become_weekly_ones(old: Lake, spark) -> None:
    """Ten units on each of eight days, then none: a full week and what begins the next one."""
    table, night = "gold.demand_forecast", DATES[0]
    ddl = (
        "run_date DATE, location_id STRING, item_id STRING, target_date DATE, expected_units DOUBLE, dispersion DOUBLE"
    )
    days = [(night, "T1", "S1", night + dt.timedelta(days=day), 10.0 * (day <= 8), 1.5) for day in range(1, 29)]
    frame = spark.createDataFrame(days, ddl).withColumns({name: F.lit(1.0) for name in ("p10", "p50", "p90")})
    frame.write.format("delta").partitionBy("run_date").save(old.path(table))
    assert table in upgrade(spark, old)
    weeks = pl.read_delta(old.path(table)).sort("target_week")
    assert weeks["target_week"].to_list() == [night + dt.timedelta(days=day) for day in (1, 8, 15, 22)]
    assert weeks["expected_units"].to_list() == [70.0, 10.0, 0.0, 0.0]
    first = weeks.row(0, named=True)
    assert 50 <= first["p10"] < 65 <= first["p50"] <= 70 < first["p90"] <= 90


@pytest.fixture
def whole(spark, deployment, rows, tmp_path) -> Lake:
    """A lake whose units were integers: three tables of two files each, and publications of two gold tables."""
    lake = Lake(spark, deployment.model_copy(update={"lake": str(tmp_path / "lake")}))
    event = {"event_type": "purchase", "item_id": "i", "unit_price": 1.0, "quantity": 3}
    frames = {
        EVENTS: [rows(TABLES[EVENTS], event | {"run_date": d, "event_date": d}) for d in DATES],
        STOCK: [rows(TABLES[STOCK], {"run_date": d, "on_hand": 7, "on_order": 0, "pack_size": 6}) for d in DATES],
        ACTIONS: [rows(TABLES[ACTIONS], {"run_date": d, "action": "ok", "quantity": 0}) for d in DATES],
        LISTS: [rows(TABLES[LISTS], {"run_date": d, "rank": 1}) for d in DATES],
    }
    for table, parts in frames.items():
        units = {c.name: F.col(c.name).cast("int") for c in TABLES[table].columns if c.type == QUANTITY}
        for frame in parts:
            frame.withColumns(units).write.format("delta").mode("append").save(lake.path(table))
    row = {"rows_of": DATES[1], "run_date": DATES[1], "row_count": 1, "current": True, "publication_id": "a"}
    told = [row | {"table_name": ACTIONS, "version": 9}, row | {"table_name": LISTS, "version": 3}]
    told += [told[0] | {"version": 8, "current": False, "publication_id": "b"}]
    rows(TABLES[PUBLICATIONS], *told).write.format("delta").save(lake.path(PUBLICATIONS))
    return lake


def test_units_that_were_integers_become_decimals_that_every_reader_has(whole: Lake, spark) -> None:
    with pytest.raises(ConfError, match=r"silver.events .* \(quantity as integer, not decimal\(18,3\)\): run make upg"):
        whole.up_to(EVENTS, DATES[1])
    assert upgrade(spark, whole) == [EVENTS, STOCK, ACTIONS, PUBLICATIONS]
    now = Lake(spark, whole.deployment)
    assert {row.quantity for row in now.up_to(EVENTS, DATES[1]).collect()} == {Decimal(3)}
    read = pl.read_delta(now.path(EVENTS))
    assert (read.schema["quantity"], read["quantity"].sum()) == (pl.Decimal(18, 3), Decimal(6))
    files = [f"{now.path(STOCK)}/{file.path}" for file in now.files(STOCK)]
    assert duckdb.read_parquet(files).aggregate("sum(on_hand), max(pack_size)").fetchall() == [(14, 6)]
    kept = {(row["table_name"], row["version"], row["publication_id"]) for row in now.rows(PUBLICATIONS)}
    assert kept == {(ACTIONS, 1, "a"), (LISTS, 3, "a")}
    assert upgrade(spark, now) == []


def test_what_an_earlier_upgrade_has_set_aside_stays(whole: Lake, spark) -> None:
    before = Path(whole.path("set_aside.before_upgrade.silver.events"))
    before.mkdir(parents=True)
    assert EVENTS in upgrade(spark, whole)
    assert list(before.iterdir()) == []
    assert Path(whole.path("set_aside.before_upgrade_2.silver.events/_delta_log")).is_dir()


def test_an_upgrade_that_was_interrupted_goes_on(old: Lake, spark, monkeypatch) -> None:
    real = Lake.replace

    def stopped(self: Lake, table: str, *given: object) -> None:
        if table == LISTS:
            raise KeyboardInterrupt
        real(self, table, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            upgrade(spark, old)
    assert Lake(spark, old.deployment).up_to(EVENTS, DATES[1]).where(F.col("quantity") == 3).count() == 2
    assert upgrade(spark, Lake(spark, old.deployment)) == [LISTS, PUBLICATIONS]
    assert Path(old.path("set_aside.before_upgrade.silver.events")).is_dir()
