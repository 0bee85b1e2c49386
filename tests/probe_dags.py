"""What the DAG folder holds, as JSON: `<Airflow's python> probe_dags.py <output file>`. Run by test_dags.py.

Every task is rendered for one manual run and executed with a spark-submit that only notes how it was called.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowException, AirflowFailException

REPO = Path(__file__).resolve().parents[1]
SPARK_SUBMIT = """#!/bin/sh
printf '%s\\n' "$@" > "$0.arguments"
env > "$0.environment"
exit "$EXIT_CODE"
"""


def render_and_run(task: Any, dag: Any, exit_code: int, folder: Path) -> dict[str, Any]:
    """How the task called spark-submit, and how it took the exit code."""
    task.render_template_fields(
        {
            "dag": dag,
            "task": task,
            "params": dag.params.dump() | {"run_date": "2017-12-03"},
            "dag_run": SimpleNamespace(
                run_after=datetime(2026, 1, 1, tzinfo=UTC), logical_date=None, data_interval_end=None
            ),
        }
    )
    os.environ["EXIT_CODE"] = str(exit_code)
    outcome = "success"
    try:
        task.execute({})
    except AirflowFailException as error:
        outcome = f"failed: {error}"
    except AirflowException:
        outcome = "retry"
    return {
        "arguments": (folder / "spark-submit.arguments").read_text().splitlines(),
        "environment": dict(
            line.split("=", 1) for line in (folder / "spark-submit.environment").read_text().splitlines() if "=" in line
        ),
        "outcome": outcome,
    }


def main(output: Path) -> None:
    """Write the report."""
    bag = DagBag(REPO / "dags")
    report: dict[str, Any] = {
        "import_errors": bag.import_errors,
        "heavy_modules": sorted({"pyspark", "torch", "pandas", "delta"} & sys.modules.keys()),
        "dags": {},
    }
    from dags import submit  # after the bag, so that the DAG files must find it themselves

    with TemporaryDirectory() as name:
        submit.JOBS_BIN = folder = Path(name)
        (folder / "spark-submit").write_text(SPARK_SUBMIT)
        (folder / "spark-submit").chmod(0o755)
        for dag_id, dag in bag.dags.items():
            report["dags"][dag_id] = {
                "timetable": type(dag.timetable).__name__,
                "catchup": dag.catchup,
                "max_active_runs": dag.max_active_runs,
                "edges": sorted((task.task_id, later) for task in dag.tasks for later in task.downstream_task_ids),
                "retries": {task.task_id: task.retries for task in dag.tasks},
                "calls": {task.task_id: render_and_run(task, dag, 0, folder) for task in dag.tasks},
            }
        task, dag = bag.dags["nightshelf_nightly"].tasks[0], bag.dags["nightshelf_nightly"]
        report["outcomes"] = {code: render_and_run(task, dag, code, folder)["outcome"] for code in (0, 1, 2, 3, 137)}
    output.write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
