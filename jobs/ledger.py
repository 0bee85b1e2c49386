"""Which days of raw files are still to be cleaned. Frames in, frames out; jobs/runtime.py asks before a job runs."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.contract import PARTITION

REPEATED = "duplicate of a record of an earlier day"


def fingerprints(files: DataFrame) -> DataFrame:
    """One row a day of bronze.files that has event files: run_date, fingerprint (of names, bytes, copies)."""
    named = F.concat_ws(" ", "sha256", "source_file", "duplicate_of")  # which files count is part of it
    whole: Column = F.sha2(F.concat_ws("\n", F.sort_array(F.collect_list(named))), 256)
    return files.where("source = 'events'").groupBy(PARTITION).agg(whole.alias("fingerprint"))


def uncleaned(files: DataFrame, cleaned_days: DataFrame) -> DataFrame:
    """run_date of each day whose files are not those that silver.cleaned_days says were cleaned."""
    done = cleaned_days.select(PARTITION, "fingerprint")
    return fingerprints(files).join(done, [PARTITION, "fingerprint"], "left_anti").select(PARTITION)


def touched(events: DataFrame, rejected_events: DataFrame) -> DataFrame:
    """run_date of each day whose split may depend on earlier days: it has late records, or rejected repeats."""
    late = events.where(F.col("event_date") < F.col(PARTITION)).select(PARTITION)
    repeated = rejected_events.where(F.array_contains("reasons", REPEATED)).select(PARTITION)
    return late.union(repeated).distinct()
