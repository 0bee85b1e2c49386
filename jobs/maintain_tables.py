"""The week's upkeep: old vectors and records go, small files become large, what no table names is removed."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from schemas import TABLES, ops
from schemas.derive import plain_ddl
from schemas.errors import ConfError
from schemas.run import RunContext
from udfs.horizon import HORIZON_DAYS

VECTORS = ("features.item_vectors",)
CANDIDATES = ("features.candidates",)
GOLD = tuple(name for name, table in TABLES.items() if table.layer == "gold")
# Written anew each night, of all that is known by then; later nights read the newest one alone.
SNAPSHOTS = tuple(
    f"silver.{prefix}{kind}"
    for kind in ("items", "users", "campaigns", "stock", "ways")
    for prefix in ("", "rejected_")
)
RECORDS = (
    *("ops.runs", "ops.checks", "ops.encodes", "ops.figures", "ops.maintenance"),
    *("ops.metrics", "ops.evaluation_lists", "ops.backtests", "ops.allocations"),
)
SHORTEST_HISTORY = 7  # days: a reader or a writer that began earlier than that is no longer at work


def maintain_tables(
    *,
    run: RunContext,
    keep_vectors_days: int = 70,
    keep_candidates_days: int = 70,
    keep_snapshots_days: int = 70,
    keep_gold_days: int = 400,
    keep_records_days: int = 400,
    keep_models_days: int = 70,
    keep_versions_days: int = 30,
) -> DataFrame:
    """ops.maintenance: what became of each table that stands.

    Of the vectors, the candidates, silver's nightly snapshots, gold and the records of ops, nights that lie further
    back than so many days before run_date are deleted (0: none), but never a table's newest night. An evaluation reads
    what was written 28 days ago, and a night takes over the vectors of the newest night before it; whatever older one
    is run again encodes anew.
    Small files are made into large ones in every partition but run_date's, which a night may be writing. Files that no
    version of the last `keep_versions_days` names are removed, those of killed writers among them: so far back can a
    table be read as it was, and so long stays what was deleted on disk.

    Of models that were never promoted, or were taken back, the folders go after `keep_models_days` without a change,
    and so do the checkpoints of trainings that were killed; the rows of ops.models stay. Pages in data_docs go as
    records do. What that removes is counted beside ops.models and ops.checks.
    """
    for name, days in (
        ("keep_vectors_days", keep_vectors_days),
        ("keep_candidates_days", keep_candidates_days),
        ("keep_snapshots_days", keep_snapshots_days),
        ("keep_gold_days", keep_gold_days),
    ):
        if 0 < days <= HORIZON_DAYS:
            raise ConfError(
                f"[jobs.maintain_tables] {name} must be over {HORIZON_DAYS}, or 0 for ever; it is {days}: "
                f"an evaluation reads the night of {HORIZON_DAYS} days ago"
            )
    if keep_versions_days < SHORTEST_HISTORY:
        raise ConfError(
            f"[jobs.maintain_tables] keep_versions_days must be at least {SHORTEST_HISTORY}; it is {keep_versions_days}"
        )
    kept = dict.fromkeys(VECTORS, keep_vectors_days)
    kept |= dict.fromkeys(SNAPSHOTS, keep_snapshots_days) | dict.fromkeys(GOLD, keep_gold_days)
    kept |= dict.fromkeys(CANDIDATES, keep_candidates_days) | dict.fromkeys(RECORDS, keep_records_days)
    told = [run.maintain(table, kept.get(table, 0), keep_versions_days) for table in TABLES]
    beside = {
        "ops.models": (run.clear("models", keep_models_days) or 0) + (run.clear("checkpoints", keep_models_days) or 0),
        "ops.checks": run.clear("data_docs", keep_records_days) or 0,
    }
    for row in filter(None, told):
        row["files_removed"] += beside.get(row["table_name"], 0)
    rows = [(run.run_date, *(row[name] for name in ops.MAINTENANCE.column_names[1:])) for row in told if row]
    return SparkSession.active().createDataFrame(rows, plain_ddl(ops.MAINTENANCE))


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("maintain_tables")
