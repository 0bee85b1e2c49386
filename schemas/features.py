"""Features: what the night computes on its way: histories, vectors, candidates."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, dense_rank_check, not_blank, one_of
from schemas.silver import ITEMS

SOURCES = ("own_history", "copurchase", "bert", "trending")

USER_ID = Column("user_id", "STRING", "Identifies the user", rules=(not_blank(200),))
ITEM_ID = ITEMS.column("item_id")
TEXT_KEY = Column("text_key", "STRING", "Hash of the text and of everything else the vector depends on")
MODEL_VERSION = Column("model_version", "STRING", "The model that made it, as in ops.models")
VECTOR = Column("vector", "BINARY", "Unit vector, little-endian float16")

USER_HISTORIES = Table(
    "features.user_histories",
    "one user with at least one purchase up to run_date",
    (
        RUN_DATE,
        USER_ID,
        Column("history", "STRING", "Titles of the items bought, most recent first", rules=(not_blank(100_000),)),
        Column("item_count", "INT", "Different items named in the history", rules=(between(1, None),)),
        Column("purchase_count", "BIGINT", "Purchase events up to run_date", rules=(between(1, None),)),
        Column("last_purchase_date", "DATE", "Day of the newest purchase"),
    ),
    key=("user_id",),
)
ITEM_VECTORS = Table(
    "features.item_vectors",
    "one item's text as a vector",
    (RUN_DATE, ITEM_ID, TEXT_KEY, MODEL_VERSION, VECTOR),
    key=("item_id",),
)
USER_VECTORS = Table(
    "features.user_vectors",
    "one user's history as a vector",
    (RUN_DATE, USER_ID, TEXT_KEY, MODEL_VERSION, VECTOR),
    key=("user_id",),
)
CANDIDATES = Table(
    "features.candidates",
    "one item that one generator proposes to one user",
    (
        RUN_DATE,
        USER_ID,
        Column("source", "STRING", "The generator", rules=(one_of(*SOURCES),)),
        Column("rank", "INT", "Place in the generator's list for the user, from 1", rules=(between(1, None),)),
        ITEM_ID,
        Column("score", "DOUBLE", "The generator's own score; comparable within a generator only"),
        Column("reason_item_id", "STRING", "The user's own item that brought it", True),
    ),
    key=("user_id", "source", "item_id"),
    extra_checks=(dense_rank_check("user_id", "source"),),
)

TABLES = (USER_HISTORIES, ITEM_VECTORS, USER_VECTORS, CANDIDATES)
