"""What the DAG folder holds, as JSON: `<Airflow's python> probe_dags.py <output file>`. Run by test_dags.py.

Every task is rendered for one manual run and executed, with a spark-submit that only notes how it was called.
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
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import instance

REPO = Path(__file__).resolve().parents[1]
RUN_DATE = "2017-12-03"
SPARK_SUBMIT = """#!/bin/sh
printf '%s\\n' "$@" > "$0.arguments"
printf '%s\\n' "$PYSPARK_PYTHON" "$PYTHONPATH" > "$0.environment"
exit "$EXIT_CODE"
"""


def render_and_run(task: Any, exit_code: int, folder: Path) -> dict[str, Any]:
    """How the task called spark-submit, and how it took the exit code."""
    run = SimpleNamespace(run_after=datetime(2026, 1, 1, tzinfo=UTC), logical_date=None, data_interval_end=None)
    params = task.dag.params.dump() | {"run_date": RUN_DATE}
    task.render_template_fields({"dag": task.dag, "task": task, "params": params, "dag_run": run})
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
        "environment": (folder / "spark-submit.environment").read_text().splitlines(),
        "outcome": outcome,
    }


def intervals(cron: str, timezone: str, moment: str) -> dict[str, str]:
    """The ends of the intervals of the next run that is scheduled from a moment on, and of a manual run then."""
    timetable, at = CronDataIntervalTimetable(cron, timezone), instance(datetime.fromisoformat(moment))
    until = TimeRestriction(earliest=at.subtract(days=9), latest=None, catchup=True)
    run = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=until)
    while run and run.run_after < at:
        run = timetable.next_dagrun_info(last_automated_data_interval=run.data_interval, restriction=until)
    assert run is not None
    assert run.data_interval is not None
    manual = timetable.infer_manual_data_interval(run_after=at)
    return {"scheduled": run.data_interval.end.isoformat(), "manual": manual.end.isoformat()}


def main(output: Path, asked: list[list[str]]) -> None:
    """Write the report; `asked` are the arguments of intervals()."""
    bag = DagBag(REPO / "dags")
    report: dict[str, Any] = {
        "import_errors": bag.import_errors,
        "heavy": sorted({"pyspark", "delta", "pandas", "torch", "transformers"} & sys.modules.keys()),
        "intervals": [intervals(*one) for one in asked],
        "dags": {},
    }
    from dags import submit  # only now: the DAG files must find it by themselves

    with TemporaryDirectory() as name:
        folder = submit.JOBS_BIN = Path(name)
        (folder / "spark-submit").write_text(SPARK_SUBMIT)
        (folder / "spark-submit").chmod(0o755)
        for dag_id, dag in bag.dags.items():
            schedule: Any = dag.timetable
            report["dags"][dag_id] = {
                "schedule": [type(schedule).__name__, schedule.expression, schedule.timezone],
                "catchup": dag.catchup,
                "max_active_runs": dag.max_active_runs,
                "retries": [task.retries for task in dag.tasks],
                "edges": [[task.task_id, later] for task in dag.tasks for later in task.downstream_task_ids],
                "calls": {task.task_id: render_and_run(task, 0, folder) for task in dag.tasks},
            }
        task = bag.dags["nightshelf_nightly"].get_task("ingest_logs")
        report["outcomes"] = {code: render_and_run(task, code, folder)["outcome"] for code in (0, 1, 2, 3, 137)}
        report["jobs_bin"] = name
    output.write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
