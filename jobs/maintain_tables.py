"""The week's upkeep: old vectors and records go, small files become large, what no table names is removed."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from schemas import TABLES, ops
from schemas.access import PEOPLE
from schemas.derive import plain_ddl
from schemas.errors import ConfError
from schemas.run import RunContext
from udfs.horizon import HORIZON_DAYS

VECTORS = tuple(name for name, table in TABLES.items() if name.startswith("features.") and name.endswith("_vectors"))
CANDIDATES = ("features.candidates", "features.queries", "features.query_items", "features.review_sentences")
GOLD = tuple(name for name, table in TABLES.items() if table.layer == "gold")
# Rewritten by each run from all that is known by then; later runs read only the newest partition.
CLEANED = ("items", "users", "campaigns", "stock", "ways", "judgements", "blocked")
SNAPSHOTS = (*(f"silver.{prefix}{kind}" for kind in CLEANED for prefix in ("", "rejected_")), "silver.suspects")
SNAPSHOTS += ("silver.persons", "silver.rejected_identities")
RECORDS = (
    *("ops.runs", "ops.checks", "ops.encodes", "ops.figures", "ops.maintenance"),
    *("ops.metrics", "ops.search_metrics", "ops.profile_metrics", "ops.evaluation_lists"),
    *("ops.backtests", "ops.allocations", "ops.policies", "ops.exposure", "ops.importances"),
)
SHORTEST_HISTORY = 7  # days: no reader or writer that began earlier is still running


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
    """ops.maintenance: what was deleted, compacted and removed, one row per existing table.

    Of the vectors, the candidates, silver's nightly snapshots, gold and the records of ops, partitions older than their
    setting in days before run_date are deleted (0: none), but never a table's newest one. An evaluation reads what was
    written 28 days ago, and a run reuses the vectors of the newest run before it; a rerun of an older date encodes
    again.
    Small files are compacted in every partition but run_date's, which a run may be writing. Files that no version of
    the last `keep_versions_days` refers to are removed, those of killed writers among them: a table can be read as of
    any time within these days, and deleted rows stay on disk as long.

    Folders of models that were never promoted, or were demoted, are removed after `keep_models_days` without a change,
    and so are the checkpoints of killed trainings; the rows of ops.models stay. Pages in data_docs are removed as
    records are. These files are counted in the rows of ops.models and ops.checks.
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
    keep_days = dict.fromkeys(VECTORS, keep_vectors_days)
    keep_days |= dict.fromkeys(SNAPSHOTS, keep_snapshots_days) | dict.fromkeys(GOLD, keep_gold_days)
    keep_days |= dict.fromkeys(CANDIDATES, keep_candidates_days) | dict.fromkeys(RECORDS, keep_records_days)
    figures = [run.maintain(table, keep_days.get(table, 0), keep_versions_days) for table in TABLES]
    also_removed = {
        "ops.models": (run.clear("models", keep_models_days) or 0) + (run.clear("checkpoints", keep_models_days) or 0),
        "ops.checks": (run.clear("data_docs", keep_records_days) or 0) + (run.clear(PEOPLE, keep_records_days) or 0),
    }
    for row in filter(None, figures):
        row["files_removed"] += also_removed.get(row["table_name"], 0)
    rows = [(run.run_date, *(row[name] for name in ops.MAINTENANCE.column_names[1:])) for row in figures if row]
    return SparkSession.active().createDataFrame(rows, plain_ddl(ops.MAINTENANCE))


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("maintain_tables")
