"""Drift of a source: a day beside the days before. It shows a tenth of the rows, or pence for pounds, at once."""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from jobs.runner.drift import Figure, up
from jobs.runner.lake import Lake
from jobs.transforms import ledger
from schemas.contract import PARTITION
from schemas.deployment import Deployment
from schemas.drift import SourceLimits
from schemas.job import Job

OF_MANY = ("kept_share", "locations")  # not meaningful where there are few rows, usually or today
OF_ROWS = ("units", "money")  # sums over rows


def compared_table(job: Job) -> str:
    """The table that findings about a job's sources belong to: its ledger of cleaned days, or its accepted records.

    Empty where a job has no sources.
    """
    if job.ledger in ledger.LOGS:
        return str(job.ledger)
    return job.balance.kept if job.balance else ""


def of_run(
    lake: Lake, job: Job, pending: Collection[dt.date], run_date: dt.date, new: Sequence[Mapping[str, Any]]
) -> list[Figure]:
    """Figures of each source of a job on run_date beside those of the days before.

    `new`: staged rows of the job's ledger of cleaned days. Without such a ledger, only the number of records in a day's
    raw files is compared.
    """
    listed = lake.rows("bronze.files", run_date)
    files = [(row["source"], row[PARTITION]) for row in listed]
    if log := ledger.LOGS.get(str(job.ledger)):
        judged = days_to_judge(pending, lake.rows("ops.runs", run_date), job.name, run_date)
        known = [row for row in lake.rows(log.ledger, run_date) if row[PARTITION] not in set(pending)]
        return compared(lake.deployment, log.kind, [*known, *new], judged, files, run_date)
    all_figures = []
    for parameter in job.balance.rows_in if job.balance else ():
        kind = parameter.removeprefix("bronze_")
        days: dict[dt.date, dict[str, float]] = {}
        for row in lake.counted_files(kind, run_date):
            of_day, name = days.setdefault(row[PARTITION], {}), f"{row['source']}.rows"
            of_day[name] = of_day.get(name, 0.0) + row["record_count"]
        counted = [{PARTITION: day, "figures": figures} for day, figures in days.items()]
        all_figures += compared(lake.deployment, kind, counted, {run_date}, files, run_date)
    return all_figures


def days_to_judge(
    pending: Collection[dt.date], runs: Iterable[Mapping[str, Any]], job: str, run_date: dt.date
) -> set[dt.date]:
    """run_date, and earlier days that are still pending because their run was refused.

    A load of many days at once is judged by its last day: no user can look at each day of last year.
    """
    refused = {run[PARTITION] for run in runs if run["job"] == job and run["status"] == "refused"}
    return {day for day in pending if day == run_date or day in refused}


def figures_of(row: Mapping[str, Any], source: str) -> dict[str, float]:
    """Figures of one source in a row of a ledger of cleaned days; empty where it has none."""
    prefix = f"{source}."
    entries = dict(row.get("figures") or ())
    return {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}


def compared(
    deployment: Deployment,
    kind: str,
    cleaned: Sequence[Mapping[str, Any]],
    judged: Collection[dt.date],
    files: Iterable[tuple[str, dt.date]],
    run_date: dt.date,
) -> list[Figure]:
    """Figures of each source of a kind on the `judged` days, beside those of the days before.

    cleaned: rows of the ledger, including the judged days, at most one per day. files: (source, day) of each raw file:
    a source without a file of a day is silent, which silence.py reports; one whose files are empty has 0 rows.
    """
    have_files, figures = set(files), []
    for source in deployment.of_kind(kind):
        limits = deployment.drift_limits(source)
        days = {row[PARTITION]: figures_of(row, source) for row in cleaned}
        for day in sorted(judged):
            if limits and (source, day) in have_files:
                past = [days[earlier] for earlier in sorted(days) if earlier < day and days[earlier]]
                of_day = day if day != run_date else None
                figures += _of_source(source, days.get(day, {}), past[-limits.nights :], limits, of_day)
    return figures


def _of_source(
    source: str,
    today: Mapping[str, float],
    past: Sequence[Mapping[str, float]],
    limits: SourceLimits,
    day: dt.date | None,
) -> list[Figure]:
    rows = _median(past, "rows")
    rows_of = dict.fromkeys(OF_ROWS, rows) | dict.fromkeys(OF_MANY, min(rows, today.get("rows", 0.0)))
    figures = []
    for name in dict.fromkeys(name for night in (today, *past) for name in night):
        if not today and name != "rows":  # without any record, the rows alone are reported
            continue
        usual = _median(past, name) if len(past) >= limits.min_nights else None
        low = high = None
        if usual is not None and rows_of.get(name, usual) >= max(limits.least, 1):
            nights, share = [night.get(name, 0.0) for night in past], limits.share(name)
            low, high = min(nights) * (1 - share), up(max(nights), share)
        section = f"[sources.{source}.drift]"
        figures.append(Figure(f"{source}.{name}", today.get(name, 0.0), usual, low, high, section, day))
    return figures


def _median(nights: Sequence[Mapping[str, float]], name: str) -> float:
    """The median of a figure: 0 without a day; a day without the figure counts as 0."""
    return statistics.median(night.get(name, 0.0) for night in nights) if nights else 0.0
