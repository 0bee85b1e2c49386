"""The tables of a deployment's lake as jobs read them.

Spark reads Parquet by the paths that a table's log names; the log is read by delta-rs on the driver (delta_log.py). So
resolving inputs costs no Spark query.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow.compute as pc
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.flow import JOBS
from jobs.runner import data_files, delta_log, integrity, object_store
from jobs.runner.data_files import DataFile
from jobs.runner.landing import Landing
from jobs.runner.schema_check import differences
from jobs.runner.storage import Storage, escape_glob
from schemas import TABLES
from schemas.contract import PARTITION, Table
from schemas.deployment import Deployment
from schemas.derive import delta_type, plain_ddl
from schemas.errors import ConfError, DataError
from schemas.job import Read

COMMIT = "[0-9]" * 20 + ".json"  # of a Delta log; not its checksums, nor its checkpoints
ASIDE = "set_aside"  # the folder of the lake for torn commits that a user moves away
NEWEST_COMMITS = 100  # of a table, in which commits of concurrent runs are sought


class LakeReader:
    """The tables and raw files of one deployment."""

    def __init__(self, spark: SparkSession, deployment: Deployment) -> None:
        self.spark = spark
        self.deployment = deployment
        object_store.use(deployment)
        self.storage = Storage(spark, deployment.lake)
        self.landing = Landing(spark, deployment)
        self.checked: set[str] = set()  # tables and models that are known to be intact
        self._days: dict[str, set[dt.date]] = {}  # run_dates of files that had to be opened

    # -- one table ------------------------------------------------------------------------------------------------

    def path(self, table: str) -> str:
        """Where a table lives: <lake>/<layer>/<table>."""
        return f"{self.deployment.lake}/{table.replace('.', '/')}"

    def exists(self, table: str) -> bool:
        """Whether the table has been created. DataError where its newest commit is torn."""
        return self.delta(table) is not None

    def delta(self, table: str) -> DeltaTable | None:
        """A table's log at its newest version, checked to be intact and to match the contract; None without a table."""
        self.check_log(table)
        opened = delta_log.open_table(self.path(table))
        if opened is not None and f"{table} as its contract" not in self.checked:
            self._check_stored(TABLES[table], opened)
            self.checked.add(f"{table} as its contract")
        return opened

    def _check_stored(self, contract: Table, opened: DeltaTable) -> None:
        """Refuse a table of an old layout or with other columns than the contract's; new nullable ones may lack."""
        if old := delta_log.old_layout(contract, opened):
            raise ConfError(
                f"{contract.name} in {self.deployment.lake} is of an older layout ({old}): run make upgrade-lake "
                f"CONF={self.deployment.file} once"
            )
        stored = delta_log.stored_types(opened)
        expected = {
            column.name: delta_type(column.type)
            for column in contract.columns
            if column.name in stored or not column.nullable
        }
        if problems := differences(expected, stored):
            raise DataError(f"{contract.name} (as it stands in the lake): " + "; ".join(problems))

    def check_log(self, table: str) -> None:
        """DataError where the newest commit of a table is torn; each table is checked once.

        A later commit would make such a table impossible to repair.
        """
        if table in self.checked:
            return
        commit = self.storage.newest(f"{table.replace('.', '/')}/_delta_log", COMMIT)
        if commit is not None:
            try:
                integrity.check_commit(self.storage.content(commit))
            except integrity.NotWholeError as error:
                aside = f"{self.deployment.lake.removeprefix('file://')}/{ASIDE}/{table}"
                raise DataError(f"{table}: {integrity.how_to_mend(aside, commit.toString(), str(error))}") from None
        self.checked.add(table)

    # -- reading --------------------------------------------------------------------------------------------------

    def files(self, table: str, up_to: dt.date = dt.date.max, version: int | None = None) -> list[DataFile]:
        """A table's files that may hold rows of a run_date up to a date; none without a table."""
        opened = self._opened(table, version)
        return [file for file in delta_log.data_files(opened) if file.first <= up_to] if opened else []

    def _opened(self, table: str, version: int | None = None) -> DeltaTable | None:
        """A table's log at a version, the newest where none is named."""
        return self.delta(table) if version is None else delta_log.open_table(self.path(table), version)

    def frame(self, table: str, files: Sequence[DataFile]) -> DataFrame:
        """The rows of some of a table's files."""
        if not files:
            return self.empty(table)
        paths = [escape_glob(f"{self.path(table)}/{file.path}") for file in files]
        return self.spark.read.schema(plain_ddl(TABLES[table])).parquet(*paths)

    def empty(self, table: str) -> DataFrame:
        """A frame of a table without a row."""
        return self.spark.createDataFrame([], plain_ddl(TABLES[table]))

    def up_to(self, table: str, run_date: dt.date) -> DataFrame:
        """Every row of a table up to run_date; none where there is no table."""
        return self.frame(table, self.files(table, run_date)).where(F.col(PARTITION) <= F.lit(run_date))

    def of_days(self, table: str, days: Sequence[dt.date], version: int | None = None) -> DataFrame:
        """A table's rows of these days."""
        files = [file for file in self.files(table, version=version) if file.may_hold(days)]
        return self.frame(table, files).where(F.col(PARTITION).isin(list(days)))

    def rows(self, table: str, up_to: dt.date = dt.date.max, of: dt.date | None = None) -> list[dict[str, Any]]:
        """The rows of a small table up to a date, or of one date, on the driver."""
        opened = self.delta(table)
        if opened is None:
            return []
        condition = pc.field(PARTITION) == of if of else pc.field(PARTITION) <= up_to
        return delta_log.rows_of(TABLES[table], opened, condition)

    def read(self, read: Read, run_date: dt.date, days: Sequence[dt.date]) -> DataFrame:
        """Rows of a declared input of a job (raw files and models apart)."""
        if read.window == "history":
            frame = self.up_to(read.table, dt.date.max if read.later_too else run_date)
        elif read.window == "pending":
            frame = self.of_days(read.table, days)
        elif read.window == "today" and read.may_be_empty:
            self.check_written(read.table, run_date)
            frame = self.of_days(read.table, [run_date])
        elif read.window == "today":
            frame = self.today(read.table, run_date)
        elif read.kind:
            newest_files = self.counted_files(read.kind, run_date, read.days)
            frame = self.of_days(read.table, sorted({row[PARTITION] for row in newest_files}))
        else:
            newest = self.newest_day(read.table, run_date)
            frame = self.of_days(read.table, [newest]) if newest else self.empty(read.table)
        return frame.where(F.col("source").isin(self._sources(read.kind))) if read.kind else frame

    def _sources(self, kind: str) -> list[str]:
        """The names of the deployment's sources of one kind of records."""
        return list(self.deployment.of_kind(kind))

    def today(self, table: str, run_date: dt.date) -> DataFrame:
        """A table's rows of run_date. ConfError where it has none."""
        newest = self.newest_day(table, run_date)
        if newest != run_date:
            raise ConfError(
                f"{table} has no rows of {PARTITION}={run_date} (its newest up to then: {newest or 'none'}); "
                f"{_run_first(table, run_date)}"
            )
        return self.of_days(table, [run_date])

    def check_written(self, table: str, run_date: dt.date) -> None:
        """ConfError where ops.runs has no run that wrote a table for run_date, even without a row."""
        if self.newest_day(table, run_date) != run_date:
            runs = self.rows("ops.runs", of=run_date)
            if not any(row["status"] == "done" and table in dict(row["rows_written"] or ()) for row in runs):
                raise ConfError(f"no run has written {table} of {run_date}; {_run_first(table, run_date)}")

    def newest_day(self, table: str, run_date: dt.date) -> dt.date | None:
        """The newest run_date of a table's rows up to a date, if any."""
        days: set[dt.date] = set()
        for file in self.files(table, run_date):
            if file.last <= run_date:
                days.add(file.last)
            elif file.path not in self._days:
                self._days[file.path] = data_files.days_in(self.path(table), file)
            days |= {day for day in self._days.get(file.path, ()) if day <= run_date}
        return max(days, default=None)

    def counted_files(self, kind: str, run_date: dt.date, days: int = 0) -> list[dict[str, Any]]:
        """Rows of bronze.files of one kind up to a date that have records, without copies of other files.

        `days`: only those of so many days up to the newest one; 0 for every day.
        """
        names, rows = set(self._sources(kind)), self.rows("bronze.files", run_date)
        files = [row for row in rows if row["source"] in names and row["record_count"] and not row["duplicate_of"]]
        newest = max((row[PARTITION] for row in files), default=run_date)
        return [row for row in files if not days or (newest - row[PARTITION]).days < days]

    def model_of(self, table: str, run_date: dt.date, version: int | None = None) -> str | None:
        """The model_version of a table's rows of a date: one run has written them all. None without a row."""
        opened = self._opened(table, version)
        files = [file for file in delta_log.data_files(opened) if file.may_hold([run_date])] if opened else []
        if opened and files and all(file.is_within([run_date]) for file in files):
            logged = delta_log.only_value(opened, [file.path for file in files], "model_version")
            if logged is not None:
                return logged
        row = self.of_days(table, [run_date], version).select("model_version").first()
        return row[0] if row else None

    def count(self, table: str, days: Sequence[dt.date], version: int | None = None) -> int:
        """Number of a table's rows of these days: from the log, unless a file also holds other days."""
        files = [file for file in self.files(table, version=version) if file.may_hold(days)]
        if all(file.is_within(days) for file in files):
            return sum(file.rows for file in files)
        return self.of_days(table, days, version).count()

    def count_read(self, read: Read, run_date: dt.date, days: Sequence[dt.date]) -> int:
        """Number of rows of a declared input: from bronze.files for one kind of records, else from the table's log."""
        if read.kind:
            counted = self.counted_files(read.kind, run_date, read.days if read.window == "latest" else 0)
            return sum(row["record_count"] for row in counted if read.window != "pending" or row[PARTITION] in days)
        if read.window == "pending":
            return self.count(read.table, days)
        files = self.files(read.table, run_date)
        if all(file.last <= run_date for file in files):
            return sum(file.rows for file in files)
        return self.up_to(read.table, run_date).count()

    def at_version(self, table: str, version: int, run_date: dt.date) -> DataFrame:
        """One date's rows in a version of the table. DataError where that version can no longer be read."""
        self.check_log(table)
        try:
            opened = delta_log.open_table(self.path(table), version)
            files = delta_log.data_files(opened) if opened else []
            data_files.check_files(self.path(table), files)
        except (DataError, FileNotFoundError) as error:
            raise DataError(
                f"{table}: version {version}, published for {run_date}, can no longer be read, because upkeep has "
                f"removed it (keep_versions_days of maintain_tables; {error}): choose a newer publication"
            ) from None
        return self.frame(table, files).where(F.col(PARTITION) == F.lit(run_date))

    def last_run(self, table: str, days: Sequence[dt.date], since: dt.datetime) -> str | None:
        """The run_id of the newest commit since a moment that replaced any of these days; None without one."""
        opened = self.delta(table)
        since = since.replace(microsecond=since.microsecond // 1000 * 1000)  # a log's moments are in milliseconds
        for _, moment, record in delta_log.history(opened, NEWEST_COMMITS) if opened else ():
            if moment < since:
                break
            if "run_id" in record and any(a <= str(day) <= b for a, b in record.get("days", ()) for day in days):
                return str(record["run_id"])
        return None

    def written(self, table: str, run_date: dt.date, runs: Collection[str]) -> int:
        """The version of the newest commit of a date's rows by one of these runs, or without a run id.

        Without such a commit (its log entry has expired, or nothing was written), the current version.
        """
        opened = self.delta(table)
        if opened is None:
            return 0
        mine = (
            version
            for version, _, record in delta_log.history(opened)
            if record.get("run_date") == str(run_date) and record.get("run_id") in {*runs, None}
        )
        return next(mine, opened.version())


def _run_first(table: str, run_date: dt.date) -> str:
    """Instruction for a table that has no rows of run_date."""
    return f"run {', '.join(name for name, job in JOBS.items() if table in job.writes)} --run-date {run_date} first"
