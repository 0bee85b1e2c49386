"""Which days of raw files are still to be cleaned; jobs/runner/pending_days.py asks before a job runs."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.catalogue import is_of_item
from schemas.contract import PARTITION
from schemas.reason_codes import REPEATED


@dataclass(frozen=True)
class Log:
    """One kind of log that is cleaned day by day: `identity` is its key, `dated` the column with a record's day.

    A record is late where that day is before the day of its file. `ledger` lists the days that are done.
    """

    kind: str
    identity: tuple[str, ...]
    dated: str
    ledger: str


EVENTS = Log("events", ("event_id", "event_date"), "event_date", "silver.cleaned_days")
AD_EVENTS = Log("ad_events", ("event_id", "event_date"), "event_date", "silver.cleaned_ad_days")
PROMOTIONS = Log("promotions", ("location_id", "item_id", "starts_on"), "starts_on", "silver.cleaned_promotion_days")
REVIEWS = Log("reviews", ("review_id", "event_date"), "event_date", "silver.cleaned_review_days")
LOGS = {log.ledger: log for log in (EVENTS, AD_EVENTS, PROMOTIONS, REVIEWS)}


def fingerprints(files: DataFrame, sources: Collection[str]) -> DataFrame:
    """One row a day of bronze.files with files of these sources: run_date, fingerprint (of names, bytes, copies)."""
    named = F.concat_ws(" ", "sha256", "source_file", "duplicate_of")  # which files count is part of it
    digest: Column = F.sha2(F.concat_ws("\n", F.sort_array(F.collect_list(named))), 256)
    return files.where(F.col("source").isin(*sources)).groupBy(PARTITION).agg(digest.alias("fingerprint"))


def fingerprint(files: Iterable[Mapping[str, Any]]) -> str:
    """`fingerprints` for one day's rows of bronze.files, on the driver."""
    names = (" ".join(filter(None, (row["sha256"], row["source_file"], row["duplicate_of"]))) for row in files)
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def uncleaned(files: Iterable[Mapping[str, Any]], cleaned_days: Iterable[Mapping[str, Any]]) -> set[dt.date]:
    """Each day whose files (rows of bronze.files, of one kind) differ from those recorded as cleaned in its ledger."""
    done = {(row[PARTITION], row["fingerprint"]) for row in cleaned_days}
    by_day: dict[dt.date, list[Mapping[str, Any]]] = {}
    for row in files:
        by_day.setdefault(row[PARTITION], []).append(row)
    return {day for day, rows in by_day.items() if (day, fingerprint(rows)) not in done}


def has_item_reason(cleaned_day: Mapping[str, Any]) -> bool:
    """Whether records of a cleaned day, a row of its ledger, were rejected for their item.

    A row without codes, written by an earlier version, may have such records if it has rejected any.
    """
    codes = cleaned_day.get("codes")
    return cleaned_day["rows_rejected"] > 0 if codes is None else any(is_of_item(code) for code in dict(codes))


def touched(kept: DataFrame, rejected: DataFrame, dated: str) -> DataFrame:
    """run_date of each day whose split may depend on earlier days: it has late records, or rejected repeats.

    A row without codes, written by an earlier version, may be such a repeat.
    """
    late = kept.where(F.col(dated) < F.col(PARTITION)).select(PARTITION)
    repeat = F.coalesce(F.array_contains("codes", REPEATED.code), F.lit(True))
    repeated = rejected.where(repeat).select(PARTITION)
    return late.union(repeated).distinct()
