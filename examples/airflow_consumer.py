"""A DAG that waits for the night's recommendations and acts on them: a template to copy into Airflow's DAGs folder.

It starts when the nightly DAG has published gold.recommendations, whatever started that: the schedule, a backfill or a
person. The event says which night and how many rows; the table is read by path, without Spark. Its environment needs
duckdb and NIGHTSHELF_LAKE, where the lake of the deployment is.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Asset, task

RECOMMENDATIONS = Asset("gold.recommendations")


@task
def most_recommended(triggering_asset_events: Any = None) -> list[tuple[str, int]]:
    """The ten items that stand in most lists of the night that was published, each with its number of lists."""
    import duckdb

    night = triggering_asset_events[RECOMMENDATIONS][-1].extra["run_date"]
    path = f"{os.environ['NIGHTSHELF_LAKE']}/gold/recommendations"
    lists = "SELECT item_id, count(*) AS lists FROM delta_scan(?) WHERE run_date = ? GROUP BY item_id"
    found = duckdb.execute(f"{lists} ORDER BY lists DESC, item_id LIMIT 10", [path, night])
    return [(item_id, lists) for item_id, lists in found.fetchall()]


with DAG("shop_window", schedule=[RECOMMENDATIONS], catchup=False, doc_md=__doc__):
    most_recommended()
