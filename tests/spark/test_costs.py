"""What a run used: CPU seconds of all its processes, bytes of Spark."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.runner.costs import Meter
from schemas.prices import Prices

BUSY = 2.0  # CPU seconds


def busy(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, after some work of a Python worker."""
    began = time.process_time()
    while time.process_time() - began < BUSY:
        pass
    yield from batches


def test_python_workers_count(spark: SparkSession) -> None:
    meter, before = Meter(spark), os.times()
    spark.range(1).repartition(1).mapInArrow(busy, "id LONG").collect()
    used = meter.end(1.0, Prices(core_hour=3600.0))
    own = sum(os.times()[:2]) - sum(before[:2])
    assert used["cpu_seconds"] >= BUSY
    assert own < BUSY, "the driver has waited"
    assert used["price"] == pytest.approx(used["cpu_seconds"])
    assert used["peak_bytes"] > 2**28, "a JVM"


def test_bytes_of_spark_are_those_between_begin_and_end(spark: SparkSession, tmp_path: object) -> None:
    spark.range(20_000).withColumn("text", F.sha2(F.col("id").cast("string"), 256)).select("text").write.text(
        f"{tmp_path}/rows"
    )
    meter = Meter(spark)
    spark.read.text(f"{tmp_path}/rows").repartition(2).agg(F.max("value")).collect()
    first = meter.end(1.0, Prices())
    assert 20_000 * 65 <= first["bytes_read"] < 20_000 * 65 * 2
    assert first["bytes_shuffled"] > 0
    assert first["price"] is None
    assert Meter(spark).end(1.0, Prices())["bytes_read"] == 0
