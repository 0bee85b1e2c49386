"""A lake and a landing folder may have any name, whatever the locale of who starts a job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.runner import catalog
from jobs.runner.lake import Lake
from schemas.deployment import load
from tests.support import tiny_shop


def test_apostrophe_space_umlaut_and_bracket_in_the_locale_c(tmp_path: Path, spark: SparkSession) -> None:
    root = tmp_path / "O'Neil & Söhne [1] 100%"
    root.mkdir()
    conf, day = tiny_shop.make(root, days=1), tiny_shop.day(0)
    sales = root / "landing" / "sales"
    (sales / f"sales_{day}.csv").rename(sales / f"größe {day}T10:15:00 [2].csv")
    (sales / f"._sales_{day}.csv").write_bytes(b"\0\5\x16\7")
    (sales / f"sales_{day}.csv").mkdir()
    command = [sys.executable, "-m", "jobs.ingest_logs", "--run-date", str(day), "--conf", str(conf)]
    done = subprocess.run(
        command, cwd=tiny_shop.REPO, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"left alone: sales/sales_{day}.csv (it is a folder)" in done.stderr

    lake = Lake(spark, load(conf))
    files = {row["source_file"] for row in lake.rows("bronze.files", of=day)}
    assert f"sales/größe {day}T10:15:00 [2].csv" in files
    try:
        assert "bronze.events" in catalog.name_tables(lake)
        (row,) = spark.sql(f"SELECT count(*) FROM bronze.events WHERE run_date = DATE'{day}'").collect()
        assert row[0] == len(tiny_shop.sales(day))
    finally:
        for layer in ("bronze", "ops"):
            spark.sql(f"DROP SCHEMA IF EXISTS {layer} CASCADE")
