"""The night on one page: what each job reads (which table, which days) and writes. No Spark.

Everything that needs the order of things derives from here: the DAGs, the lineage, the local night, `make flow`.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas import bronze, dependencies
from schemas.job import RECOMMEND, Job, cleaned, files, history, latest, model, optional, pending, records, split, today

EVENTS = history("silver.events")
KNOWN_ITEMS = optional(today("silver.items"))
CATALOGUED = (KNOWN_ITEMS, optional(latest("silver.rejected_items")))  # what records' items are
ENCODED = (today("silver.items"), today("features.item_vectors"))
ENCODING = model(chosen="encoding")
CANDIDATES = today("features.candidates")
MATCHED = (latest("features.queries"), latest("features.query_items"))
QUERIES, QUERY_ITEMS = (today(f"features.{name}", may_be_empty=True) for name in ("queries", "query_items"))
SUSPECTS = optional(latest("silver.suspects"))
STOCK = optional(today("silver.stock", may_be_empty=True))  # of lists: what is out of stock
BLOCKED = optional(today("silver.blocked", may_be_empty=True))  # of lists: what none may show
SHOWN = (STOCK, BLOCKED)
PROMOTIONS, AD_EVENTS = optional(history("silver.promotions")), optional(history("silver.ad_events"))
DEMAND_MODEL, AUDIENCE_MODEL, SEARCH_MODEL = (optional(model(kind)) for kind in ("demand", "audience", "search"))
PROFILE_MODEL, SENTIMENT_MODEL = (optional(model(kind)) for kind in ("profile", "sentiment"))
LISTS = "gold.recommendations", "gold.similar_items", "gold.default_recommendations"
REVIEWS, SENTENCES = history("silver.reviews"), today("features.review_sentences", may_be_empty=True)

INTAKE = (
    Job(
        "ingest_logs",
        reads=(files("events"), files("items"), files("records"), history("bronze.files", later_too=True)),
        writes=("bronze.events", "bronze.items", "bronze.records", "bronze.files"),
        ledger="bronze.files",
    ),
    Job(
        "clean_items",
        reads=(history("bronze.items"),),
        writes=("silver.items", "silver.rejected_items"),
        balance=split("items", counted_by="record_count", rejected_counted_by="record_count"),
    ),
    Job(
        "link_persons",
        reads=(records("identities", "history"), history("silver.persons")),
        writes=("ops.person_changes", "silver.persons", "silver.rejected_identities"),
        balance=split("identities", counted_by="record_count", kept="silver.persons"),
    ),
    Job(
        "clean_events",
        reads=(pending("bronze.events"), pending("bronze.files"), *CATALOGUED, EVENTS),
        writes=("silver.events", "silver.rejected_events", "silver.cleaned_days"),
        balance=split("events"),
        ledger="silver.cleaned_days",
        after=("silver.persons",),  # by which later jobs, which wait for this one, read each user_id
    ),
    cleaned("stock", records("stock", "latest", days=7), *CATALOGUED, counted_by="record_count"),  # files may be late
    cleaned("ways", records("ways", "latest")),
    Job(
        "clean_campaigns",
        reads=(records("campaigns", "history"), optional(records("campaign_items", "history")), *CATALOGUED),
        writes=("silver.campaigns", "silver.rejected_campaigns"),
        balance=split("campaigns", counted_by="record_count", more=("campaign_items",)),
    ),
    Job(
        "clean_ad_events",
        reads=(records("ad_events", "pending"), pending("bronze.files"), history("silver.ad_events")),
        writes=("silver.ad_events", "silver.rejected_ad_events", "silver.cleaned_ad_days"),
        balance=split("ad_events"),
        ledger="silver.cleaned_ad_days",
    ),
    Job(
        "clean_promotions",
        reads=(records("promotions", "pending"), pending("bronze.files"), *CATALOGUED, history("silver.promotions")),
        writes=("silver.promotions", "silver.rejected_promotions", "silver.cleaned_promotion_days"),
        balance=split("promotions"),
        ledger="silver.cleaned_promotion_days",
    ),
    cleaned("users", records("users", "history"), counted_by="record_count"),
    cleaned("blocked", records("blocked", "latest"), KNOWN_ITEMS),
    cleaned("judgements", records("judgements", "latest"), *CATALOGUED),
    Job(
        "clean_reviews",
        reads=(records("reviews", "pending"), pending("bronze.files"), *CATALOGUED, REVIEWS),
        writes=("silver.reviews", "silver.rejected_reviews", "silver.cleaned_review_days"),
        balance=split("reviews"),
        ledger="silver.cleaned_review_days",
        after=("silver.persons",),
    ),
)

SCORING = (
    Job(
        "encode_items",
        reads=(today("silver.items"), latest("features.item_vectors"), optional(model())),
        writes=("ops.encodes", "features.item_vectors"),
    ),
    Job("find_suspects", reads=(EVENTS, latest("silver.suspects")), writes=("silver.suspects",)),
    Job(
        "encode_users",
        reads=(EVENTS, *ENCODED, latest("features.user_vectors"), ENCODING),
        writes=("features.user_vectors",),
    ),
    Job(
        "score_candidates",
        reads=(EVENTS, *ENCODED, today("features.user_vectors", may_be_empty=True), SUSPECTS, ENCODING),
        writes=("features.candidates",),
    ),
    Job(
        "rank_recommendations",
        reads=(CANDIDATES, *ENCODED, EVENTS, *SHOWN, ENCODING),
        writes=("gold.recommendations",),
    ),
    Job("find_similar_items", reads=(EVENTS, *ENCODED, *SHOWN), writes=("gold.similar_items",)),
    Job(
        "relate_items",
        reads=(optional(EVENTS), today("silver.items"), latest("features.relations"), *SHOWN),
        writes=("features.relations", "gold.related_items"),
    ),
    Job(
        "build_default_recommendations",
        reads=(EVENTS, KNOWN_ITEMS, *SHOWN, SUSPECTS),
        writes=("gold.default_recommendations",),
    ),
    Job(
        "match_queries",
        reads=(
            *(optional(EVENTS), *ENCODED, optional(latest("silver.judgements"))),
            *(*MATCHED, SEARCH_MODEL, optional(ENCODING)),
        ),
        writes=("features.queries", "features.query_items"),
    ),
    Job(
        "rank_searches",
        reads=(QUERIES, QUERY_ITEMS, ENCODED[0], *SHOWN, optional(EVENTS), optional(CANDIDATES), SEARCH_MODEL),
        writes=("gold.search_rankings", "gold.search_boosts"),
    ),
    Job(
        "read_reviews",
        reads=(REVIEWS, KNOWN_ITEMS, latest("features.review_sentences"), SENTIMENT_MODEL),
        writes=("features.review_sentences",),
    ),
    Job(
        "rate_items",
        reads=(REVIEWS, SENTENCES, KNOWN_ITEMS, SENTIMENT_MODEL),
        writes=("gold.item_sentiment", "gold.aspects"),
    ),
    Job(
        "find_trends",
        reads=(
            *(EVENTS, KNOWN_ITEMS, BLOCKED, optional(QUERIES), latest("gold.search_trends")),
            *(*map(optional, (REVIEWS, SENTENCES)), SUSPECTS),
        ),
        writes=("gold.search_trends",),
    ),
)
PLANNING = (
    Job(
        "forecast_demand",
        reads=(EVENTS, KNOWN_ITEMS, PROMOTIONS, DEMAND_MODEL),
        writes=("gold.demand_forecast", "gold.demand_profile", "gold.item_demand"),
    ),
    Job(
        "plan_stock",
        reads=(
            today("gold.demand_forecast"),
            today("gold.demand_profile"),
            today("silver.stock", may_be_empty=True),
            optional(latest("silver.ways")),
            EVENTS,
        ),
        writes=("gold.inventory_actions",),
    ),
    Job(
        "build_audiences",
        reads=(EVENTS, *ENCODED, today("silver.campaigns", may_be_empty=True), AD_EVENTS, AUDIENCE_MODEL),
        writes=("ops.allocations", "gold.ad_audiences"),
    ),
    Job(
        "profile_users",
        reads=(EVENTS, KNOWN_ITEMS, optional(CANDIDATES), latest("gold.user_profiles"), PROFILE_MODEL),
        writes=("gold.user_profiles", "gold.segments"),
    ),
    Job(
        "recommend_in_context",
        reads=(EVENTS, today("silver.items"), CANDIDATES, *SHOWN),
        writes=("gold.context_recommendations",),
    ),
)
PUBLISHING = (
    Job(
        "publish_night",
        reads=(
            optional(history("silver.cleaned_days", on_driver=True)),
            history("ops.runs", on_driver=True),
            history("ops.checks", on_driver=True),
            history("ops.figures", on_driver=True),
            optional(history("ops.models", on_driver=True)),
        ),
        writes=("ops.publications",),
        after=tuple(table for job in SCORING + PLANNING for table in job.writes if table.startswith("gold.")),
    ),
)

NIGHT = INTAKE + SCORING + PLANNING + PUBLISHING
TRAINING = (
    Job(
        "train_model",
        reads=(EVENTS, latest("silver.items"), history("ops.models")),
        writes=("ops.models",),
        trains=RECOMMEND,
    ),
    Job(
        "train_demand",
        reads=(EVENTS, optional(latest("silver.items")), PROMOTIONS, history("ops.models"), DEMAND_MODEL),
        writes=("ops.models",),
        trains="demand",
    ),
    Job(
        "train_audiences",
        reads=(
            *(EVENTS, latest("silver.items"), latest("features.item_vectors"), latest("silver.campaigns")),
            *(AD_EVENTS, history("ops.models"), AUDIENCE_MODEL),
        ),
        writes=("ops.models",),
        trains="audience",
    ),
    Job(
        "train_profiles", reads=(EVENTS, history("ops.models"), PROFILE_MODEL), writes=("ops.models",), trains="profile"
    ),
    Job(
        "train_searches",
        reads=(
            *(optional(EVENTS), latest("silver.items"), history("ops.models"), SEARCH_MODEL),
            optional(model(chosen="newest")),
        ),
        writes=("ops.models",),
        trains="search",
    ),
    Job(
        "train_sentiment",
        reads=(REVIEWS, optional(latest("silver.items")), history("ops.models"), SENTIMENT_MODEL),
        writes=("ops.models",),
        trains="sentiment",
    ),
)
EVALUATION = (
    Job(
        "evaluate_recommendations",
        reads=(
            *(EVENTS, latest("silver.items"), history("features.item_vectors"), history("features.candidates")),
            *(history("gold.recommendations"), optional(latest("silver.users")), model(chosen="judged")),
        ),
        writes=("ops.metrics", "ops.evaluation_lists", "ops.importances"),
    ),
    Job(
        "evaluate_searches",
        reads=(latest("silver.judgements"), *MATCHED, latest("gold.search_rankings")),
        writes=("ops.search_metrics",),
    ),
    Job("evaluate_profiles", reads=(EVENTS,), writes=("ops.profile_metrics",)),
)
BACKTEST = (
    Job(
        "backtest_plans",
        reads=(
            *(EVENTS, latest("silver.items"), history("features.item_vectors"), PROMOTIONS),
            *(optional(latest("silver.stock")), optional(latest("silver.campaigns")), AD_EVENTS),
        ),
        writes=("ops.backtests",),
    ),
    Job("read_experiments", reads=(EVENTS, history("gold.recommendations")), writes=("ops.readouts",)),
    Job("value_policies", reads=(EVENTS, history("gold.recommendations")), writes=("ops.policies",)),
    Job("measure_exposure", reads=(EVENTS, latest("silver.items"), *map(latest, LISTS)), writes=("ops.exposure",)),
)
MAINTENANCE = (Job("maintain_tables", reads=(), writes=("ops.maintenance",)),)
JOBS: dict[str, Job] = {job.name: job for job in NIGHT + TRAINING + EVALUATION + BACKTEST + MAINTENANCE}


def needs(job: Job) -> tuple[str, ...]:
    """The kinds of raw files that a job cannot do without."""
    return dependencies.needs(job, tuple(JOBS.values()))


def lacking(job: Job, kinds: Iterable[str]) -> tuple[str, ...]:
    """The kinds of raw files that a job needs and a deployment with these `kinds` does not have: it is skipped."""
    return tuple(kind for kind in needs(job) if kind not in kinds)


def stands(table: str, kinds: Iterable[str]) -> bool:
    """Whether a deployment with these kinds of raw files has a table at all; one that it has not reads as empty."""
    layer, name = table.split(".")
    if table == "bronze.records":
        return any(kind not in bronze.KINDS for kind in kinds)
    if layer == "bronze" and name in bronze.KINDS:
        return name in kinds
    writers = [job for job in JOBS.values() if table in job.writes]
    return not writers or any(not lacking(job, kinds) for job in writers)
