"""Search and trends: what is rising and falling among what users buy and look for."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, not_blank, one_of, row_check

KINDS = ("item", "category", "brand")
TRENDS = Table(
    "gold.search_trends",
    "one key whose count of late is more, or less, than its own past explains",
    (
        RUN_DATE,
        Column("kind", "STRING", "What the key is", rules=(one_of(*KINDS),)),
        Column("key", "STRING", "The item, category or brand", rules=(not_blank(200),)),
        Column("window_days", "INT", "Days up to run_date that are counted", rules=(between(1, 28),)),
        Column("direction", "STRING", "Whether the key rises or falls", rules=(one_of("rising", "falling"),)),
        Column("count", "BIGINT", "Purchases in the window; a user counts once a day", rules=(between(0, None),)),
        Column(
            "expected",
            "DOUBLE",
            "The same, from the key's share of the shop's sessions in its own past",
            rules=(between(0, None),),
        ),
        Column("ratio", "DOUBLE", "count over expected", rules=(between(0, None),)),
        Column("low", "DOUBLE", "Lower end of the 95 % interval of ratio", rules=(between(0, None),)),
        Column("high", "DOUBLE", "Upper end of it", rules=(between(0, None),)),
        Column(
            "q_value",
            "DOUBLE",
            "Least false discovery rate, among keys of like expected counts, at which it is a trend",
            rules=(between(0, 1),),
        ),
        Column("expected_next_7", "DOUBLE", "Expected count of the next 7 days", rules=(between(0, None),)),
        Column("started_on", "DATE", "First run_date, without a gap, that it has been a trend of this direction"),
        Column("users", "BIGINT", "Different users and guests' baskets in the window", rules=(between(0, None),)),
        Column("reason", "STRING", "Why, in a sentence that a person can read", rules=(not_blank(500),)),
    ),
    key=("kind", "key"),
    extra_checks=(
        row_check("started_before", "started_on <= run_date", "a trend must not start after run_date"),
        row_check("interval_holds_ratio", "low <= ratio AND ratio <= high", "the interval must hold the ratio"),
    ),
    public=True,
    may_be_empty=True,
)

TABLES = (TRENDS,)
