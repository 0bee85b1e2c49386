"""The ledgers of logs that are cleaned day by day: the outcome of each day's records."""

from __future__ import annotations

from schemas.bronze import RUN_DATE
from schemas.contract import PARTITION, Check, Column, Table, between, not_blank, row_check
from schemas.rejects import most_rejected_sql

RETURNS_UNMATCHED = Column(
    "returns_unmatched",
    "BIGINT",
    "Returns that undid less than their units on the night they came: what they name is not among the purchases. Null "
    "in rows of before they were counted",
    True,
    (between(0, None),),
)
RETURNS_MATCHED = row_check(
    "returns_matched",
    "returns_unmatched = 0",
    "a return should undo a purchase (one that does not changes nothing)",
    "warning",
    shown=("returns_unmatched",),
)


LATE_DAYS = 31  # an event dated more days before its file than this is very late: more than a store's upload waits
VERY_LATE = Column(
    "very_late",
    "BIGINT",
    f"Of rows_kept, those dated more than {LATE_DAYS} days before their file; null in rows of before they were counted",
    True,
    (between(0, None),),
)
FEW_VERY_LATE = row_check(
    "few_very_late",
    "very_late * 2 <= rows_kept",
    f"most of a day's records should not be dated more than {LATE_DAYS} days before their file (are days and months "
    "swapped?)",
    "warning",
    shown=("very_late",),
)


def cleaned_days(name: str, kind: str, counted: tuple[Column, ...] = (), checks: tuple[Check, ...] = ()) -> Table:
    """The ledger of a log that is cleaned day by day."""
    return Table(
        f"silver.{name}",
        f"one day of {kind} files as it was cleaned: what became of its records. A day without a row is still to be "
        "cleaned",
        (
            RUN_DATE,
            Column("fingerprint", "STRING", "Hash of the names and hashes of the day's files", rules=(not_blank(64),)),
            Column("rows_in", "BIGINT", "Records of its files, by bronze.files", rules=(between(0, None),)),
            Column("rows_kept", "BIGINT", f"Of these, those in silver.{kind}", rules=(between(0, None),)),
            Column("rows_rejected", "BIGINT", f"Of these, those in silver.rejected_{kind}", rules=(between(0, None),)),
            Column("reasons", "MAP<STRING, BIGINT>", "Rejected records by reason; a record may have several"),
            Column("codes", "MAP<STRING, BIGINT>", "The same by code; null in rows of before there were codes", True),
            Column("max_rejected_share", "DOUBLE", "The most that the deployment lets pass", rules=(between(0, 1),)),
            Column("max_rejected", "BIGINT", "How many records that is, or the deployment's min_rejected", True),
            Column(
                "figures",
                "MAP<STRING, DOUBLE>",
                "What each source's records add up to, by <source>.<figure>: rows, kept_share and, of accepted ones, "
                "locations, units and money of purchases, and the count of each event type; held against the days "
                "before",
                True,
            ),
            Column(
                "identical_lines",
                "BIGINT",
                "Of these, those without an event_id that equal an earlier line of their file (identical_lines of the "
                "source says what becomes of them); null in rows of before they were counted",
                True,
                (between(0, None),),
            ),
            *counted,
        ),
        key=(PARTITION,),
        extra_checks=(
            row_check(
                "day_balances",
                "rows_in = rows_kept + rows_rejected",
                "records that bronze.files lists of a day = rows kept + rows rejected; if not, read its files again "
                "(--since that day)",
            ),
            row_check(
                "few_rejected",
                "rows_rejected <= max_rejected",
                "of a day's records no more than max_rejected_share may be rejected, or min_rejected if that is more",
                shown=("reasons",),
            ),
            row_check(
                "few_rejected_by_share",
                f"rows_rejected <= {most_rejected_sql('max_rejected_share', 'rows_in')}",
                "of a day's records no more than max_rejected_share should be rejected",
                "warning",
            ),
            *checks,
        ),
    )
