"""The tables of a deployment's lake, and how a job's outputs are published.

Spark writes Parquet below a table's folder, invisible to readers; a commit by delta-rs on the driver names the files
in the table's log (delta_log.py). So a commit costs no Spark query, and each table has one writer.
"""

from __future__ import annotations

import datetime as dt
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runner import data_files, delta_log
from jobs.runner.data_files import DataFile
from jobs.runner.delta_log import ConflictError
from jobs.runner.lake_reader import ASIDE, LakeReader
from jobs.runner.schema_check import check_schema
from jobs.transforms.succession import SUCCESSION
from schemas import TABLES
from schemas.contract import PARTITION, Column, Table
from schemas.errors import BusyError, DataError

__all__ = ["ASIDE", "Lake"]

COMMIT_ATTEMPTS = 8  # of a write, where other writers commit first
MOST_FILES = 8  # small files of one month of a table, before they are compacted
SMALL_FILE = 32 * 2**20  # bytes
MONTH = "run_month"  # a temporary column while many days are written: one file per month


class Lake(LakeReader):
    """The tables and raw files of one deployment, to read and to write."""

    def create(self, table: str) -> DeltaTable:
        """The table, created from its contract if it does not exist, with the contract's newer columns and checks."""
        contract, opened = TABLES[table], self.delta(table)
        if opened is None:
            return delta_log.create(contract, self.path(table))
        if new := _new_columns(contract, opened):
            opened.alter.add_columns(list(delta_log.schema_of(new).fields))
        delta_log.follow_properties(contract, opened)
        return opened

    def stage(self, table: str, frame: DataFrame, run_id: str, days: Sequence[dt.date]) -> list[DataFile]:
        """Write rows as files below the table's folder, invisible to readers until a commit names them; the files.

        Many days become one file per month, so that a day can be replaced without reading a year.
        """
        folder = f"{run_id}-{uuid.uuid4().hex[:6]}"
        placed = frame
        if len({(day.year, day.month) for day in days}) > 1:
            placed = frame.withColumn(MONTH, F.date_format(PARTITION, "yyyy-MM")).repartition(MONTH)
        writer = placed.write.mode("error").option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
        if MONTH in placed.columns:
            writer = writer.partitionBy(MONTH)
        writer.parquet(f"{self.path(table)}/{folder}")
        return data_files.written_files(self.path(table), folder, TABLES[table].personal)

    def unstage(self, table: str, files: Sequence[DataFile]) -> None:
        """Remove staged files that were not committed."""
        for folder in {file.path.split("/")[0] for file in files}:
            self.storage.delete(f"{table.replace('.', '/')}/{folder}")

    def publish(
        self, table: str, files: Sequence[DataFile], days: Sequence[dt.date], metadata: Mapping[str, Any]
    ) -> int:
        """Replace these days' rows by staged files in one commit, if anything changes; the table's version.

        The commit's metadata includes the days: first and last of each unbroken range. DataError where a file has rows
        of another day. Of two writers of the same days, the later one wins.
        """
        for file in files:
            if not file.is_within(days) and not set(data_files.days_in(self.path(table), file)) <= set(days):
                raise DataError(f"{table}: rows of {file.first} to {file.last} do not belong to {_ranges(days)}")
        record = {**metadata, "days": _ranges(days)}

        def put(opened: DeltaTable) -> int:
            overlapping = [file for file in delta_log.data_files(opened) if file.may_hold(days)]
            gone, rewritten = self._without(table, overlapping, days, str(metadata.get("run_id", "")))
            return delta_log.commit(opened, [*files, *rewritten], gone, record) if files or gone else opened.version()

        version = self._committed(table, put)
        self._compact(table, days)
        return version

    def replace(self, table: str, frame: DataFrame, days: Sequence[dt.date], metadata: Mapping[str, Any]) -> int:
        """Replace these days' rows of a table by a frame's, in one commit; its version."""
        check_schema(TABLES[table], frame, "as the job made it")
        self.create(table)
        staged = self.stage(table, frame, str(metadata.get("run_id", "rows")), days)
        return self.publish(table, staged, days, metadata)

    def join(
        self, table: str, rows: Sequence[Mapping[str, Any]], days: Sequence[dt.date], metadata: Mapping[str, Any]
    ) -> None:
        """Join new rows of these days with the stored ones, as succession.SUCCESSION defines, in one commit.

        Each attempt reads the stored rows again, so neither of two writers loses the other's rows.
        """
        if not rows:
            return
        record, contract = {**metadata, "days": _ranges(days)}, TABLES[table]

        def put(opened: DeltaTable) -> int:
            stored = delta_log.rows_of(contract, opened, pc.field(PARTITION).isin(list(days)))
            joined = delta_log.write_rows(contract, self.path(table), SUCCESSION[table](stored, rows))
            files = [file for file in delta_log.data_files(opened) if file.may_hold(days)]
            gone, rewritten = self._without(table, files, days, str(metadata.get("run_id", "")))
            try:
                return delta_log.commit(opened, [joined, *rewritten], gone, record)
            except ConflictError:
                self.unstage(table, [joined, *rewritten])
                raise

        self._committed(table, put)
        self._compact(table, days)

    def forget(self, table: str, days: Sequence[dt.date]) -> None:
        """Delete these days' rows of a table: in a ledger, this marks the days as not done."""
        if self.exists(table):
            self.publish(table, [], days, {"forgotten": True})

    def append(self, table: str, rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]) -> None:
        """Append records of runs (ops tables only)."""
        if rows:
            opened = self.create(table)
            delta_log.append_rows(TABLES[table], opened, self.path(table), rows, metadata)
            delta_log.compact_rows(opened)

    def _without(
        self, table: str, files: Sequence[DataFile], days: Sequence[dt.date], run_id: str
    ) -> tuple[list[DataFile], list[DataFile]]:
        """Of files that may hold these days: the files to remove, and new files with their rows of other days."""
        inside = [file for file in files if file.is_within(days)]
        mixed = [
            file
            for file in files
            if file not in inside and not set(days).isdisjoint(data_files.days_in(self.path(table), file))
        ]
        if not mixed:
            return inside, []
        others = self.frame(table, mixed).where(~F.col(PARTITION).isin(list(days)))
        span = [mixed[0].first, max(file.last for file in mixed)]
        return [*inside, *mixed], self.stage(table, others, run_id or "rest", span)

    def _committed(self, table: str, put: Callable[[DeltaTable], int]) -> int:
        """Create the table if need be and commit; retry on the new version where another writer was faster.

        BusyError after COMMIT_ATTEMPTS attempts.
        """
        conflict = ""
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                return put(self.create(table))
            except ConflictError as error:
                conflict = str(error)
                time.sleep(min(2**attempt, 20) * random.uniform(0.05, 0.1))
        raise BusyError(f"{table}: other writers were faster {COMMIT_ATTEMPTS} times; run this job again. {conflict}")

    def _compact(self, table: str, own: Sequence[dt.date]) -> None:
        """Compact the small files of each month that has too many of them, except those of the run's own days."""
        for files in self.small_files(table, own):
            if len(files) > MOST_FILES:
                self.compact(table, files)

    def small_files(self, table: str, own: Sequence[dt.date], up_to: dt.date = dt.date.max) -> list[list[DataFile]]:
        """Small files of each month that hold no day after `up_to` and none of the run's own days."""
        months: dict[str, list[DataFile]] = {}
        for file in self.files(table, up_to):
            if file.size < SMALL_FILE and file.last <= up_to and not file.may_hold(own):
                months.setdefault(f"{file.first:%Y-%m}", []).append(file)
        return list(months.values())

    def compact(self, table: str, files: Sequence[DataFile]) -> None:
        """Rewrite files as one, unless another writer commits meanwhile: then the next run does it."""
        rows = self.frame(table, files).sort(PARTITION, *TABLES[table].key).coalesce(1)
        opened = self.delta(table)
        if opened is None or {file.path for file in files} - {file.path for file in delta_log.data_files(opened)}:
            return
        staged = self.stage(table, rows, "compacted", [files[0].first])
        try:
            delta_log.commit(opened, staged, files, {"compacted": len(files)}, rearranged=True)
        except ConflictError:
            self.unstage(table, staged)


def _new_columns(contract: Table, opened: DeltaTable) -> list[Column]:
    """Columns that a table created by an older contract lacks and that may be null."""
    stored = delta_log.stored_types(opened)
    return [column for column in contract.columns if column.nullable and column.name not in stored]


def _ranges(days: Sequence[dt.date]) -> list[list[str]]:
    """The first and the last day of each unbroken range of days."""
    ranges: list[list[dt.date]] = []
    for day in sorted(days):
        if ranges and day - ranges[-1][1] == dt.timedelta(days=1):
            ranges[-1][1] = day
        else:
            ranges.append([day, day])
    return [[str(first), str(last)] for first, last in ranges]
