"""Upkeep of a lake: old rows and old files are deleted."""

from __future__ import annotations

import datetime as dt
from typing import Any

from jobs.runner import data_files, delta_log
from jobs.runner.catalog import newest_published
from jobs.runner.lake import Lake
from jobs.runner.model_store import checkpoint_folder
from schemas import TABLES


def maintain(
    lake: Lake, run_date: dt.date, table: str, keep_days: int, keep_versions_days: int
) -> dict[str, Any] | None:
    """Delete a table's rows of more than `keep_days` before run_date (0: none), compact, vacuum; a record of it.

    None without a table. The newest date is retained whatever its age; rows of run_date and later are not touched, so
    a run may take place meanwhile; nor are the files of the newest publication.
    """
    opened = lake.delta(table)
    if opened is None:
        return None
    before = delta_log.data_files(opened)
    delta_log.keep_versions(opened, keep_versions_days)
    old: list[dt.date] = []
    if keep_days:
        dates = sorted({day for file in before for day in data_files.days_in(lake.path(table), file)})
        old = [date for date in dates[:-1] if date < run_date - dt.timedelta(days=keep_days)]
    if old:
        lake.forget(table, old)
    published = newest_published(lake) if TABLES[table].layer == "gold" else None
    own = [day for day in (run_date, published) if day]
    for files in lake.small_files(table, own, run_date - dt.timedelta(days=1)):
        if len(files) > 1:
            lake.compact(table, files)
    newest = lake.delta(table)
    assert newest is not None
    gone = delta_log.vacuum(newest, keep_versions_days)
    after = delta_log.data_files(newest)
    return {
        "table_name": table,
        "nights_deleted": len(old),
        "files_before": len(before),
        "files_after": len(after),
        "bytes_before": sum(file.size for file in before),
        "bytes_after": sum(file.size for file in after),
        "files_removed": gone,
    }


def clear(lake: Lake, folder: str, days: int) -> int:
    """Remove entries of `models`, `checkpoints` or `data_docs` last written to over `days` days ago; how many files.

    A promoted model is retained, whatever its age: a run of a date of its time needs it.
    """
    if not days:
        return 0
    local = checkpoint_folder(lake) if folder == "checkpoints" else None
    retained = set()
    if folder == "models":
        retained = {row["folder"].rpartition("/")[2] for row in lake.rows("ops.models") if row["promoted"]}
    place = f"file://{local}" if local else folder
    # A folder of checkpoints that is named in conf may have those of other deployments, too.
    own = f"{lake.deployment.name}-" if folder == "checkpoints" and lake.deployment.checkpoints else ""
    gone = [
        entry
        for entry in lake.storage.unwritten(place, days)
        if entry[0].getName() not in retained and entry[0].getName().startswith(own)
    ]
    for path, _ in gone:
        lake.storage.delete(path.toString())
    return sum(files for _, files in gone)
