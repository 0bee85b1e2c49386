"""The weekly training: a new model from every day up to Saturday, and the evaluation of earlier runs.

It starts on Sunday at 06:00, four hours after the nightly run that reads Saturday. Where the deployment has
`[gate] approval`, a new model is held: the task's XCom `held` and an alert name it, and `make approve` promotes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from airflow.sdk import DAG

# The repository that this file lies in, so that DAGs and jobs are always of one version.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dags.dag_settings import DAG_SETTINGS, after_the_day
from dags.submit import submit_all
from jobs.flow import BACKTEST, EVALUATION, TRAINING

with DAG("nightshelf_training", schedule=after_the_day(6, weekday="0"), doc_md=__doc__, **DAG_SETTINGS):
    submit_all(TRAINING + EVALUATION + BACKTEST)
