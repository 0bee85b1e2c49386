"""The nightly run: every job of jobs/flow.py, from raw files to recommendations, for one run_date.

It starts two hours after the end of run_date, by the deployment's clock: at 02:00, or at 03:00 where clocks
skip or repeat 02:00. For another day, trigger it with run_date. Where the deployment has `[gate] approval`, a task
whose figures drift fails as held: `make approve RUN_DATE=...`, then clear it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from airflow.sdk import DAG

# The repository that this file lies in, so that DAGs and jobs are always of one version.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dags.dag_settings import DAG_SETTINGS, DEADLINE, after_the_day
from dags.submit import submit_all
from jobs.flow import NIGHT

with DAG("nightshelf_nightly", schedule=after_the_day(2), deadline=DEADLINE, doc_md=__doc__, **DAG_SETTINGS):
    submit_all(NIGHT)
