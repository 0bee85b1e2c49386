"""Search and trends: queries, the items that they meet, ranked; what is rising and falling of what users look for."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, dense_rank_check, not_blank, one_of, row_check, unique_check
from schemas.features import MODEL_VERSION, TEXT_KEY, USER_ID, VECTOR
from schemas.silver import ITEM_ID

COUNT = between(0, None)
MOST_QUERY = 200  # characters of a query as it is read
CORRECTIONS = ("none", "spelling", "split", "join", "synonym")
MATCHES = ("exact", "corrected", "relaxed", "semantic", "popular")
SOURCES = ("log", "catalogue", "judged")

QUERIES = Table(
    "features.queries",
    "one query, as it was read: of the search log, of the catalogue's own words, or of silver.judgements",
    (
        RUN_DATE,
        Column("query_key", "STRING", "What queries share that differ in case, signs and endings alone"),
        Column(
            "query",
            "STRING",
            "The query in normal form, its commonest one; few users may have searched for it",
            rules=(not_blank(MOST_QUERY),),
            personal=True,
        ),
        Column("searches_28", "BIGINT", "Searches for it on the last 28 days", rules=(COUNT,)),
        Column("users_28", "BIGINT", "Different users, or guests' sessions, among these", rules=(COUNT,)),
        Column("first_on", "DATE", "Day of the first search for it; null without one", True),
        Column("corrected_query", "STRING", "What is looked for: the query, its mistakes corrected"),
        Column("correction", "STRING", "What was corrected", rules=(one_of(*CORRECTIONS),)),
        Column("correction_p", "DOUBLE", "Probability that this is what was meant", rules=(between(0, 1),)),
        Column("category", "STRING", "The category that it asks for; null for none in particular", True),
        Column("brand", "STRING", "The brand that it names; null for none", True),
        Column("is_code", "BOOLEAN", "Whether it is an article number or a bar code"),
        Column("result_count", "BIGINT", "Matched items that have all of its words", rules=(COUNT,)),
        Column("source", "STRING", "Where it comes from: public unless from the log alone", rules=(one_of(*SOURCES),)),
        TEXT_KEY,
        MODEL_VERSION,
        VECTOR,
        Column("dense_weight", "DOUBLE", "Weight of the cosine beside the words"),
        Column("catalogue_hash", "STRING", "Hash of the catalogue and the model that it was matched with"),
    ),
    key=("query_key",),
)
QUERY_ITEMS = Table(
    "features.query_items",
    "one item that one query meets, by its words or by its meaning",
    (
        RUN_DATE,
        Column("query_key", "STRING", "The query, as in features.queries"),
        ITEM_ID,
        Column("bm25", "DOUBLE", "How well the words match (BM25F)", rules=(COUNT,)),
        Column("cosine", "DOUBLE", "Cosine of the query's and the item's vectors; null without one", True),
        Column("covered", "DOUBLE", "Share of the query's words that it has, rare ones weighing more"),
        Column("match", "STRING", "How it was found", rules=(one_of(*MATCHES),)),
        Column("shown", "BIGINT", "Impressions after the query on the last 90 days", rules=(COUNT,)),
        Column("clicks", "BIGINT", "Clicks likewise", rules=(COUNT,)),
        Column("carts", "BIGINT", "Additions to a cart likewise", rules=(COUNT,)),
        Column("purchases", "BIGINT", "Purchases likewise", rules=(COUNT,)),
        Column("examined", "DOUBLE", "Impressions, each by 1 over its position: its chance to be seen", True),
        Column("relevance", "DOUBLE", "Clicks, carts (2) and purchases (3) over examined", True, (COUNT,)),
    ),
    key=("query_key", "item_id"),
)
RANKINGS = Table(
    "gold.search_rankings",
    "one item that one query shows, before what is known of the user is added",
    (
        RUN_DATE,
        Column("query", "STRING", "The query in normal form", rules=(not_blank(MOST_QUERY),)),
        Column("rank", "INT", "Place in the list, from 1, without gaps", rules=(between(1, 1000),)),
        Column("corrected_query", "STRING", "What is looked for: the query, its mistakes corrected"),
        ITEM_ID,
        Column("score_logit", "DOUBLE", "Score to which gold.search_boosts adds a user's boost of the item"),
        Column("score", "DOUBLE", "The same between 0 and 1 (logistic function)", rules=(between(0, 1),)),
        Column("match", "STRING", "How the item was found", rules=(one_of(*MATCHES),)),
        Column("reason", "STRING", "Why, in a sentence that a person can read", rules=(not_blank(500),)),
        Column("searches_28", "BIGINT", "Searches for the query on the last 28 days", rules=(COUNT,)),
        MODEL_VERSION,
    ),
    key=("query", "rank"),
    extra_checks=(dense_rank_check("query"), unique_check("query", "item_id")),
    public=True,
    shows="item_id",
    may_be_empty=True,
)
BOOSTS = Table(
    "gold.search_boosts",
    "what one user adds to the score of one item in every list of gold.search_rankings; without a row it is 0",
    (
        RUN_DATE,
        USER_ID,
        ITEM_ID,
        Column("boost", "DOUBLE", "What is added to score_logit"),
        Column("reason", "STRING", "Why, in a sentence that a person can read", rules=(not_blank(500),)),
    ),
    key=("user_id", "item_id"),
    public=True,
    shows="item_id",
    may_be_empty=True,
)

KINDS, QUERY_KINDS = ("item", "category", "brand"), ("query", "zero_result", "misspelling")
ASPECT = "aspect"  # of reviews: "size in Dresses"; it falls as complaints about it rise
SHARE = between(0, 1)
TRENDS = Table(
    "gold.search_trends",
    "one key whose count of late is more, or less, than its own past explains",
    (
        RUN_DATE,
        Column("kind", "STRING", "What the key is", rules=(one_of(*KINDS, *QUERY_KINDS, ASPECT),)),
        Column("key", "STRING", "The item, category, brand, query, or aspect in a category", rules=(not_blank(200),)),
        Column("window_days", "INT", "Days up to run_date that are counted", rules=(between(1, 28),)),
        Column("direction", "STRING", "Whether the key rises or falls", rules=(one_of("rising", "falling"),)),
        Column(
            "count",
            "BIGINT",
            "Purchases, searches, or of an aspect reviews with a complaint, in the window; a user counts once a day",
            rules=(between(0, None),),
        ),
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
        Column(
            "zero_result_share",
            "DOUBLE",
            "Share of its searches without a result; null but for queries",
            True,
            (SHARE,),
        ),
        Column("click_share", "DOUBLE", "Share of its searches with a click; likewise", True, (SHARE,)),
        Column("purchase_share", "DOUBLE", "Share of its searches with a cart or a purchase; likewise", True, (SHARE,)),
        Column("action", "STRING", "What to do about a rising query; null for none", True, (not_blank(200),)),
    ),
    key=("kind", "key"),
    extra_checks=(
        row_check("started_before", "started_on <= run_date", "a trend must not start after run_date"),
        row_check("interval_holds_ratio", "low <= ratio AND ratio <= high", "the interval must hold the ratio"),
    ),
    public=True,
    shows="CASE WHEN kind = 'item' THEN key END",
    may_be_empty=True,
)

SEARCH_METRICS = Table(
    "ops.search_metrics",
    "one figure of one ranking of the judged queries",
    (
        RUN_DATE,
        Column("contender", "STRING", "Whose ranking: nightshelf, or a plain one", rules=(not_blank(200),)),
        Column("metric", "STRING", "The figure's name", rules=(not_blank(100),)),
        Column("value", "DOUBLE", "The figure"),
        Column("low", "DOUBLE", "Lower end of its 95 % bootstrap interval", True),
        Column("high", "DOUBLE", "Upper end of it", True),
        Column("queries", "BIGINT", "Judged queries with a relevant item", rules=(COUNT,)),
    ),
    key=("contender", "metric"),
)

TABLES = (QUERIES, QUERY_ITEMS, RANKINGS, BOOSTS, TRENDS, SEARCH_METRICS)
