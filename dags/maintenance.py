"""The week's upkeep of the tables: old vectors and records go, small files become large, orphans are removed.

It starts on Sunday at 12:00, when the week's training is over, and touches nothing that a night of the last weeks may
be reading or writing. No backfill of nights that are older than the vectors it keeps (70 days) should run beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from airflow.sdk import DAG

# The repository that this file lies in, so that DAGs and jobs are always of one version.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dags.dag_settings import DAG_SETTINGS, after_the_day
from dags.submit import submit_all
from jobs.flow import MAINTENANCE

with DAG("nightshelf_maintenance", schedule=after_the_day(12, weekday="0"), doc_md=__doc__, **DAG_SETTINGS):
    submit_all(MAINTENANCE)
