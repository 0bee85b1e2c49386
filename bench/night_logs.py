"""What a night has left behind: Spark's event log, the new versions in each `_delta_log`, its rows in ops.

All of it is read from outside, so that two commits with different code and different records are measured alike.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

SQL = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecution"
WANTED = ("SparkListenerJobStart", "SparkListenerJobEnd", "SparkListenerTaskEnd", f"{SQL}Start", f"{SQL}End")
EVENT = re.compile(r'"Event":\s*"([^"]+)"')
COMMIT = re.compile(r"\d{20}\.json")
# A job's line as the night prints it: "  clean_events                     12.3 s  silver.events 1,234".
JOB_LINE = re.compile(r"^\s*([a-z_]+)\s+([\d.]+) s\s", re.MULTILINE)
PYTHON_LINE = re.compile(r"(\w+) at /(?:.*/)?([^/]+\.py:\d+)")  # the call site of a query that Python started
MOST_OF_A_SITE = 90  # characters


class IncompleteLogError(Exception):
    """An event log without the entries that every run has."""


@dataclass
class Queries:
    """Executions or jobs of one description: how many, and their seconds added up (those side by side count twice)."""

    count: int = 0
    seconds: float = 0.0


@dataclass
class SparkWork:
    """What Spark did in one application. `by_description` is of the SQL executions that no other execution started."""

    sql_executions: int = 0
    jobs: int = 0
    bytes_written: int = 0
    busy_seconds: float = 0.0  # of the driver's wall time, in which at least one SQL execution or job ran
    by_description: dict[str, Queries] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """One new version of a table: who wrote it, and the bytes and number of the data files that it added."""

    table: str
    version: int
    engine: str
    operation: str
    bytes_added: int
    files_added: int

    @property
    def is_ops(self) -> bool:
        """Whether the table is bookkeeping."""
        return self.table.startswith("ops.")


def read_event_log(folder: Path) -> SparkWork:
    """The work of every event log below a folder. IncompleteLogError where not a single Spark job is recorded.

    A last line that was cut off is left out: the JVM may still have been writing when it ended.
    """
    work = SparkWork()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        with file.open(encoding="utf-8") as lines:
            _add(work, _events(lines))
    if not work.jobs:
        raise IncompleteLogError(f"{folder} has no event log with a Spark job: is spark.eventLog.enabled in effect?")
    return work


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        kind = EVENT.search(line, 0, 200)
        if kind and kind[1] in WANTED:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                if line.endswith("\n"):
                    raise


def _add(work: SparkWork, events: Iterable[dict[str, Any]]) -> None:
    """Add one application's events."""
    started: dict[tuple[str, int], tuple[int, str]] = {}  # kind and id -> milliseconds, description ("" if nested)
    spans: list[tuple[int, int]] = []
    for event in events:
        kind = event["Event"]
        if kind == f"{SQL}Start":
            work.sql_executions += 1
            own, root = event["executionId"], event.get("rootExecutionId")
            description = site_name(event.get("description") or "") if root in (None, own) else ""
            started["sql", own] = event["time"], description
        elif kind == "SparkListenerJobStart":
            work.jobs += 1
            properties = event.get("Properties") or {}
            named = properties.get("spark.job.description") or properties.get("callSite.short") or "RDD job"
            is_of_sql = "spark.sql.execution.id" in properties
            started["job", event["Job ID"]] = event["Submission Time"], "" if is_of_sql else site_name(named)
        elif kind == "SparkListenerTaskEnd":
            metrics = event.get("Task Metrics") or {}
            work.bytes_written += (metrics.get("Output Metrics") or {}).get("Bytes Written", 0)
        else:
            key = ("sql", event["executionId"]) if "executionId" in event else ("job", event["Job ID"])
            if key not in started:
                continue
            begin, description = started.pop(key)
            end = event.get("time") or event.get("Completion Time") or begin
            spans.append((begin, end))
            if description:
                queries = work.by_description.setdefault(description, Queries())
                queries.count += 1
                queries.seconds += (end - begin) / 1000
    work.busy_seconds += covered(spans) / 1000


def covered(spans: Iterable[tuple[int, int]]) -> int:
    """The length of the union of intervals (begin, end)."""
    total, until = 0, -1
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, until))
        until = max(until, end)
    return total


def site_name(description: str) -> str:
    """A description without what differs from run to run: ids, paths and numbers; "collect at launch.py:71" stays."""
    first = " ".join(description.split())
    if line := PYTHON_LINE.fullmatch(first):
        return f"{line[1]} at {line[2]}"
    first = re.sub(r"(file:)?/[\w./-]+", "<path>", first)
    first = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27,}", "<id>", first)
    return re.sub(r"\d+(?!\w)", "#", first)[:MOST_OF_A_SITE] or "(no description)"


def newest_versions(lake: Path) -> dict[str, int]:
    """Table -> the number of its newest commit, for every Delta table below a folder."""
    return {table: max(commits) for table, commits in _logs(lake).items() if commits}


def new_versions(lake: Path, before: Mapping[str, int]) -> list[Version]:
    """Every commit that came after `before`, by any engine, in the order of tables and versions.

    ValueError where a commit between `before` and the newest one is gone: then the night cannot be counted.
    """
    versions = []
    for table, commits in sorted(_logs(lake).items()):
        new = [number for number in sorted(commits) if number > before.get(table, -1)]
        if new and new != list(range(before.get(table, -1) + 1, new[-1] + 1)):
            raise ValueError(f"{table}: commits {before.get(table, -1) + 1} to {new[-1]} expected, only {new} found")
        versions += [_version(table, number, commits[number]) for number in new]
    return versions


def _logs(lake: Path) -> dict[str, dict[int, Path]]:
    """Table -> version -> its commit's file."""
    return {
        ".".join(log.parent.relative_to(lake).parts): {
            int(path.stem): path for path in log.iterdir() if COMMIT.fullmatch(path.name)
        }
        for log in lake.rglob("_delta_log")
    }


def _version(table: str, number: int, commit: Path) -> Version:
    actions = [json.loads(line) for line in commit.read_text("utf-8").splitlines() if line.strip()]
    info: dict[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
    added = [action["add"] for action in actions if "add" in action]
    engine = info.get("engineInfo") or info.get("clientVersion") or "unknown"
    return Version(
        table,
        number,
        re.split(r"[/: ]", engine)[0],
        info.get("operation", "unknown"),
        sum(add["size"] for add in added),
        len(added),
    )


def run_ids(lake: Path) -> set[str]:
    """The run ids of every bookkeeping table of runs."""
    return {row["run_id"] for rows in _tables_of_runs(lake).values() for row in rows}


def job_seconds(lake: Path, before: set[str], printed: str = "") -> dict[str, float | None]:
    """Job -> seconds of its runs that are not in `before`; None for a run that has no end.

    Read from a table of ops that has a run's id and job, in either form: one row a run with `seconds`, or a row at its
    start and one at its end, whose moments differ. Where no such table has new rows, from what the night printed.
    """
    for rows in _tables_of_runs(lake).values():
        runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in rows:
            if row["run_id"] not in before:
                runs.setdefault((row["job"], row["run_id"]), []).append(row)
        if runs:
            by_job: dict[str, float | None] = {}
            for (job, _), of_run in runs.items():
                seconds = _seconds(of_run)
                so_far = by_job.get(job, 0.0)
                by_job[job] = None if seconds is None or so_far is None else so_far + seconds
            return by_job
    return {job: float(seconds) for job, seconds in JOB_LINE.findall(printed)}


def _seconds(rows: list[dict[str, Any]]) -> float | None:
    """How long one run took, by its rows."""
    stated = [row["seconds"] for row in rows if row.get("seconds") is not None]
    if stated:
        return float(max(stated))
    moments = {value for row in rows for value in row.values() if isinstance(value, dt.datetime)}
    return (max(moments) - min(moments)).total_seconds() if len(moments) > 1 else None


def _tables_of_runs(lake: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of every ops table that says when runs were; ops.runs comes first."""
    rows_by_table = {}
    logs = sorted((lake / "ops").glob("*/_delta_log"), key=lambda log: (log.parent.name != "runs", log.parent.name))
    for log in logs:
        table = DeltaTable(str(log.parent))
        types = {column.name: str(column.type) for column in table.schema().fields}
        timed = [name for name, of in types.items() if name == "seconds" or "timestamp" in of]
        if {"run_id", "job"} <= set(types) and timed:
            rows_by_table[log.parent.name] = table.to_pyarrow_table(columns=["run_id", "job", *timed]).to_pylist()
    return rows_by_table
