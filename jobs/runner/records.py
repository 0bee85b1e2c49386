"""Records of a run in ops: a row at its start, one at its end, and the findings of its checks."""

from __future__ import annotations

import datetime as dt
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from jobs.runner import drift, environment_fault, lineage
from jobs.runner.costs import Meter
from jobs.runner.findings import Audit
from jobs.runner.lake import Lake
from jobs.runner.version import code_version
from schemas.errors import ConfError, DataError, stated
from schemas.ops import COSTS

RECORDS = ("ops.runs", "ops.checks", "ops.figures")  # written by every run, beside the tables of its job


@contextmanager
def recorded(lake: Lake, job: str, run_date: dt.date, dry_run: bool = False) -> Iterator[dict[str, Any]]:
    """Write a row of ops.runs before the block, and one after it, however it ends; yields the row to be filled.

    A run without a second row is running, or was killed. A fault of the environment is raised as
    environment_fault.EnvironmentFault.
    """
    clock = time.monotonic()
    record: dict[str, Any] = {
        "run_date": run_date,
        "run_id": uuid.uuid4().hex,
        "job": job,
        "started_at": dt.datetime.now(dt.UTC),
        "code_version": code_version(),
        "deployment": lake.deployment.name,
        "model_version": None,
        "rows_written": {},
        "seconds": 0.0,
        "error": None,
        "status": "running",
        **dict.fromkeys((column.name for column in COSTS), None),
    }
    if not dry_run:
        with suppress(Exception):  # if the lake cannot be written, the job itself fails with the reason
            _append(lake, record)
        lineage.report(lake.deployment, record)
    record |= {"error": "interrupted", "status": "failed"}
    meter = Meter(lake.spark)
    try:
        yield record
        record |= {"status": "done", "error": None}
    except Exception as error:
        refused = isinstance(error, ConfError | DataError)
        record["status"] = "refused" if refused else "failed"
        fault = None if refused else environment_fault.sentence(error, lake.deployment.lake)
        record["error"] = (fault or stated(error))[:4000]
        if fault:
            raise environment_fault.EnvironmentFault(fault) from error
        raise
    finally:
        with suppress(Exception):  # where the JVM has died nothing is cached, and its death is to be reported
            lake.spark.catalog.clearCache()
        record["seconds"] = round(time.monotonic() - clock, 3)
        record |= meter.end(record["seconds"], lake.deployment.prices)
        if not dry_run:
            _record(lake, record)
            lineage.report(lake.deployment, record)


def _append(lake: Lake, row: Mapping[str, Any]) -> None:
    lake.append("ops.runs", [row], {key: row[key] for key in ("run_id", "job", "code_version")})


def _record(lake: Lake, row: Mapping[str, Any]) -> None:
    """Write the last row of a run. A failed run keeps its own error where the row cannot be written."""
    try:
        _append(lake, row)
    except Exception as error:
        if row["status"] == "done":
            raise
        reason = environment_fault.sentence(error, lake.deployment.lake) or str(error)[:300]
        print(f"the run could not be recorded in ops.runs: {reason}", file=sys.stderr)


def figure_row(record: Mapping[str, Any], table: str, figure: drift.Figure) -> dict[str, Any]:
    """A row of ops.figures."""
    of_run = {key: record[key] for key in ("run_date", "run_id")}
    values = {
        "figure": figure.name,
        "value": figure.value,
        "usual": figure.usual,
        "low": figure.low,
        "high": figure.high,
    }
    return {**of_run, "table_name": table, **values}


def check_rows(audits: Mapping[str, Audit], record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of ops.checks: one per finding."""
    return [
        {
            **{key: record[key] for key in ("run_date", "run_id", "job")},
            "table_name": table,
            "check_name": finding.check.name,
            "column_name": finding.check.column,
            "severity": finding.check.severity,
            "passed": finding.passed,
            "row_count": audit.row_count,
            "unexpected_count": finding.unexpected_count,
            "reason": finding.check.reason,
        }
        for table, audit in audits.items()
        for finding in audit.findings
    ]
