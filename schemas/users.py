"""Who the users are: profiles, segments and their movements."""

from schemas.bronze import RUN_DATE
from schemas.contract import (
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
from schemas.features import USER_ID
from schemas.gold import PROBABILITY, RANK
from schemas.silver import ITEM_ID

AMOUNT = between(0, None)


def _ahead(days: int) -> tuple[Column, ...]:
    text = f"Expected spend in the next {days} days, in the shop's currency"
    return (
        Column(f"value_{days}", "DOUBLE", text, rules=(AMOUNT,)),
        Column(f"value_{days}_low", "DOUBLE", "Lower end of its 80 % interval", rules=(AMOUNT,)),
        Column(f"value_{days}_high", "DOUBLE", "Upper end of it", rules=(AMOUNT,)),
    )


USER_PROFILES = Table(
    "gold.user_profiles",
    "one user with a purchase that was not returned: what they did up to run_date, and what is expected of them",
    (
        RUN_DATE,
        USER_ID,
        Column("segment", "STRING", "The user's segment (gold.segments)", rules=(not_blank(100),)),
        Column("previous_segment", "STRING", "That of the run before; null without one", True, (not_blank(100),)),
        Column("segment_since", "DATE", "First run_date, without a change since, in this segment"),
        Column("first_on", "DATE", "Day of the first purchase"),
        Column("last_on", "DATE", "Day of the last purchase"),
        Column("tenure_days", "INT", "Days from the first purchase to run_date", rules=(AMOUNT,)),
        Column("recency_days", "INT", "Days from the last purchase to run_date", rules=(AMOUNT,)),
        Column("purchase_days", "BIGINT", "Days with a purchase", rules=(between(1, None),)),
        Column("spend", "DOUBLE", "Paid for what was not returned, in the shop's currency", rules=(AMOUNT,)),
        Column("mean_basket", "DOUBLE", "Spend a basket", rules=(AMOUNT,)),
        Column(
            "usual_gap_days", "DOUBLE", "Mean days from a purchase day to the next; null after one", True, (AMOUNT,)
        ),
        Column("p_active_28", "DOUBLE", "Probability of a purchase in the next 28 days", rules=(PROBABILITY,)),
        Column("p_active_90", "DOUBLE", "The same of 90 days", rules=(PROBABILITY,)),
        Column("churn_probability", "DOUBLE", "Probability of no purchase in 90 days", rules=(PROBABILITY,)),
        Column("p_alive", "DOUBLE", "Probability by MBG/NBD that the user has not left for good", rules=(PROBABILITY,)),
        *(
            Column(f"expected_purchases_{days}", "DOUBLE", f"Expected purchase days in {days} days", rules=(AMOUNT,))
            for days in (28, 90, 365)
        ),
        Column(
            "next_purchase_on",
            "DATE",
            "Day of the next purchase, if there is one within 91 days: the middle of the fewest days that hold half "
            "of its probability",
        ),
        Column("next_purchase_low", "DATE", "Day before which it is with a probability of 10 %"),
        Column("next_purchase_high", "DATE", "Day up to which it is with a probability of 90 %"),
        *_ahead(90),
        *_ahead(365),
        Column(
            "affinities",
            "ARRAY<STRUCT<category: STRING, share: DOUBLE, lift: DOUBLE, p_next_28: DOUBLE>>",
            "Up to 10 categories by their share of the user's spend; lift: that share over the shop's; p_next_28: "
            "probability to buy of it within 28 days, by the user's candidates; null without any",
        ),
        Column(
            "brands", "ARRAY<STRUCT<brand: STRING, share: DOUBLE, lift: DOUBLE>>", "Up to 10 brands in the same manner"
        ),
        Column("favourite_location", "STRING", "Where most purchase days were; null where logs do not say", True),
        Column("favourite_weekday", "INT", "Weekday of most purchase days, 1 for Monday", rules=(between(1, 7),)),
        Column("price_level", "DOUBLE", "Spend over what the same units cost others on average", True, (AMOUNT,)),
        Column(
            "promotion_share", "DOUBLE", "Share of spend at a price 10 % below the item's median", True, (PROBABILITY,)
        ),
        Column("reason", "STRING", "The figures behind it, in a sentence", rules=(not_blank(500),)),
        Column("is_new", "BOOLEAN", "Whether the first purchase was lately (new_days of [segments])"),
        Column("model_version", "STRING", "The model, as in ops.models; null where it was fitted within the run", True),
    ),
    key=("user_id",),
    extra_checks=(
        row_check("days_in_order", "first_on <= last_on AND last_on <= run_date", "first_on <= last_on <= run_date"),
        row_check("p_in_order", "p_active_28 <= p_active_90", "a longer horizon must not be less likely"),
        row_check(
            "purchases_in_order",
            "p_active_28 <= expected_purchases_28 + 1e-9 AND p_active_90 <= expected_purchases_90 + 1e-9 "
            "AND expected_purchases_28 <= expected_purchases_90 AND expected_purchases_90 <= expected_purchases_365",
            "expected purchases must be at least the probability of one, and grow with the horizon",
        ),
        row_check(
            "next_in_order",
            "next_purchase_low <= next_purchase_on AND next_purchase_on <= next_purchase_high",
            "next_purchase_on must be within its interval",
        ),
        row_check("values_in_order", "value_90_low <= value_90_high", "value_90_low <= value_90_high"),
    ),
    public=True,
    may_be_empty=True,
    amounts={"expected_value": "sum(value_90)"},
)
SEGMENTS = Table(
    "gold.segments",
    "one segment of users",
    (
        RUN_DATE,
        Column("segment", "STRING", "Its name", rules=(not_blank(100),)),
        Column("users", "BIGINT", "Users in it", rules=(AMOUNT,)),
        Column("revenue_share", "DOUBLE", "Share of all users' spend", rules=(PROBABILITY,)),
        Column("definition", "STRING", "SQL over gold.user_profiles, true for its users and no others"),
        Column("moved_in", "BIGINT", "Users who were in another segment in the run before", rules=(AMOUNT,)),
        Column("moved_out", "BIGINT", "Users who were in it then and are in another now", rules=(AMOUNT,)),
    ),
    key=("segment",),
    extra_checks=(
        table_check(
            "shares_add_up",
            "SELECT run_date FROM {batch} GROUP BY run_date HAVING abs(sum(revenue_share) - 1) > 1e-6 "
            "AND sum(users) > 0",
            "the segments' shares of revenue must add up to 1",
        ),
    ),
    public=True,
    may_be_empty=True,
)

CONTEXT_RECOMMENDATIONS = Table(
    "gold.context_recommendations",
    "one item recommended to one user in a context that the user was seen in",
    (
        RUN_DATE,
        USER_ID,
        Column("context_name", "STRING", "What the context is", rules=(one_of("location", "weekday"),)),
        Column("context_value", "STRING", "Which location, or which weekday, such as Monday", rules=(not_blank(200),)),
        RANK,
        ITEM_ID,
        Column(
            "score",
            "DOUBLE",
            "Probability that the user buys the item within 28 days, its log odds moved by how often it is bought in "
            "the context",
            rules=(PROBABILITY,),
        ),
        Column("reason", "STRING", "Why, in a sentence that a person can read", rules=(not_blank(500),)),
    ),
    key=("user_id", "context_name", "context_value", "rank"),
    extra_checks=(
        dense_rank_check("user_id", "context_name", "context_value"),
        unique_check("user_id", "context_name", "context_value", "item_id"),
    ),
    public=True,
    shows="item_id",
    may_be_empty=True,
)

PROFILE_METRICS = Table(
    "ops.profile_metrics",
    "one figure of one contender, of what was expected at a past cut and what followed",
    (
        RUN_DATE,
        Column("cut_date", "DATE", "The last day that was known"),
        Column("horizon_days", "INT", "Days after it that the expectation was of", rules=(AMOUNT,)),
        Column("contender", "STRING", "Whose: nightshelf, or a peer", rules=(not_blank(200),)),
        Column("metric", "STRING", "The figure's name; lead: nightshelf less MBG/NBD", rules=(not_blank(100),)),
        Column("value", "DOUBLE", "The figure; null where nobody bought", True),
        Column("low", "DOUBLE", "Lower end of its 95 % bootstrap interval", True),
        Column("high", "DOUBLE", "Upper end of it", True),
        Column("users", "BIGINT", "Users with a purchase before the cut", rules=(AMOUNT,)),
    ),
    key=("cut_date", "horizon_days", "contender", "metric"),
)

TABLES = (USER_PROFILES, SEGMENTS, CONTEXT_RECOMMENDATIONS, PROFILE_METRICS)
