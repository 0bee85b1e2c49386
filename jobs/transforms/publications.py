"""Rows of ops.publications: a new publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from schemas import ops
from schemas.contract import PARTITION
from schemas.derive import plain_ddl
from schemas.run import GoldTable, RunContext


def publication_rows(run: RunContext, tables: Sequence[GoldTable]) -> list[dict[str, Any]]:
    """A current row for each gold table of a run."""
    return [
        {
            PARTITION: run.run_date,
            "publication_id": run.run_id,
            "published_at": run.started_at,
            "current": True,
            "table_name": table.name,
            "version": table.version,
            "row_count": table.row_count,
            "model_version": table.model_version,
            "rows_of": run.run_date,
        }
        for table in tables
    ]


def publications_frame(rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """These rows as a frame; what becomes of the earlier ones of their date, succession.publications says."""
    values = [tuple(row[name] for name in ops.PUBLICATIONS.column_names) for row in rows]
    return SparkSession.active().createDataFrame(values, plain_ddl(ops.PUBLICATIONS))
