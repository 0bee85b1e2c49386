"""One Airflow task for one job of jobs/flow.py: its spark-submit line, and what its exit code means.

What a deployment may choose, all of it read here; relative paths are relative to the repository:
- NIGHTSHELF_CONF         the deployment, conf/complete_journey.toml if not set; a run's parameter conf wins
- NIGHTSHELF_SPARK_CONF   the Spark properties file, if not the one that the deployment names
- NIGHTSHELF_TIMEZONE     the calendar of the shop's days and of the schedules, UTC if not set
- NIGHTSHELF_PARALLEL     how many jobs of a DAG run at once, 1 if not set
- the Airflow connection spark_default: the master; without one, spark.master of the properties file
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Asset, BaseHook, Context, CronDataIntervalTimetable, Param, TaskGroup
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

from dags.run_date import resolve_run_date
from jobs.flow import Job, edges

REPO = Path(__file__).resolve().parents[1]
JOBS_BIN = REPO / ".venv" / "bin"  # not Airflow's: the provider's pyspark-client clashes with pyspark
CONNECTION = "spark_default"
TIMEZONE = os.environ.get("NIGHTSHELF_TIMEZONE", "UTC")

# The exit codes of jobs/launch.py that a retry does not change.
FINAL = {
    "2": "wrong usage or configuration: mend what the lines above name, then clear this task",
    "3": "the data broke its contract, so no table was changed: the lines above and ops.checks say where",
}


class SparkJob(SparkSubmitOperator):
    """The task of one job: fails at once where a retry cannot help; else Airflow's retries apply."""

    def execute(self, context: Context) -> None:
        """Submit, and wait for the end.

        The environment is set on the task's own process. The operator's env_vars would travel to the driver's
        machine on YARN and Kubernetes, where these paths mean nothing, and a standalone cluster refuses them.
        """
        os.environ.update(environment())
        provide_connection(Path(self.properties_file or ""))
        try:
            super().execute(context)
        except AirflowException as error:
            reason = FINAL.get(exit_code(error))
            if reason is None:
                raise
            raise AirflowFailException(f"{self.task_id}: {reason}") from error


def exit_code(error: AirflowException) -> str:
    """The exit code in the first line of the provider's message; the job's own output follows below it."""
    found = re.search(r"(?:Error|exit) code is: ([1-9]\d*)", str(error).partition("\n")[0])
    return found.group(1) if found else ""


def environment() -> dict[str, str]:
    """What makes spark-submit found, and what makes it find Python and the packages of the repository."""
    return {
        "PATH": f"{JOBS_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYSPARK_PYTHON": str(JOBS_BIN / "python"),
        "PYTHONPATH": str(REPO),  # spark-submit puts jobs/ on the import path, not the folder above it
    }


def provide_connection(properties_file: Path) -> None:
    """Where nobody has made the connection, make one to the properties file's master, for this process alone.

    Without it the provider would submit to YARN. One that exists wins: from the database, a secrets backend,
    or AIRFLOW_CONN_SPARK_DEFAULT.
    """
    try:
        BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        text = properties_file.read_text(encoding="utf-8")
        found = re.search(r"^spark\.master[\s=:]+(\S+)", text, re.MULTILINE)
        if found is None:
            hint = f"make the connection {CONNECTION}, or set spark.master in {properties_file}"
            raise AirflowFailException(f"no Spark master: {hint}") from None
        # JSON, because a URI cannot hold the brackets of local[*].
        connection = {"conn_type": "spark", "host": found.group(1)}
        os.environ[f"AIRFLOW_CONN_{CONNECTION.upper()}"] = json.dumps(connection)


def conf_path(params: Mapping[str, Any]) -> str:
    """The deployment's file, for --conf."""
    return str(REPO / params["conf"])


def spark_properties(params: Mapping[str, Any]) -> str:
    """The Spark properties file, for --properties-file."""
    chosen = os.environ.get("NIGHTSHELF_SPARK_CONF")
    if chosen:
        return str(REPO / chosen)
    conf = Path(conf_path(params))
    return str((conf.parent / tomllib.loads(conf.read_text(encoding="utf-8"))["spark"]).resolve())


def run_date(params: Mapping[str, Any], dag_run: Any) -> str:
    """The day, for --run-date."""
    day = resolve_run_date(
        params["run_date"],
        timezone=TIMEZONE,
        run_after=dag_run.run_after,
        logical_date=dag_run.logical_date,
        data_interval_end=dag_run.data_interval_end,
    )
    return day.isoformat()


def every(cron: str) -> CronDataIntervalTimetable:
    """A schedule with data intervals, which a plain cron string does not have."""
    return CronDataIntervalTimetable(cron, timezone=TIMEZONE)


# What the DAGs have in common.
DAG_SETTINGS: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    # One Spark application takes all cores of a machine and its own memory; only a cluster has room for more.
    "max_active_tasks": int(os.environ.get("NIGHTSHELF_PARALLEL", "1")),
    "params": {
        "run_date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Run date",
            description="The last full day of logs that the run sees. Empty: that of the last scheduled run.",
        ),
        "conf": Param(
            os.environ.get("NIGHTSHELF_CONF", "conf/complete_journey.toml"),
            type="string",
            minLength=1,
            title="Deployment",
            description="Its file, relative to the repository.",
        ),
    },
    "user_defined_macros": {
        "nightshelf_run_date": run_date,
        "nightshelf_conf": conf_path,
        "nightshelf_spark_properties": spark_properties,
    },
    "default_args": {
        "retries": 2,
        "retry_delay": dt.timedelta(minutes=5),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": dt.timedelta(hours=1),
    },
    "tags": ["nightshelf"],
}


def submit(job: Job) -> SparkJob:
    """The task of a job, in the DAG and the group that are being defined; its tables are Airflow's assets."""
    return SparkJob(
        task_id=job.name,
        application=str(REPO / "jobs" / f"{job.name}.py"),
        application_args=[
            "--run-date",
            "{{ nightshelf_run_date(params, dag_run) }}",
            "--conf",
            "{{ nightshelf_conf(params) }}",
        ],
        properties_file="{{ nightshelf_spark_properties(params) }}",
        conn_id=CONNECTION,
        spark_binary="spark-submit",
        name=f"nightshelf.{job.name}",
        inlets=[Asset(read.table) for read in job.reads],
        outlets=[Asset(table) for table in job.writes],
    )


def submit_all(jobs: tuple[Job, ...]) -> None:
    """A task for each job, grouped by the layer that it writes, with the edges that reads and writes give."""
    layers = dict.fromkeys(job.layer for job in jobs)
    groups = {layer: TaskGroup(layer, prefix_group_id=False) for layer in layers}
    tasks: dict[str, SparkJob] = {}
    for job in jobs:
        with groups[job.layer]:
            tasks[job.name] = submit(job)
    for earlier, later in edges(jobs):
        tasks[earlier] >> tasks[later]
