"""Silver: clean rows of each kind of log, and for each the records that were rejected, with the reasons."""

from dataclasses import replace

from schemas.block_list import BLOCKED, REJECTED_BLOCKED
from schemas.bronze import RUN_DATE, SOURCE_FILE, SOURCE_ROW
from schemas.cleaned_days import FEW_VERY_LATE, RETURNS_MATCHED, RETURNS_UNMATCHED, VERY_LATE, cleaned_days
from schemas.contract import QUANTITY, Column, Table, between, not_blank, not_shortened, one_of, row_check
from schemas.persons import IDENTITIES
from schemas.rejected_records import SAME_RECORDS, rejected
from schemas.reviewed import CLEANED_REVIEW_DAYS, REJECTED_REVIEWS, REVIEWS
from schemas.searched import JUDGEMENTS, QUERY, REJECTED_JUDGEMENTS, VISIT

SOLD = between(0.001, 100_000)
GIVEN = (not_blank(200), not_shortened())  # rules of an id that a record gives
ITEM_ID = Column("item_id", "STRING", "Identifies the item", rules=(not_blank(200),))
LOCATION_ID = Column("location_id", "STRING", "Store, site or warehouse", rules=(not_blank(200),))
CAMPAIGN_ID = Column("campaign_id", "STRING", "Identifies the campaign", rules=(not_blank(200),))
ITS_ITEM_ID, ITS_LOCATION_ID, ITS_CAMPAIGN_ID = (
    replace(column, rules=GIVEN) for column in (ITEM_ID, LOCATION_ID, CAMPAIGN_ID)
)
CANCELLED = "cancelled"  # an order line recorded again as no sale; no mapping needs to give it
EVENT_TYPES = ("impression", "click", "add_to_cart", "purchase", "return", "search", CANCELLED)

EVENT_DATE = Column("event_date", "DATE", "The shop's day of occurred_at; earlier than run_date when the log was late")

EVENTS = Table(
    "silver.events",
    "one thing that somebody did: saw, clicked, bought, returned, searched or cancelled",
    (
        RUN_DATE,
        EVENT_DATE,
        Column("occurred_at", "TIMESTAMP", "The moment it happened, UTC"),
        Column(
            "event_id",
            "STRING",
            "Identifies the event; without one in the log, a hash of the record and, from the second of equal lines "
            "of a file on, of its number among them",
            rules=GIVEN,
            personal=True,
        ),
        Column("user_id", "STRING", "Who did it; null for a guest", True, GIVEN, personal=True),
        Column("item_id", "STRING", "With which item; null for a search", True, GIVEN),
        Column("event_type", "STRING", "What was done", rules=(one_of(*EVENT_TYPES),)),
        Column("quantity", QUANTITY, "Units, positive also for a return; 0.45 of what is weighed", True, (SOLD,)),
        Column("unit_price", "DOUBLE", "Price of one unit, in the shop's currency", True, (between(0, 1_000_000),)),
        Column("location_id", "STRING", "Store, site or country where it happened", True, GIVEN),
        Column(
            "basket_id",
            "STRING",
            "Receipt or order; lines of one location, day and user with the same were bought together",
            True,
            (not_blank(200),),
            personal=True,
        ),
        Column("campaign_id", "STRING", "Campaign that led to it", True, GIVEN),
        *QUERY,
        Column("order_id", "STRING", "Of which source and order a later file replaces it", True, personal=True),
        *(SOURCE_FILE, SOURCE_ROW, *VISIT),
    ),
    key=("event_id",),
    extra_checks=(
        row_check("not_after_file", "event_date <= run_date", "an event must not be dated after its file"),
        row_check(
            "not_before_1970",  # a broken clock, a date with two digits of its year; many readers' time begins in 1678
            "event_date >= DATE'1970-01-01'",
            "an event must not be dated before 1970",
        ),
        row_check(  # which day it is depends on the deployment's clock; no clock is further than a day from UTC
            "date_of_moment",
            "event_date BETWEEN to_date(occurred_at - INTERVAL '1' DAY) AND to_date(occurred_at + INTERVAL '1' DAY)",
            "event_date must be within a day of occurred_at",
        ),
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

MOST_TEXT, MOST_TITLE = 2_000, 500  # longer ones are cut at a word: no item is lost for its description

ITEMS = Table(
    "silver.items",
    "one item as it was known on run_date",
    (
        RUN_DATE,
        ITS_ITEM_ID,
        Column(
            "text", "STRING", "What the encoder reads, from the deployment's template", rules=(not_blank(MOST_TEXT),)
        ),
        Column("title", "STRING", "What a person reads", rules=(not_blank(MOST_TITLE),)),
        Column("category", "STRING", "Where it stands in the catalogue", True, (not_blank(200),)),
        Column("brand", "STRING", "Brand or maker", True, (not_blank(200),)),
        Column("unit", "STRING", "What one unit of it is, such as kg or m; null for a piece", True, (not_blank(50),)),
        Column("described_on", "DATE", "Day of the newest record that describes it"),
        Column("record_count", "BIGINT", "Raw records that describe it up to run_date", rules=(between(1, None),)),
        Column(
            "active",
            "BOOLEAN",
            "Whether it may be recommended, ordered and forecast: neither the deployment's active nor its in_stock is "
            "false, and it is listed still; null (yes) in rows of before there was the column",
            True,
        ),
        Column("in_stock", "BOOLEAN", "Whether the catalogue says that it can be bought; null where it does not", True),
        Column("listed_on", "DATE", "Day of the first record that describes it: what is new was listed lately", True),
        Column("last_listed_on", "DATE", "Day of the newest record about it, sound or not", True),
        Column("product_id", "STRING", "Which product it is a variant of; null for none", True, (not_blank(500),)),
    ),
    key=("item_id",),
    extra_checks=(
        row_check("not_from_the_future", "described_on <= run_date", "an item must not be described after run_date"),
        row_check(
            "listed_in_order",
            "listed_on <= described_on AND described_on <= last_listed_on",
            "an item must not be described before it was first listed, or after it was last",
        ),
    ),
)

ITS_ITEM = "The item it names, if any: once that is in the catalogue, the record's day is cleaned again"
REJECTED_EVENTS = rejected("events", "one event record that was rejected, on the day of its file", ITS_ITEM)
CLEANED_DAYS = cleaned_days("cleaned_days", "events", (RETURNS_UNMATCHED, VERY_LATE), (RETURNS_MATCHED, FEW_VERY_LATE))
REJECTED_ITEMS = rejected(
    "items",
    "one item record, of all up to run_date, that describes no item; one that comes again each day is one",
    "The item it would have described, if it names one",
    SAME_RECORDS,
)

# Optional kinds. Without a source of a kind, a deployment lacks its tables.
DESCRIBED = (
    Column("described_on", "DATE", "Day of the newest record that describes it"),
    Column("record_count", "BIGINT", "Raw records that describe it up to run_date", rules=(between(1, None),)),
)

STOCK = Table(
    "silver.stock",
    "what one location has of one item, by the location's newest snapshot up to run_date",
    (
        RUN_DATE,
        ITS_LOCATION_ID,
        ITS_ITEM_ID,
        Column("on_hand", QUANTITY, "Units there", rules=(between(0, 10_000_000),)),
        Column("on_order", QUANTITY, "Units ordered that have not arrived", rules=(between(0, 10_000_000),)),
        Column("lead_time_days", "INT", "Days from an order to its arrival", rules=(between(0, 365),)),
        Column(
            "pack_size",
            QUANTITY,
            "Units that can only be ordered together; 0.1 where 100 g of what is weighed in kg can be. Null: 1",
            True,
            (between(0.001, 1_000_000),),
        ),
        Column("snapshot_date", "DATE", "The evening of which this is the stock"),
        SOURCE_FILE,
        SOURCE_ROW,
        Column(
            "record_count",
            "BIGINT",
            "Records that this row accounts for: its own and, for the first row of a location, those of its snapshots "
            "of the days before that the newest replaces; null in rows of before they were counted",
            True,
        ),
    ),
    key=("location_id", "item_id"),
    extra_checks=(
        row_check("not_after_file", "snapshot_date <= run_date", "a snapshot must not be dated after its file"),
    ),
)
REJECTED_STOCK = rejected("stock", "one record of the newest snapshots, seven days of files, that was rejected")

WAYS = Table(
    "silver.ways",
    "what it costs to move units from one location to another, by the newest list up to run_date",
    (
        RUN_DATE,
        Column("from_location_id", "STRING", "Location that gives", rules=GIVEN),
        Column("to_location_id", "STRING", "Location that receives", rules=GIVEN),
        Column("cost", "DOUBLE", "Cost, or distance, of moving one unit", rules=(between(0, 1_000_000),)),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
    key=("from_location_id", "to_location_id"),
)
REJECTED_WAYS = rejected("ways", "one record of the newest list of transfer costs that was rejected")

CAMPAIGNS = Table(
    "silver.campaigns",
    "one campaign as it was known on run_date",
    (
        RUN_DATE,
        ITS_CAMPAIGN_ID,
        Column("kind", "STRING", "What sort of campaign it is", True, (not_blank(200),)),
        Column("starts_on", "DATE", "Its first day"),
        Column("ends_on", "DATE", "Its last day"),
        Column("items", "ARRAY<STRING>", "What it is for, in order; empty for none in particular"),
        Column("unknown_items", "ARRAY<STRING>", "What its record lists beside, which is not in silver.items", True),
        Column("budget", "DOUBLE", "The most that showing it may cost", True, (between(0, None),)),
        Column("max_audience", "INT", "The most users of one night's list", True, (between(0, None),)),
        *DESCRIBED,
    ),
    key=("campaign_id",),
    extra_checks=(
        row_check("ends_after_start", "ends_on >= starts_on", "a campaign must not end before it starts"),
        row_check(
            "items_known",
            "size(unknown_items) = 0",
            "a campaign should list no items that are not in silver.items (they are left out of it)",
            "warning",
            shown=("unknown_items",),
        ),
    ),
)
REJECTED_CAMPAIGNS = rejected(
    "campaigns", "one record of a campaign or of an item of one, of all up to run_date, that was rejected"
)
# Not a table: the record of the source campaign_items. Its items are in silver.campaigns.
CAMPAIGN_ITEMS = Table(
    "silver.campaign_items", "one item of one campaign", (RUN_DATE, ITS_CAMPAIGN_ID, ITS_ITEM_ID), key=()
)

AD_EVENT_TYPES = ("impression", "click", "conversion")
AD_EVENTS = Table(
    "silver.ad_events",
    "one thing that came of a campaign: somebody was shown it, clicked on it, or did what it is for",
    (
        RUN_DATE,
        EVENT_DATE,
        Column("occurred_at", "TIMESTAMP", "The moment it happened, UTC"),
        EVENTS.column("event_id"),
        Column("user_id", "STRING", "Who", rules=GIVEN, personal=True),
        ITS_CAMPAIGN_ID,
        Column("event_type", "STRING", "What happened", rules=(one_of(*AD_EVENT_TYPES),)),
        Column("item_id", "STRING", "With which item", True, GIVEN),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
    key=("event_id",),
    extra_checks=EVENTS.extra_checks[:3],
)
REJECTED_AD_EVENTS = rejected("ad_events", "one ad event record that was rejected, on the day of its file")
CLEANED_AD_DAYS = cleaned_days("cleaned_ad_days", "ad_events", (VERY_LATE,), (FEW_VERY_LATE,))

PROMOTIONS = Table(
    "silver.promotions",
    "one item promoted for some days, at one location or, without one, at all",
    (
        RUN_DATE,
        Column("location_id", "STRING", "Where; null for everywhere", True, GIVEN),
        ITS_ITEM_ID,
        Column("starts_on", "DATE", "Its first day"),
        Column("ends_on", "DATE", "Its last day"),
        Column("display", "STRING", "Where in the store it is displayed; null for nowhere in particular", True),
        Column("mailer", "STRING", "Where in the mailer it stands; null for nowhere", True),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
    key=("location_id", "item_id", "starts_on"),
    extra_checks=(row_check("ends_after_start", "ends_on >= starts_on", "a promotion must not end before it starts"),),
)
REJECTED_PROMOTIONS = rejected("promotions", "one promotion record that was rejected, on the day of its file", ITS_ITEM)
CLEANED_PROMOTION_DAYS = cleaned_days("cleaned_promotion_days", "promotions")

USERS = Table(
    "silver.users",
    "what is known of one user beside the events, as it was known on run_date",
    (
        RUN_DATE,
        Column("user_id", "STRING", "Identifies the user", rules=GIVEN, personal=True),
        Column("attributes", "MAP<STRING, STRING>", "Attributes by name, such as age or household size", personal=True),
        *DESCRIBED,
    ),
    key=("user_id",),
)
REJECTED_USERS = rejected("users", "one user record, of all up to run_date, that was rejected")

TABLES = (
    *(EVENTS, REJECTED_EVENTS, CLEANED_DAYS, ITEMS, REJECTED_ITEMS),
    *(STOCK, REJECTED_STOCK, WAYS, REJECTED_WAYS, CAMPAIGNS, REJECTED_CAMPAIGNS),
    *(AD_EVENTS, REJECTED_AD_EVENTS, CLEANED_AD_DAYS, PROMOTIONS, REJECTED_PROMOTIONS, CLEANED_PROMOTION_DAYS),
    *(USERS, REJECTED_USERS, JUDGEMENTS, REJECTED_JUDGEMENTS, REVIEWS, REJECTED_REVIEWS, CLEANED_REVIEW_DAYS),
    *(BLOCKED, REJECTED_BLOCKED),
)

# Kind of raw file -> the contract of its records.
RECORDS_OF = {
    table.short_name: table
    for table in (
        *(EVENTS, ITEMS, STOCK, WAYS, CAMPAIGNS, CAMPAIGN_ITEMS),
        *(AD_EVENTS, PROMOTIONS, USERS, JUDGEMENTS, REVIEWS, BLOCKED, IDENTITIES),
    )
}
