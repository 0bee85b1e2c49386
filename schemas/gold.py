"""Gold: the public tables. Column names are part of the product: columns are only ever added."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, dense_rank_check, not_blank, unique_check
from schemas.features import ITEM_ID, MODEL_VERSION, USER_ID

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
    ),
    key=("user_id", "rank"),
    extra_checks=(dense_rank_check("user_id"), unique_check("user_id", "item_id")),
    public=True,
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
)

TABLES = (RECOMMENDATIONS, SIMILAR_ITEMS, DEFAULT_RECOMMENDATIONS)
