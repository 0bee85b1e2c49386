"""bench.night_logs: a made-up event log, a hand-written Delta log, and ops.runs in both of its forms."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deltalake import write_deltalake

from bench import night_logs

SQL = night_logs.SQL
NOON = dt.datetime(2024, 3, 14, 12, tzinfo=dt.UTC)


def events(folder: Path, rows: Sequence[dict[str, Any]], cut: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "local-1").write_text("".join(json.dumps(row) + "\n" for row in rows) + cut)
    return folder


def execution(number: int, root: int | None, start: int, end: int, description: str) -> list[dict[str, Any]]:
    own = {"executionId": number, "rootExecutionId": root, "description": description}
    return [
        {"Event": f"{SQL}Start", **own, "time": start},
        {"Event": f"{SQL}End", "executionId": number, "time": end},
    ]


def job(number: int, start: int, end: int, **properties: str) -> list[dict[str, Any]]:
    own = {"Job ID": number, "Submission Time": start, "Properties": properties}
    return [
        {"Event": "SparkListenerJobStart", **own},
        {"Event": "SparkListenerJobEnd", "Job ID": number, "Completion Time": end},
    ]


def test_event_log_counts_nested_executions_and_adds_up_seconds_of_outer_ones(tmp_path: Path) -> None:
    rows = [
        *execution(0, 0, 1_000, 4_000, "count at NativeMethodAccessorImpl.java:0"),
        *execution(1, 0, 1_500, 2_000, "Delta: reads its log"),  # counted; its seconds are within the outer's
        *execution(2, None, 9_000, 9_500, "count at NativeMethodAccessorImpl.java:0"),
        *job(0, 1_100, 3_000, **{"spark.sql.execution.id": "0", "spark.job.description": "of a query"}),
        *job(1, 5_000, 6_000, **{"callSite.short": "collect at tree.py:17"}),
        {"Event": "SparkListenerTaskEnd", "Task Metrics": {"Output Metrics": {"Bytes Written": 70}}},
        {"Event": "SparkListenerTaskEnd", "Task Metrics": {"Output Metrics": {"Bytes Written": 5}}},
        {"Event": "SparkListenerTaskEnd", "Task End Reason": {"Reason": "ExceptionFailure"}},
        {"Event": "SparkListenerStageSubmitted"},
    ]
    work = night_logs.read_event_log(events(tmp_path / "events", rows, cut='{"Event":"SparkListenerJobEnd","Job'))
    assert (work.sql_executions, work.jobs, work.bytes_written) == (3, 2, 75)
    assert work.busy_seconds == 3.0 + 0.5 + 1.0, "the union: a job within its query counts once"
    found = {name: (queries.count, queries.seconds) for name, queries in work.by_description.items()}
    assert found == {"count at NativeMethodAccessorImpl.java:#": (2, 3.5), "collect at tree.py:#": (1, 1.0)}


def test_damaged_line_within_event_log_is_an_error(tmp_path: Path) -> None:
    folder = events(tmp_path, job(0, 1, 2), cut='{"Event":"SparkListenerJobEnd","Job\n')
    with pytest.raises(json.JSONDecodeError):
        night_logs.read_event_log(folder)


def test_night_without_event_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(night_logs.IncompleteLogError, match=r"is spark\.eventLog\.enabled in effect"):
        night_logs.read_event_log(events(tmp_path, execution(0, 0, 1, 2, "a query and no job")))


def test_descriptions_lose_what_differs_from_run_to_run() -> None:
    names = ["Delta: files of file:/tmp/a-1/lake/ops/runs 17", "Delta:   files\nof file:/home/b/lake/ops/checks 4"]
    assert {night_logs.site_name(name) for name in names} == {"Delta: files of <path> #"}
    assert night_logs.site_name("collect at /tmp/a tree/jobs/launch.py:71") == "collect at launch.py:71"


def commit(lake: Path, table: str, version: int, *actions: dict[str, Any]) -> None:
    log = lake / table / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    (log / f"{version:020}.json").write_text("".join(json.dumps(action) + "\n" for action in actions))


def info(engine: str, operation: str) -> dict[str, Any]:
    return {"commitInfo": {"engineInfo": engine, "operation": operation}}


def added(size: int) -> dict[str, Any]:
    return {"add": {"path": f"{size}.parquet", "size": size}}


def test_new_versions_of_any_engine_are_counted_with_their_bytes(tmp_path: Path) -> None:
    spark, rust = "Apache-Spark/4.2.0 Delta-Lake/4.4.0", "delta-rs:py-1.6.6"
    commit(tmp_path, "silver/events", 0, info(spark, "CREATE TABLE"))
    commit(tmp_path, "silver/events", 1, info(spark, "WRITE"), added(1_000))
    before = night_logs.newest_versions(tmp_path)
    assert before == {"silver.events": 1}
    removed = {"remove": {"path": "1000.parquet"}}
    commit(tmp_path, "silver/events", 2, info(spark, "WRITE"), added(30), removed, added(4))
    commit(tmp_path, "ops/runs", 0, info(rust, "WRITE"), added(7))
    (tmp_path / "silver/events/_delta_log" / f"{2:020}.checkpoint.parquet").touch()
    (tmp_path / "silver/events/_delta_log" / f"{3:020}.crc").touch()
    found = night_logs.new_versions(tmp_path, before)
    assert [(v.table, v.version, v.engine, v.bytes_added, v.files_added, v.is_ops) for v in found] == [
        ("ops.runs", 0, "delta-rs", 7, 1, True),
        ("silver.events", 2, "Apache-Spark", 34, 2, False),
    ]


def test_commits_that_were_removed_meanwhile_are_not_taken_for_none(tmp_path: Path) -> None:
    commit(tmp_path, "ops/runs", 4)
    with pytest.raises(ValueError, match=r"ops\.runs: commits 3 to 4 expected, only \[4\] found"):
        night_logs.new_versions(tmp_path, {"ops.runs": 2})


def runs(lake: Path, rows: list[dict[str, Any]], table: str = "runs") -> None:
    write_deltalake(str(lake / "ops" / table), pd.DataFrame(rows), mode="append")


def test_seconds_of_runs_with_one_row_each(tmp_path: Path) -> None:
    runs(tmp_path, [{"run_id": "old", "job": "clean", "status": "done", "started_at": NOON, "seconds": 50.0}])
    before = night_logs.run_ids(tmp_path)
    assert before == {"old"}
    for run_id, name, seconds in (("a", "clean", 2.5), ("b", "publish", 1.0), ("c", "clean", 0.5)):
        runs(tmp_path, [{"run_id": run_id, "job": name, "status": "done", "started_at": NOON, "seconds": seconds}])
    assert night_logs.job_seconds(tmp_path, before) == {"clean": 3.0, "publish": 1.0}


def test_seconds_of_runs_with_a_row_at_start_and_one_at_end(tmp_path: Path) -> None:
    later = NOON + dt.timedelta(seconds=12.5)
    for run_id, name, end in (("a", "clean", None), ("a", "clean", later), ("b", "plan", None)):
        frame = pd.DataFrame([{"run_id": run_id, "job": name, "started_at": NOON, "ended_at": end}])
        frame["ended_at"] = pd.to_datetime(frame["ended_at"], utc=True)
        write_deltalake(str(tmp_path / "ops" / "runs"), frame, mode="append")
    assert night_logs.job_seconds(tmp_path, set()) == {"clean": 12.5, "plan": None}, "None: it has no end"


def test_seconds_come_from_another_table_of_runs_where_ops_runs_has_none(tmp_path: Path) -> None:
    runs(tmp_path, [{"run_id": "old", "job": "clean", "seconds": 50.0}])
    runs(tmp_path, [{"run_id": "x", "job": "clean", "passed": True}], table="checks")  # says nothing of time
    rows = [{"run_id": "a", "job": "clean", "at": NOON + dt.timedelta(seconds=second)} for second in (0, 3)]
    runs(tmp_path, rows, table="run_events")
    assert night_logs.job_seconds(tmp_path, {"old"}) == {"clean": 3.0}


def test_seconds_come_from_what_the_night_printed_where_nothing_is_recorded(tmp_path: Path) -> None:
    printed = "    clean_items   10 s  count 0/2\n  clean_items                      14.2 s  silver.items 31\nother\n"
    assert night_logs.job_seconds(tmp_path, set(), printed) == {"clean_items": 14.2}
