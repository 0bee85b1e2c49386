"""Read-outs of experiments and of places drawn at random. No Spark."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, not_blank, one_of

SHARE = (between(0, 1),)
READOUTS = Table(
    "ops.readouts",
    "one variant of one experiment, as read on one date",
    (
        RUN_DATE,
        Column("experiment_id", "STRING", "Which experiment", rules=(not_blank(200),)),
        Column("metric", "STRING", "What of its users was compared", rules=(one_of("spend", "units", "baskets"),)),
        Column("variant", "STRING", "Which variant", rules=(not_blank(200),)),
        Column("users", "BIGINT", "Users in it", rules=(between(0, None),)),
        Column("mean", "DOUBLE", "Their mean, adjusted by what they did before", True),
        Column("effect", "DOUBLE", "How far that is above the first variant's", True),
        Column("low", "DOUBLE", "Lower end of its 95 % interval for one look; null for the first variant", True),
        Column("high", "DOUBLE", "Upper end", True),
        Column("low_always", "DOUBLE", "Lower end of the 95 % interval that holds however often it is looked at", True),
        Column("high_always", "DOUBLE", "Upper end", True),
        Column("cuped_r2", "DOUBLE", "Share of the metric's variance that the past explains", rules=SHARE),
        Column("srm_p", "DOUBLE", "p-value of equal numbers of users", rules=SHARE),
        Column("users_needed", "BIGINT", "Users of a variant that find minimum_effect", rules=(between(0, None),)),
        Column(
            "verdict",
            "STRING",
            "By the interval for any number of looks",
            rules=(one_of("better", "worse", "undecided"),),
        ),
    ),
    key=("experiment_id", "variant"),
)
POLICIES = Table(
    "ops.policies",
    "one way to choose items for the places that were drawn at random, valued by one estimator on one date",
    (
        RUN_DATE,
        Column(
            "policy",
            "STRING",
            "What takes the places: the pool's best items (best), any of its better half (upper_half), any (drawn)",
            rules=(one_of("best", "upper_half", "drawn"),),
        ),
        Column("estimator", "STRING", "How it was valued", rules=(one_of("ips", "snips", "dr"),)),
        Column(
            "value",
            "DOUBLE",
            "Probability that its choice for a place is bought; null with an effective sample under 100",
            True,
        ),
        Column("low", "DOUBLE", "Lower end of its 95 % interval, by users", True),
        Column("high", "DOUBLE", "Upper end", True),
        Column("ess", "DOUBLE", "Effective sample: drawn places of equal weight", rules=(between(0, None),)),
        Column("max_weight", "DOUBLE", "Largest weight of a drawn place", rules=(between(0, None),)),
        Column("places", "BIGINT", "Drawn places that it was valued by", rules=(between(0, None),)),
        Column("users", "BIGINT", "Users with such places", rules=(between(0, None),)),
    ),
    key=("policy", "estimator"),
)

TABLES = (READOUTS, POLICIES)
