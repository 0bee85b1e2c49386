"""Commits of a lake's tables that no job or command of Nightshelf wrote, by the tables' own history."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from jobs.runner import delta_log
from jobs.runner.lake import Lake
from schemas import TABLES
from schemas.contract import PARTITION

OURS = "delta-rs"  # the engine of every commit of ours
OWN_KEYS = {
    "run_id",
    "job",
    "forgotten",
    "compacted",
    "upgraded_from_version",
}  # one of them is in each write's metadata
WITHOUT_ROWS = ("CREATE TABLE", "SET TBLPROPERTIES", "ADD COLUMN", "VACUUM START", "VACUUM END", "OPTIMIZE")


def found(lake: Lake) -> list[dict[str, Any]]:
    """Rows of ops.audit: foreign commits that are in no row yet. Without predicates: one may name a person."""
    known = {(row["table_name"], row["version"]) for row in lake.rows("ops.audit")}
    rows = []
    for table in TABLES:
        opened = delta_log.open_table(lake.path(table))
        for commit in opened.history() if opened else ():
            if not is_ours(commit) and (table, commit["version"]) not in known:
                moment = dt.datetime.fromtimestamp(commit.get("timestamp", 0) / 1000, dt.UTC)
                rows.append(
                    {
                        PARTITION: moment.date(),
                        "table_name": table,
                        "version": commit["version"],
                        "committed_at": moment,
                        "operation": str(commit.get("operation", "")),
                        "engine": str(commit.get("engineInfo", "")),
                    }
                )
    return rows


def is_ours(commit: Mapping[str, Any]) -> bool:
    """Whether a commit of a table's history is one of Nightshelf's."""
    if not str(commit.get("engineInfo", "")).startswith(OURS):
        return False
    if commit.get("operation") in WITHOUT_ROWS:
        return True
    try:
        metadata = json.loads(commit.get("userMetadata") or "{}")
    except ValueError:
        return False
    return isinstance(metadata, dict) and bool(OWN_KEYS & metadata.keys())
