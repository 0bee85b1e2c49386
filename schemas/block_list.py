"""The list of a source of kind blocked: items that no list may show. No Spark."""

from __future__ import annotations

from schemas.bronze import RUN_DATE, SOURCE_FILE, SOURCE_ROW
from schemas.contract import Column, Table, not_blank, not_shortened, row_check
from schemas.rejected_records import rejected

BLOCKED = Table(
    "silver.blocked",
    "one item that no list may show, by the newest list up to run_date",
    (
        RUN_DATE,
        Column("item_id", "STRING", "Identifies the item", rules=(not_blank(200), not_shortened())),
        Column("reason", "STRING", "Why, as the list has it", True, (not_blank(500),)),
        Column("is_known", "BOOLEAN", "Whether it is in silver.items of run_date"),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
    key=("item_id",),
    extra_checks=(
        row_check(
            "item_known",
            "is_known",
            "a blocked item should be in silver.items (it stays blocked, should it come)",
            "warning",
        ),
    ),
)
REJECTED_BLOCKED = rejected("blocked", "one record of the newest list of blocked items that was rejected")
