"""Explanations: what a score is the sum of, and which features matter to a model."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, not_blank, row_check

RAW_SCORE = Column("raw_score", "DOUBLE", "What the ranker orders a user's rows by; null where factors are", True)
FACTORS = Column(
    "factors",
    "ARRAY<STRUCT<name: STRING, value: DOUBLE>>",
    "What raw_score is the sum of: the groups of features with the largest parts, 'other' groups, and 'base', which "
    "every row has; null for rows far down, and for those that fill up a list",
    True,
)
# The parts are LightGBM's contributions, the score is its prediction: two computations that must agree.
FACTORS_ADD_UP = row_check(
    "factors_add_up",
    "factors IS NULL OR abs(aggregate(factors, 0D, (total, part) -> total + part.value) - raw_score) <= 1e-9",
    "factors must add up to raw_score within 1e-9",
)

IMPORTANCES = Table(
    "ops.importances",
    "how much one feature moves the raw scores of the model that one evaluation judged",
    (
        RUN_DATE,
        Column("model_version", "STRING", "The model, as in ops.models"),
        Column("feature", "STRING", "The feature", rules=(not_blank(100),)),
        Column("group", "STRING", "Its group, as in factors; null: the model is of another list of features", True),
        Column(
            "mean_abs",
            "DOUBLE",
            "Mean magnitude of its part in the raw score, over rows of the run that calibrated the model",
            rules=(between(0, None),),
        ),
    ),
    key=("model_version", "feature"),
)

TABLES = (IMPORTANCES,)
