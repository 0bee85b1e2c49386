"""Erasure of users from a lake: their rows, the files and logs that had them, the models that have seen them.

Each step leaves a lake in which every later step finds what it needs, so an erasure that was killed is run again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from urllib.parse import unquote

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runner import delta_log, erased_list
from jobs.runner.data_files import DataFile
from jobs.runner.lake import Lake
from jobs.runner.lake_reader import ASIDE
from jobs.runner.model_store import checkpoint_folder
from jobs.transforms import ledger
from jobs.transforms.erased_lines import LINE, erased_lines, of_kind
from schemas import TABLES, bronze
from schemas.access import MASKED, PEOPLE
from schemas.contract import PARTITION
from schemas.derive import plain_ddl
from schemas.errors import BusyError, ConfError

USER = "user_id"
PERSONAL = tuple(table for table in TABLES.values() if table.personal)
USER_COLUMNS = {
    table.name: columns
    for table in PERSONAL
    if (columns := tuple(name for name in table.column_names if name.endswith(USER) and name in table.personal))
}
USER_TABLES = tuple(USER_COLUMNS)
REJECTED = tuple(table.name for table in PERSONAL if "raw" in table.personal and table.layer == "silver")
BRONZE = ("bronze.events", "bronze.items", "bronze.records")
OWN = ("erase", "pseudonyms")  # commands that call this: what was killed is run again
ACTIVE_HOURS = 24  # a run that began longer ago and has no end was killed
MOST_LINES_SHARE, SMALL_SHOP_LINES, SMALL_SHOP_USERS = 0.1, 1_000, 100


@dataclass(frozen=True)
class Erased:
    """Outcome of an erasure: rows by table, lines of landing, days to clean again, models retired, files removed."""

    rows: dict[str, int]
    lines: int
    days: list[dt.date]
    models: list[str]
    files: int


def today() -> dt.date:
    """The day of an erasure, UTC."""
    return dt.datetime.now(dt.UTC).date()


def refuse_active_runs(lake: Lake, now: dt.datetime, killed: Iterable[str] = ()) -> None:
    """BusyError while a run is active; `killed`: ids of runs that have no end because they were killed."""
    runs = lake.rows("ops.runs")
    ended = {row["run_id"] for row in runs if row["status"] != "running"} | set(killed)
    since = now - dt.timedelta(hours=ACTIVE_HOURS)
    for row in runs:
        if row["run_id"] not in ended and row["started_at"] > since and row["job"] not in OWN:
            raise BusyError(
                f"{row['job']} of {row[PARTITION]} runs since {row['started_at']:%Y-%m-%d %H:%M} UTC: erase when it "
                f"has ended; if it was killed: --killed {row['run_id']}"
            )


def refuse_large(lake: Lake, users: DataFrame) -> None:
    """ConfError where one of these ids has over a tenth of a shop's lines: it may stand for many users."""
    events = lake.frame("silver.events", lake.files("silver.events"))
    own = events.join(F.broadcast(users), USER, "left_semi").groupBy(USER).count().agg(F.max("count"))
    ((most,),) = own.collect()
    ((lines, known),) = events.agg(F.count("*"), F.count_distinct(USER)).collect()
    if lines > SMALL_SHOP_LINES and known > SMALL_SHOP_USERS and (most or 0) > MOST_LINES_SHARE * lines:
        raise ConfError(
            f"one of the ids has {most / lines:.0%} of the shop's {lines:,} lines: it may stand for many users "
            "(guests, a till); if it is one user: --force"
        )


def erase(lake: Lake, users: DataFrame, hashes: frozenset[str], list_lines: Callable[[DataFrame], object]) -> Erased:
    """Erase users (user_id, by HMACs in the list of the erased) from the lake.

    list_lines takes LINES of landing, before any is removed from bronze. BusyError where another writer interferes.
    """
    key = erased_list.key_of(lake.deployment)
    logs = {table: lake.frame(table, lake.files(table)) for table in BRONZE}
    lines = erased_lines(logs, lake.deployment, hashes, key).persist()
    list_lines(lines)
    users = F.broadcast(users.persist())
    models = _retire_models(lake, users)
    days = _clean_again(lake, logs, lines)
    rows = _remove_queries(lake, users)
    rows |= {table: _remove(lake, table, lines, LINE) for table in REJECTED}
    for table, columns in USER_COLUMNS.items():
        of_column = (_remove(lake, table, users.withColumnRenamed(USER, each), (each,)) for each in columns)
        rows[table] = sum(of_column)
    _count_anew(lake, logs, lines)
    rows |= {table: _remove(lake, table, lines, LINE) for table in BRONZE}
    files = without_history(lake)
    publish_anew(lake)
    return Erased({table: count for table, count in rows.items() if count}, lines.count(), days, models, files)


def _remove(lake: Lake, table: str, gone: DataFrame, keys: Sequence[str]) -> int:
    """Remove the rows of a table that share `keys` with a row of `gone`, in one commit that names no value; how many.

    Only files with such rows are rewritten.
    """
    affected, count = files_with(lake, table, gone, keys)
    if affected:
        rest = lake.frame(table, affected).join(gone, list(keys), "left_anti").select(*TABLES[table].column_names)
        replace_files(lake, table, affected, rest)
    return count


def files_with(lake: Lake, table: str, rows: DataFrame, keys: Sequence[str]) -> tuple[list[DataFile], int]:
    """The files of a table with rows that share `keys` with `rows`, and how many rows these are."""
    files = lake.files(table)
    if not files:
        return [], 0
    placed = lake.frame(table, files).select(*keys, F.col("_metadata.file_path").alias("file"))
    found = placed.join(rows, list(keys), "left_semi").groupBy("file").count().collect()
    paths = [unquote(row["file"]) for row in found]
    affected = [file for file in files if any(path.endswith(f"/{file.path}") for path in paths)]
    return affected, sum(row["count"] for row in found)


def _remove_queries(lake: Lake, users: DataFrame) -> dict[str, int]:
    """Remove the queries of the log if one of the users has searched: the next run reads anew what others search for.

    A query may be of one user alone, and their rows do not say of whom.
    """
    events = lake.frame("silver.events", lake.files("silver.events")).where("query IS NOT NULL")
    if not lake.files("features.queries") or not events.join(users, USER, "left_semi").take(1):
        return {}
    queries = lake.frame("features.queries", lake.files("features.queries"))
    keys = queries.where("source = 'log'").select(PARTITION, "query_key").persist()
    tables = ("features.query_items", "features.queries")
    return {table: _remove(lake, table, keys, (PARTITION, "query_key")) for table in tables}


def replace_files(lake: Lake, table: str, files: Sequence[DataFile], rows: DataFrame) -> None:
    """Replace files of a table by rows. BusyError where another writer commits meanwhile."""
    opened = lake.create(table)
    staged = lake.stage(table, rows, "erased", [min(file.first for file in files), max(file.last for file in files)])
    try:
        delta_log.commit(opened, staged, files, {"job": "erase"})
    except delta_log.ConflictError as error:
        lake.unstage(table, staged)
        raise BusyError(f"{table}: another writer has committed meanwhile ({error}); erase again") from error


def _retire_models(lake: Lake, users: DataFrame) -> list[str]:
    """Un-promote every model that has seen one of the users, and remove its folder; the models' versions."""
    logs = [
        lake.frame(table, lake.files(table)).select(PARTITION, USER) for table in ("silver.events", "silver.ad_events")
    ]
    row = reduce(DataFrame.unionByName, logs).join(users, USER, "left_semi").agg(F.min(PARTITION)).first()
    seen = [model for model in lake.rows("ops.models") if row and row[0] and model[PARTITION] >= row[0]]
    if seen:  # `ranker` has weights, too
        retired = [{**model, "promoted": False, "held": False, "ranker": ""} for model in seen]
        lake.join("ops.models", retired, sorted({model[PARTITION] for model in seen}), {"job": "erase"})
    registered = {row["folder"].rpartition("/")[2] for row in lake.rows("ops.models")}
    left = (path.getName() for path, _ in lake.storage.unwritten("models", 0))  # by trainings that were killed
    for folder in [
        *(model["folder"] for model in seen),
        *(f"models/{name}" for name in left if name not in registered),
    ]:
        lake.storage.delete(folder)
    _clear_checkpoints(lake)
    return sorted(model["model_version"] for model in seen)


def _clear_checkpoints(lake: Lake) -> None:
    """Remove the checkpoints of killed trainings, which have examples by user."""
    local = checkpoint_folder(lake)
    own = f"{lake.deployment.name}-" if lake.deployment.checkpoints else ""
    for path, _ in lake.storage.unwritten(f"file://{local}" if local else "checkpoints", 0):
        if path.getName().startswith(own):
            lake.storage.delete(path.toString())


def _clean_again(lake: Lake, logs: Mapping[str, DataFrame], lines: DataFrame) -> list[dt.date]:
    """Mark the days with such lines as not cleaned: their other lines are judged without these by the next run."""
    days: set[dt.date] = set()
    for log in ledger.LOGS.values():
        own = of_kind(logs, lake.deployment, log.kind)
        touched = own.join(lines, list(LINE), "left_semi").select(PARTITION).distinct().collect()
        if touched:
            lake.forget(log.ledger, [row[0] for row in touched])
            days |= {row[0] for row in touched}
    return sorted(days)


def _count_anew(lake: Lake, logs: Mapping[str, DataFrame], lines: DataFrame) -> None:
    """Have bronze.files count the records of files with such lines without them."""
    parts = (
        rows.select(F.coalesce("source", F.lit(table.split(".")[1])).alias("source"), *LINE, "problem")
        for table, rows in logs.items()
    )
    records = reduce(DataFrame.unionByName, parts)
    kept = records.join(lines.withColumn("gone", F.lit(1)), list(LINE), "left").groupBy("source", "source_file")
    changed = kept.agg(
        F.count(F.when(F.col("gone").isNull(), 1)).alias("record_count"),
        F.count(F.when(F.col("gone").isNull(), F.col("problem"))).alias("unreadable_count"),
        F.count("gone").alias("gone"),
    ).where("gone > 0")
    counts = {(row["source"], row["source_file"]): row for row in changed.collect()}
    stored = lake.rows("bronze.files")
    days = {row[PARTITION] for row in stored if (row["source"], row["source_file"]) in counts}
    if days:
        names, rows = ("record_count", "unreadable_count"), []
        for row in (row for row in stored if row[PARTITION] in days):
            counted = counts.get((row["source"], row["source_file"]))
            rows.append({**row, **({name: counted[name] for name in names} if counted else {})})
        values = [tuple(row[name] for name in bronze.FILES.column_names) for row in rows]
        frame = lake.spark.createDataFrame(values, plain_ddl(bronze.FILES))
        lake.replace("bronze.files", frame, sorted(days), {"job": "erase"})


def without_history(lake: Lake) -> int:
    """Remove old files and logs of every table with a personal column, what was set aside, and copies."""
    removed = 0
    for table in PERSONAL:
        opened = lake.delta(table.name)
        if opened is not None:
            delta_log.follow_properties(table, opened)
            removed += delta_log.without_history(opened, lake.path(table.name))
    for folder in (ASIDE, "upgrading", MASKED, PEOPLE):
        lake.storage.delete(folder)
    return removed


def publish_anew(lake: Lake) -> None:
    """Have current publications name the versions that remain, with the rows that these have."""
    current = [row for row in lake.rows("ops.publications") if row["current"]]
    anew = []
    for table in sorted({row["table_name"] for row in current if TABLES[row["table_name"]].personal}):
        of_days = lake.frame(table, lake.files(table)).groupBy(PARTITION).count().collect()
        counts = {row[PARTITION]: row["count"] for row in of_days}
        opened = lake.delta(table)
        version = opened.version() if opened else 0
        for row in (row for row in current if row["table_name"] == table):
            anew.append({**row, "version": version, "row_count": counts.get(row[PARTITION], 0)})
    if anew:
        names = {row["table_name"] for row in anew}
        rows = [*anew, *(row for row in current if row["table_name"] not in names)]
        lake.join("ops.publications", rows, sorted({row[PARTITION] for row in rows}), {"job": "erase"})
