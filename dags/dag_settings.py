"""Settings that all DAGs share: schedules, parameters of a run, retries, the deadline.

Settings from the environment are listed in dags/submit.py.
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

CLOCK = clock_of(str(REPO / CONF))  # of the schedules
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
    """The run_date, for --run-date."""
    return date_of_run(params, dag_run).isoformat()


def after_the_day(hours: int, weekday: str = "*", clock: ShopClock = CLOCK) -> CronDataIntervalTimetable:
    """Schedule of every day, or of a weekday, so many hours after the end of the business day (steady_time).

    It has data intervals, which a plain cron string does not have.
    """
    hour, minute = steady_time(clock, hours)
    return CronDataIntervalTimetable(f"{minute} {hour} * * {weekday}", timezone=clock.timezone)


# The deployment of NIGHTSHELF_CONF first, then every conf/<deployment>.toml.
DEPLOYMENTS = list(
    dict.fromkeys(
        [
            CONF,
            *sorted(f"conf/{file.name}" for file in (REPO / "conf").glob("*.toml")),
        ]
    )
)
# Arguments of every DAG.
DAG_SETTINGS: dict[str, Any] = {
    "catchup": False,
    # One run at a time, in the order of dates: each reuses the vectors of the run before it. No run waits for another's
    # success, since the next run also processes a refused day (depends_on_past is off). Airflow counts the runs of a
    # backfill apart, so a backfill does not delay tonight's run; the two write partitions of different dates.
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
# An alert is sent for a run that is not done by its deadline; it is due a day after the start of its data interval.
# (With a deadline counted from when the run was queued, Airflow 3.3.2 cannot clear a task: it reads the stored interval
# as a number. `dags test`, which has no scheduler, cannot end a run with a deadline: `make airflow-night` sets none.)
LATE_HOURS = float(os.environ.get("NIGHTSHELF_LATE_HOURS", "4"))
DEADLINE: DeadlineAlert | None = None
if LATE_HOURS:
    DEADLINE = DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=dt.timedelta(days=1, hours=LATE_HOURS),
        callback=SyncCallback("dags.notify.late"),
        name="late night",
    )
