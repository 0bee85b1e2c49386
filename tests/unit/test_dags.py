"""The DAGs, and what Airflow, in its own environment, makes of them."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dags.run_date import resolve_run_date
from jobs.flow import BACKTEST, EVALUATION, JOBS, MAINTENANCE, NIGHT, TRAINING, lacking
from schemas.clock import ShopClock
from schemas.dependencies import edges
from schemas.deployment import load
from schemas.job import Job
from tests.unit.test_run_date import LATER, moment

REPO = Path(__file__).resolve().parents[2]
AIRFLOW_BIN = REPO / ".venv-airflow" / "bin"
GOLDEN = REPO / "tests" / "golden"
FLOWS = {
    "nightshelf_nightly": NIGHT,
    "nightshelf_training": TRAINING + EVALUATION + BACKTEST,
    "nightshelf_maintenance": MAINTENANCE,
}
DEFAULT = load(REPO / "conf" / "complete_journey.toml")
SCHEDULES = {
    "nightshelf_nightly": "0 3 * * *",  # New York's clocks skip 02:00 once a year
    "nightshelf_training": "0 6 * * 0",
    "nightshelf_maintenance": "0 12 * * 0",
}


# What Airflow makes of the DAGs

# Schedule, timezone, the moment at which a run is scheduled or triggered; the run_date of either.
INTERVALS = [
    ("0 2 * * *", "UTC", "2017-12-04T02:00+00:00", "2017-12-03", "2017-12-03"),
    ("0 2 * * *", "UTC", "2017-12-04T23:59+00:00", "2017-12-04", "2017-12-03"),
    ("0 2 * * *", "UTC", "2017-12-03T00:00+00:00", "2017-12-02", "2017-12-01"),  # `dags test <dag> 2017-12-03`
    ("0 2 * * *", "Asia/Tokyo", "2017-12-03T17:00+00:00", "2017-12-03", "2017-12-03"),
    ("0 2 * * *", "Europe/Berlin", "2017-03-26T12:00+00:00", "2017-03-26", "2017-03-25"),
    ("0 2 * * *", "Europe/Berlin", "2017-10-29T12:00+00:00", "2017-10-29", "2017-10-28"),
    ("0 6 * * 0", "UTC", "2017-12-03T06:00+00:00", "2017-12-02", "2017-12-02"),  # Sunday's training sees Saturday
]


def airflow_environment(home: Path, **more: str) -> dict[str, str]:
    """A bare environment: what a deployment exports must not change what the tests see."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "JAVA_HOME", "LANG") if key in os.environ}
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPO / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",  # of a machine with other work: the first import takes a while
    }
    return kept | settings | more


def airflow(*command: str, environment: dict[str, str], cwd: Path, seconds: int) -> str:
    """What a program of Airflow's environment printed; its last lines where it failed."""
    done = subprocess.run(
        [str(AIRFLOW_BIN / command[0]), *command[1:]],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.fixture(scope="module")
def airflow_home(airflow_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def report(airflow_home: Path) -> dict[str, Any]:
    """What probe_dags.py found out, from a folder that is not the repository."""
    return probed(airflow_home)


def probed(home: Path, **more: str) -> dict[str, Any]:
    """The same in an environment with more in it."""
    output = home / "report.json"
    asked = json.dumps([one[:3] for one in INTERVALS])
    probe = str(REPO / "tests" / "support" / "probe_dags.py")
    environment = airflow_environment(home, **more)
    airflow("python", probe, str(output), asked, environment=environment, cwd=home, seconds=120)
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def submitted(arguments: list[str]) -> str:
    """A call of spark-submit, to be read."""
    line = shlex.join(["spark-submit", *(argument.replace(f"{REPO}/", "") for argument in arguments)])
    line = re.sub(r"(--outcome-file) \S+/nightshelf-\w+/", r"\1 FOLDER/", line)  # a new folder for each run
    return line.replace(" --", " \\\n  --").replace(" jobs/", " \\\n  jobs/") + "\n"


def test_the_dags_import(report: dict[str, Any]) -> None:
    assert report["import_errors"] == {}
    assert set(report["dags"]) == set(FLOWS)


def test_the_example_of_a_consumer_waits_for_the_night_s_last_word(report: dict[str, Any]) -> None:
    assert report["consumer"] == [{}, ["ops.publications"]]


def test_parsing_them_imports_nothing_heavy(report: dict[str, Any]) -> None:
    assert report["heavy"] == []


@pytest.mark.parametrize("dag_id", FLOWS)
def test_tasks_and_edges_are_those_of_the_flow(report: dict[str, Any], dag_id: str) -> None:
    found = report["dags"][dag_id]
    assert set(found["calls"]) == {job.name for job in FLOWS[dag_id]}
    assert sorted(map(tuple, found["edges"])) == edges(FLOWS[dag_id])


@pytest.mark.parametrize("dag_id", FLOWS)
def test_a_dag_runs_once_at_a_time_on_complete_intervals(report: dict[str, Any], dag_id: str) -> None:
    found = report["dags"][dag_id]
    assert found["schedule"] == ["CronDataIntervalTimetable", SCHEDULES[dag_id], DEFAULT.timezone]
    assert found["max_active_runs"] == 1
    assert not found["catchup"]
    assert set(found["retries"]) == {2}


@pytest.mark.parametrize("number", range(len(INTERVALS)))
def test_the_intervals_that_airflow_gives_lead_to_the_day(report: dict[str, Any], number: int) -> None:
    _, timezone, _, scheduled, manual = INTERVALS[number]
    ends = report["intervals"][number]
    found = {
        kind: resolve_run_date(
            None, clock=ShopClock(timezone), run_after=LATER, data_interval_end=moment(end)
        ).isoformat()
        for kind, end in ends.items()
    }
    assert found == {"scheduled": scheduled, "manual": manual}


def dates_of(ends: list[str], clock: ShopClock) -> list[dt.date]:
    return [resolve_run_date(None, clock=clock, run_after=LATER, data_interval_end=moment(end)) for end in ends]


def test_over_a_clock_change_the_due_night_stays_next_and_none_is_lost_or_doubled(report: dict[str, Any]) -> None:
    for zone, end, ends in report["nights"]:
        dates = dates_of(ends, ShopClock(zone, end))
        assert len(dates) >= 7
        assert dates == [dates[0] + dt.timedelta(days=number) for number in range(len(dates))], (zone, end)
    dates = dates_of(report["a_lost_night"], ShopClock("America/New_York"))
    assert dt.date(2026, 3, 7) not in dates, "so it is at 02:00, which New York skipped on the 8th"
    assert {dt.date(2026, 3, 6), dt.date(2026, 3, 8)} <= set(dates)


@pytest.mark.parametrize(("dag_id", "job"), [(dag_id, job) for dag_id, flow in FLOWS.items() for job in flow])
def test_golden_spark_submit_line(report: dict[str, Any], dag_id: str, job: Job) -> None:
    readable = submitted(report["dags"][dag_id]["calls"][job.name]["arguments"])
    golden = GOLDEN / f"spark_submit_{job.name}.txt"
    if os.environ.get("GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(readable)
    assert readable == golden.read_text(), f"{golden.name} differs; `make golden` rewrites it"


CLUSTERS = {
    "cluster": {
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "spark://master", "port": 7077}),
        "NIGHTSHELF_SPARK_CONF": "conf/spark-cluster.conf",
        "NIGHTSHELF_PY_FILES": "build/nightshelf.zip",
        "NIGHTSHELF_ARCHIVES": "build/environment.tar.gz#environment",
    },
    "kubernetes": {
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(
            {
                "conn_type": "spark",
                "host": "k8s://https://kubernetes.default.svc",
                "extra": {"namespace": "nightshelf", "deploy-mode": "client"},
            }
        ),
        "NIGHTSHELF_SPARK_CONF": "conf/spark-kubernetes.conf",
        "NIGHTSHELF_PY_FILES": "build/nightshelf.zip",
    },
}


@pytest.mark.parametrize("kind", CLUSTERS)
def test_golden_lines_on_a_cluster(airflow_home: Path, kind: str) -> None:
    found = probed(airflow_home, **CLUSTERS[kind])
    calls = {job: call for dag in found["dags"].values() for job, call in dag["calls"].items()}
    lines = "\n".join(submitted(calls[job]["arguments"]) for job in JOBS)
    golden = GOLDEN / f"{kind}.txt"
    if os.environ.get("GOLDEN"):
        golden.write_text(lines)
    assert lines == golden.read_text(), f"{golden.name} differs; `make golden` rewrites it"


def test_every_golden_line_belongs_to_a_job() -> None:
    assert {file.stem.removeprefix("spark_submit_") for file in GOLDEN.glob("spark_submit_*.txt")} == set(JOBS)


def test_spark_submit_runs_in_the_jobs_environment(report: dict[str, Any]) -> None:
    calls = [call for dag in report["dags"].values() for call in dag["calls"].values()]
    assert all(call["environment"] == [f"{report['jobs_bin']}/python", str(REPO)] for call in calls)


def test_only_what_may_go_away_is_retried(report: dict[str, Any]) -> None:
    outcomes = report["outcomes"]
    assert outcomes["0"] == "success"
    assert outcomes["1"] == "retry: ingest_logs: ValueError: no such thing"
    assert outcomes["137"] == "retry: ingest_logs: spark-submit ended with 137"
    assert outcomes["2"].startswith("failed: ingest_logs: error: conf/x.toml: no such file (wrong usage")
    assert outcomes["3"].startswith("failed: ingest_logs: refused: silver.events: 3 rows\nuser_id is null (the data")
    assert report["killed"] == "retry: ingest_logs: spark-submit ended with -9"
    assert report["too_early"] == "error: nothing to judge yet", "skipped, so that the week's run is not red"


def test_a_backfill_of_one_date_over_and_over_is_refused(report: dict[str, Any]) -> None:
    assert report["backfill_of_one_date"].startswith("failed: run_date is set")


def test_a_dry_run_starts_nobody_who_waits_for_its_tables(report: dict[str, Any]) -> None:
    assert report["told_by_a_dry_run"] == []


def test_a_job_whose_raw_files_there_are_none_of_is_skipped(report: dict[str, Any]) -> None:
    skipped = report["skipped"]
    assert skipped["plan_stock"] == "online_retail has no [sources.stock]"
    assert set(skipped) == {job.name for job in NIGHT if lacking(job, ("events", "items"))}


def test_assets_carry_what_was_written(report: dict[str, Any]) -> None:
    same = {"run_date": "2017-12-03", "model_version": None}
    assert report["extras"] == {
        "bronze.events": same | {"rows": 5},
        "bronze.items": same | {"rows": 0},
        "bronze.records": same | {"rows": 0},
        "bronze.files": same | {"rows": 0},
    }


def test_the_outcome_may_lie_where_a_uri_says(report: dict[str, Any]) -> None:
    name, extras = report["outcome_uri"]
    assert re.fullmatch(r"/ingest_logs-[0-9a-f]{32}\.json", name)
    assert extras == report["extras"]
    assert report["unread"] == {}, "a job that is done is done, whatever its outcome reads like"


def test_the_form_becomes_flags(report: dict[str, Any]) -> None:
    assert report["form"]["full_refresh"] == ["--since", "0001-01-01"]
    assert report["form"]["reingest"][-1] == "--reingest"
    assert report["form"]["accept_drift"][-1] == "--accept-drift"
    assert report["form"]["dry_run"][-1] == "--dry-run"


def test_every_task_says_what_it_does_and_somebody_is_told_of_it(report: dict[str, Any]) -> None:
    assert report["notes"].keys() == {job.name for job in NIGHT}
    assert all("." in note for note in report["notes"].values())
    assert all(all(dag["told_of"]) for dag in report["dags"].values())
    assert {name for name, dag in report["dags"].items() if dag["deadline"]} == {"nightshelf_nightly"}


def test_two_who_write_to_airflow_s_sqlite_take_turns(airflow_home: Path) -> None:
    probe = ["python", str(REPO / "tests" / "support" / "probe_sqlite.py")]
    environment = airflow_environment(airflow_home)
    assert airflow(*probe, environment=environment, cwd=airflow_home, seconds=120) == "the other one waits 2\n"
    with pytest.raises(AssertionError, match="database is locked"):  # so it is without
        airflow(*probe, "without", environment=environment, cwd=airflow_home, seconds=120)


def test_a_night_without_a_scheduler_ends(airflow_installed: None, tmp_path: Path) -> None:
    environment = airflow_environment(tmp_path, NIGHTSHELF_LATE_HOURS="0")
    airflow("airflow", "db", "migrate", environment=environment, cwd=tmp_path, seconds=120)
    probe = ["python", str(REPO / "tests" / "support" / "probe_night.py")]
    assert airflow(*probe, environment=environment, cwd=tmp_path, seconds=240).endswith("ended: success\n")
    with pytest.raises(AssertionError, match="deadline_alert"):  # so it is with a deadline: Airflow 3.3.2 looks it up
        airflow(*probe, environment=environment | {"NIGHTSHELF_LATE_HOURS": "4"}, cwd=tmp_path, seconds=240)
