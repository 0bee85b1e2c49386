"""All storage: the Spark session, the tables of a lake, raw files, model folders. Nothing else reads or writes."""

from __future__ import annotations

import atexit
import contextlib
import datetime as dt
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delta import exceptions as delta_errors
from delta.tables import DeltaTable
from pyspark import SparkConf, SparkContext, SparkFiles
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.flow import JOBS, RECOMMEND, Read
from jobs.runner import environment_fault, integrity
from schemas import TABLES
from schemas.contract import PARTITION, Column, Table
from schemas.deployment import Deployment, Source
from schemas.derive import create_table, plain_ddl, plain_type, quote
from schemas.errors import ConfError, DataError, NoModelError
from schemas.run import Model
from schemas.silver import REQUIRED_KINDS

COMMIT = "[0-9]" * 20 + ".json"  # of a Delta log; not its checksums, nor its checkpoints
ASIDE = "set_aside"  # the folder of the lake where a person puts what is torn
STAGING = "staging"  # the folder of the lake for what is still to be checked
CONFLICTS = (  # that somebody else's commit came first; in Python these have no class in common
    delta_errors.DeltaConcurrentModificationException,
    delta_errors.ConcurrentWriteException,
    delta_errors.ConcurrentAppendException,
    delta_errors.ConcurrentDeleteReadException,
    delta_errors.ConcurrentDeleteDeleteException,
    delta_errors.ConcurrentTransactionException,
    delta_errors.MetadataChangedException,
    delta_errors.ProtocolChangedException,
)
NEWEST_COMMITS = 100  # of a table, among which those of runs beside this one are looked for
COMMIT_ATTEMPTS = 6  # of a write that other writers get in the way of; half a minute in all
# How long a version's record and the files that only older versions name are kept.
RETENTIONS = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")


@dataclass(frozen=True)
class RawFile:
    """One raw file of a source: its day, its path below landing, its URI, its size in bytes, when it was written."""

    source: str
    day: dt.date
    name: str
    uri: str
    size: int
    modified_at: dt.datetime


def session(deployment: Deployment, *, log_file: Path | None = None) -> SparkSession:
    """The session that the deployment's properties file describes, or the one that is running.

    What spark-submit was told wins over the file. With `log_file`, what the JVM and the Python workers write to
    stderr goes there, and the terminal stays readable.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"nightshelf {deployment.name}")
    if SparkSession.getActiveSession() is None:
        submitted = "PYSPARK_GATEWAY_PORT" in os.environ
        given = {} if submitted else properties(deployment.spark)
        environment_fault.check_master(_submitted_master() if submitted else given.get("spark.master", ""))
        for key, value in given.items():
            builder = builder.config(key, value)
    with _stderr_to(log_file):
        return builder.getOrCreate()


def _submitted_master() -> str:
    """The master that spark-submit was given."""
    SparkContext._ensure_initialized()
    return SparkConf().get("spark.master", "") or ""


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
        self._looked_at: set[str] = set()  # tables and models that were found whole
        self._stands: set[tuple[str, dt.date]] = set()  # partitions that have rows; nothing takes the newest one away

    # -- tables ---------------------------------------------------------------------------------------------------

    def path(self, table: str) -> str:
        """Where a table lives: <lake>/<layer>/<table>."""
        return f"{self.deployment.lake}/{table.replace('.', '/')}"

    def exists(self, table: str) -> bool:
        """Whether the table has been created. DataError where its newest commit is torn."""
        self.check_log(table)
        return bool(DeltaTable.isDeltaTable(self.spark, self.path(table)))

    def check_log(self, table: str) -> None:
        """DataError where the newest commit of a table is torn; each table is looked at once.

        Nobody may write over such a commit: Delta would, blindly, and the table could then be mended no more.
        """
        if table in self._looked_at:
            return
        folder, system = self._storage(f"{table.replace('.', '/')}/_delta_log")
        jvm = self.spark.sparkContext._jvm
        assert jvm is not None
        commits = system.globStatus(jvm.org.apache.hadoop.fs.Path(f"{_escape_glob(folder.toString())}/{COMMIT}"))
        if commits:
            path = commits[len(commits) - 1].getPath()  # sorted by name
            try:
                integrity.check_commit(_contents_of(system, path))
            except integrity.NotWholeError as error:
                raise DataError(f"{table}: {self._how_to_mend(table, path.toString(), str(error))}") from None
        self._looked_at.add(table)

    def _how_to_mend(self, table: str, commit: str, problem: str) -> str:
        """What to do about a torn commit.

        Its checksums must go with it: Delta would fail by one of them as soon as the next commit has that number,
        Polars and deltalake by the other one at once. A checkpoint of that version and the hint to it go too.
        """
        log, name = commit.removeprefix("file:").rsplit("/", 1)
        version, aside = name.removesuffix(".json"), f"{self.deployment.lake.removeprefix('file://')}/{ASIDE}/{table}"
        then = f"is whole at version {int(version) - 1} then" if int(version) else "is not there then, and made anew"
        which = f"\\( -name '*{version}.*' -o -name '*_last_checkpoint*' \\)"
        how = f"mkdir -p '{aside}' && find '{log}' -maxdepth 1 {which} -exec mv -t '{aside}' {{}} +"
        return (
            f"its newest commit {log}/{name} {problem}. It was not changed. Move all files of {log} with {version}. or "
            f"_last_checkpoint in their names to another folder, hidden ones too"
            f"{f': {how}' if log.startswith('/') else '.'}\nThe table {then}; run the night again"
        )

    def create(self, table: str) -> None:
        """Create the table from its contract where it does not stand; add columns that its contract has got since."""
        contract = TABLES[table]
        if not self.exists(table):
            self.spark.sql(create_table(contract, self.path(table)))
            return
        for column in _new_columns(contract, self.spark.read.format("delta").load(self.path(table))):
            before = contract.column_names[contract.column_names.index(column.name) - 1]  # run_date is the first of all
            self.spark.sql(
                f"ALTER TABLE delta.`{self.path(table)}` ADD COLUMNS "
                f"(`{column.name}` {column.type} COMMENT {quote(column.comment)} AFTER `{before}`)"
            )

    def name_tables(self) -> list[str]:
        """Name every table that stands `<layer>.<table>` in this session's catalog; the names.

        One whose newest commit is torn is told of and left out.
        """
        named = []
        for name in TABLES:
            try:
                named += [name] * self.exists(name)
            except DataError as error:
                sys.stderr.write(f"warning: {error}\n")
        for name in named:
            self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {name.split('.')[0]}")
            self.spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION '{self.path(name)}'")
        return named + (self._name_published() if "ops.publications" in named else [])

    def _name_published(self) -> list[str]:
        """Views `published.<table>`: the newest published night, every table at the version that was published.

        Where upkeep has removed that version since, as the table stands, and stderr says so.
        """
        newest, named = self._newest_published(), []
        current = self.up_to("ops.publications", dt.date.max).where(
            F.col("current") & (F.col(PARTITION) == F.lit(newest))
        )
        for row in current.orderBy("table_name").collect() if newest else ():
            view = f"published.{row.table_name.split('.')[1]}"
            made = f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM delta.`{self.path(row.table_name)}`"
            night = f"WHERE {PARTITION} = DATE'{newest}'"
            self.spark.sql("CREATE SCHEMA IF NOT EXISTS published")
            try:
                self.spark.sql(f"{made} VERSION AS OF {row.version} {night}")
            except PySparkException:
                sys.stderr.write(
                    f"warning: {row.table_name}: version {row.version}, published for {newest}, is gone: {view} is the "
                    "table as it stands\n"
                )
                self.spark.sql(f"{made} {night}")
            named.append(view)
        return named

    def _newest_published(self) -> dt.date | None:
        """The newest night that was published, if any."""
        current = self.up_to("ops.publications", dt.date.max).where("current")
        newest: dt.date | None = current.agg(F.max(PARTITION).alias("day")).collect()[0]["day"]
        return newest

    def up_to(self, table: str, run_date: dt.date) -> DataFrame:
        """Every partition of a table up to run_date, after its schema was checked; empty where no table stands."""
        contract = TABLES[table]
        if not self.exists(table):
            return self.empty(table)
        frame = _with_new_columns(contract, self.spark.read.format("delta").load(self.path(table)))
        check_schema(contract, frame, "as it stands in the lake")
        return frame.where(F.col(PARTITION) <= F.lit(run_date))

    def empty(self, table: str) -> DataFrame:
        """A frame of a table without a row."""
        return self.spark.createDataFrame([], plain_ddl(TABLES[table]))

    def read(self, read: Read, run_date: dt.date, days: Sequence[dt.date]) -> DataFrame:
        """What one declared input of a job sees (`files` and `promoted` have methods of their own)."""
        frame = self.up_to(read.table, dt.date.max if read.window == "ever" else run_date)
        if read.kind:
            frame = frame.where(F.col("source") == read.kind)
        if read.window in ("history", "ever"):
            return frame
        if read.window == "pending":
            return frame.where(F.col(PARTITION).isin(list(days)))
        if read.window == "written":
            tonight = frame.where(F.col(PARTITION) == F.lit(run_date))
            stands = (read.table, run_date) in self._stands
            if not stands and tonight.isEmpty() and not self._wrote(read.table, run_date):
                raise ConfError(f"no run has written {read.table} of {run_date}; {_run_first(read.table, run_date)}")
            return tonight
        if (read.table, run_date) in self._stands and not read.kind:
            return frame.where(F.col(PARTITION) == F.lit(run_date))  # no newer one can stand: that costs no query
        newest = frame.agg(F.max(PARTITION)).first()
        day = newest[0] if newest else None
        if day == run_date and not read.kind:
            self._stands.add((read.table, run_date))
        if read.window == "today" and day != run_date:
            raise ConfError(
                f"{read.table} has no partition {PARTITION}={run_date} (its newest up to then: {day or 'none'}); "
                f"{_run_first(read.table, run_date)}"
            )
        return frame.where(F.col(PARTITION) == F.lit(day)) if day else frame.limit(0)

    def _wrote(self, table: str, run_date: dt.date) -> bool:
        """Whether a run of this night has written a table, be it without a row: Delta keeps no commit of that."""
        runs = self.up_to("ops.runs", run_date).where(F.col(PARTITION) == F.lit(run_date))
        return not runs.where(F.col("rows_written")[table].isNotNull() & (F.col("status") == "done")).isEmpty()

    def note_partition(self, table: str, run_date: dt.date, has_rows: bool) -> None:
        """Remember whether a partition has rows, for who reads it next."""
        if has_rows:
            self._stands.add((table, run_date))
        else:
            self._stands.discard((table, run_date))

    def replace(self, table: str, frame: DataFrame, days: Sequence[dt.date], metadata: Mapping[str, Any]) -> None:
        """Replace whole partitions of a table in one commit; rows of any other day make the write fail.

        The commit tells of `metadata` and of the days, first and last of each unbroken range.
        """
        told = {**metadata, "days": _ranges(days)}
        writer = (
            frame.write.format("delta")
            .mode("overwrite")
            .option("replaceWhere", days_predicate(days))
            .option("optimizeWrite", len(days) > 1)  # a first load: one file a day, not one a day and task
            .option("userMetadata", json.dumps(told, default=str, sort_keys=True))
        )
        self._commit(table, lambda: writer.save(self.path(table)))

    def last_run(self, table: str, days: Sequence[dt.date], since: dt.datetime) -> str | None:
        """The run_id of the newest commit that replaced any of these days since a moment; None where none has."""
        history = DeltaTable.forPath(self.spark, self.path(table)).history(NEWEST_COMMITS)
        recent = history.where(F.col("timestamp") >= F.lit(since)).orderBy(F.desc("version")).select("userMetadata")
        for row in recent.collect():
            told = json.loads(row["userMetadata"] or "{}")
            if any(first <= str(day) <= last for first, last in told.get("days", ()) for day in days):
                return str(told["run_id"])
        return None

    def append(self, table: str, rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]) -> None:
        """Append records of what happened (ops tables only)."""
        contract = TABLES[table]
        ordered = [tuple(row[name] for name in contract.column_names) for row in rows]
        frame = self.spark.createDataFrame(ordered, plain_ddl(contract))
        writer = frame.coalesce(1).write.format("delta").mode("append")
        writer = writer.option("userMetadata", json.dumps(metadata, default=str, sort_keys=True))
        self._commit(table, lambda: writer.save(self.path(table)))

    def forget(self, table: str, days: Sequence[dt.date]) -> None:
        """Delete these days' rows of a ledger: the days count as not done from here on."""
        if self.exists(table):
            there = self.spark.read.format("delta").load(self.path(table)).where(days_predicate(days))
            if not there.isEmpty():
                self._commit(
                    table, lambda: DeltaTable.forPath(self.spark, self.path(table)).delete(days_predicate(days))
                )

    def _commit(self, table: str, write: Callable[[], object]) -> None:
        """Create the table if need be and write; again after a while where another writer was faster.

        Whoever comes second writes what it has, over what the first has written: both have made it from the same
        declared inputs. RuntimeError, worth a retry, where others stay faster.
        """
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                self.create(table)
                write()
                return
            except CONFLICTS as error:
                said = str(error).strip().split("\n")[0][:300]
                time.sleep(min(2**attempt, 20) * random.uniform(0.5, 1))
        raise RuntimeError(f"{table}: other writers were faster {COMMIT_ATTEMPTS} times; run this job again. {said}")

    def stage(self, table: str, frame: DataFrame, run_id: str) -> DataFrame:
        """The same rows, written where no reader looks, and read from there: what is checked is what gets published."""
        folder = f"{self.deployment.lake}/{STAGING}/{table}/{run_id}"
        frame.write.mode("error").parquet(folder)
        return self.spark.read.schema(frame.schema).parquet(folder)

    def unstage(self, table: str, run_id: str) -> None:
        """Remove what a run has staged."""
        path, system = self._storage(f"{STAGING}/{table}/{run_id}")
        system.delete(path, True)

    def written(self, table: str, run_date: dt.date) -> int:
        """The version of the newest commit of this night's rows.

        Where there is none, for the log is not that old or nothing had to be written, the table as it stands has them.
        """
        delta = DeltaTable.forPath(self.spark, self.path(table))
        history = delta.history().select("version", "userMetadata")
        mine = history.where(F.get_json_object("userMetadata", "$.run_date") == str(run_date))
        row = mine.orderBy(F.desc("version")).first() or history.orderBy(F.desc("version")).first()
        return row["version"] if row else 0

    def at_version(self, table: str, version: int, run_date: dt.date) -> DataFrame:
        """One night's rows as a version of the table has them. DataError where that version can no longer be read."""
        self.check_log(table)
        try:
            stored = self.spark.read.format("delta").option("versionAsOf", version).load(self.path(table))
        except PySparkException as error:
            said = str(error).strip().split("\n")[0]
            raise DataError(
                f"{table}: version {version} can no longer be read ({said}); choose a newer night"
            ) from None
        return _with_new_columns(TABLES[table], stored).where(F.col(PARTITION) == F.lit(run_date))

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
            self._commit(table, lambda: self.spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ({told})"))
        old: list[dt.date] = []
        if keep_days:
            nights = sorted(row[0] for row in delta.toDF().select(PARTITION).distinct().collect())
            old = [night for night in nights[:-1] if night < run_date - dt.timedelta(days=keep_days)]
        if old:
            self._commit(table, lambda: delta.delete(days_predicate(old)))
        compacted = f"{PARTITION} < DATE'{run_date}'"
        if table.startswith("gold.") and (published := self._newest_published()):
            compacted += f" AND {PARTITION} <> DATE'{published}'"  # its files stay while its readers go by its version
        self._commit(table, lambda: delta.optimize().where(compacted).executeCompaction())
        gone = self.spark.sql(f"VACUUM delta.`{path}` DRY RUN").count()
        self.spark.sql(f"VACUUM delta.`{path}`")
        gone += self._clear_staging(table, keep_versions_days)
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

    def _clear_staging(self, table: str, days: int) -> int:
        """Remove what runs that were killed more than `days` days ago have staged for a table; how many."""
        folder, system = self._storage(f"{STAGING}/{table}")
        found = _unwritten(folder, system, days)
        for path, _ in found:
            system.delete(path, True)
        return len(found)

    def clear(self, folder: str, days: int) -> int:
        """Remove what lies in `models`, `checkpoints` or `data_docs` and was last written to over `days` days ago.

        How many files that were. A model that has been promoted stays, whatever its age: a night of its time needs it.
        """
        place, system = self._storage(folder)
        if folder == "checkpoints" and (local := self.checkpoint_folder()):
            place, system = self._storage_at(f"file://{local}")
        if not days:
            return 0
        kept = set()
        if folder == "models" and self.exists("ops.models"):
            promoted = self.up_to("ops.models", dt.date.max).where("promoted").select("folder")
            kept = {row["folder"].rpartition("/")[2] for row in promoted.collect()}
        gone = [entry for entry in _unwritten(place, system, days) if entry[0].getName() not in kept]
        for path, _ in gone:
            system.delete(path, True)
        return sum(files for _, files in gone)

    # -- raw files ----------------------------------------------------------------------------------------------------

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
            written = dt.datetime.fromtimestamp(status.getModificationTime() / 1000, dt.UTC)
            found.append(RawFile(kind, day, name, uri, int(status.getLen()), written))
        return sorted(found, key=lambda file: (file.day, file.name))

    def read_files(self, name: str, days: Sequence[dt.date]) -> DataFrame:
        """One row a raw file of these days: run_date, source, source_file, bytes, modified_at, sha256, content.

        `name` is a kind of file, or `records`: every kind but those that each deployment has.
        """
        others = [kind for kind in self.deployment.sources if kind not in REQUIRED_KINDS]
        kinds = others if name == "records" else [name]
        return self.contents([file for kind in kinds for file in self.raw_files(kind) if file.day in set(days)])

    def contents(self, files: Sequence[RawFile]) -> DataFrame:
        """One row a raw file, as read_files has it."""
        names = self.spark.createDataFrame(
            [(file.uri, file.day, file.source, file.name, file.size, file.modified_at) for file in files],
            "uri STRING, run_date DATE, source STRING, source_file STRING, bytes BIGINT, modified_at TIMESTAMP",
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
            "source",
            "source_file",
            "bytes",
            "modified_at",
            F.sha2(content, 256).alias("sha256"),
            content.alias("content"),
        )

    # -- models -------------------------------------------------------------------------------------------------------

    def encoding_model(self, run_date: dt.date) -> Model:
        """The model that has made the item vectors of run_date. DataError where it is not promoted any more."""
        vectors = self.read(Read("features.item_vectors", "today"), run_date, []).select("model_version").first()
        assert vectors is not None
        try:
            return self.promoted_model(run_date, vectors["model_version"])
        except NoModelError:
            raise DataError(
                f"features.item_vectors of {run_date} are of model {vectors['model_version']}, which is not promoted "
                "any more: run the night again from encode_items on"
            ) from None

    def promoted_model(self, run_date: dt.date, version: str | None = None, kind: str = RECOMMEND) -> Model:
        """The newest promoted model of a kind that has seen nothing after run_date, its folder known to the executors.

        With `version` that one. NoModelError where it, or any at all, is not there or not promoted.
        """
        of_kind = F.coalesce("kind", F.lit(RECOMMEND)) == kind  # null: a row of before there were kinds
        promoted = self.up_to("ops.models", run_date).where("promoted").where(of_kind)
        rows = promoted.orderBy(F.desc(PARTITION), F.desc("model_version"))
        row = (rows if version is None else rows.where(F.col("model_version") == version)).first()
        if row is None:
            raise NoModelError(
                f"no promoted {f'{kind} ' * (kind != RECOMMEND)}model in {self.path('ops.models')} has been trained on "
                f"data up to {run_date} or earlier; make one: make train RUN_DATE={run_date}"
            )
        folder = f"{self.deployment.lake}/{row['folder']}"
        model = Model(row["model_version"], folder)
        ship(self.spark, model)
        if folder not in self._looked_at:
            try:  # what Spark has fetched to this machine, as every executor gets it
                integrity.check_model(Path(SparkFiles.get(model.file_name)), row["weights_sha256"])
            except integrity.NotWholeError as error:
                raise DataError(f"{folder}: {error}. {_other_model(model)}") from None
            self._looked_at.add(folder)
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
        target, system = self._storage(folder)
        jvm = self.spark.sparkContext._jvm
        assert jvm is not None
        system.delete(target, True)
        system.mkdirs(target.getParent())
        system.copyFromLocalFile(False, True, jvm.org.apache.hadoop.fs.Path(f"file://{local.resolve()}"), target)
        return f"{self.deployment.lake}/{folder}"

    def write_text(self, name: str, text: str) -> None:
        """Write a small text file below the lake (a report page), in place of what stands there."""
        path, system = self._storage(name)
        stream = system.create(path, True)
        stream.write(bytearray(text.encode()))
        stream.close()

    def _storage(self, name: str) -> tuple[Any, Any]:
        """A path below the lake and the file system it is on, as Hadoop's objects."""
        return self._storage_at(f"{self.deployment.lake}/{name}")

    def _storage_at(self, uri: str) -> tuple[Any, Any]:
        jvm = self.spark.sparkContext._jvm
        assert jvm is not None
        path = jvm.org.apache.hadoop.fs.Path(uri)
        return path, path.getFileSystem(self.spark.sparkContext._jsc.hadoopConfiguration())


def _unwritten(place: Any, system: Any, days: int) -> list[tuple[Any, int]]:
    """What lies in a folder and was last written to over `days` days ago: its path, its number of files."""
    youngest, found = (time.time() - days * 86_400) * 1000, []
    for status in system.listStatus(place) if system.exists(place) else ():
        written, below = [status.getModificationTime()], system.listFiles(status.getPath(), True)
        while below.hasNext():
            written.append(below.next().getModificationTime())
        if max(written) < youngest:
            found.append((status.getPath(), max(len(written) - 1, 1)))
    return found


def _new_columns(contract: Table, stored: DataFrame) -> list[Column]:
    """Columns that a table made by an older contract lacks and that may be null."""
    return [column for column in contract.columns if column.nullable and column.name not in stored.columns]


def _with_new_columns(contract: Table, stored: DataFrame) -> DataFrame:
    """A stored table with such columns, all null, each where the contract has it; without any, the table as it is."""
    new = _new_columns(contract, stored)
    if not new:
        return stored
    frame = stored.withColumns({column.name: F.lit(None).cast(column.type) for column in new})
    known = [name for name in contract.column_names if name in frame.columns]
    return frame.select(*known, *(name for name in stored.columns if name not in known))


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
        if environment_fault.sentence(error):
            raise
        said = str(error).strip().split("\n\tat ")[0]
        raise DataError(f"{model.folder}: it cannot be read: {said}. {_other_model(model)}") from error


def _other_model(model: Model) -> str:
    return (
        f"Put the folder of model {model.version} back from a copy, and run this again; or take the model back, so "
        'that nights use the one before it (make sql Q="UPDATE ops.models SET promoted = false WHERE model_version = '
        f"'{model.version}'\"); or train anew (make train)"
    )


def _contents_of(system: Any, path: Any) -> bytes:
    """A small file's bytes. NotWholeError where a local file is not what the checksum file beside it says."""
    stream = None
    try:
        stream = system.open(path)
        return bytes(stream.readAllBytes())
    except Exception as error:
        if "ChecksumException" in str(error):
            raise integrity.NotWholeError(f"is not what its checksum (.{path.getName()}.crc) says") from None
        raise
    finally:
        if stream is not None:
            stream.close()


def _run_first(table: str, run_date: dt.date) -> str:
    """What to do where a job lacks a table of run_date."""
    return f"run {', '.join(name for name, job in JOBS.items() if table in job.writes)} --run-date {run_date} first"


def _ranges(days: Sequence[dt.date]) -> list[list[dt.date]]:
    """The first and the last day of each unbroken range of days."""
    ranges: list[list[dt.date]] = []
    for day in sorted(days):
        if ranges and day - ranges[-1][1] == dt.timedelta(days=1):
            ranges[-1][1] = day
        else:
            ranges.append([day, day])
    return ranges


def days_predicate(days: Sequence[dt.date]) -> str:
    """The SQL that is true of these run_dates, neighbouring days as one range (Delta cannot resolve BETWEEN here)."""
    told = (f"({PARTITION} >= DATE'{first}' AND {PARTITION} <= DATE'{last}')" for first, last in _ranges(days))
    return " OR ".join(told)


def _escape_glob(uri: str) -> str:
    """A path in which no character means a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", uri)
