"""What readers of gold get: a checked night or the one before, all tables of one night, and a night taken back."""

from __future__ import annotations

import datetime as dt
import importlib
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as F

from jobs.commands import rollback
from jobs.runner import drift, publish, run_job
from jobs.runner.catalog import name_tables
from jobs.runner.lake import Lake
from jobs.runner.model_store import promoted_model
from schemas import TABLES, gold
from schemas.deployment import load
from schemas.derive import example_rows, plain_ddl
from schemas.errors import DataError
from tests.support import tiny_shop

GOLD = (
    "gold.context_recommendations",
    "gold.default_recommendations",
    "gold.demand_forecast",
    "gold.demand_profile",
    "gold.item_demand",
    "gold.recommendations",
    "gold.related_items",
    "gold.search_boosts",
    "gold.search_rankings",
    "gold.search_trends",
    "gold.segments",
    "gold.similar_items",
    "gold.user_profiles",
)
NIGHT = tiny_shop.day(13)


def path(conf: Path, table: str) -> Path:
    return conf.parent / "lake" / table.replace(".", "/")


def read(conf: Path, table: str, version: int | None = None) -> pl.DataFrame:
    return pl.read_delta(str(path(conf, table)), version=version)


def night(conf: Path, table: str, date: dt.date = NIGHT, version: int | None = None) -> list[str]:
    return sorted(map(repr, read(conf, table, version).filter(pl.col("run_date") == date).rows()))


def current(conf: Path, date: dt.date = NIGHT) -> dict[str, dict]:
    rows = read(conf, "ops.publications").filter((pl.col("run_date") == date) & pl.col("current")).rows(named=True)
    return {row["table_name"]: row for row in rows}


def consumer(conf: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """examples/airflow_consumer.py as Airflow's environment has it, of whose SDK the jobs' one has nothing."""
    sdk = ModuleType("airflow.sdk")
    sdk.DAG = lambda *_, **__: nullcontext()  # type: ignore[attr-defined]
    sdk.Asset, sdk.task = str, lambda _: lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "airflow", ModuleType("airflow"))
    monkeypatch.setitem(sys.modules, "airflow.sdk", sdk)
    monkeypatch.setenv("NIGHTSHELF_LAKE", str(conf.parent / "lake"))
    monkeypatch.delitem(sys.modules, "examples.airflow_consumer", raising=False)
    return importlib.import_module("examples.airflow_consumer")


def test_a_reader_gets_all_tables_of_one_night_while_it_runs_again(shop, spark, monkeypatch):
    lake = Lake(spark, load(shop))
    before = {table: night(shop, table) for table in GOLD}
    first = current(shop)
    assert sorted(first) == list(GOLD)
    assert len({row["publication_id"] for row in first.values()}) == 1
    assert all(row["rows_of"] == NIGHT for row in first.values())

    run_job.run(
        "rank_recommendations", lake, NIGHT, {"top_k": 5}
    )  # half of a night: the other tables are still the old
    assert len(night(shop, "gold.recommendations")) == 24 * 5
    assert current(shop) == first
    for table, row in first.items():
        assert night(shop, table, version=row["version"]) == before[table]
        assert row["row_count"] == len(before[table])
    lists = read(shop, "gold.recommendations", first["gold.recommendations"]["version"])["item_id"].to_list()
    shown = consumer(shop, monkeypatch).most_recommended(str(NIGHT))
    assert shown == sorted(Counter(lists).items(), key=lambda pair: (-pair[1], pair[0]))[:10], "not the half of a night"

    run_job.run("publish_night", lake, NIGHT)
    second = current(shop)
    assert {row["publication_id"] for row in second.values()} != {row["publication_id"] for row in first.values()}
    assert second["gold.recommendations"]["version"] > first["gold.recommendations"]["version"]
    assert second["gold.similar_items"]["version"] == first["gold.similar_items"]["version"]
    assert read(shop, "ops.publications").height == 2 * len(GOLD)

    name_tables(lake)
    try:
        assert spark.sql("SELECT * FROM published.recommendations").count() == 24 * 5
        assert spark.sql("SELECT DISTINCT run_date FROM published.similar_items").collect()[0][0] == NIGHT
    finally:
        spark.sql("DROP SCHEMA published CASCADE")
        for layer in {name.split(".")[0] for name in TABLES}:
            spark.sql(f"DROP SCHEMA IF EXISTS {layer} CASCADE")

    page = (shop.parent / "lake" / "data_docs" / str(NIGHT) / "index.html").read_text()
    assert "gold.recommendations.html" in page
    assert "records" in page
    # Of the two runs of rank_recommendations the last: its rows, and each of its checks and figures once.
    assert 'gold.recommendations</a></td><td class="number">120</td>' in page
    assert page.count('<td>gold.recommendations</td><td>rows</td><td class="number">120</td>') == 1
    assert '<td class="number">192</td>' not in page
    assert not any(user in page for user in read(shop, "gold.recommendations")["user_id"].unique())


def test_a_night_keeps_to_the_model_that_has_encoded_its_items(shop, spark):
    lake = Lake(spark, load(shop))
    models = lake.up_to("ops.models", NIGHT).persist()
    (known,) = models.where("kind = 'recommend'").collect()
    newer = models.where("kind = 'recommend'").withColumn("model_version", F.lit("zz-newer"))
    lake.replace("ops.models", models.unionByName(newer), [NIGHT], {"run_date": NIGHT})  # a training, in between
    assert promoted_model(lake, NIGHT).version == "zz-newer"
    for job in ("score_candidates", "rank_recommendations"):
        assert run_job.run(job, lake, NIGHT).model_version == known.model_version
    run_job.run("publish_night", lake, NIGHT)
    assert {row["model_version"] for row in current(shop).values()} == {known.model_version, None}

    run_job.run("encode_items", lake, NIGHT)
    with pytest.raises(DataError, match=f"features.candidates of {NIGHT} is of model {known.model_version}"):
        run_job.run("rank_recommendations", lake, NIGHT)
    run_job.run("encode_users", lake, NIGHT)
    run_job.run("score_candidates", lake, NIGHT)
    spark.sql(f"UPDATE delta.`{lake.path('ops.models')}` SET promoted = false WHERE model_version = 'zz-newer'")
    with pytest.raises(DataError, match="zz-newer, which is not promoted any more"):
        run_job.run("rank_recommendations", lake, NIGHT)


def test_an_empty_table_takes_the_place_of_no_night(shop, spark):
    lake, before = Lake(spark, load(shop)), night(shop, "gold.recommendations")
    with pytest.raises(DataError, match=r"gold\.recommendations: a night of it must have rows"):
        run_job.run("rank_recommendations", lake, NIGHT, {"exclude": "true"})
    assert night(shop, "gold.recommendations") == before


def test_tables_of_two_models_are_not_one_night(shop, spark):
    lake = Lake(spark, load(shop))
    other = lake.up_to("gold.similar_items", NIGHT).withColumn("model_version", F.lit("another"))
    lake.replace("gold.similar_items", other, [NIGHT], {"run_date": NIGHT})
    first = current(shop)
    with pytest.raises(DataError, match="all tables of a night must come from one model"):
        run_job.run("publish_night", lake, NIGHT)
    assert current(shop) == first


def test_what_is_checked_was_written_where_no_reader_looks(shop, spark, monkeypatch):
    lake, written = Lake(spark, load(shop)), []
    folder, real = path(shop, "gold.recommendations"), publish.audit_all
    before, files = [night(shop, "gold.recommendations")], set(folder.rglob("*.parquet"))

    def audit(*given):
        written.extend(set(folder.rglob("*.parquet")) - files)
        assert night(shop, "gold.recommendations") == before[-1]
        return real(*given)

    monkeypatch.setattr(publish, "audit_all", audit)
    run_job.run("rank_recommendations", lake, NIGHT, {"top_k": 5})
    assert written
    assert set(map(str, written)) <= {uri.removeprefix("file://") for uri in DeltaTable(str(folder)).file_uris()}
    written.clear()
    files, before = set(folder.rglob("*.parquet")), [night(shop, "gold.recommendations")]
    monkeypatch.setattr(publish, "measured", lambda *_: [drift.Figure("rows", 1.0, 9.0, 5.0, 20.0)])
    with pytest.raises(DataError, match="rows is 1, must be 5 to 20"):
        run_job.run("rank_recommendations", lake, NIGHT, {"top_k": 6})
    assert written
    assert not any(file.exists() for file in written), "what was refused goes again"


def test_a_night_is_taken_back_to_what_it_was(shop, spark, capsys):
    lake = Lake(spark, load(shop))
    good = {table: night(shop, table) for table in GOLD}
    run_job.run("rank_recommendations", lake, NIGHT, {"top_k": 5})
    run_job.run("publish_night", lake, NIGHT)
    bad = night(shop, "gold.recommendations")
    versions = {table: DeltaTable(str(path(shop, table))).version() for table in GOLD}
    assert rollback.main(["--run-date", str(NIGHT), "--conf", str(shop)]) == 0
    assert f"{NIGHT} has the 192 rows of {NIGHT} again" in capsys.readouterr().out
    assert {table: night(shop, table) for table in GOLD} == good
    assert {table: DeltaTable(str(path(shop, table))).version() for table in GOLD} == {
        table: version + 1 for table, version in versions.items()
    }
    told = read(shop, "ops.runs").filter(pl.col("job") == "rollback").rows(named=True)
    assert sorted(row["status"] for row in told) == ["done", "running"]
    past = drift.past_nights(lake.rows("ops.figures"), lake.rows("ops.runs"), gold.RECOMMENDATIONS, 7)
    assert past[NIGHT]["rows"] == 192, "later nights are held against what stands"
    assert rollback.main(["--run-date", str(NIGHT), "--conf", str(shop)]) == 0
    assert night(shop, "gold.recommendations") == bad, "taken back twice"
    first = min(read(shop, "ops.publications").rows(named=True), key=lambda row: row["published_at"])["publication_id"]
    flags = ["--run-date", str(NIGHT), "--conf", str(shop), "--publication"]
    capsys.readouterr()
    assert rollback.main([*flags, "nothing like it"]) == 2
    assert f"its publications: {first[:8]} (" in capsys.readouterr().err
    assert rollback.main([*flags, first[:8]]) == 0
    assert {table: night(shop, table) for table in GOLD} == good


@pytest.mark.nights
def test_a_night_without_an_earlier_run_gets_the_rows_of_the_night_before(shop, spark, capsys):
    lake, next_night = Lake(spark, load(shop)), tiny_shop.day(14)
    assert rollback.main(["--run-date", str(next_night), "--conf", str(shop)]) == 2
    assert "was never published" in capsys.readouterr().err
    assert rollback.main(["--run-date", str(NIGHT), "--conf", str(shop)]) == 2
    assert "no publication of" in capsys.readouterr().err

    for table in GOLD:  # as if the night had run
        all_rows = lake.up_to(table, NIGHT).withColumn("run_date", F.lit(next_night))
        some = dict.fromkeys(("gold.demand_forecast", "gold.item_demand"), "target_week > run_date")
        some["gold.demand_profile"] = "true"
        bad = all_rows.where(some.get(table, "rank <= 3"))
        lake.replace(table, bad, [next_night], {"run_date": next_night})
    run_job.run("publish_night", lake, next_night)
    assert rollback.main(["--run-date", str(next_night), "--conf", str(shop)]) == 0
    for table in GOLD:
        as_before = read(shop, table).filter(pl.col("run_date") == NIGHT).with_columns(run_date=pl.lit(next_night))
        assert night(shop, table, next_night) == sorted(map(repr, as_before.rows()))
    assert {row["rows_of"] for row in current(shop, next_night).values()} == {NIGHT}
    assert rollback.main(["--run-date", str(next_night), "--conf", str(shop), "--rows-of", "2024-01-01"]) == 2
    assert f"nights published before: {NIGHT}" in capsys.readouterr().err


def test_a_night_unlike_those_before_is_refused_and_the_old_one_stays(shop, spark):
    lake = Lake(spark, load(shop))
    figures = {
        row["figure"]: row["value"]
        for row in read(shop, "ops.figures").rows(named=True)
        if row["table_name"] == "gold.recommendations"
    }
    assert figures["rows"] == 192
    assert figures["lists"] == 24
    rows = [
        {
            "run_date": tiny_shop.day(number),
            "run_id": f"r{number}",
            "table_name": "gold.recommendations",
            "figure": "rows",
            "value": 1000.0,
            "usual": None,
            "low": None,
            "high": None,
        }
        for number in (10, 11, 12)
    ]
    lake.append("ops.figures", rows, {})
    before = night(shop, "gold.recommendations")
    with pytest.raises(DataError, match=r"rows is 192, must be 500 to 2000 \(conf, \[drift\]\); usual is 1000"):
        run_job.run("rank_recommendations", lake, NIGHT)
    assert night(shop, "gold.recommendations") == before
    check = read(shop, "ops.checks").filter(~pl.col("passed")).rows(named=True)[-1]
    assert (check["check_name"], check["severity"]) == ("drift_rows", "critical")
    shop.write_text(shop.read_text() + '\n[drift.tables."gold.recommendations"]\nrows = 0.9\n')
    run_job.run("rank_recommendations", Lake(spark, load(shop)), NIGHT)


def test_a_table_of_an_older_contract_gets_its_new_columns(deployment, spark, tmp_path, monkeypatch):
    lake = Lake(spark, deployment.model_copy(update={"lake": str(tmp_path / "lake")}))
    name, contract, added = "gold.recommendations", TABLES["gold.recommendations"], ("reason_item_id",)
    older = replace(contract, columns=tuple(column for column in contract.columns if column.name not in added))
    rows = [tuple(row[name] for name in older.column_names) for row in example_rows(older, {"run_date": NIGHT})]
    with monkeypatch.context() as before:
        before.setitem(TABLES, name, older)
        lake.replace(name, spark.createDataFrame(rows, plain_ddl(older)), [NIGHT], {})
    read_as_now = lake.up_to(name, NIGHT)
    assert read_as_now.columns == contract.column_names
    assert [row["reason_item_id"] for row in read_as_now.collect()] == [None]
    later = tiny_shop.day(14)
    tonight = read_as_now.withColumns({"run_date": F.lit(later), "reason_item_id": F.lit("i1")})
    lake.replace(name, tonight, [later], {})
    stored = pl.read_delta(lake.path(name))
    assert sorted(stored.columns) == sorted(contract.column_names)
    assert stored.sort("run_date")["reason_item_id"].to_list() == [None, "i1"]
