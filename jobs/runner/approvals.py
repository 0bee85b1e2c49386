"""What a person approves where [gate] has approval: models that are held, and the drift of a run's tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.runner import drift
from jobs.runner.findings import Audit
from jobs.runner.lake import Lake
from schemas.contract import PARTITION
from schemas.errors import ConfError, DataError, HeldError

COMMAND = "make approve"
MODEL, DRIFT = "model", "drift"


def held_or_refused(lake: Lake, run_date: dt.date, refused: Sequence[Audit], error: DataError) -> DataError:
    """The refusal of these audits; one that waits for a person where nothing but drift is wrong, and [gate] says so."""
    names = (finding.check.name for audit in refused for finding in audit.refused)
    if not lake.deployment.gate.approval or not all(name.startswith(drift.DRIFT) for name in names):
        return error
    advice = f"if the figures are right (data_docs/{run_date}): {COMMAND} RUN_DATE={run_date}, then run this again"
    return HeldError(f"{error}\n{advice}", error.examples)


def of_drift(lake: Lake, run_date: dt.date, table: str) -> str:
    """By what the drift of a table of this date was approved; empty where it was not."""
    rows = [row for row in lake.rows("ops.approvals", of=run_date) if (row["what"], row["subject"]) == (DRIFT, table)]
    newest = max(rows, key=lambda row: row["approved_at"], default=None)
    return f"{newest['approved_by']} at {newest['approved_at']:%Y-%m-%d %H:%M} UTC" if newest else ""


def held_models(lake: Lake, run_date: dt.date, version: str | None = None) -> list[str]:
    """Models of a date that passed the gate and are held; with `version`, that one if it is."""
    rows = [row for row in lake.rows("ops.models", of=run_date) if row["held"]]
    return sorted(row["model_version"] for row in rows if version in (None, row["model_version"]))


def drifted(lake: Lake, run_date: dt.date) -> list[str]:
    """Tables of a date whose drift stopped the last run of their job, and was not approved since."""
    ended = [row for row in lake.rows("ops.runs", of=run_date) if row["status"] != "running"]
    last: dict[str, Mapping[str, Any]] = {}
    for row in sorted(ended, key=lambda row: (row["started_at"], row["run_id"])):
        last[row["job"]] = row
    stopped = {row["run_id"] for row in last.values() if row["status"] == "refused"}
    checks = [row for row in lake.rows("ops.checks", of=run_date) if row["run_id"] in stopped and not row["passed"]]
    tables = {row["table_name"] for row in checks if row["check_name"].startswith(drift.DRIFT)}
    return sorted(table for table in tables if not of_drift(lake, run_date, table))


def approve(
    lake: Lake, record: Mapping[str, Any], by: str, reason: str | None, version: str | None = None
) -> list[dict[str, Any]]:
    """Promote the models of a date that are held and approve the drift that stopped its runs; rows of ops.approvals.

    version: that model alone. ConfError where nothing waits, and where two models of a kind do without a version.
    """
    run_date = record["run_date"]
    stored = {row["model_version"]: row for row in lake.rows("ops.models", of=run_date)}
    held, tables = held_models(lake, run_date, version), [] if version else drifted(lake, run_date)
    if not held and not tables:
        what = f"model {version} is not held" if version else "no model is held, and no run was stopped by drift"
        raise ConfError(f"{run_date}: nothing to approve: {what}")
    if len({stored[name]["kind"] for name in held}) < len(held):
        raise ConfError(f"{run_date}: several models of a kind are held: choose one by MODEL=: {', '.join(held)}")
    metadata = {key: record[key] for key in ("run_id", "job", "code_version", "run_date")}
    now = {"run_id": record["run_id"], "approved_at": record["started_at"], "approved_by": by, "reason": reason}
    subjects = [*((MODEL, name) for name in held), *((DRIFT, name) for name in tables)]
    rows = [{PARTITION: run_date, "what": what, "subject": subject, **now} for what, subject in subjects]
    lake.append("ops.approvals", rows, metadata)  # first: nothing is in use that no record explains
    promoted = [{**stored[name], "promoted": True, "held": False} for name in held]
    lake.join("ops.models", promoted, [run_date], metadata)
    return rows
