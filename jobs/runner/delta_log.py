"""Delta tables by their log: create, list data files, commit. delta-rs on the driver; no Spark query."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, CommitProperties, PostCommitHookProperties, RemoveAction

from jobs.runner.data_files import DataFile, described, file_system
from jobs.runner.object_store import delta_options
from schemas.contract import PARTITION, QUANTITY, Column, Table
from schemas.derive import constraints, delta_type, statistics_property
from schemas.errors import DataError

MOST_APPENDS = 100  # files of a table of records, a few kB each
APPEND_RETRIES = 30  # of an append, which no other commit can invalidate
NO_CLEANUP = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)  # upkeep removes old versions
CONSTRAINT = "delta.constraints."
RETENTIONS = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")


class ConflictError(RuntimeError):
    """Another writer has committed since the table was read: read it again and retry the commit."""


def open_table(uri: str, version: int | None = None) -> DeltaTable | None:
    """The table, or None where it does not exist. DataError where that version can no longer be read."""
    try:
        return DeltaTable(uri, version=version, storage_options=delta_options(uri))
    except TableNotFoundError as error:
        if version is None or open_table(uri) is None:
            return None
        raise DataError(f"version {version} can no longer be read ({_first_line(error)})") from None
    except (DeltaError, FileNotFoundError) as error:
        if version is None:
            raise
        raise DataError(f"version {version} can no longer be read ({_first_line(error)})") from None


def create(contract: Table, uri: str) -> DeltaTable:
    """A new table by its contract: columns, comments, NOT NULL and CHECK constraints; no partitions."""
    properties: dict[str, str | None] = {"delta.minReaderVersion": "1", "delta.minWriterVersion": "3"}
    properties |= {"delta.enableDeletionVectors": "false"}  # so that any Delta reader can read the table
    properties |= _constraints(contract) | statistics_property(contract)
    return DeltaTable.create(
        uri,
        schema=schema_of(contract.columns),
        mode="ignore",
        description=f"One row: {contract.row}",
        configuration=properties,
        raise_if_key_not_exists=False,  # delta-rs does not know the keys of constraints
        storage_options=delta_options(uri),
    )


def follow_properties(contract: Table, table: DeltaTable) -> None:
    """Update a table's CHECKs and statistics that differ from its contract's: an older CHECK may refuse today's rows.

    A table from before there was a rule of statistics gets it; a CHECK is not added.
    """
    stored, wanted = table.metadata().configuration, _constraints(contract)
    changed = {key: sql for key, sql in wanted.items() if key in stored and stored[key] != sql}
    changed |= {key: names for key, names in statistics_property(contract).items() if stored.get(key) != names}
    if changed:
        table.alter.set_table_properties(changed, raise_if_not_exists=False)


def _constraints(contract: Table) -> dict[str, str]:
    """A contract's CHECKs as properties of its table."""
    return {f"{CONSTRAINT}{name}": sql for name, sql in constraints(contract).items()}


def schema_of(columns: Sequence[Column]) -> Schema:
    """The Delta schema of a contract's columns."""
    fields = [
        {
            "name": column.name,
            "type": delta_type(column.type),
            "nullable": column.nullable,
            "metadata": {"comment": column.comment},
        }
        for column in columns
    ]
    return Schema.from_json(json.dumps({"type": "struct", "fields": fields}))


def stored_types(table: DeltaTable) -> dict[str, Any]:
    """Column name -> type of a table as its log has it (Delta's JSON)."""
    return {field["name"]: field["type"] for field in json.loads(table.schema().to_json())["fields"]}


def old_layout(contract: Table, table: DeltaTable) -> str:
    """The difference between a table and its contract that upgrade-lake removes; empty without one."""
    if partitions := table.metadata().partition_columns:
        return f"partitioned by {', '.join(partitions)}"
    stored = stored_types(table)
    wanted = delta_type(QUANTITY)
    integers = [c.name for c in contract.columns if c.type == QUANTITY and stored.get(c.name, wanted) == "integer"]
    return f"{integers[0]} as integer, not {wanted}" if integers else ""


def data_files(table: DeltaTable) -> list[DataFile]:
    """The files of a table's version, by path."""
    actions = pa.table(table.get_add_actions(flatten=True))
    names = set(actions.column_names)
    low, high = (
        actions.column(f"{end}.{PARTITION}").to_pylist() if f"{end}.{PARTITION}" in names else [None] * len(actions)
        for end in ("min", "max")
    )
    columns = zip(
        actions.column("path").to_pylist(),
        actions.column("num_records").to_pylist(),
        actions.column("size_bytes").to_pylist(),
        low,
        high,
        strict=True,
    )
    files = [
        DataFile(path, rows or 0, size, first or dt.date.min, last or dt.date.max)
        for path, rows, size, first, last in columns
    ]
    return sorted(files, key=lambda file: file.path)


def commit(
    table: DeltaTable,
    added: Sequence[DataFile],
    removed: Sequence[DataFile],
    metadata: Mapping[str, Any],
    *,
    rearranged: bool = False,
) -> int:
    """Commit a new version of a table that replaces some files by others; its number.

    `rearranged`: the same rows in other files, which is no change to readers of the table's changes. ConflictError
    where another writer has committed since `table` was opened.
    """
    now = int(time.time() * 1000)
    actions: list[AddAction | RemoveAction] = [
        RemoveAction(file.path, not rearranged, now, file.size, {}) for file in removed
    ]
    actions += [AddAction(file.path, file.size, {}, now, not rearranged, file.stats) for file in added]
    try:
        table.create_write_transaction(
            actions,
            "append",
            table.schema(),
            commit_properties=_properties(metadata, 0),
            post_commithook_properties=NO_CLEANUP,
        )
    except CommitFailedError as error:
        raise ConflictError(_first_line(error)) from error
    return table.version() + 1  # without a retry it is the next one; `table` stays at the version that was read


def write_rows(contract: Table, uri: str, rows: Sequence[Mapping[str, Any]]) -> DataFile:
    """Write a few rows of the driver into a data file of a table, which no commit names yet."""
    system, root = file_system(uri)
    name = f"part-{uuid.uuid4().hex}.parquet"
    schema = arrow_schema(contract)
    values = pa.Table.from_pylist([_as_arrow(row, schema) for row in rows], schema)
    with system.open_output_stream(f"{root.rstrip('/')}/{name}") as stream:
        pq.write_table(values, stream)
    with system.open_input_file(f"{root.rstrip('/')}/{name}") as file:
        return described(name, file.size(), pq.read_metadata(file), contract.personal)


def append_rows(contract: Table, table: DeltaTable, uri: str, rows: Sequence[Mapping[str, Any]], metadata: Any) -> None:
    """Append a few rows of the driver, as one file."""
    added = write_rows(contract, uri, rows)
    table.create_write_transaction(
        [AddAction(added.path, added.size, {}, int(time.time() * 1000), True, added.stats)],
        "append",
        table.schema(),
        commit_properties=_properties(metadata, APPEND_RETRIES),
        post_commithook_properties=NO_CLEANUP,
    )


def compact_rows(table: DeltaTable) -> None:
    """Compact a table of appended rows once it has too many files; on a conflict a later append does it."""
    if table.get_add_actions().num_rows > MOST_APPENDS:
        with contextlib.suppress(CommitFailedError):
            table.optimize.compact(post_commithook_properties=NO_CLEANUP)


def _as_arrow(row: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """A row as pyarrow takes it: a map is a list of pairs."""
    return {
        field.name: list(row[field.name].items())
        if isinstance(row[field.name], dict) and pa.types.is_map(field.type)
        else row[field.name]
        for field in schema
    }


def _properties(metadata: Mapping[str, Any], retries: int) -> CommitProperties:
    user_metadata = json.dumps(metadata, default=str, sort_keys=True)
    return CommitProperties(custom_metadata={"userMetadata": user_metadata}, max_commit_retries=retries)


def rows_of(contract: Table, table: DeltaTable, condition: pc.Expression | None = None) -> list[dict[str, Any]]:
    """Rows of a small table, on the driver, with every column of its contract."""
    names = [name for name in contract.column_names if name in stored_types(table)]
    rows = table.to_pyarrow_dataset().to_table(columns=names, filter=condition).to_pylist()
    return [{name: row.get(name) for name in contract.column_names} for row in rows]


def only_value(table: DeltaTable, paths: Sequence[str], column: str) -> str | None:
    """The value of a text column in all rows of these files, if the log shows that there is only one."""
    actions = pa.table(table.get_add_actions(flatten=True))
    if f"min.{column}" not in actions.column_names:
        return None
    wanted = actions.filter(pc.is_in(actions.column("path"), pa.array(paths)))
    ends = {*wanted.column(f"min.{column}").to_pylist(), *wanted.column(f"max.{column}").to_pylist()}
    return ends.pop() if len(ends) == 1 else None


def keep_versions(table: DeltaTable, days: int) -> None:
    """Set the table properties by which every engine retains versions for so many days."""
    wanted = dict.fromkeys(RETENTIONS, f"interval {days} days")
    if not wanted.items() <= table.metadata().configuration.items():
        table.alter.set_table_properties(wanted)


def vacuum(table: DeltaTable, days: int) -> int:
    """Remove files that no version of the last `days` days names, including those of killed writers; their number."""
    gone = _vacuumed(table, 24 * days)
    table.create_checkpoint()
    table.cleanup_metadata()
    return len(gone)


def without_history(table: DeltaTable, uri: str) -> int:
    """Remove every data file that the newest version does not name, and the log of every earlier version.

    The newest version remains, as a checkpoint and its commit. How many files were removed.
    """
    gone = _vacuumed(table, 0)
    table.update_incremental()
    table.create_checkpoint()
    system, root = file_system(uri)
    files = system.get_file_info(pa_fs.FileSelector(f"{root.rstrip('/')}/_delta_log", recursive=True))
    older = [file.path for file in files if file.is_file and not _is_newest(file.base_name, table.version())]
    for path in older:
        system.delete_file(path)
    return len(gone) + len(older)


def _vacuumed(table: DeltaTable, hours: int) -> list[str]:
    """Remove files that no version of the last `hours` names; their paths."""
    return list(
        table.vacuum(
            retention_hours=hours,
            dry_run=False,
            enforce_retention_duration=False,
            full=True,
            post_commithook_properties=NO_CLEANUP,
        )
    )


def _is_newest(name: str, version: int) -> bool:
    """Whether a file of a log is the newest version's commit or checkpoint, or the pointer to it."""
    return name in (f"{version:020}.json", "_last_checkpoint") or name.startswith(f"{version:020}.checkpoint.")


def history(table: DeltaTable, limit: int | None = None) -> list[tuple[int, dt.datetime, dict[str, Any]]]:
    """(version, moment, metadata of the run that wrote it) of each commit, the newest first."""
    return [
        (
            entry["version"],
            dt.datetime.fromtimestamp(entry.get("timestamp", 0) / 1000, dt.UTC),
            json.loads(entry.get("userMetadata") or "{}"),
        )
        for entry in table.history(limit)
    ]


def arrow_schema(contract: Table) -> pa.Schema:
    """The Arrow schema of a contract's columns."""
    return pa.schema(pa.schema(schema_of(contract.columns).to_arrow()))


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:300]
