"""Exposure: how much of the lists groups of items have, beside what is bought of them. No Spark."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, not_blank, one_of, row_check

KINDS = ("brand", "category", "location", "tail", "new")
AMOUNT, SHARE = (between(0, None),), (between(0, 1),)
EXPOSURE = Table(
    "ops.exposure",
    "one group of items in the newest lists of one gold table: its exposure beside its share of what was bought",
    (
        RUN_DATE,
        Column("table_name", "STRING", "The table whose lists these are", rules=(not_blank(100),)),
        Column("kind", "STRING", "What the group is one of", rules=(one_of(*KINDS),)),
        Column(
            "group",
            "STRING",
            "The brand or category; the location where most buyers of the item were; head (as many buyers as the "
            "best-selling fifth) or tail; new (first sold in these days, or never) or known",
            rules=(not_blank(500),),
        ),
        Column(
            "exposure",
            "DOUBLE",
            "Its mean share of a list, a place counting by 1 / log2(place + 1)",
            rules=SHARE,
        ),
        Column("bought_share", "DOUBLE", "Its share of the pairs of a buyer and an item of these days", rules=SHARE),
        Column("ratio", "DOUBLE", "Exposure over bought share; null where nothing of it was bought", True, AMOUNT),
        Column("low", "DOUBLE", "Lower end of its 95 % interval, by lists and buyers", True, AMOUNT),
        Column("high", "DOUBLE", "Upper end", True, AMOUNT),
        Column("lists", "BIGINT", "Lists of the table", rules=AMOUNT),
        Column("buyers", "BIGINT", "Buyers of something of the group", rules=AMOUNT),
        Column(
            "is_within",
            "BOOLEAN",
            "Whether the interval reaches into the limits of [drift.exposure]; null without limits",
            True,
        ),
    ),
    key=("table_name", "kind", "group"),
    extra_checks=(
        row_check(
            "exposure_within_limits",
            "is_within",
            "exposure over bought share must be within [drift.exposure]",
            "warning",
            shown=("ratio", "low", "high"),
        ),
    ),
)

TABLES = (EXPOSURE,)
