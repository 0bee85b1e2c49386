"""What the DAG folder holds, as JSON: `<Airflow's python> probe_dags.py <output file>`. Run by test_dags.py.

Every task is rendered for one manual run and executed, with a spark-submit that only notes how it was called.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import instance

REPO = Path(__file__).resolve().parents[2]
RUN_DATE = "2017-12-03"
# Zone, end of the business day, a day shortly before clocks change (Tokyo's do not).
CHANGES = [
    ("America/New_York", "00:00", "2026-03-05T00:30+00:00"),
    ("America/New_York", "00:00", "2026-10-29T00:30+00:00"),
    ("America/New_York", "04:00", "2026-03-05T00:30+00:00"),
    ("Europe/Berlin", "00:00", "2026-03-26T00:30+00:00"),
    ("Europe/Berlin", "00:00", "2026-10-22T00:30+00:00"),
    ("Asia/Tokyo", "00:00", "2026-03-26T00:30+00:00"),
]
SPARK_SUBMIT = """#!/bin/sh
printf '%s\\n' "$@" > "$0.arguments"
printf '%s\\n' "$PYSPARK_PYTHON" "$PYTHONPATH" > "$0.environment"
while [ "$1" != --outcome-file ]; do shift; done
printf '%s' "$OUTCOME" > "${2#file://}"
exit "$EXIT_CODE"
"""


ABOUT = {"job": "ingest_logs", "run_date": RUN_DATE}
CRASH = json.dumps(ABOUT | {"error": "ValueError: no such thing"})
REFUSED = json.dumps(ABOUT | {"error": "refused: silver.events: 3 rows\nuser_id is null"})
WRONG = json.dumps(ABOUT | {"error": "error: conf/x.toml: no such file"})
TOO_EARLY = json.dumps(ABOUT | {"error": "error: nothing to judge yet"})
DONE = json.dumps(ABOUT | {"rows": {"bronze.events": 5}, "model_version": None})


class SkippedError(Exception):
    """A task that has nothing to do in a deployment."""


def render_and_run(
    task: Any,
    exit_code: int,
    folder: Path,
    outcome: str = "",
    asked: dict[str, Any] | None = None,
    kind: str = "manual",
) -> dict[str, Any]:
    """How the task called spark-submit, and how it took the outcome that the job wrote and its exit code."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    run = SimpleNamespace(run_after=at, logical_date=None, data_interval_end=None, run_type=kind)
    params = task.dag.params.dump() | {"run_date": RUN_DATE} | (asked or {})
    task.render_template_fields({"dag": task.dag, "task": task, "params": params, "dag_run": run})
    os.environ |= {"EXIT_CODE": str(exit_code), "OUTCOME": outcome}
    events: dict[Any, Any] = defaultdict(SimpleNamespace)
    task._hook = None  # a task of its own, as in a process of its own
    result = "success"
    try:
        task.execute({"params": params, "outlet_events": events, "dag_run": run})
    except AirflowSkipException as error:
        raise SkippedError(str(error)) from None
    except AirflowFailException as error:
        result = f"failed: {error}"
    except AirflowException as error:
        result = f"retry: {error}"
    return {
        "arguments": (folder / "spark-submit.arguments").read_text().splitlines(),
        "environment": (folder / "spark-submit.environment").read_text().splitlines(),
        "outcome": result,
        "extras": {asset.name: vars(event).get("extra") for asset, event in events.items()},
    }


def skipped(dag: Any, folder: Path) -> dict[str, str]:
    """The tasks that a shop with nothing but events and items skips, and what they say."""
    found = {}
    for task in dag.tasks:
        try:
            render_and_run(copy(task), 0, folder, "", {"conf": "conf/online_retail.toml"})
        except SkippedError as error:
            found[task.task_id] = str(error)
    return found


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


def nights(schedule: Any, first: str) -> list[str]:
    """The ends of a week's intervals of a schedule without catchup, where each run is created three hours late.

    Airflow asks for the next run anew whenever it parses the DAG.
    """
    timetable = CronDataIntervalTimetable(schedule.expression, schedule.timezone)  # the scheduler's of a DAG's schedule
    now, last, ends = instance(datetime.fromisoformat(first)), None, []
    until = now.add(days=8)
    while now < until:
        with patch("airflow.timetables.interval.utcnow", return_value=now):
            info = timetable.next_dagrun_info(
                last_automated_data_interval=last, restriction=TimeRestriction(None, None, catchup=False)
            )
        assert info is not None
        assert info.data_interval is not None
        if info.run_after.add(hours=3) <= now:
            last = info.data_interval
            ends.append(last.end.isoformat())
        now = now.add(hours=1)
    return ends


def assets_of(dag: Any) -> list[str]:
    """What a DAG waits for."""
    return [asset.name for asset in dag.timetable.asset_condition.objects]


def main(output: Path, asked: list[list[str]]) -> None:
    """Write the report; `asked` are the arguments of intervals()."""
    bag = DagBag(REPO / "dags")
    report: dict[str, Any] = {
        "import_errors": bag.import_errors,
        "heavy": sorted({"pyspark", "delta", "pandas", "torch", "transformers"} & sys.modules.keys()),
        "intervals": [intervals(*one) for one in asked],
        "dags": {},
    }
    consumer = DagBag(REPO / "examples" / "airflow_consumer.py")
    report["consumer"] = [consumer.import_errors, assets_of(consumer.dags["shop_window"])]
    from dags import submit  # only now: the DAG files must find it by themselves
    from dags.dag_settings import after_the_day
    from schemas.clock import ShopClock

    report["nights"] = [
        [zone, end, nights(after_the_day(2, clock=ShopClock(zone, end)), first)] for zone, end, first in CHANGES
    ]
    report["a_lost_night"] = nights(SimpleNamespace(expression="0 2 * * *", timezone=CHANGES[0][0]), CHANGES[0][2])

    with TemporaryDirectory() as name:
        folder = submit.JOBS_BIN = Path(name)
        (folder / "spark-submit").write_text(SPARK_SUBMIT)
        (folder / "spark-submit").chmod(0o755)
        report["skipped"] = skipped(bag.dags["nightshelf_nightly"], folder)
        submit.lacking = lambda *_: ()  # every task of the rest, whatever the deployment has
        for dag_id, dag in bag.dags.items():
            schedule: Any = dag.timetable
            report["dags"][dag_id] = {
                "schedule": [type(schedule).__name__, schedule.expression, schedule.timezone],
                "catchup": dag.catchup,
                "max_active_runs": dag.max_active_runs,
                "deadline": dag.deadline is not None,
                "told_of": [bool(task.on_failure_callback) and bool(task.execution_timeout) for task in dag.tasks],
                "retries": [task.retries for task in dag.tasks],
                "edges": [[task.task_id, later] for task in dag.tasks for later in task.downstream_task_ids],
                "calls": {task.task_id: render_and_run(task, 0, folder) for task in dag.tasks},
            }
        task = bag.dags["nightshelf_nightly"].get_task("ingest_logs")
        ended = {0: DONE, 1: CRASH, 2: WRONG, 3: REFUSED, 137: ""}
        try:
            render_and_run(copy(task), 4, folder, TOO_EARLY)
        except SkippedError as error:
            report["too_early"] = str(error)
        (folder / "spark-submit").write_text("#!/bin/sh\nkill -9 $$\n")
        report["killed"] = render_and_run(copy(task), 0, folder)["outcome"]
        (folder / "spark-submit").write_text(SPARK_SUBMIT)
        report["backfill_of_one_date"] = render_and_run(copy(task), 0, folder, DONE, None, "backfill")["outcome"]
        quiet = copy(task)
        render_and_run(quiet, 0, folder, DONE, {"dry_run": True})
        report["told_by_a_dry_run"] = [asset.name for asset in quiet.outlets]
        told = {code: render_and_run(copy(task), code, folder, outcome) for code, outcome in ended.items()}
        report["outcomes"] = {code: one["outcome"] for code, one in told.items()}
        report["extras"] = told[0]["extras"]
        report["form"] = {
            name: render_and_run(copy(task), 0, folder, "", {name: True})["arguments"][-4:-2]
            for name in ("full_refresh", "reingest", "accept_drift", "dry_run")
        }
        os.environ["NIGHTSHELF_OUTCOMES"] = folder.as_uri()
        elsewhere = render_and_run(copy(task), 0, folder, DONE)
        report["outcome_uri"] = [elsewhere["arguments"][-1].removeprefix(folder.as_uri()), elsewhere["extras"]]
        del os.environ["NIGHTSHELF_OUTCOMES"]
        report["unread"] = render_and_run(copy(task), 0, folder, "no JSON")["extras"]
        report["notes"] = {task.task_id: task.doc_md for task in bag.dags["nightshelf_nightly"].tasks}
        report["jobs_bin"] = name
    output.write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
