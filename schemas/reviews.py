"""What customers say: sentiment of clauses of reviews, of items and of their aspects."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, not_blank, row_check
from schemas.features import TEXT_KEY
from schemas.silver import ITEM_ID

COUNT, PROBABILITY, SIGNED = between(0, None), between(0, 1), between(-1, 1)
STARS, CHANGE = between(1, 5), between(-2, 2)
OVERALL = "overall"  # in place of an aspect: the item as a thing
NO_CATEGORY = "all"  # the category of items without one
MODEL_VERSION = Column("model_version", "STRING", "The model, as in ops.models; null where there was none", True)
ASPECT = Column("aspect", "STRING", f"'{OVERALL}', or what of the item it is about", rules=(not_blank(100),))
CATEGORY = Column("category", "STRING", f"Category of the items; '{NO_CATEGORY}' without one", rules=(not_blank(200),))
QUOTE = 300  # characters of the longest clause that is quoted

REVIEW_SENTENCES = Table(
    "features.review_sentences",
    "one clause of one review (a sentence that turns has several), with its sentiment",
    (
        RUN_DATE,
        Column("review_id", "STRING", "The review, as in silver.reviews", rules=(not_blank(200),)),
        Column(
            "sentence_no", "INT", "Its place in the review, from 1; the title comes first", rules=(between(1, None),)
        ),
        TEXT_KEY,
        Column("sentence", "STRING", "The clause, personal data masked", rules=(not_blank(10_000),)),
        Column("sentiment", "DOUBLE", "Expected stars of a review of it alone, from -1 (1) to 1 (5)", rules=(SIGNED,)),
        *(
            Column(f"p_{name}", "DOUBLE", f"Probability of {stars} for it alone", rules=(PROBABILITY,))
            for name, stars in (("negative", "1 or 2 stars"), ("neutral", "3 stars"), ("positive", "4 or 5 stars"))
        ),
        Column("weight", "DOUBLE", "Its weight against the review's other clauses", rules=(COUNT,)),
        Column("aspects", "ARRAY<STRING>", "What of the item it names"),
        Column("user_id", "STRING", "Who wrote the review; null where it is not said", True, personal=True),
        Column("unknown_share", "DOUBLE", "Share of its tokens that the encoder does not know", rules=(PROBABILITY,)),
        Column("model_version", "STRING", "The model that read it, as in ops.models"),
    ),
    key=("review_id", "sentence_no"),
)
ITEM_SENTIMENT = Table(
    "gold.item_sentiment",
    "what the reviews of one item say of it, or of one aspect of it",
    (
        RUN_DATE,
        ITEM_ID,
        ASPECT,
        Column("reviews", "BIGINT", "Reviews that count; of an aspect, those that name it", rules=(between(1, None),)),
        Column("mentions", "BIGINT", "Clauses; of an aspect, those that name it", rules=(COUNT,)),
        Column("copies", "BIGINT", "Reviews left out: another of the item has the same text", rules=(COUNT,)),
        Column("stars_mean", "DOUBLE", "Mean stars of these reviews; null without any", True, (STARS,)),
        Column(
            "stars_adjusted", "DOUBLE", "The same, drawn to the category's mean: few reviews say little", True, (STARS,)
        ),
        Column("sentiment", "DOUBLE", "Mean sentiment of these reviews' clauses; null without a text", True, (SIGNED,)),
        Column("low", "DOUBLE", "Lower end of its 95 % interval", True, (SIGNED,)),
        Column("high", "DOUBLE", "Upper end of it", True, (SIGNED,)),
        Column("negative_share", "DOUBLE", "Share of negative reviews; of an aspect, of clauses", True, (PROBABILITY,)),
        Column(
            "change_90d",
            "DOUBLE",
            "Mean sentiment of the last 90 days less that before; null for too few",
            True,
            (CHANGE,),
        ),
        Column(
            "change_q",
            "DOUBLE",
            "Least false discovery rate in the category at which it has changed",
            True,
            (PROBABILITY,),
        ),
        Column("best_quote", "STRING", "The most positive clause", True, (not_blank(QUOTE),)),
        Column("worst_quote", "STRING", "The most negative clause", True, (not_blank(QUOTE),)),
        Column("reason", "STRING", "The figures behind it, in a sentence", rules=(not_blank(500),)),
        MODEL_VERSION,
    ),
    key=("item_id", "aspect"),
    extra_checks=(
        row_check(
            "interval_holds_sentiment", "low <= sentiment AND sentiment <= high", "the interval must hold the mean"
        ),
    ),
    public=True,
    may_be_empty=True,
    amounts={"reviews": "sum(CASE aspect WHEN 'overall' THEN reviews ELSE 0 END)"},
)
ASPECTS = Table(
    "gold.aspects",
    "one aspect of the items of one category",
    (
        RUN_DATE,
        CATEGORY,
        ASPECT,
        Column("terms", "ARRAY<STRING>", "The words that name it"),
        Column("mentions", "BIGINT", "Clauses that name it", rules=(COUNT,)),
        Column("sentiment", "DOUBLE", "Mean sentiment of these clauses", rules=(SIGNED,)),
    ),
    key=("category", "aspect"),
    public=True,
    may_be_empty=True,
)

TABLES = (REVIEW_SENTENCES, ITEM_SENTIMENT, ASPECTS)
