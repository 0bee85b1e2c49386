"""Pending days of a job, from the files in landing, the list of bronze.files and the ledgers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.runner import silence
from jobs.runner.lake import Lake
from jobs.runner.landing import RawFile
from jobs.transforms import catalogue, ledger
from schemas import bronze
from schemas.contract import PARTITION
from schemas.deployment import Deployment
from schemas.errors import ConfError, DataError
from schemas.job import Balance, Job
from schemas.silver import RECORDS_OF


@dataclass(frozen=True)
class PendingDays:
    """The days whose partitions a job replaces, and what it found in landing.

    `changed`: raw files that differ from what was read; their days are among `days` only where another file of that
    day is new. `later`: days after run_date that depend on these days; the ledger unmarks them, so that runs of later
    dates do them again. `beside`: files of landing that match no source though one may be meant, with the reason.
    `silent`: sources without an expected file of run_date, with the days since their newest file, and its day.
    """

    days: list[dt.date]
    changed: tuple[RawFile, ...] = ()
    later: tuple[dt.date, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, tuple[int, dt.date]] = field(default_factory=dict)


def work_of(
    lake: Lake, job: Job, run_date: dt.date, since: dt.date | None = None, reingest: bool = False
) -> PendingDays:
    """The days that a job has to process: run_date, and each earlier day that its ledger lacks or from `since` on.

    To ingest raw files: days with a file that bronze.files does not list; with `reingest` also days with a file that
    has changed since it was read (without it, run_date is not read again once such a day has been cleaned). To clean:
    days whose files differ from those cleaned, or with a record rejected for an item that the catalogue has now (within
    the deployment's `reconsider_days`); and later days whose records may repeat theirs, of which those after run_date
    are left to later runs. Any other job: run_date alone. ConfError where run_date has no data or the conf now reads
    the files differently; DataError where a day could only be read again without one of its files.
    """
    if any(read.window == "files" for read in job.reads):
        return _days_to_read(lake, run_date, since, reingest)
    if job.ledger and job.balance:
        by_items = any(read.table == "silver.items" for read in job.reads) and "items" in lake.deployment.kinds
        return _days_to_clean(lake, job.ledger, job.balance, by_items, run_date, since)
    return PendingDays([run_date])


def _days_to_clean(
    lake: Lake, ledger_table: str, split: Balance, by_items: bool, run_date: dt.date, since: dt.date | None
) -> PendingDays:
    log = ledger.LOGS[ledger_table]
    sources = set(lake.deployment.of_kind(log.kind))
    files = [row for row in lake.rows("bronze.files", run_date) if row["source"] in sources]
    cleaned = lake.rows(ledger_table)
    wanted = ledger.uncleaned(files, cleaned)
    oldest = run_date - dt.timedelta(days=lake.deployment.reconsider_days)
    again = [row[PARTITION] for row in cleaned if oldest <= row[PARTITION] <= run_date and ledger.has_item_reason(row)]
    if by_items and again:
        rejected = lake.of_days(split.rejected, again)
        item_days = catalogue.days_of_items_listed_since(rejected, lake.today("silver.items", run_date))
        wanted |= {row[0] for row in item_days.collect()}
    if since:
        wanted |= {row[PARTITION] for row in [*files, *cleaned] if since <= row[PARTITION] <= run_date}
    days, later = wanted | {run_date}, set()
    if wanted and (min(wanted) < run_date or any(row[PARTITION] > run_date for row in cleaned)):
        accepted, rejected = (
            lake.up_to(table, dt.date.max).where(f"{PARTITION} > DATE'{min(wanted)}'")
            for table in (split.kept, split.rejected)
        )
        touched = {row[0] for row in ledger.touched(accepted, rejected, log.dated).collect()}
        days, later = days | {day for day in touched if day < run_date}, {day for day in touched if day > run_date}
    return PendingDays(sorted(days), later=tuple(sorted(later)))


def _days_to_read(lake: Lake, run_date: dt.date, since: dt.date | None, reingest: bool) -> PendingDays:
    sources, landing = lake.deployment.sources, lake.deployment.landing
    raw_files, beside = lake.landing.found(list(sources))
    landed = {(file.source, file.name): file for file in raw_files}
    _refuse_shared_files(lake.deployment, landed)
    ever = lake.rows("bronze.files")
    known_rows = [row for row in ever if row[PARTITION] <= run_date]
    known = {(row["source"], row["source_file"]): row for row in known_rows}
    # Daily sources, if there are any: files of others, such as campaigns, may be of days long before or ahead.
    daily = lake.deployment.of_kind(*bronze.KINDS) or sources
    days_seen = {file.day for file in landed.values() if file.source in daily}
    days_seen |= {row[PARTITION] for row in known_rows if row["source"] in daily}
    _refuse_dates_without_data(lake.deployment, run_date, days_seen, beside)
    read_as = {landed[key]: row for key, row in known.items() if key in landed}
    _refuse_other_days(lake.deployment, {file: row[PARTITION] for file, row in read_as.items()}, since)
    source_days = [(key[0], file.day) for key, file in landed.items()]
    source_days += [(row["source"], row[PARTITION]) for row in known_rows]
    silent = silence.silent_days(lake.deployment, source_days, run_date)
    silence.refuse_silent(lake.deployment, silent, run_date)
    changed = _changed(lake, read_as)
    # A file that had no record when it was read, such as an empty one, can be read again without duplicates.
    again = {file.day for file in changed if reingest or not known[file.source, file.name]["record_count"]}
    if since:
        again |= {file.day for file in landed.values() if file.day >= since}
        again |= {row[PARTITION] for row in read_as.values() if row[PARTITION] >= since}
    new = again | {file.day for key, file in landed.items() if key not in known}
    gone = [row for key, row in known.items() if key not in landed and key[0] in sources]
    new_days = {day for day in new if day <= run_date}
    if run_date not in new_days | {row[PARTITION] for row in gone} and not _is_used(lake, run_date, changed):
        new_days.add(run_date)
    # Files skipped as copies of one that is read again now, which may have changed.
    read_anew = {key[1] for key, row in known.items() if row[PARTITION] in new_days}
    copies = {
        row[PARTITION]
        for row in ever
        if row["duplicate_of"] in read_anew and (row["source"], row["source_file"]) in landed
    }
    new_days |= {day for day in copies if day <= run_date}
    unknown = [file for key, file in landed.items() if key not in known]
    if lost := _lost(lake, [row for row in gone if row[PARTITION] in new_days], unknown):
        raise DataError(
            f"{lost['source_file']} was read into bronze for {lost[PARTITION]} and is no longer in {landing}, "
            "while a new file of that day is: replacing the day would lose its rows. Put the file back."
        )
    _refuse_other_columns(lake.deployment, [row for row in known_rows if row[PARTITION] not in new_days])
    unread = tuple(file for file in changed if file.day not in again)
    later = tuple(sorted(day for day in copies if day > run_date))
    return PendingDays(sorted(new_days), unread, later, beside, silent)


def left_alone(beside: Mapping[str, str], most: int) -> str:
    """The first `most` files that match no source, with the reasons, as text."""
    named = ", ".join(f"{path} ({why})" for path, why in list(beside.items())[:most])
    return named + (f" and {len(beside) - most} more" if len(beside) > most else "")


def _lost(lake: Lake, gone: Sequence[Mapping[str, Any]], unknown: Sequence[RawFile]) -> Mapping[str, Any] | None:
    """The first of these missing files whose content is in no new file of its source and day; None without one.

    A file that was renamed or compressed in place is read again under its new name.
    """
    days = {row[PARTITION] for row in gone}
    candidates = [file for file in unknown if file.day in days]
    hashes = lake.landing.hashes(candidates)
    new_contents = {(file.source, file.day, hashes[file.source, file.name][1]) for file in candidates}
    for row in sorted(gone, key=lambda row: (row[PARTITION], row["source_file"])):
        content = row.get("content_sha256") or row["sha256"]  # null in rows of older versions
        has_records = row["record_count"] and not row["duplicate_of"]
        if has_records and (row["source"], row[PARTITION], content) not in new_contents:
            return row
    return None


def _refuse_dates_without_data(
    deployment: Deployment, run_date: dt.date, days: Collection[dt.date], beside: Mapping[str, str]
) -> None:
    """ConfError where there are no raw files, or run_date is before the first day."""
    where = deployment.landing
    if not days:
        hint = f"; left alone: {left_alone(beside, 1)}" if beside else ""
        raise ConfError(
            f"{where}: no raw files there that match the deployment's sources (names that begin with . or _ do not)"
            f"{hint}"
        )
    if run_date < min(days):
        raise ConfError(f"--run-date {run_date} is before the first raw file ({min(days)}) in {where}")


def _refuse_other_days(deployment: Deployment, read: Mapping[RawFile, dt.date], since: dt.date | None) -> None:
    """ConfError where a file was read for another day than the conf now assigns, unless both days are read again."""
    moved = {file: day for file, day in read.items() if file.day != day}
    first = min((min(file.day, day) for file, day in moved.items()), default=None)
    if first is not None and (since is None or since > first):
        file, day = min(moved.items(), key=lambda pair: (pair[1], pair[0].name))
        raise ConfError(
            f"{deployment.file}: [sources.{file.source}] day and day_offset give {file.name} the day {file.day}, but "
            f"it was read for {day}: put back what held then, or read the days again: --since {first}"
        )


def _refuse_shared_files(deployment: Deployment, landed: Collection[tuple[str, str]]) -> None:
    """ConfError where two sources of one kind have the same file: its records would count twice."""
    source_of: dict[tuple[str, str], str] = {}
    for name, file in landed:
        kind = deployment.sources[name].kind or name
        first = source_of.setdefault((kind, file), name)
        if first != name:
            raise ConfError(
                f"{deployment.file}: {file} matches files of [sources.{first}] and of [sources.{name}], both of kind "
                f"{kind}: its records would count twice"
            )


def _refuse_other_columns(deployment: Deployment, known: Sequence[Mapping[str, Any]]) -> None:
    """ConfError where a file that is not read again has another column at a place than the conf declares."""
    for row in sorted(known, key=lambda row: row[PARTITION]):
        kind, day, then = row["source"], row[PARTITION], row["columns"] or []
        source = deployment.sources.get(kind)
        now = source.on(day).columns if source else []
        if [a for a, b in zip(now, then, strict=False) if a != b]:
            raise ConfError(
                f"{deployment.file}: [sources.{kind}] columns = {now}, but {row['source_file']} was read "
                f"as {then}. Put back what held then and say in [[sources.{kind}.changes]] from which day on "
                f"it is otherwise; or, if the file has these columns, read it again: --since {day}"
            )


def _is_used(lake: Lake, run_date: dt.date, changed: Sequence[RawFile]) -> bool:
    """Whether a file of run_date has changed since it was read, and its records have been cleaned.

    Before that, a refused file can be corrected and the run repeated.
    """
    if not any(file.day == run_date for file in changed):
        return False
    kind = next(kind for kind in RECORDS_OF if kind in lake.deployment.kinds)
    table = next((log.ledger for log in ledger.LOGS.values() if log.kind == kind), f"silver.{kind}")
    return lake.newest_day(table, run_date) == run_date


def _changed(lake: Lake, read: Mapping[RawFile, Mapping[str, Any]]) -> list[RawFile]:
    """Files whose content differs from what was read; only files written since are hashed.

    A compressed file of another size may still hold the same content; a plain one cannot.
    """
    resized = [file for file, row in read.items() if file.size != row["bytes"]]
    rewritten = [
        file
        for file, row in read.items()
        if file.size == row["bytes"] and row["modified_at"] and file.modified_at != row["modified_at"]
    ]
    packed = [file for file in resized if read[file].get("content_sha256") and file.name.endswith(".gz")]
    hashes = lake.landing.hashes([*rewritten, *packed])

    def is_other(file: RawFile) -> bool:
        digests, row = hashes.get((file.source, file.name)), read[file]
        return digests is None or (digests[0] != row["sha256"] and digests[1] != row.get("content_sha256"))

    return sorted((file for file in [*resized, *rewritten] if is_other(file)), key=lambda file: (file.day, file.name))
