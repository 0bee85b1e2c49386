"""All storage: the Spark session, the tables of a lake, raw files, model folders. Nothing else reads or writes."""

from __future__ import annotations

import atexit
import contextlib
import datetime as dt
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.conf import ConfError, Deployment, Source
from jobs.flow import JOBS, Job, Read
from schemas import TABLES
from schemas.contract import PARTITION, Table
from schemas.derive import create_table, plain_ddl, plain_type

# How long a version's record and the files that only older versions name are kept.
RETENTIONS = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")


class DataError(Exception):
    """The data broke its contract: exit code 3; a retry will not help."""


@dataclass(frozen=True)
class RawFile:
    """One raw file of a source: its day, its path below landing, its URI, its size in bytes."""

    source: str
    day: dt.date
    name: str
    uri: str
    size: int


@dataclass(frozen=True)
class Model:
    """One promoted model. `file_name` is what executors find it by (SparkFiles)."""

    version: str
    folder: str

    @property
    def file_name(self) -> str:
        """The folder's last part."""
        return self.folder.rsplit("/", 1)[-1]


def session(deployment: Deployment, *, log_file: Path | None = None) -> SparkSession:
    """The session that the deployment's properties file describes, or the one that is running.

    What spark-submit was told wins over the file. With `log_file`, what the JVM and the Python workers write to
    stderr goes there, and the terminal stays readable.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"nightshelf {deployment.name}")
    if SparkSession.getActiveSession() is None and "PYSPARK_GATEWAY_PORT" not in os.environ:
        for key, value in properties(deployment.spark).items():
            builder = builder.config(key, value)
    with _stderr_to(log_file):
        return builder.getOrCreate()


def properties(path: str) -> dict[str, str]:
    """A Spark properties file as a dict: `key value` lines, # comments."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfError(f"{path}: the deployment's Spark properties cannot be read: {error.strerror}") from None
    pairs = (re.split(r"\s+", line.strip(), maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


@contextlib.contextmanager
def _stderr_to(path: Path | None) -> Iterator[None]:
    """While it lasts, what this process and those it starts write to stderr is appended to a file."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def check_schema(table: Table, frame: DataFrame, door: str) -> None:
    """Refuse a frame whose column names, order or types are not the contract's; the message lists each difference."""
    expected = {column.name: plain_type(column.type) for column in table.columns}
    actual = {field.name: plain_type(field.dataType.simpleString()) for field in frame.schema.fields}
    problems = [f"lacks {name} {expected[name]}" for name in expected if name not in actual]
    problems += [
        f"has {name} {actual[name]}, which the contract does not know" for name in actual if name not in expected
    ]
    problems += [
        f"has {name} as {actual[name]}, not {expected[name]}"
        for name in expected
        if name in actual and actual[name] != expected[name]
    ]
    if not problems and list(expected) != list(actual):
        problems.append(f"has its columns in the order {', '.join(actual)}, not {', '.join(expected)}")
    if problems:
        raise DataError(f"{table.name} ({door}): " + "; ".join(problems))


class Lake:
    """The tables, raw files and models of one deployment."""

    def __init__(self, spark: SparkSession, deployment: Deployment) -> None:
        self.spark = spark
        self.deployment = deployment

    # -- tables ---------------------------------------------------------------------------------------------------

    def path(self, table: str) -> str:
        """Where a table lives: <lake>/<layer>/<table>."""
        return f"{self.deployment.lake}/{table.replace('.', '/')}"

    def exists(self, table: str) -> bool:
        """Whether the table has been created."""
        return bool(DeltaTable.isDeltaTable(self.spark, self.path(table)))

    def create(self, table: str) -> None:
        """Create the table from its contract where it does not stand."""
        if not self.exists(table):
            self.spark.sql(create_table(TABLES[table], self.path(table)))

    def name_tables(self) -> list[str]:
        """Name every table that stands `<layer>.<table>` in this session's catalog; the names."""
        named = [name for name in TABLES if self.exists(name)]
        for name in named:
            self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {name.split('.')[0]}")
            self.spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION '{self.path(name)}'")
        return named

    def up_to(self, table: str, run_date: dt.date) -> DataFrame:
        """Every partition of a table up to run_date, after its schema was checked; empty where no table stands."""
        contract = TABLES[table]
        if not self.exists(table):
            return self.spark.createDataFrame([], plain_ddl(contract))
        frame = self.spark.read.format("delta").load(self.path(table))
        check_schema(contract, frame, "as it stands in the lake")
        return frame.where(F.col(PARTITION) <= F.lit(run_date))

    def read(self, read: Read, run_date: dt.date, days: Sequence[dt.date]) -> DataFrame:
        """What one declared input of a job sees (`files` and `promoted` have methods of their own)."""
        frame = self.up_to(read.table, run_date)
        if read.window == "history":
            return frame
        if read.window == "pending":
            return frame.where(F.col(PARTITION).isin(list(days)))
        newest = frame.agg(F.max(PARTITION)).first()
        day = newest[0] if newest else None
        if read.window == "today" and day != run_date:
            makers = ", ".join(name for name, job in JOBS.items() if read.table in job.writes)
            raise ConfError(
                f"{read.table} has no partition {PARTITION}={run_date} (its newest up to then: {day or 'none'}); "
                f"run {makers} --run-date {run_date} first"
            )
        return frame.where(F.col(PARTITION) == F.lit(day)) if day else frame.limit(0)

    def replace(self, table: str, frame: DataFrame, days: Sequence[dt.date], metadata: Mapping[str, Any]) -> None:
        """Replace whole partitions of a table in one commit; rows of any other day make the write fail."""
        self.create(table)
        (
            frame.write.format("delta")
            .mode("overwrite")
            .option("replaceWhere", days_predicate(days))
            .option("optimizeWrite", len(days) > 1)  # a first load: one file a day, not one a day and task
            .option("userMetadata", json.dumps(metadata, default=str, sort_keys=True))
            .save(self.path(table))
        )

    def append(self, table: str, rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]) -> None:
        """Append records of what happened (ops tables only)."""
        self.create(table)
        contract = TABLES[table]
        ordered = [tuple(row[name] for name in contract.column_names) for row in rows]
        frame = self.spark.createDataFrame(ordered, plain_ddl(contract))
        writer = frame.coalesce(1).write.format("delta").mode("append")
        writer.option("userMetadata", json.dumps(metadata, default=str, sort_keys=True)).save(self.path(table))

    def maintain(self, run_date: dt.date, table: str, keep_days: int, keep_versions_days: int) -> dict[str, Any] | None:
        """Delete a table's nights of more than `keep_days` before run_date (0: none), compact, vacuum; what that did.

        None where no table stands. The newest partition stays whatever its age, and run_date's and later ones are not
        touched, so a night may run meanwhile.
        """
        if not self.exists(table):
            return None
        delta, path = DeltaTable.forPath(self.spark, self.path(table)), self.path(table)
        before = delta.detail().select("numFiles", "sizeInBytes", "properties").collect()[0]
        kept = dict.fromkeys(RETENTIONS, f"interval {keep_versions_days} days")
        if not kept.items() <= before["properties"].items():  # VACUUM goes by these, whatever its RETAIN says
            told = ", ".join(f"'{name}' = '{value}'" for name, value in kept.items())
            self.spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ({told})")
        old: list[dt.date] = []
        if keep_days:
            nights = sorted(row[0] for row in delta.toDF().select(PARTITION).distinct().collect())
            old = [night for night in nights[:-1] if night < run_date - dt.timedelta(days=keep_days)]
        if old:
            delta.delete(days_predicate(old))
        delta.optimize().where(f"{PARTITION} < DATE'{run_date}'").executeCompaction()
        gone = self.spark.sql(f"VACUUM delta.`{path}` DRY RUN").count()
        self.spark.sql(f"VACUUM delta.`{path}`")
        after = delta.detail().select("numFiles", "sizeInBytes").collect()[0]
        return {
            "table_name": table,
            "nights_deleted": len(old),
            "files_before": before["numFiles"],
            "files_after": after["numFiles"],
            "bytes_before": before["sizeInBytes"],
            "bytes_after": after["sizeInBytes"],
            "files_removed": gone,
        }

    # -- days that are still to be processed ------------------------------------------------------------------------

    def pending_days(self, job: Job, run_date: dt.date, since: dt.date | None = None) -> list[dt.date]:
        """The days a job has to process: run_date, and each earlier day that is not accounted for, or is `since` on.

        For raw files: days with a file that bronze.files does not list. For a job with a balance: days whose rows
        in are not rows kept plus rows rejected. Any other job: run_date alone.
        """
        if any(read.window == "files" for read in job.reads):
            return self._days_with_new_files(job, run_date, since or run_date)
        if job.balance is None or not any(read.window == "pending" for read in job.reads):
            return [run_date]

        def rows_a_day(table: str) -> dict[dt.date, int]:
            counts = self.up_to(table, run_date).groupBy(PARTITION).count().collect()
            return {row[PARTITION]: row["count"] for row in counts}

        rows_in, kept, rejected = (
            rows_a_day(table) for table in (job.balance.rows_in, job.balance.kept, job.balance.rejected)
        )
        unbalanced = {
            day
            for day in rows_in.keys() | kept.keys() | rejected.keys()
            if rows_in.get(day, 0) != kept.get(day, 0) + rejected.get(day, 0) or day >= (since or run_date)
        }
        return sorted(unbalanced | {run_date})

    def raw_files(self, kind: str) -> list[RawFile]:
        """Every raw file of a source, by day and name. ConfError where a name has no date."""
        source: Source = self.deployment.sources[kind]
        jvm = self.spark.sparkContext._jvm
        assert jvm is not None
        root = jvm.org.apache.hadoop.fs.Path(self.deployment.landing)
        system = root.getFileSystem(self.spark.sparkContext._jsc.hadoopConfiguration())
        base = system.makeQualified(root).toString().rstrip("/")
        found = []
        for status in system.globStatus(jvm.org.apache.hadoop.fs.Path(root, source.files)) or []:
            uri = status.getPath().toString()
            name = uri.removeprefix(base + "/")
            match = re.search(source.day, name)
            try:
                day = dt.date.fromisoformat(match.group(1) if match else "")
            except ValueError:
                raise ConfError(
                    f"{name}: no date (YYYY-MM-DD) in the file's name where "
                    f"sources.{kind}.day = {source.day!r} looks for it"
                ) from None
            found.append(RawFile(kind, day, name, uri, int(status.getLen())))
        return sorted(found, key=lambda file: (file.day, file.name))

    def _days_with_new_files(self, job: Job, run_date: dt.date, since: dt.date) -> list[dt.date]:
        kinds = [read.table.split(".")[1] for read in job.reads]
        landed = {(file.source, file.name): file.day for kind in kinds for file in self.raw_files(kind)}
        known_rows = self.up_to("bronze.files", run_date).select("source", "source_file", PARTITION).collect()
        known = {(row.source, row.source_file): row[PARTITION] for row in known_rows}
        self._refuse_dates_without_data(run_date, sorted({*landed.values(), *known.values()}))
        new_days = {day for file, day in landed.items() if day <= run_date and (file not in known or day >= since)}
        gone: dict[dt.date, str] = {day: name for (kind, name), day in known.items() if (kind, name) not in landed}
        if lost := sorted(new_days & gone.keys()):
            raise DataError(
                f"{gone[lost[0]]} was read into bronze for {lost[0]} and is no longer in {self.deployment.landing}, "
                "while a new file of that day is: replacing the day would lose its rows. Put the file back."
            )
        return sorted((new_days | {run_date}) - gone.keys())

    def _refuse_dates_without_data(self, run_date: dt.date, days: list[dt.date]) -> None:
        where = self.deployment.landing
        if not days:
            raise ConfError(f"{where}: no raw files there that match the deployment's sources")
        if run_date < days[0]:
            raise ConfError(f"--run-date {run_date} is before the first raw file ({days[0]}) in {where}")
        silent = (run_date - days[-1]).days
        if silent > self.deployment.max_silent_days:
            raise ConfError(
                f"--run-date {run_date} is {silent} days after the newest raw file ({days[-1]}) in {where}; "
                f"max_silent_days allows {self.deployment.max_silent_days}"
            )

    def read_files(self, kind: str, days: Sequence[dt.date]) -> DataFrame:
        """One row a raw file of these days: run_date, source, source_file, bytes, sha256, content (binary)."""
        files = [file for file in self.raw_files(kind) if file.day in set(days)]
        names = self.spark.createDataFrame(
            [Row(uri=file.uri, run_date=file.day, source_file=file.name, bytes=file.size) for file in files],
            "uri STRING, run_date DATE, source_file STRING, bytes BIGINT",
        )
        empty = "path STRING, length BIGINT, content BINARY"
        found = (
            self.spark.read.format("binaryFile").load([_escape_glob(file.uri) for file in files])
            if files
            else self.spark.createDataFrame([], empty)
        )
        # binaryFile may spell a local URI file:/ or file:///: only the path tells files apart. It skips empty files.
        bare = r"^file:/+"
        joined = names.withColumn("bare", F.regexp_replace("uri", bare, "/")).join(
            found.select("content", F.regexp_replace("path", bare, "/").alias("bare")), "bare", "left"
        )
        content = F.when(F.col("bytes") == 0, F.lit(b"")).otherwise(F.col("content"))
        return joined.select(
            PARTITION,
            F.lit(kind).alias("source"),
            "source_file",
            "bytes",
            F.sha2(content, 256).alias("sha256"),
            content.alias("content"),
        )

    # -- models -------------------------------------------------------------------------------------------------------

    def promoted_model(self, run_date: dt.date) -> Model:
        """The newest promoted model that has seen nothing after run_date, its folder made known to the executors."""
        rows = self.up_to("ops.models", run_date).where("promoted").orderBy(F.desc(PARTITION), F.desc("model_version"))
        row = rows.first()
        if row is None:
            raise ConfError(
                f"no promoted model in {self.path('ops.models')} has been trained on data up to {run_date} or earlier; "
                f"make one: make train RUN_DATE={run_date}"
            )
        folder = f"{self.deployment.lake}/{row['folder']}"
        model = Model(row["model_version"], folder)
        ship(self.spark, model)
        return model

    def checkpoint_folder(self) -> Path | None:
        """Where a training that is killed leaves how far it got: the deployment's `checkpoints`, else beside models/.

        A local folder: another machine does not find it unless it is mounted there too. None where the lake is no
        local one and the deployment names no folder: then a training that is killed starts over.
        """
        if self.deployment.checkpoints:
            return Path(self.deployment.checkpoints)
        local = self.deployment.lake.removeprefix("file://")
        return Path(local) / "checkpoints" if local.startswith("/") else None

    def publish_folder(self, local: Path, folder: str) -> str:
        """Copy a local folder below the lake, in place of what stands there; where it is now."""
        jvm = self.spark.sparkContext._jvm
        assert jvm is not None
        target = jvm.org.apache.hadoop.fs.Path(f"{self.deployment.lake}/{folder}")
        system = target.getFileSystem(self.spark.sparkContext._jsc.hadoopConfiguration())
        system.delete(target, True)
        system.mkdirs(target.getParent())
        system.copyFromLocalFile(False, True, jvm.org.apache.hadoop.fs.Path(f"file://{local.resolve()}"), target)
        return f"{self.deployment.lake}/{folder}"

    def write_text(self, name: str, text: str) -> None:
        """Write a small text file below the lake (a report page), in place of what stands there."""
        jvm = self.spark.sparkContext._jvm
        assert jvm is not None
        path = jvm.org.apache.hadoop.fs.Path(f"{self.deployment.lake}/{name}")
        stream = path.getFileSystem(self.spark.sparkContext._jsc.hadoopConfiguration()).create(path, True)
        stream.write(bytearray(text.encode()))
        stream.close()


def ship(spark: SparkSession, model: Model) -> None:
    """Make a model's folder known to the executors, as SparkFiles.get(model.file_name).

    A cluster takes no folder of the driver's own disk, but an archive of it.
    """
    context, local = spark.sparkContext, model.folder.removeprefix("file://")
    try:
        if local.startswith("/") and not (context.master or "local").startswith("local"):
            folder = tempfile.mkdtemp()
            atexit.register(shutil.rmtree, folder, ignore_errors=True)  # executors fetch it as long as the driver lives
            archive = shutil.make_archive(f"{folder}/{model.file_name}", "zip", local)
            context.addArchive(f"{archive}#{model.file_name}")
        else:
            context.addFile(model.folder, recursive=True)
    except Exception as error:
        raise DataError(f"{model.folder}: the folder of model {model.version} cannot be read: {error}") from error


def days_predicate(days: Sequence[dt.date]) -> str:
    """The SQL that is true of these run_dates, neighbouring days as one range (Delta cannot resolve BETWEEN here)."""
    ranges: list[list[dt.date]] = []
    for day in sorted(days):
        if ranges and day - ranges[-1][1] == dt.timedelta(days=1):
            ranges[-1][1] = day
        else:
            ranges.append([day, day])
    return " OR ".join(f"({PARTITION} >= DATE'{first}' AND {PARTITION} <= DATE'{last}')" for first, last in ranges)


def _escape_glob(uri: str) -> str:
    """A path in which no character means a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", uri)


def first_problem(frame: DataFrame, expressions: Mapping[str, str]) -> tuple[str, str] | None:
    """The first of these named SQL expressions that makes no sense over the frame's columns, and why; else None."""
    try:
        frame.select(*(F.expr(sql) for sql in expressions.values()))  # analysed at once, run never
    except PySparkException:
        for name, sql in expressions.items():
            try:
                frame.select(F.expr(sql))
            except PySparkException as error:
                return name, str(error).strip().split("\n")[0]
        raise
    return None
