"""Adding a job touches four places: its contract, its entry in the flow, its file, its test. Nothing else names it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.support import tiny_shop

CONTRACT = """
BUYERS = Table(
    "gold.item_buyers",
    "how many users bought one item up to run_date",
    (RUN_DATE, ITEM_ID, Column("buyers", "BIGINT", "Users who bought it", rules=(between(1, None),))),
    key=("item_id",),
    public=True,
)
TABLES = (*TABLES, BUYERS)
"""
ENTRY = 'SCORING = (\n    Job("count_buyers", reads=(history("silver.events"),), writes=("gold.item_buyers",)),\n'
JOB = '''"""How many users bought each item."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.run import RunContext


def count_buyers(events: DataFrame, *, run: RunContext, least: int = 1) -> DataFrame:
    """gold.item_buyers: each item that at least `least` users bought."""
    bought = events.where("event_type = 'purchase'").groupBy("item_id")
    counted = bought.agg(F.count_distinct("user_id").alias("buyers"))
    return counted.where(F.col("buyers") >= least).select(F.lit(run.run_date).alias("run_date"), "item_id", "buyers")


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("count_buyers")
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the code with one job more."""
    root = tmp_path / "tree"
    for folder in ("schemas", "jobs", "udfs", "conf"):
        shutil.copytree(tiny_shop.REPO / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    gold, flow = root / "schemas" / "gold.py", root / "jobs" / "flow.py"
    gold.write_text(gold.read_text() + CONTRACT)
    flow.write_text(flow.read_text().replace("SCORING = (\n", ENTRY, 1))
    (root / "jobs" / "count_buyers.py").write_text(JOB)
    return root


def run(tree: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *command], cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_job_in_four_places_is_run_published_and_documented(tree: Path, shop: Path) -> None:
    night = str(tiny_shop.day(13))
    flags = ("--run-date", night, "--conf", str(shop))
    assert "--least" in run(tree, "jobs/count_buyers.py", "--help")
    run(tree, "-m", "jobs.count_buyers", *flags, "--least", "2")
    run(tree, "-m", "jobs.publish_night", *flags)
    lake = shop.parent / "lake"
    rows = pl.read_delta(str(lake / "gold" / "item_buyers"))
    assert rows["buyers"].min() >= 2
    published = pl.read_delta(str(lake / "ops" / "publications")).filter("current")
    assert dict(published.select("table_name", "row_count").iter_rows())["gold.item_buyers"] == rows.height
    figures = pl.read_delta(str(lake / "ops" / "figures")).filter(pl.col("table_name") == "gold.item_buyers")
    assert "rows" in figures["figure"].to_list(), "held against the nights before"
    run(tree, "-m", "jobs.commands.draw_flow", "--page", "flow.md", "--tables", "tables.md")
    assert "count_buyers" in (tree / "flow.md").read_text()
    assert "## gold.item_buyers (public)" in (tree / "tables.md").read_text()
    named = run(
        tree, "-m", "jobs.commands.sql", "--conf", str(shop), "--query", "SELECT count(*) FROM published.item_buyers"
    )
    assert str(rows.height) in named
