"""One Airflow task for one job of jobs/flow.py: its spark-submit line, and what its exit code means.

What a deployment may choose, all of it read here; relative paths are relative to the repository:
- NIGHTSHELF_CONF         the deployment, conf/complete_journey.toml if not set; a run's parameter conf wins. Schedules
                          go by its timezone and day_ends_at
- NIGHTSHELF_SPARK_CONF   the Spark properties file, if not the one that the deployment names
- NIGHTSHELF_PARALLEL     how many jobs of one run of a DAG run at once, 1 if not set (Airflow's pool limits all runs)
- NIGHTSHELF_HOURS        after how many hours a job is given up, 6 if not set
- NIGHTSHELF_RETRY_MINUTES  how long to wait before the first retry, 5 if not set; then twice as long
- NIGHTSHELF_LATE_HOURS   a night is late that is not done so many hours after it was due, 4 if not set; 0: none
- NIGHTSHELF_OUTCOMES     a folder or URI that tasks and drivers both see, for a job's outcome; a temporary folder if
                          not set, which is enough where drivers run beside Airflow (local and client mode)
- NIGHTSHELF_PY_FILES     for a cluster: the zip of the code (`make package`) that executors import
- NIGHTSHELF_ARCHIVES     for a cluster: the packed environment that executors unpack, `<file>#environment`
- the Airflow connection nightshelf_alerts: who is told of a failure or a late night (dags/notify.py)
- the Airflow connection spark_default: the master; without one, spark.master of the properties file
"""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Asset, BaseHook, Context, TaskGroup, TriggerRule
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from dags.outcome import outcome_file, read_outcome
from dags.run_date import REPO, conf_path
from jobs.flow import JOBS, lacking
from schemas.dependencies import edges
from schemas.job import Job

JOBS_BIN = REPO / ".venv" / "bin"  # not Airflow's: the provider's pyspark-client clashes with pyspark
CONNECTION = "spark_default"
FIRST_OF_ALL_DAYS = "0001-01-01"

# The exit codes of jobs/runner/run_job.py that a retry does not change.
FINAL = {
    "2": "wrong usage or configuration: mend what the lines above name, then clear this task",
    "3": "the data broke its contract, so no table was changed: the lines above and ops.checks say where",
}
TOO_EARLY = "4"  # nothing that the job could judge: the task is skipped


class SparkJob(SparkSubmitOperator):
    """The task of one job: fails at once where a retry cannot help; else Airflow's retries apply.

    The job writes its outcome to a file (jobs/runner/outcome.py): what was written, for the extras of the task's
    assets, or the error, for the alert. What it prints goes to the task's log alone.
    """

    def execute(self, context: Context) -> None:
        """Submit, and wait for the end; skip a job whose raw files the deployment has none of.

        The environment is set on the task's own process. The operator's env_vars would travel to the driver's
        machine on YARN and Kubernetes, where these paths mean nothing, and a standalone cluster refuses them.
        """
        if context["params"].get("run_date") and context["dag_run"].run_type == "backfill":
            raise AirflowFailException("run_date is set, so every run of this backfill would be of that date: leave it")
        if context["params"].get("dry_run"):
            self.outlets = []  # nothing was written, so nobody who waits for a table is to start
        deployment = tomllib.loads(Path(conf_path(context["params"])).read_text(encoding="utf-8"))
        kinds = {source.get("kind", name) for name, source in deployment["sources"].items()}
        if missing := lacking(JOBS[self.task_id], kinds):
            raise AirflowSkipException(f"{deployment['name']} has no [sources.{missing[0]}]")
        os.environ.update(environment())
        provide_connection(Path(self.properties_file or ""))
        with outcome_file(self.task_id) as file:
            failure = self._failure(context, [*flags(context.get("params") or {}), "--outcome-file", file])
            outcome = read_outcome(file)
        if failure is not None:
            code = exit_code(failure)
            said = outcome.get("error") or f"spark-submit ended with {code or 'no exit code'}"
            if code == TOO_EARLY:
                raise AirflowSkipException(said) from failure
            if code in FINAL:
                raise AirflowFailException(f"{self.task_id}: {said} ({FINAL[code]})") from failure
            raise AirflowException(f"{self.task_id}: {said}") from failure
        for table in self.outlets if "rows" in outcome else ():
            context["outlet_events"][table].extra = {
                "run_date": outcome["run_date"],
                "rows": outcome["rows"].get(table.name, 0),
                "model_version": outcome["model_version"],
            }

    def _failure(self, context: Context, more: list[str]) -> AirflowException | None:
        """Submit with these arguments too, and wait for the end; the provider's error where spark-submit failed."""
        arguments = self.application_args
        self.application_args = [*(arguments or ()), *more]
        try:
            super().execute(context)
        except AirflowException as error:
            return error
        finally:
            self.application_args = arguments
        return None


def exit_code(error: AirflowException) -> str:
    """The exit code, or minus the signal, in the first line of the provider's message; the job's output follows."""
    found = re.search(r"(?:Error|exit) code is: (-?[1-9]\d*)", str(error).partition("\n")[0])
    return found.group(1) if found else ""


def environment() -> dict[str, str]:
    """What makes spark-submit found, and what makes it find Python and the packages of the repository."""
    return {
        "PATH": f"{JOBS_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYSPARK_PYTHON": str(JOBS_BIN / "python"),
        "PYTHONPATH": str(REPO),  # spark-submit puts jobs/ on the import path, not the folder above it
        # A JVM in the locale C could not open a file whose name is not ASCII.
        **({"LC_ALL": "C.UTF-8"} if os.environ.get("LC_ALL") in ("C", "POSIX") else {}),
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


def shipped(name: str) -> str | None:
    """What an environment variable has spark-submit ship: files by their whole paths, URIs as they are."""
    told = os.environ.get(name, "")
    return ",".join(one if "://" in one else str(REPO / one) for one in told.split(",") if one) or None


def flags(params: Mapping[str, Any]) -> list[str]:
    """What a run's form adds to each job's line."""
    given = {
        "full_refresh": ["--since", FIRST_OF_ALL_DAYS],
        "reingest": ["--reingest"],
        "accept_drift": ["--accept-drift"],
        "dry_run": ["--dry-run"],
    }
    return [flag for name, told in given.items() if params.get(name) for flag in told]


def told_by(job: Job) -> str:
    """The docstring of a job's function, read and not imported: its imports are Spark's."""
    tree = ast.parse((REPO / "jobs" / f"{job.name}.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == job.name]
    return ast.get_docstring(functions[0]) or ""


# The driver's Python is this repository's, wherever that lies; executors have the properties file's, or an archive's.
ARCHIVES = shipped("NIGHTSHELF_ARCHIVES")
PYTHONS = {"spark.pyspark.driver.python": str(JOBS_BIN / "python")}
if ARCHIVES:
    PYTHONS["spark.pyspark.python"] = f"./{ARCHIVES.partition('#')[2] or Path(ARCHIVES).name}/bin/python"


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
        py_files=shipped("NIGHTSHELF_PY_FILES"),
        archives=ARCHIVES,
        conf=PYTHONS,
        conn_id=CONNECTION,
        spark_binary="spark-submit",
        trigger_rule=TriggerRule.NONE_FAILED,  # a job that is skipped holds none up
        name=f"nightshelf.{job.name}",
        doc_md=told_by(job),
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
