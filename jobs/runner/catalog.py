"""Names for users' SQL: every table as <layer>.<table>, and views of the newest publication."""

from __future__ import annotations

import datetime as dt
import sys

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from jobs.runner.lake import Lake
from schemas import TABLES
from schemas.contract import PARTITION
from schemas.errors import DataError


def stored_rows(lake: Lake, table: str) -> DataFrame:
    """A table's rows by Delta's own reader, whatever its layout and columns."""
    return lake.spark.read.format("delta").load(lake.path(table))


def name_tables(lake: Lake) -> list[str]:
    """Register every existing table as `<layer>.<table>` in this session's catalog; the names.

    A table whose newest commit is torn is reported and left out.
    """
    named = []
    for name in TABLES:
        try:
            named += [name] * lake.exists(name)
        except DataError as error:
            sys.stderr.write(f"warning: {error}\n")
    for name in named:
        lake.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {name.split('.')[0]}")
        lake.spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION {_literal(lake.path(name))}")
    return named + (_name_published(lake) if "ops.publications" in named else [])


def _name_published(lake: Lake) -> list[str]:
    """Create views `published.<table>` of the newest publication, each table at its published version; the names.

    Where upkeep has removed that version, a view shows the table as it is now, with a warning on stderr.
    """
    newest, named = newest_published(lake), []
    rows = lake.rows("ops.publications", of=newest) if newest else []
    for row in sorted((row for row in rows if row["current"]), key=lambda row: row["table_name"]):
        table, version = row["table_name"], row["version"]
        view = f"published.{table.split('.')[1]}"
        query = f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM delta.{_identifier(lake.path(table))}"
        condition = f"WHERE {PARTITION} = DATE'{newest}'"
        lake.spark.sql("CREATE SCHEMA IF NOT EXISTS published")
        try:
            lake.spark.sql(f"{query} VERSION AS OF {version} {condition}")
        except PySparkException:
            sys.stderr.write(
                f"warning: {table}: version {version}, published for {newest}, is gone: {view} is the table as it is "
                "now\n"
            )
            lake.spark.sql(f"{query} {condition}")
        named.append(view)
    return named


def newest_published(lake: Lake) -> dt.date | None:
    """The newest date that was published, if any."""
    return max((row[PARTITION] for row in lake.rows("ops.publications") if row["current"]), default=None)


def _literal(text: str) -> str:
    """A text as an SQL literal, with quotes and backslashes escaped."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _identifier(path: str) -> str:
    """A path as the name of a table in SQL."""
    return "`" + path.replace("`", "``") + "`"
