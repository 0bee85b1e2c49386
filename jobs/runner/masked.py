"""Masked copies of public tables: a user is a number that only this copy knows, other personal columns are left out."""

from __future__ import annotations

import secrets

from pyspark.sql import functions as F

from jobs.runner.catalog import newest_published
from jobs.runner.lake import Lake
from jobs.transforms.pseudonyms import pseudonyms
from schemas import TABLES
from schemas.access import MASKED, masked_tables
from schemas.contract import PARTITION
from schemas.errors import ConfError

USER = "user_id"


def copy(lake: Lake) -> dict[str, int]:
    """Replace the masked copies by the rows of the newest publication; rows by folder. ConfError without one.

    A user has one number in all copies of one call, and another in the next: the key of the numbers is never stored.
    """
    newest = newest_published(lake)
    if newest is None:
        raise ConfError(f"{lake.deployment.file}: nothing was published yet")
    key, rows = secrets.token_bytes(32), {}
    number = pseudonyms(lambda: key, F.col(USER)).alias(USER)
    published = {
        row["table_name"]: row["version"] for row in lake.rows("ops.publications", of=newest) if row["current"]
    }
    for table in (table for table in masked_tables() if table.name in published):
        own = lake.at_version(table.name, published[table.name], newest)
        kept = [number if name == USER else F.col(name) for name in TABLES[table.name].column_names]
        shown = [
            column for column, name in zip(kept, table.column_names, strict=True) if name not in table.personal - {USER}
        ]
        folder = f"{MASKED}/{table.short_name}"
        own.select(*shown).sort(USER, PARTITION).write.mode("overwrite").parquet(f"{lake.deployment.lake}/{folder}")
        rows[folder] = lake.count(table.name, [newest], published[table.name])
    return rows
