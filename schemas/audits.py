"""Ops: records of erasures, and of commits that are not Nightshelf's."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, not_blank
from schemas.ops import COUNT, RUN_ID

ERASURES = Table(
    "ops.erasures",
    "one erasure of users, without their ids; run_date is its day (UTC)",
    (
        RUN_DATE,
        RUN_ID,
        Column("erased_at", "TIMESTAMP", "When it began, UTC"),
        Column("users", "BIGINT", "Ids that were given", rules=COUNT),
        Column("rows_removed", "MAP<STRING, BIGINT>", "Rows removed, per table with any"),
        Column("landing_lines", "BIGINT", "Lines of raw files that were theirs; intake leaves them out", rules=COUNT),
        Column("days_to_clean", "BIGINT", "Days of logs that the next run cleans again", rules=COUNT),
        Column("models_retired", "ARRAY<STRING>", "Models that had seen them: not promoted any more, folder removed"),
        Column("files_removed", "BIGINT", "Data files, and files of logs, that were removed from storage", rules=COUNT),
    ),
    key=("run_id",),
)

AUDIT = Table(
    "ops.audit",
    "one commit of a table that no job or command of Nightshelf wrote; run_date is its day (UTC)",
    (
        RUN_DATE,
        Column("table_name", "STRING", "The table", rules=(not_blank(100),)),
        Column("version", "BIGINT", "The Delta version that it wrote", rules=COUNT),
        Column("committed_at", "TIMESTAMP", "When, UTC"),
        Column("operation", "STRING", "What it did, as Delta's log has it, without its predicate"),
        Column("engine", "STRING", "Which engine wrote it, as it says; empty where it does not"),
    ),
    key=("table_name", "version"),
)

TABLES = (ERASURES, AUDIT)
