"""What the DAGs have in common: schedules, the form of a run, retries, when a night is late.

What a deployment may choose of it is listed in dags/submit.py.
"""

from __future__ import annotations

import datetime as dt
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, DeadlineAlert, DeadlineReference, Param, SyncCallback

from dags import notify
from dags.run_date import CONF, REPO, clock_of, conf_path, date_of_run, steady_time
from schemas.clock import ShopClock

CLOCK = clock_of(str(REPO / CONF))  # by which the schedules go
if os.environ.get("NIGHTSHELF_TIMEZONE", CLOCK.timezone) != CLOCK.timezone:
    raise ValueError(f"NIGHTSHELF_TIMEZONE is no longer read: write timezone into {CONF}, then unset it")


def spark_properties(params: Mapping[str, Any]) -> str:
    """The Spark properties file, for --properties-file."""
    chosen = os.environ.get("NIGHTSHELF_SPARK_CONF")
    if chosen:
        return str(REPO / chosen)
    conf = Path(conf_path(params))
    return str((conf.parent / tomllib.loads(conf.read_text(encoding="utf-8"))["spark"]).resolve())


def run_date(params: Mapping[str, Any], dag_run: Any) -> str:
    """The day, for --run-date."""
    return date_of_run(params, dag_run).isoformat()


def after_the_day(hours: int, weekday: str = "*", clock: ShopClock = CLOCK) -> CronDataIntervalTimetable:
    """Every day, or every so many-th of the week, so long after the shop's business day has ended (steady_time).

    A schedule with data intervals, which a plain cron string does not have.
    """
    hour, minute = steady_time(clock, hours)
    return CronDataIntervalTimetable(f"{minute} {hour} * * {weekday}", timezone=clock.timezone)


# Every conf/<deployment>.toml, and first the one that the environment names, wherever it is.
DEPLOYMENTS = list(
    dict.fromkeys(
        [
            CONF,
            *sorted(f"conf/{file.name}" for file in (REPO / "conf").glob("*.toml")),
        ]
    )
)
# What the DAGs have in common.
DAG_SETTINGS: dict[str, Any] = {
    "catchup": False,
    # In the order of their dates, one at a time: a night takes over the vectors of the one before it. None waits for
    # another's success, since a day that was refused is the next night's work, too (depends_on_past is off). A backfill
    # counts its runs by itself, so it does not hold tonight up; what both write are partitions of different dates.
    "max_active_runs": 1,
    # One Spark application takes all cores of a machine and its own memory; only a cluster has room for more.
    "max_active_tasks": int(os.environ.get("NIGHTSHELF_PARALLEL", "1")),
    "params": {
        "run_date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Run date",
            description="The last full day of logs that the run sees. Empty: yesterday; of a run with a logical date, "
            "what the schedule would last have run by then.",
        ),
        "conf": Param(
            DEPLOYMENTS[0],
            type="string",
            enum=DEPLOYMENTS,
            title="Deployment",
            description="Its file; those of conf/ and the one that NIGHTSHELF_CONF names.",
        ),
        "full_refresh": Param(
            False,
            type="boolean",
            title="Full refresh",
            description="Read and clean every day up to the run date again, not only those that are new.",
        ),
        "reingest": Param(
            False,
            type="boolean",
            title="Read changed files again",
            description="Raw files that are no longer as they were read replace what was read of them.",
        ),
        "accept_drift": Param(
            False,
            type="boolean",
            title="Accept drift",
            description="Figures beyond the limits of drift are right this once: they are recorded as warnings.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Compute and check, and write nothing: for a night whose tables are there already.",
        ),
    },
    "user_defined_macros": {
        "nightshelf_run_date": run_date,
        "nightshelf_conf": conf_path,
        "nightshelf_spark_properties": spark_properties,
    },
    "default_args": {
        "retries": 2,
        "retry_delay": dt.timedelta(minutes=float(os.environ.get("NIGHTSHELF_RETRY_MINUTES", "5"))),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": dt.timedelta(hours=1),
        "execution_timeout": dt.timedelta(hours=float(os.environ.get("NIGHTSHELF_HOURS", "6"))),
        "on_failure_callback": [notify.failed],
    },
    "tags": ["nightshelf"],
}
# A night that is not done by then is late, and somebody is told: a day after the start of its interval it is due. (Were
# it counted from when the run was queued, Airflow 3.3.2 could clear no task: it takes a stored interval for a number.
# Nor can its `dags test`, which has no scheduler, end a run with one: `make airflow-night` does without.)
LATE_HOURS = float(os.environ.get("NIGHTSHELF_LATE_HOURS", "4"))
DEADLINE: DeadlineAlert | None = None
if LATE_HOURS:
    DEADLINE = DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=dt.timedelta(days=1, hours=LATE_HOURS),
        callback=SyncCallback("dags.notify.late"),
        name="late night",
    )
