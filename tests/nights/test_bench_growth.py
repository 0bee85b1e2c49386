"""One tiny run of the bench of growth: a row for each step, and a list that is off stops it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from bench import growth, harness
from jobs.runner.lake import Lake
from schemas.deployment import load
from tests.support import tiny_shop


@pytest.mark.nights
def test_tiny_growth_has_a_row_for_each_step(spark: SparkSession, shop: Path, tmp_path: Path) -> None:
    lake = Lake(spark, load(shop))
    nights = growth.Nights(lake, tiny_shop.day(13), tmp_path)
    rows = growth.measure(nights, users=10, times=[1, 2, 3], repeats=1)
    assert [row.measure for row in rows] == [
        "scoring 20 users vs 10",
        "scoring 30 users vs 20",
        "scoring 30 users vs 10",
    ]
    assert {row.target for row in rows} == {1 / 1.1}
    nights._write(nights._read("lists-2").where("user_id NOT LIKE '%#1' OR rank <> 1"), "lists-2-off")
    (tmp_path / "lists-2").rename(tmp_path / "lists-2-right")
    (tmp_path / "lists-2-off").rename(tmp_path / "lists-2")
    with pytest.raises(harness.GateError, match=r"2 times the users: lists as those of the first life 0\.5"):
        nights.check(10, 2)
