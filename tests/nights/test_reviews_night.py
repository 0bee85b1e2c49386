"""A shop of items and reviews alone: from its files to gold, before and after there is a model."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.runner import run_job
from jobs.runner.lake import Lake
from jobs.runner.model_store import promoted_model
from schemas.deployment import load
from tests.support.small_base import small_base
from tests.support.tiny_conf import PROPERTIES

FIRST = dt.date(2026, 3, 1)
SECOND = FIRST + dt.timedelta(days=1)
CONF = """
name = "reviewed"
lake = "lake"
landing = "landing"
spark = "spark.conf"

[encoder]
base = "{base}"

[sources.items]
files = "items_*.csv"
columns = ["sku", "name", "kind"]
map = {{ item_id = "sku", text = "name", category = "kind" }}

[sources.reviews]
files = "reviews_*.csv"
columns = ["id", "at", "sku", "stars", "text"]
map = {{ review_id = "id", occurred_at = "at", item_id = "sku", stars = "stars", text = "text" }}

[aspects]
size = ["size"]

[jobs.train_sentiment]
epochs = 0
"""
INTAKE = ("ingest_logs", "clean_items", "clean_reviews")
READING = ("read_reviews", "rate_items")


def files(landing: Path, day: dt.date, count: int) -> None:
    """Reviews of two items: of S1 the size is bad, of S2 everything is good."""
    texts = {
        "S1": ("2", "the fabric number {n} is lovely, but the size is awful"),
        "S2": ("5", "the fabric number {n} is lovely"),
    }
    lines = ["id,at,sku,stars,text"]
    for n in range(count):
        sku = f"S{1 + n % 2}"
        stars, text = texts[sku]
        lines.append(f'{day}-{n},{day} 10:00:00,{sku},{stars},"{text.format(n=n)}"')
    (landing / f"reviews_{day}.csv").write_text("\n".join([*lines, ""]))


def test_reviews_become_ratings_night_by_night(tmp_path: Path, spark: SparkSession) -> None:
    conf, landing = tmp_path / "reviewed.toml", tmp_path / "landing"
    landing.mkdir()
    conf.write_text(CONF.format(base=small_base()))
    (tmp_path / "spark.conf").write_text(PROPERTIES)
    (landing / f"items_{FIRST}.csv").write_text("sku,name,kind\nS1,red dress,Dresses\nS2,blue dress,Dresses\n")
    files(landing, FIRST, 300)
    lake = Lake(spark, load(conf))
    for job in (*INTAKE, *READING):
        run_job.run(job, lake, FIRST)
    unread = {row.item_id: row for row in lake.today("gold.item_sentiment", FIRST).collect()}
    assert {item: (row.stars_mean, row.sentiment) for item, row in unread.items()} == {"S1": (2, None), "S2": (5, None)}

    run_job.run("train_sentiment", lake, FIRST)
    model = promoted_model(lake, FIRST, kind="sentiment")
    files(landing, SECOND, 20)
    for job in (*INTAKE, *READING):
        run_job.run(job, lake, SECOND)
    found = {(row.item_id, row.aspect): row for row in lake.today("gold.item_sentiment", SECOND).collect()}
    overall = found["S1", "overall"]
    assert (overall.reviews, overall.copies) == (150, 10), "the second day repeats texts of the first"
    assert overall.model_version == model.version
