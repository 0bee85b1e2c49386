"""Features: intermediate tables of the nightly run: vectors, candidates."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, not_blank
from schemas.explanations import FACTORS, RAW_SCORE
from schemas.silver import ITEM_ID

USER_ID = Column("user_id", "STRING", "Identifies the user", rules=(not_blank(200),), personal=True)
TEXT_KEY = Column("text_key", "STRING", "Hash of the text and of everything else the vector depends on")
MODEL_VERSION = Column("model_version", "STRING", "The model that made it, as in ops.models")
VECTOR = Column("vector", "BINARY", "Unit vector, little-endian float16")

ITEM_VECTORS = Table(
    "features.item_vectors",
    "one item's text as a vector",
    (RUN_DATE, ITEM_ID, TEXT_KEY, MODEL_VERSION, VECTOR),
    key=("item_id",),
)
USER_VECTORS = Table(
    "features.user_vectors",
    "one user's purchases as a vector: every user who bought an item of the catalogue",
    (
        RUN_DATE,
        USER_ID,
        Column("history_hash", "STRING", "Hash of the purchases that were read and of their items' text keys"),
        MODEL_VERSION,
        VECTOR,
    ),
    key=("user_id",),
)
CANDIDATES = Table(
    "features.candidates",
    "one item that one generator or several propose to one user",
    (
        RUN_DATE,
        USER_ID,
        ITEM_ID,
        Column(
            "score",
            "DOUBLE",
            "Probability that the user buys the item within the horizon, by the ranker",
            rules=(between(0, 1),),
        ),
        Column("sources", "ARRAY<STRING>", "The generators that propose it"),
        Column("reason_item_id", "STRING", "The user's own item that it is bought with most", True),
        Column("times_bought", "INT", "Days on which the user bought it", rules=(between(0, None),)),
        Column("last_bought_on", "DATE", "The newest of these days", True),
        Column("usual_gap", "DOUBLE", "Days between two of them, drawn to the item's own gap", True),
        Column("recent_buyers", "INT", "Buyers of the item in the last 28 days", rules=(between(0, None),)),
        MODEL_VERSION,
        *(RAW_SCORE, FACTORS),
    ),
    key=("user_id", "item_id"),
)

TABLES = (ITEM_VECTORS, USER_VECTORS, CANDIDATES)
