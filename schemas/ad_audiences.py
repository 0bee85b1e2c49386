"""Audiences of campaigns. No Spark."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, dense_rank_check, row_check
from schemas.features import USER_ID
from schemas.gold import PROBABILITY
from schemas.silver import CAMPAIGN_ID

AD_AUDIENCES = Table(
    "gold.ad_audiences",
    "one user to whom one campaign of the next day is to be shown, or who is left out of it as a control",
    (
        RUN_DATE,
        CAMPAIGN_ID,
        USER_ID,
        Column("rank", "INT", "Place by expected value, from 1; null for a control", True, (between(1, None),)),
        Column("p_click", "DOUBLE", "Probability of a click; null where there are no click logs", True, (PROBABILITY,)),
        Column(
            "p_conversion", "DOUBLE", "Probability that the user does what the campaign is for", rules=(PROBABILITY,)
        ),
        Column("expected_value", "DOUBLE", "What showing it is worth on average, in the shop's currency"),
        Column("is_control", "BOOLEAN", "Whether the user is left out, so that lift can be measured"),
    ),
    key=("campaign_id", "user_id"),
    extra_checks=(
        row_check("controls_unranked", "is_control = (rank IS NULL)", "a control, and nobody else, has no rank"),
        dense_rank_check("campaign_id", where="rank IS NOT NULL"),
    ),
    may_be_empty=True,
    public=True,
    amounts={
        "audience": "count(rank)",
        "expected_value": "sum(CASE WHEN rank IS NULL THEN 0 ELSE expected_value END)",
    },
)

TABLES = (AD_AUDIENCES,)
