"""Tell of one failed task and of a late night, as Airflow would. Run by test_notify.py with Airflow's python."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from airflow.api_fastapi.core_api.datamodels.dag_run import DAGRunResponse

from dags import notify

task = SimpleNamespace(dag_id="nightshelf_nightly", task_id="clean_events", run_id="manual__1", try_number=1)
due = datetime(2017, 12, 4, 8, tzinfo=UTC)  # 03:00 by the clock of the default deployment
run = SimpleNamespace(conf={}, data_interval_end=due, logical_date=None, run_after=due)
said = "clean_events: refused: silver.events: 3 rows do not, e.g. run_date=2017-12-03, line=7\nand more"
error = ValueError(said)
notify.failed({"task_instance": task, "dag_run": run, "exception": error})  # type: ignore[typeddict-item]
due_text = due.isoformat().replace("+00:00", "Z")
stated = {"dag_id": "nightshelf_nightly", "run_after": due_text, "data_interval_end": due_text, "conf": {}}
for kind, state in (("scheduled", "running"), ("scheduled", "failed"), ("backfill", "running")):
    # As the scheduler makes it, from what the API has of a run.
    of_run = {"dag_run_id": f"{kind}__2", "run_type": kind, "state": state}
    run_of_api = dict.fromkeys(DAGRunResponse.model_fields) | stated | of_run
    assert set(run_of_api) == set(DAGRunResponse.model_fields)
    notify.late(context={"dag_run": run_of_api})
pushed: dict[str, str] = {}
holding = SimpleNamespace(**vars(task) | {"xcom_push": lambda key, value: pushed.update({key: value})})
notify.held({"task_instance": holding, "dag_run": run}, "2017-12-03-1f2e3d4c")  # type: ignore[typeddict-item]
assert pushed == {"held": "2017-12-03-1f2e3d4c"}
