"""Airflow task of a job of jobs/flow.py: its spark-submit line, and what its exit code means.

Settings from the environment; relative paths are relative to the repository:
- NIGHTSHELF_CONF         the deployment, conf/complete_journey.toml if not set; a run's parameter conf wins. Schedules
                          follow its timezone and day_ends_at
- NIGHTSHELF_SPARK_CONF   the Spark properties file, if not the one that the deployment names
- NIGHTSHELF_PARALLEL     how many jobs of one run of a DAG run at once, 1 if not set (Airflow's pool limits all runs)
- NIGHTSHELF_HOURS        hours until a job is stopped, 6 if not set
- NIGHTSHELF_RETRY_MINUTES  minutes before the first retry, 5 if not set; doubled for the next one
- NIGHTSHELF_LATE_HOURS   hours after its due time at which a run counts as late, 4 if not set; 0: never
- NIGHTSHELF_OUTCOMES     a folder or URI that tasks and drivers both see, for a job's outcome; a temporary folder if
                          not set, which is enough where drivers run beside Airflow (local and client mode)
- NIGHTSHELF_PY_FILES     for a cluster: the zip of the code (`make package`) that executors import
- NIGHTSHELF_ARCHIVES     for a cluster: the packed environment that executors unpack, `<file>#environment`
- the Airflow connection nightshelf_alerts: where alerts of failures and late runs go (dags/notify.py)
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

from dags import notify
from dags.outcome import outcome_file, read_outcome
from dags.run_date import REPO, conf_path
from jobs.flow import JOBS, lacking
from schemas.dependencies import edges
from schemas.job import Job

JOBS_BIN = REPO / ".venv" / "bin"  # not Airflow's: the provider's pyspark-client clashes with pyspark
CONNECTION = "spark_default"
FIRST_OF_ALL_DAYS = "0001-01-01"

# Exit codes of jobs/runner/run_job.py after which a retry cannot help.
FINAL = {
    "2": "wrong usage or configuration: mend what the lines above name, then clear this task",
    "3": "the data broke its contract, so no table was changed: the lines above and ops.checks say where",
}
HELD = "held for a person: approve it as the lines above say, then clear this task"
TOO_EARLY = "4"  # the job has no data to judge yet: the task is skipped


class SparkJob(SparkSubmitOperator):
    """Task of a job. It fails at once where a retry cannot help; otherwise Airflow's retries apply.

    The job writes its outcome to a file (jobs/runner/outcome.py): the rows written, for the extras of the task's
    assets, or the error, for the alert. Its output goes to the task's log alone.
    """

    def execute(self, context: Context) -> None:
        """Submit the job and wait for its end; skip it where the deployment lacks one of its sources.

        The environment is set on the task's own process. The operator's env_vars would travel to the driver's
        machine on YARN and Kubernetes, where these paths mean nothing, and a standalone cluster refuses them.
        """
        if context["params"].get("run_date") and context["dag_run"].run_type == "backfill":
            raise AirflowFailException("run_date is set, so every run of this backfill would be of that date: leave it")
        if context["params"].get("dry_run"):
            self.outlets = []  # nothing was written, so no DAG that waits for a table may start
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
            message = outcome.get("error") or f"spark-submit ended with {code or 'no exit code'}"
            if code == TOO_EARLY:
                raise AirflowSkipException(message) from failure
            if code in FINAL:
                advice = HELD if message.startswith("held:") else FINAL[code]
                raise AirflowFailException(f"{self.task_id}: {message} ({advice})") from failure
            raise AirflowException(f"{self.task_id}: {message}") from failure
        if held := outcome.get("held"):
            notify.held(context, held)
        for table in self.outlets if "rows" in outcome else ():
            context["outlet_events"][table].extra = {
                "run_date": outcome["run_date"],
                "rows": outcome["rows"].get(table.name, 0),
                "model_version": outcome["model_version"],
                **({"page": outcome["page"]} if "page" in outcome else {}),
            }

    def _failure(self, context: Context, more: list[str]) -> AirflowException | None:
        """Submit with additional arguments and wait for the end; the provider's error where spark-submit failed."""
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
    """Exit code (or minus the signal) from the first line of the provider's message, before the job's output."""
    match = re.search(r"(?:Error|exit) code is: (-?[1-9]\d*)", str(error).partition("\n")[0])
    return match.group(1) if match else ""


def environment() -> dict[str, str]:
    """Environment by which Airflow finds spark-submit, and spark-submit the Python and packages of the repository."""
    return {
        "PATH": f"{JOBS_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYSPARK_PYTHON": str(JOBS_BIN / "python"),
        "PYTHONPATH": str(REPO),  # spark-submit puts jobs/ on the import path, not the folder above it
        # A JVM in the locale C could not open a file whose name is not ASCII.
        **({"LC_ALL": "C.UTF-8"} if os.environ.get("LC_ALL") in ("C", "POSIX") else {}),
    }


def provide_connection(properties_file: Path) -> None:
    """Define the Spark connection, if there is none, with the properties file's master, for this process alone.

    Without it the provider would submit to YARN. An existing connection wins: from the database, a secrets backend,
    or AIRFLOW_CONN_SPARK_DEFAULT.
    """
    try:
        BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        text = properties_file.read_text(encoding="utf-8")
        match = re.search(r"^spark\.master[\s=:]+(\S+)", text, re.MULTILINE)
        if match is None:
            hint = f"make the connection {CONNECTION}, or set spark.master in {properties_file}"
            raise AirflowFailException(f"no Spark master: {hint}") from None
        # JSON, because a URI cannot hold the brackets of local[*].
        connection = {"conn_type": "spark", "host": match.group(1)}
        os.environ[f"AIRFLOW_CONN_{CONNECTION.upper()}"] = json.dumps(connection)


def shipped(name: str) -> str | None:
    """Files that an environment variable has spark-submit ship: absolute paths, URIs as they are."""
    paths = os.environ.get(name, "")
    return ",".join(path if "://" in path else str(REPO / path) for path in paths.split(",") if path) or None


def flags(params: Mapping[str, Any]) -> list[str]:
    """Flags that the parameters of a run add to each job's command line."""
    by_parameter = {
        "full_refresh": ["--since", FIRST_OF_ALL_DAYS],
        "reingest": ["--reingest"],
        "accept_drift": ["--accept-drift"],
        "dry_run": ["--dry-run"],
    }
    return [flag for name, arguments in by_parameter.items() if params.get(name) for flag in arguments]


def told_by(job: Job) -> str:
    """Docstring of a job's function, parsed from the source: importing it would import Spark."""
    tree = ast.parse((REPO / "jobs" / f"{job.name}.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == job.name]
    return ast.get_docstring(functions[0]) or ""


# The driver uses this repository's Python; executors use that of the properties file, or of an archive.
ARCHIVES = shipped("NIGHTSHELF_ARCHIVES")
PYTHONS = {"spark.pyspark.driver.python": str(JOBS_BIN / "python")}
if ARCHIVES:
    PYTHONS["spark.pyspark.python"] = f"./{ARCHIVES.partition('#')[2] or Path(ARCHIVES).name}/bin/python"


def submit(job: Job) -> SparkJob:
    """Task of a job in the DAG and group being defined; its tables are Airflow assets."""
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
        trigger_rule=TriggerRule.NONE_FAILED,  # a skipped job does not block later ones
        name=f"nightshelf.{job.name}",
        doc_md=told_by(job),
        inlets=[Asset(read.table) for read in job.reads],
        outlets=[Asset(table) for table in job.writes],
    )


def submit_all(jobs: tuple[Job, ...]) -> None:
    """Tasks of the jobs, grouped by the layer that they write, with an edge where one reads what another writes."""
    layers = dict.fromkeys(job.layer for job in jobs)
    groups = {layer: TaskGroup(layer, prefix_group_id=False) for layer in layers}
    tasks: dict[str, SparkJob] = {}
    for job in jobs:
        with groups[job.layer]:
            tasks[job.name] = submit(job)
    for earlier, later in edges(jobs):
        tasks[earlier] >> tasks[later]
