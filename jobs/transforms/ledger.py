"""Which days of raw files are still to be cleaned; jobs/runner/pending_days.py asks before a job runs."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.contract import PARTITION

REPEATED = "duplicate of a record of an earlier day"


@dataclass(frozen=True)
class Log:
    """One kind of log that is cleaned day by day: `identity` tells its records apart, `dated` is what day one is about.

    A record is late where that day is before the day of its file. `ledger` lists the days that are done.
    """

    kind: str
    identity: tuple[str, ...]
    dated: str
    ledger: str


EVENTS = Log("events", ("event_id", "event_date"), "event_date", "silver.cleaned_days")
AD_EVENTS = Log("ad_events", ("event_id", "event_date"), "event_date", "silver.cleaned_ad_days")
PROMOTIONS = Log("promotions", ("location_id", "item_id", "starts_on"), "starts_on", "silver.cleaned_promotion_days")
LOGS = {log.ledger: log for log in (EVENTS, AD_EVENTS, PROMOTIONS)}


def fingerprints(files: DataFrame, kind: str) -> DataFrame:
    """One row a day of bronze.files that has files of this kind: run_date, fingerprint (of names, bytes, copies)."""
    named = F.concat_ws(" ", "sha256", "source_file", "duplicate_of")  # which files count is part of it
    whole: Column = F.sha2(F.concat_ws("\n", F.sort_array(F.collect_list(named))), 256)
    return files.where(F.col("source") == kind).groupBy(PARTITION).agg(whole.alias("fingerprint"))


def uncleaned(files: DataFrame, cleaned_days: DataFrame, kind: str) -> DataFrame:
    """run_date of each day whose files of this kind are not those that its ledger says were cleaned."""
    done = cleaned_days.select(PARTITION, "fingerprint")
    return fingerprints(files, kind).join(done, [PARTITION, "fingerprint"], "left_anti").select(PARTITION)


def touched(kept: DataFrame, rejected: DataFrame, dated: str) -> DataFrame:
    """run_date of each day whose split may depend on earlier days: it has late records, or rejected repeats."""
    late = kept.where(F.col(dated) < F.col(PARTITION)).select(PARTITION)
    repeated = rejected.where(F.array_contains("reasons", REPEATED)).select(PARTITION)
    return late.union(repeated).distinct()
