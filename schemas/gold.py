"""Gold: the public tables. Column names are part of the product: columns are only ever added."""

from schemas.bronze import RUN_DATE
from schemas.contract import (
    PARTITION,
    QUANTITY,
    Column,
    Table,
    between,
    dense_rank_check,
    not_blank,
    one_of,
    row_check,
    table_check,
    unique_check,
)
from schemas.explanations import FACTORS, FACTORS_ADD_UP, RAW_SCORE
from schemas.features import MODEL_VERSION, USER_ID
from schemas.silver import ITEM_ID, LOCATION_ID

RANK = Column("rank", "INT", "Place in the list, from 1, without gaps", rules=(between(1, 1000),))
PROBABILITY = between(0, 1)

RECOMMENDATIONS = Table(
    "gold.recommendations",
    "one item recommended to one user; every user with a clean purchase has the same number of rows",
    (
        RUN_DATE,
        USER_ID,
        RANK,
        ITEM_ID,
        Column(
            "score",
            "DOUBLE",
            "Probability that the user buys the item within the horizon (28 days)",
            rules=(PROBABILITY,),
        ),
        Column(
            "sources", "ARRAY<STRING>", "The generators that proposed it; 'fallback' where the list had to be filled"
        ),
        Column("reason", "STRING", "Why, in a sentence that a person can read", rules=(not_blank(500),)),
        Column("reason_item_id", "STRING", "The user's own item that brought it", True),
        Column("is_repeat", "BOOLEAN", "Whether the user has bought it before"),
        MODEL_VERSION,
        Column(
            "is_explored", "BOOLEAN", "Whether it was drawn for its place at random; null: the shop explores none", True
        ),
        Column(
            "propensity",
            "DOUBLE",
            "Probability of the item at its place; 1 where it was not drawn, null where the shop explores none",
            True,
            rules=(PROBABILITY,),
        ),
        Column(
            "variant", "STRING", "<experiment>:<variant> that the user is in, with commas between; null: in none", True
        ),
        Column(
            "pool_place",
            "INT",
            "Of a drawn item, its place by score among those it was drawn from, from 1; null where it was not drawn",
            True,
            rules=(between(1, None),),
        ),
        *(RAW_SCORE, FACTORS),
    ),
    key=("user_id", "rank"),
    extra_checks=(FACTORS_ADD_UP, dense_rank_check("user_id"), unique_check("user_id", "item_id")),
    public=True,
    shows="item_id",
)
SIMILAR_ITEMS = Table(
    "gold.similar_items",
    "one item similar to one active item",
    (
        RUN_DATE,
        ITEM_ID,
        RANK,
        Column("similar_item_id", "STRING", "The similar item, another one", rules=(not_blank(200),)),
        Column("score", "DOUBLE", "Cosine of the two items' vectors", rules=(between(-1, 1),)),
        MODEL_VERSION,
    ),
    key=("item_id", "rank"),
    extra_checks=(dense_rank_check("item_id"), unique_check("item_id", "similar_item_id")),
    public=True,
    shows="similar_item_id",
)
DEFAULT_RECOMMENDATIONS = Table(
    "gold.default_recommendations",
    "one item for users who were never seen: overall, or for one value of the deployment's segment",
    (
        RUN_DATE,
        Column(
            "segment_name", "STRING", "'overall', or the column that the segment is a value of", rules=(not_blank(200),)
        ),
        Column("segment_value", "STRING", "The segment: 'all', or a value such as a store", rules=(not_blank(200),)),
        RANK,
        ITEM_ID,
        Column("score", "DOUBLE", "Share of the segment's buyers who bought it lately", rules=(PROBABILITY,)),
        Column("reason", "STRING", "Why, in a sentence that a person can read", rules=(not_blank(500),)),
    ),
    key=("segment_name", "segment_value", "rank"),
    extra_checks=(
        dense_rank_check("segment_name", "segment_value"),
        unique_check("segment_name", "segment_value", "item_id"),
    ),
    public=True,
    shows="item_id",
)

UNITS = between(0, None)
EXPECTED = (
    Column("expected_units", "DOUBLE", "Units expected, on average", rules=(UNITS,)),
    Column("p10", "DOUBLE", "Units that demand stays at or below with probability .1", rules=(UNITS,)),
    Column("p50", "DOUBLE", "The same with probability .5", rules=(UNITS,)),
    Column("p90", "DOUBLE", "The same with probability .9", rules=(UNITS,)),
)
OVERDISPERSION = Column(
    "overdispersion",
    "DOUBLE",
    "Squared relative error of the rate, which all days share; null, to be read as 0: forecast before it was published",
    True,
    rules=(UNITS,),
)
ORDERED = row_check("quantiles_ordered", "p10 <= p50 AND p50 <= p90", "p10 <= p50 <= p90")
CATEGORY = "The item's category in the catalogue of the run; null where it has none"
DEMAND_FORECAST = Table(
    "gold.demand_forecast",
    "what one location will sell of one item in one of the four weeks after run_date; every pair sold in 26 weeks has "
    "all. gold.demand_profile splits a week into days",
    (
        RUN_DATE,
        LOCATION_ID,
        ITEM_ID,
        Column("target_week", "DATE", "The week's first day; the first week begins on the day after run_date"),
        *EXPECTED,
        Column(
            "dispersion",
            "DOUBLE",
            "Variance over mean of what days do independently of each other. Over any run of days the pair's demand is "
            "negative binomial with the sum m of the days' expected units (expected_units x share) as its mean and the "
            "variance dispersion x m + overdispersion x m^2",
            rules=(between(1, None),),
        ),
        Column("category", "STRING", f"{CATEGORY}: what gold.demand_profile is joined by", True),
        OVERDISPERSION,
    ),
    key=("location_id", "item_id", "target_week"),
    extra_checks=(
        ORDERED,
        row_check(
            "in_horizon",
            "target_week <= date_add(run_date, 22)",
            "target_week must begin at most 22 days after run_date",
        ),
        row_check(  # no more: after a rollback a date may have the rows of an earlier one
            "ahead",
            "target_week > run_date",
            "target_week should be after run_date",
            "warning",
        ),
    ),
    public=True,
    amounts={"units": "sum(expected_units)"},
)
DEMAND_PROFILE = Table(
    "gold.demand_profile",
    "a day's share of its week's expected units, for the items of one category: its weekday's and its holiday's part",
    (
        RUN_DATE,
        Column("location_id", "STRING", "Where it holds; null: in every location, as the model computes it", True),
        Column("category", "STRING", CATEGORY, True),
        Column("target_date", "DATE", "The day, one of the 28 after run_date"),
        Column(
            "share",
            "DOUBLE",
            "The day's share of its week (gold.demand_forecast): a week's add up to 1, or are all 0 where every day is "
            "closed",
            rules=(PROBABILITY,),
        ),
        Column("holiday", "STRING", "The holiday's name; null on a day without one", True),
    ),
    key=("location_id", "category", "target_date"),
    extra_checks=(
        row_check(
            "in_horizon",
            "target_date <= date_add(run_date, 28)",
            "target_date must be at most 28 days after run_date",
        ),
        table_check(
            "weeks_complete",
            f"SELECT {PARTITION}, location_id, category FROM {{batch}} GROUP BY {PARTITION}, location_id, category "
            "HAVING count(*) <> 28 OR abs(sum(share) - round(sum(share))) > 1e-9",
            "a category must have 28 days, and the shares of each of its weeks must add up to 1, or to 0",
        ),
    ),
    public=True,
)
ITEM_DEMAND = Table(
    "gold.item_demand",
    "what the shop will sell of one item in one of the four weeks after run_date, in all its locations together; every "
    "item sold in 26 weeks has all. More than its rows of gold.demand_forecast add up to: an item also sells where it "
    "was not sold lately",
    (
        RUN_DATE,
        ITEM_ID,
        Column("target_week", "DATE", "The week's first day; the first week begins on the day after run_date"),
        *EXPECTED,
        Column(
            "dispersion",
            "DOUBLE",
            "As in gold.demand_forecast, of the item: the demand of weeks with m expected units together has "
            "the variance dispersion x m + overdispersion x m^2",
            rules=(between(1, None),),
        ),
        OVERDISPERSION,
    ),
    key=("item_id", "target_week"),
    extra_checks=(
        ORDERED,
        row_check(
            "in_horizon",
            "target_week <= date_add(run_date, 22)",
            "target_week must begin at most 22 days after run_date",
        ),
    ),
    public=True,
    amounts={"units": "sum(expected_units)"},
)
ACTIONS = ("ok", "alert", "replenish", "transfer")
INVENTORY_ACTIONS = Table(
    "gold.inventory_actions",
    "one thing to do tonight about one item at one location, or that nothing is (ok); every pair of the stock "
    "snapshot has a row",
    (
        RUN_DATE,
        Column("location_id", "STRING", "Where; of a transfer, where to", rules=(not_blank(200),)),
        ITEM_ID,
        Column("action", "STRING", "What to do", rules=(one_of(*ACTIONS),)),
        Column(
            "quantity",
            QUANTITY,
            "Units to order (complete packs) or to move (whole units); of an alert, units missing; else 0",
            rules=(UNITS,),
        ),
        Column("from_location_id", "STRING", "Of a transfer, the location that gives", True, (not_blank(200),)),
        Column(
            "stockout_probability",
            "DOUBLE",
            "Probability that demand before an order placed now arrives is more than what is there and on order; null "
            "where the forecast does not know the pair",
            True,
            (PROBABILITY,),
        ),
        Column("reason", "STRING", "Why, in a sentence whose numbers can be checked", rules=(not_blank(500),)),
    ),
    key=("location_id", "item_id", "action", "from_location_id"),
    extra_checks=(
        row_check(
            "transfer_complete",
            "(action = 'transfer') = (from_location_id IS NOT NULL)",
            "a transfer, and nothing else, comes from a location",
        ),
        row_check("not_to_itself", "from_location_id <> location_id", "a location must not give to itself"),
        row_check(
            "something_moves",
            "CASE action WHEN 'ok' THEN quantity = 0 WHEN 'alert' THEN true ELSE quantity > 0 END",
            "an order or a transfer is of some units, ok of none",
        ),
    ),
    may_be_empty=True,
    public=True,
    amounts={"ordered_units": "sum(CASE action WHEN 'replenish' THEN quantity ELSE 0 END)"},
)
TABLES = (
    *(RECOMMENDATIONS, SIMILAR_ITEMS, DEFAULT_RECOMMENDATIONS),
    *(DEMAND_FORECAST, DEMAND_PROFILE, ITEM_DEMAND, INVENTORY_ACTIONS),
)
