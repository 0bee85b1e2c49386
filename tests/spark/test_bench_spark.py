"""One tiny run of each bench that compares what Spark does: rows, and that a wrong result stops it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from bench import harness, spark_topk
from bench.topk import directions
from jobs.transforms import vectors


def tiny_topk(spark: SparkSession, folder: Path) -> list[harness.Row]:
    users, items = directions(40, 1), directions(300, 2)
    return spark_topk.measure(spark, folder, users, items, k=10, sample=20, peer_users=30, repeats=1)


def test_tiny_top_k_through_spark_has_a_row_against_als(spark: SparkSession, tmp_path: Path) -> None:
    (row,) = tiny_topk(spark, tmp_path)
    assert row.measure == (
        "through Spark: top-10, 40 x 300 x 384 vs Spark ALS recommendForAllUsers for 30 of the users"
    )
    assert (row.unit, row.target) == ("users/s", 10.0)
    assert row.ratio > 0


def test_a_list_that_is_not_the_exact_one_stops_it(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = vectors.nearest

    def off(*given):
        return right(*given).withColumn("score", -F.col("score"))

    monkeypatch.setattr(vectors, "nearest", off)
    with pytest.raises(harness.GateError, match="ours: places as the oracle's"):
        tiny_topk(spark, tmp_path)


def test_als_recommends_by_the_factors_it_is_given(spark: SparkSession, tmp_path: Path) -> None:
    model = spark_topk.als_of(spark, tmp_path, np.eye(2, 3, dtype=np.float32), np.eye(3, dtype=np.float32)[::-1].copy())
    rows = model.recommendForAllUsers(1).collect()
    assert {row.user: [(found.item, found.rating) for found in row.recommendations] for row in rows} == {
        0: [(2, 1.0)],
        1: [(1, 1.0)],
    }
