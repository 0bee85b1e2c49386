"""Deduplication of records that describe one thing: which of several counts."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.reasons import because, only
from jobs.transforms.top_n import top_n
from schemas.reason_codes import Reason


def newest(sound: DataFrame, key: str) -> DataFrame:
    """One row per `key`: its record of the newest run_date, of that day's the first by file and line; record_count."""
    counts = sound.groupBy(key).agg(F.count("*").alias("record_count"))
    return top_n(sound, [key], [F.desc("run_date"), "source_file", "source_row"], 1).join(counts, key, "inner")


def without_overlaps(
    judged: DataFrame, key: Sequence[str], order: Sequence[Column | str], overlapping: Reason
) -> DataFrame:
    """The records; of sound ones that share `key`, those after the first in `order` have the reason `overlapping`."""
    first = Window.partitionBy(*key).orderBy((F.size("reasons") > 0).cast("int"), *order)
    second = (F.row_number().over(first) > 1) & (F.size("reasons") == 0)
    return judged.withColumn("reasons", F.when(second, only(because(overlapping))).otherwise(F.col("reasons")))
