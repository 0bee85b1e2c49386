"""The night: every job of jobs/flow.py, from raw files to recommendations, for one run_date.

It starts at 02:00, when the day it is about has been over for two hours. For another day, trigger it with
run_date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from airflow.sdk import DAG

# The repository that this file lies in, so that DAGs and jobs are always of one version.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dags.dag_settings import DAG_SETTINGS, DEADLINE, every
from dags.submit import submit_all
from jobs.flow import NIGHT

with DAG("nightshelf_nightly", schedule=every("0 2 * * *"), deadline=DEADLINE, doc_md=__doc__, **DAG_SETTINGS):
    submit_all(NIGHT)
