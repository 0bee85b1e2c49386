"""What records that describe something say of it: the newest counts."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.top_n import top_n


def newest(sound: DataFrame, key: str) -> DataFrame:
    """One row per `key`: its record of the newest run_date, of that day's the first by file and line; record_count."""
    counts = sound.groupBy(key).agg(F.count("*").alias("record_count"))
    return top_n(sound, [key], [F.desc("run_date"), "source_file", "source_row"], 1).join(counts, key, "inner")
