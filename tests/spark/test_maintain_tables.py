"""The upkeep: what is too old goes, what is live stays, small files become large, orphans are removed."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.runner import run_job
from jobs.runner.lake import Lake
from schemas import TABLES, features, gold
from schemas.deployment import Deployment
from schemas.errors import ConfError
from tests.conftest import Rows

TONIGHT = dt.date(2024, 6, 30)
VECTORS = features.ITEM_VECTORS.name


def ago(days: int) -> dt.date:
    return TONIGHT - dt.timedelta(days=days)


@pytest.fixture
def lake(deployment: Deployment, spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, deployment.model_copy(update={"lake": str(tmp_path / "lake")}))


def write(lake: Lake, rows: Rows, table: str, *nights: dt.date, files: int = 1) -> None:
    key = "item_id" if table == VECTORS else "user_id"
    for night in nights:
        frame = rows(TABLES[table], *({key: f"k{number}", "run_date": night} for number in range(8)))
        lake.replace(table, frame.repartition(files), [night], {})


def nights(lake: Lake, table: str) -> list[dt.date]:
    return sorted(row[0] for row in lake.up_to(table, dt.date(9999, 1, 1)).select("run_date").distinct().collect())


def told(lake: Lake, run_date: dt.date = TONIGHT) -> dict[str, dict[str, int]]:
    found = lake.up_to("ops.maintenance", run_date).where(F.col("run_date") == run_date).collect()
    return {row["table_name"]: row.asDict() for row in found}


def test_old_vectors_go_and_what_others_read_stays(lake: Lake, rows: Rows) -> None:
    write(lake, rows, VECTORS, ago(200), ago(71), ago(70), ago(0))
    write(lake, rows, gold.RECOMMENDATIONS.name, ago(900), ago(400), ago(0))
    for night in (ago(71), ago(70), ago(0)):
        lake.replace("silver.items", rows(TABLES["silver.items"], {"run_date": night}), [night], {})
        lake.replace("silver.events", rows(TABLES["silver.events"], {"run_date": night}), [night], {})
    run_job.run("maintain_tables", lake, TONIGHT)
    assert nights(lake, VECTORS) == [ago(70), ago(0)]
    assert nights(lake, gold.RECOMMENDATIONS.name) == [ago(400), ago(0)]
    assert nights(lake, "silver.items") == [ago(70), ago(0)], "each night has all items"
    assert nights(lake, "silver.events") == [ago(71), ago(70), ago(0)], "a night has its own events alone"
    report = told(lake)
    assert report[VECTORS]["nights_deleted"] == 2
    assert report[gold.RECOMMENDATIONS.name]["nights_deleted"] == 1
    assert lake.up_to("ops.runs", TONIGHT).count() == 2, "this run's start and end; nothing else was there"


def test_the_newest_night_stays_however_old(lake: Lake, rows: Rows) -> None:
    write(lake, rows, VECTORS, ago(300), ago(200))
    run_job.run("maintain_tables", lake, TONIGHT)
    assert nights(lake, VECTORS) == [ago(200)]


def test_small_files_become_large_but_for_those_of_tonight(lake: Lake, rows: Rows) -> None:
    write(lake, rows, VECTORS, ago(1), ago(0), files=4)
    before = sorted(lake.up_to(VECTORS, TONIGHT).drop("vector").collect())
    run_job.run("maintain_tables", lake, TONIGHT)
    report = told(lake)[VECTORS]
    assert (report["files_before"], report["files_after"]) == (8, 5)
    assert sorted(lake.up_to(VECTORS, TONIGHT).drop("vector").collect()) == before


def test_what_a_killed_writer_left_is_removed_and_young_files_are_not(lake: Lake, rows: Rows) -> None:
    write(lake, rows, VECTORS, ago(1), files=2)
    live = set(Path(lake.path(VECTORS)).rglob("*.parquet"))
    folder = Path(lake.path(VECTORS)) / "killed-run"
    folder.mkdir()
    orphan, young = folder / "part-orphan.parquet", folder / "part-young.parquet"
    for file, days in ((orphan, 31), (young, 29), *((file, 90) for file in live)):
        file.touch()
        os.utime(file, (time.time() - days * 86_400,) * 2)
    run_job.run("maintain_tables", lake, TONIGHT, {"keep_versions_days": 30})
    assert not orphan.exists()
    assert young.exists()
    assert told(lake)[VECTORS]["files_removed"] == 1
    assert all(file.exists() for file in live), "compacted just now: the version before can still be read"
    assert lake.up_to(VECTORS, TONIGHT).count() == 8
    assert lake.spark.read.format("delta").option("versionAsOf", 1).load(lake.path(VECTORS)).count() == 8


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"keep_vectors_days": 28}, "keep_vectors_days must be over 28"),
        ({"keep_candidates_days": 5}, "keep_candidates_days must be over 28"),
        ({"keep_snapshots_days": 28}, "keep_snapshots_days must be over 28"),
        ({"keep_gold_days": 1}, "keep_gold_days must be over 28"),
        ({"keep_versions_days": 6}, "keep_versions_days must be at least 7"),
    ],
)
def test_what_others_still_need_cannot_be_thrown_away(
    lake: Lake, rows: Rows, knobs: dict[str, int], message: str
) -> None:
    write(lake, rows, VECTORS, ago(29), ago(0))
    with pytest.raises(ConfError, match=message):
        run_job.run("maintain_tables", lake, TONIGHT, knobs)
    assert nights(lake, VECTORS) == [ago(29), ago(0)]


def test_folders_that_nothing_needs_go(lake: Lake, rows: Rows) -> None:
    root, old = Path(lake.deployment.lake), time.time() - 71 * 86_400
    models = [
        {"model_version": name, "folder": f"models/{name}", "promoted": name == "in_use"}
        for name in ("in_use", "worse")
    ]
    lake.replace(
        "ops.models", rows(TABLES["ops.models"], *({"run_date": ago(80), **row} for row in models)), [ago(80)], {}
    )
    for name in (
        "models/in_use",
        "models/worse",
        "models/no_row",
        "models/young",
        "checkpoints/killed",
        "data_docs/day",
    ):
        (root / name / "below").mkdir(parents=True)
        for path in (root / name / "below" / "file", root / name / "below", root / name):
            path.touch()
            os.utime(path, (old, old))
    (root / "models" / "young" / "below" / "file").touch()
    run_job.run("maintain_tables", lake, TONIGHT)
    assert sorted(path.name for path in (root / "models").iterdir()) == ["in_use", "young"]
    assert not (root / "checkpoints" / "killed").exists()
    assert (root / "data_docs" / "day").exists(), "as old as records may be"
    assert told(lake)["ops.models"]["files_removed"] == 3
    assert lake.up_to("ops.models", TONIGHT).count() == 2
