"""Tables of rejected records: one for each kind of log, with the reasons."""

from schemas.bronze import RAW, RUN_DATE, SOURCE_FILE, SOURCE_ROW
from schemas.contract import Column, Table, row_check

REJECTED = (
    Column("reasons", "ARRAY<STRING>", "Every rule that the record broke"),
    Column("codes", "ARRAY<STRING>", "The code of each of `reasons`; null in rows of before there were codes", True),
    RAW,
    SOURCE_FILE,
    SOURCE_ROW,
)
HAS_REASON = (
    row_check("has_reason", "size(reasons) > 0", "a rejected record must say why"),
    row_check("has_codes", "codes IS NULL OR size(codes) = size(reasons)", "each reason must have a code"),
)

SAME_RECORDS = Column(
    "record_count",
    "BIGINT",
    "Raw records up to run_date that say the same, of which it is the newest; null in rows of before they were counted",
    True,
)


def rejected(kind: str, row: str, item: str = "", *more: Column) -> Table:
    """The table of rejected records of a kind; `item`: the role of the item in a record that names one."""
    named = (Column("item_id", "STRING", item, True),) * bool(item)
    columns = (RUN_DATE, *named, *REJECTED, *more)
    return Table(f"silver.rejected_{kind}", row, columns, key=("source_file", "source_row"), extra_checks=HAS_REASON)
