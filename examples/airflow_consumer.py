"""A DAG that waits for a published night and acts on it: a template to copy into Airflow's DAGs folder.

It starts when the nightly DAG has written ops.publications, its last word, whatever started that: the schedule, a
backfill or a person. The event says which night; ops.publications says at which version each table holds it, so that
all that is read is of one night, also while a later run of it is at work. Its environment needs duckdb, deltalake and
NIGHTSHELF_LAKE, where the lake of the deployment is; no Spark.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Asset, task

PUBLISHED = Asset("ops.publications")


def published(table: str, night: str) -> Any:
    """A gold table at the version that the night's current publication names, as an Arrow dataset."""
    import duckdb
    from deltalake import DeltaTable

    lake = os.environ["NIGHTSHELF_LAKE"]
    told = DeltaTable(f"{lake}/ops/publications").to_pyarrow_dataset()
    wanted = "SELECT version FROM told WHERE current AND run_date = ? AND table_name = ?"
    row = duckdb.connect().register("told", told).execute(wanted, [night, table]).fetchone()
    if row is None:
        raise LookupError(f"ops.publications has no current publication of {table} of the night of {night}")
    return DeltaTable(f"{lake}/{table.replace('.', '/')}", version=row[0]).to_pyarrow_dataset()


def most_recommended(night: str) -> list[tuple[str, int]]:
    """The ten items that stand in most lists of a night, each with its number of lists."""
    import duckdb

    ranked = "SELECT item_id, count(*) AS lists FROM lists WHERE run_date = ? GROUP BY item_id"
    reader = duckdb.connect().register("lists", published("gold.recommendations", night))
    found = reader.execute(f"{ranked} ORDER BY lists DESC, item_id LIMIT 10", [night])
    return [(item_id, lists) for item_id, lists in found.fetchall()]


@task
def fill_the_window(triggering_asset_events: Any = None) -> list[tuple[str, int]]:
    """What the shop window is to show."""
    nights = [event.extra["run_date"] for event in triggering_asset_events[PUBLISHED]]  # several may have been waiting
    return most_recommended(max(nights))


with DAG("shop_window", schedule=[PUBLISHED], catchup=False, doc_md=__doc__):
    fill_the_window()
