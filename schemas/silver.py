"""Silver: clean events and items, and for each the rows that were rejected, with the reasons."""

from schemas.bronze import RAW, RUN_DATE, SOURCE_FILE, SOURCE_ROW
from schemas.contract import PARTITION, Column, Table, between, not_blank, one_of, row_check

EVENT_TYPES = ("impression", "click", "add_to_cart", "purchase", "return", "search")

EVENTS = Table(
    "silver.events",
    "one thing that somebody did: saw, clicked, bought, returned or searched",
    (
        RUN_DATE,
        Column("event_date", "DATE", "The day it happened; earlier than run_date when the log was late"),
        Column("occurred_at", "TIMESTAMP", "The moment it happened, UTC"),
        Column(
            "event_id",
            "STRING",
            "Identifies the event; without one in the log, a hash of the record",
            rules=(not_blank(200),),
        ),
        Column("user_id", "STRING", "Who did it; null for a guest", True, (not_blank(200),)),
        Column("item_id", "STRING", "With which item; null for a search", True, (not_blank(200),)),
        Column("event_type", "STRING", "What was done", rules=(one_of(*EVENT_TYPES),)),
        Column("quantity", "INT", "Units, positive also for a return", True, (between(1, 100_000),)),
        Column("unit_price", "DOUBLE", "Price of one unit, in the shop's currency", True, (between(0, 1_000_000),)),
        Column("location_id", "STRING", "Store, site or country where it happened", True, (not_blank(200),)),
        Column("basket_id", "STRING", "What was bought together", True, (not_blank(200),)),
        Column("campaign_id", "STRING", "Campaign that led to it", True, (not_blank(200),)),
        Column("query", "STRING", "The words searched for", True, (not_blank(2000),)),
        Column("position", "INT", "Place in the list that was shown, from 1", True, (between(1, None),)),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
    key=("event_id",),
    extra_checks=(
        row_check("not_after_file", "event_date <= run_date", "an event must not be dated after its file"),
        row_check(
            "not_before_1970",  # a broken clock, a date with two digits of its year; many readers' time begins in 1678
            "event_date >= DATE'1970-01-01'",
            "an event must not be dated before 1970",
        ),
        row_check("date_of_moment", "event_date = to_date(occurred_at)", "event_date must be the day of occurred_at"),
        row_check(
            "item_named",
            "event_type = 'search' OR item_id IS NOT NULL",
            "item_id is missing (only a search may lack it)",
        ),
        row_check(
            "sale_complete",
            "event_type NOT IN ('purchase', 'return') OR (quantity IS NOT NULL AND unit_price IS NOT NULL)",
            "a purchase or return needs quantity and unit_price",
        ),
    ),
)

ITEMS = Table(
    "silver.items",
    "one item as it was known on run_date",
    (
        RUN_DATE,
        Column("item_id", "STRING", "Identifies the item", rules=(not_blank(200),)),
        Column("text", "STRING", "What the encoder reads, from the deployment's template", rules=(not_blank(2000),)),
        Column("title", "STRING", "What a person reads", rules=(not_blank(500),)),
        Column("category", "STRING", "Where it stands in the catalogue", True, (not_blank(200),)),
        Column("brand", "STRING", "Brand or maker", True, (not_blank(200),)),
        Column("described_on", "DATE", "Day of the newest record that describes it"),
        Column("record_count", "BIGINT", "Raw records that describe it up to run_date", rules=(between(1, None),)),
    ),
    key=("item_id",),
    extra_checks=(
        row_check("not_from_the_future", "described_on <= run_date", "an item must not be described after run_date"),
    ),
)

REJECTED = (
    RUN_DATE,
    Column("reasons", "ARRAY<STRING>", "Every rule that the record broke"),
    RAW,
    SOURCE_FILE,
    SOURCE_ROW,
)
HAS_REASON = row_check("has_reason", "size(reasons) > 0", "a rejected record must say why")

REJECTED_EVENTS = Table(
    "silver.rejected_events",
    "one event record that was rejected, on the day of its file",
    REJECTED,
    key=("source_file", "source_row"),
    extra_checks=(HAS_REASON,),
)
CLEANED_DAYS = Table(
    "silver.cleaned_days",
    "one day of event files as it was cleaned: what became of its records. A day without a row is still to be cleaned",
    (
        RUN_DATE,
        Column("fingerprint", "STRING", "Hash of the names and hashes of the day's files", rules=(not_blank(64),)),
        Column("rows_in", "BIGINT", "Records in bronze.events", rules=(between(0, None),)),
        Column("rows_kept", "BIGINT", "Of these, those in silver.events", rules=(between(0, None),)),
        Column("rows_rejected", "BIGINT", "Of these, those in silver.rejected_events", rules=(between(0, None),)),
        Column("reasons", "MAP<STRING, BIGINT>", "Rejected records by reason; a record may have several"),
        Column("max_rejected_share", "DOUBLE", "The most that the deployment lets pass", rules=(between(0, 1),)),
    ),
    key=(PARTITION,),
    extra_checks=(
        row_check("day_balances", "rows_in = rows_kept + rows_rejected", "rows in = rows kept + rows rejected, by day"),
        row_check(
            "few_rejected",
            "rows_rejected <= max_rejected_share * rows_in",
            "of a day's records no more than max_rejected_share may be rejected",
            shown=("reasons",),
        ),
    ),
)
REJECTED_ITEMS = Table(
    "silver.rejected_items",
    "one item record, of all up to run_date, that describes no item",
    (RUN_DATE, Column("item_id", "STRING", "The item it would have described, if it names one", True), *REJECTED[1:]),
    key=("source_file", "source_row"),
    extra_checks=(HAS_REASON,),
)

TABLES = (EVENTS, ITEMS, REJECTED_EVENTS, REJECTED_ITEMS, CLEANED_DAYS)
