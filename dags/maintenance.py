"""The weekly upkeep of the tables: old vectors and records are deleted, small files compacted, orphans removed.

It starts on Sunday at 12:00, after the weekly training, and touches nothing that a run of the last weeks may be reading
or writing. Do not backfill dates older than the vectors that it retains (70 days) at the same time.
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
