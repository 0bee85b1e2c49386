"""The night on one page: what each job reads (which table, which days) and writes. No Spark.

Everything that needs the order of things derives from here: the DAGs, the lineage, the local night, `make flow`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from schemas import TABLES, bronze

# What of a table a job sees. But for `ever` none of them reaches beyond run_date.
#   files     raw files of the days that are still to be read
#   pending   days that are still to be processed, run_date always among them
#   today     the partition run_date; an error where it is missing
#   written   the partition run_date, which may well be without a row; an error where no run has written it
#   latest    the newest partition up to run_date; empty where there is none
#   history   every partition up to run_date
#   ever      every partition: what is known of files, which may have come before those of run_date
#   promoted  the newest promoted model of its kind that has seen nothing after run_date; where there is none, an error
#             for the kind recommend, and None for any other: the job then fits one within the run
#   encoding  the model that has made the item vectors of run_date, also where a newer one was promoted meanwhile; an
#             error where it is not promoted any more, or where another input of run_date is of another model
#   records   the rows up to run_date of a table of records (ops), as dicts on the driver: no query
#   judged    the same 28 days earlier: the model of the night whose lists are judged by what was bought since
Window = Literal[
    "files", "pending", "today", "written", "latest", "history", "ever", "records", "promoted", "encoding", "judged"
]

MODELS = ("promoted", "encoding", "judged")  # windows that are a model


@dataclass(frozen=True)
class Read:
    """One input of a job. Raw files of a kind are named `landing.<kind>`; `landing.records` is all but two kinds.

    `kind`: of bronze.records, the rows of this kind alone; of ops.models, the model of this kind ("": recommend).
    `optional`: a deployment whose sources do not give this table runs the job nevertheless, and it reads as empty;
    where there is no such model, the job gets None.
    """

    table: str
    window: Window
    kind: str = ""
    optional: bool = False

    @property
    def parameter(self) -> str:
        """What the job calls it: a table by its parameter name, raw files `<source>_files`, a model `<kind>_model`."""
        if self.window == "files":
            return f"{self.table.split('.')[1]}_files"
        if self.window in MODELS:
            return f"{self.kind}_model" if self.kind else "model"
        return f"bronze_{self.kind}" if self.kind else TABLES[self.table].parameter


@dataclass(frozen=True)
class Balance:
    """Rows of all inputs `rows_in` = rows of `kept` (or the sum of its `counted_by`) + rows of `rejected`."""

    rows_in: tuple[str, ...]
    kept: str
    rejected: str
    counted_by: str | None = None


@dataclass(frozen=True)
class Job:
    """One job: the file jobs/<name>.py, with a function of the same name.

    `ledger` is the one of its tables whose rows say which days are done. What it says of a day is taken back before
    anything of that day is written and said again when all else has been: a run that is killed between has not done it.
    `after` are tables that must have been written for run_date though the job does not read their rows.
    `trains` is the kind of model that it adds to ops.models, if any.
    """

    name: str
    reads: tuple[Read, ...]
    writes: tuple[str, ...]
    balance: Balance | None = None
    ledger: str | None = None
    after: tuple[str, ...] = ()
    trains: str = ""

    @property
    def layer(self) -> str:
        """The layer of what it writes."""
        return self.writes[-1].split(".")[0]


def files(source: str) -> Read:
    """Raw files of a source."""
    return Read(f"landing.{source}", "files")


def pending(table: str) -> Read:
    """Days not yet processed."""
    return Read(table, "pending")


def today(table: str) -> Read:
    """The partition of run_date."""
    return Read(table, "today")


def written(table: str) -> Read:
    """The partition of run_date, which may be without a row."""
    return Read(table, "written")


def latest(table: str) -> Read:
    """The newest partition up to run_date, if any."""
    return Read(table, "latest")


def history(table: str) -> Read:
    """All days up to run_date."""
    return Read(table, "history")


def recorded(table: str) -> Read:
    """What a table of records has up to run_date, on the driver."""
    return Read(table, "records")


def records(kind: str, window: Window) -> Read:
    """What of bronze.records is of one kind."""
    return Read("bronze.records", window, kind)


def optional(read: Read) -> Read:
    """The same, where the deployment has it."""
    return replace(read, optional=True)


MODEL = Read("ops.models", "promoted")
ENCODING = Read("ops.models", "encoding")
DEMAND_MODEL = optional(Read("ops.models", "promoted", "demand"))
AUDIENCE_MODEL = optional(Read("ops.models", "promoted", "audience"))
RECOMMEND = "recommend"  # the kind of a model that the night cannot do without

INTAKE = (
    Job(
        "ingest_logs",
        reads=(files("events"), files("items"), files("records"), Read("bronze.files", "ever")),
        writes=("bronze.events", "bronze.items", "bronze.records", "bronze.files"),
        ledger="bronze.files",
    ),
    Job(
        "clean_items",
        reads=(history("bronze.items"),),
        writes=("silver.items", "silver.rejected_items"),
        balance=Balance(("bronze_items",), "silver.items", "silver.rejected_items", counted_by="record_count"),
    ),
    Job(
        "clean_events",
        reads=(
            pending("bronze.events"),
            pending("bronze.files"),
            optional(today("silver.items")),
            optional(latest("silver.rejected_items")),
            history("silver.events"),
        ),
        writes=("silver.events", "silver.rejected_events", "silver.cleaned_days"),
        balance=Balance(("bronze_events",), "silver.events", "silver.rejected_events"),
        ledger="silver.cleaned_days",
    ),
    Job(
        "clean_stock",
        reads=(records("stock", "latest"), optional(today("silver.items")), optional(latest("silver.rejected_items"))),
        writes=("silver.stock", "silver.rejected_stock"),
        balance=Balance(("bronze_stock",), "silver.stock", "silver.rejected_stock"),
    ),
    Job(
        "clean_ways",
        reads=(records("ways", "latest"),),
        writes=("silver.ways", "silver.rejected_ways"),
        balance=Balance(("bronze_ways",), "silver.ways", "silver.rejected_ways"),
    ),
    Job(
        "clean_campaigns",
        reads=(
            records("campaigns", "history"),
            optional(records("campaign_items", "history")),
            optional(today("silver.items")),
            optional(latest("silver.rejected_items")),
        ),
        writes=("silver.campaigns", "silver.rejected_campaigns"),
        balance=Balance(
            ("bronze_campaigns", "bronze_campaign_items"),
            "silver.campaigns",
            "silver.rejected_campaigns",
            counted_by="record_count",
        ),
    ),
    Job(
        "clean_ad_events",
        reads=(records("ad_events", "pending"), pending("bronze.files"), history("silver.ad_events")),
        writes=("silver.ad_events", "silver.rejected_ad_events", "silver.cleaned_ad_days"),
        balance=Balance(("bronze_ad_events",), "silver.ad_events", "silver.rejected_ad_events"),
        ledger="silver.cleaned_ad_days",
    ),
    Job(
        "clean_promotions",
        reads=(
            records("promotions", "pending"),
            pending("bronze.files"),
            optional(today("silver.items")),
            optional(latest("silver.rejected_items")),
            history("silver.promotions"),
        ),
        writes=("silver.promotions", "silver.rejected_promotions", "silver.cleaned_promotion_days"),
        balance=Balance(("bronze_promotions",), "silver.promotions", "silver.rejected_promotions"),
        ledger="silver.cleaned_promotion_days",
    ),
    Job(
        "clean_users",
        reads=(records("users", "history"),),
        writes=("silver.users", "silver.rejected_users"),
        balance=Balance(("bronze_users",), "silver.users", "silver.rejected_users", counted_by="record_count"),
    ),
)

SCORING = (
    Job(
        "encode_items",
        reads=(today("silver.items"), latest("features.item_vectors"), MODEL),
        writes=("ops.encodes", "features.item_vectors"),
    ),
    Job(
        "score_candidates",
        reads=(history("silver.events"), today("silver.items"), today("features.item_vectors"), ENCODING),
        writes=("features.candidates",),
    ),
    Job(
        "rank_recommendations",
        reads=(today("features.candidates"), today("silver.items"), today("features.item_vectors"), ENCODING),
        writes=("gold.recommendations",),
    ),
    Job(
        "find_similar_items",
        reads=(history("silver.events"), today("features.item_vectors")),
        writes=("gold.similar_items",),
    ),
    Job(
        "build_default_recommendations",
        reads=(history("silver.events"), optional(today("silver.items"))),
        writes=("gold.default_recommendations",),
    ),
)
PLANNING = (
    Job(
        "forecast_demand",
        reads=(
            history("silver.events"),
            optional(today("silver.items")),
            optional(history("silver.promotions")),
            DEMAND_MODEL,
        ),
        writes=("gold.demand_forecast", "gold.demand_profile", "gold.item_demand"),
    ),
    Job(
        "plan_stock",
        reads=(
            today("gold.demand_forecast"),
            today("gold.demand_profile"),
            written("silver.stock"),
            optional(latest("silver.ways")),
            history("silver.events"),
        ),
        writes=("gold.inventory_actions",),
    ),
    Job(
        "build_audiences",
        reads=(
            history("silver.events"),
            today("silver.items"),
            today("features.item_vectors"),
            written("silver.campaigns"),
            optional(history("silver.ad_events")),
            AUDIENCE_MODEL,
        ),
        writes=("ops.allocations", "gold.ad_audiences"),
    ),
)
PUBLISHING = (
    Job(
        "publish_night",
        reads=(
            optional(recorded("silver.cleaned_days")),
            recorded("ops.runs"),
            recorded("ops.checks"),
            recorded("ops.figures"),
            recorded("ops.publications"),
        ),
        writes=("ops.publications",),
        after=tuple(table for job in SCORING + PLANNING for table in job.writes if table.startswith("gold.")),
    ),
)

NIGHT = INTAKE + SCORING + PLANNING + PUBLISHING
TRAINING = (
    Job(
        "train_model",
        reads=(history("silver.events"), latest("silver.items"), history("ops.models")),
        writes=("ops.models",),
        trains=RECOMMEND,
    ),
    Job(
        "train_demand",
        reads=(
            history("silver.events"),
            optional(latest("silver.items")),
            optional(history("silver.promotions")),
            history("ops.models"),
            DEMAND_MODEL,
        ),
        writes=("ops.models",),
        trains="demand",
    ),
    Job(
        "train_audiences",
        reads=(
            history("silver.events"),
            latest("silver.items"),
            latest("features.item_vectors"),
            latest("silver.campaigns"),
            optional(history("silver.ad_events")),
            history("ops.models"),
            AUDIENCE_MODEL,
        ),
        writes=("ops.models",),
        trains="audience",
    ),
)
EVALUATION = (
    Job(
        "evaluate_recommendations",
        reads=(
            history("silver.events"),
            latest("silver.items"),
            history("features.item_vectors"),
            history("features.candidates"),
            history("gold.recommendations"),
            Read("ops.models", "judged"),
        ),
        writes=("ops.metrics", "ops.evaluation_lists"),
    ),
)
BACKTEST = (
    Job(
        "backtest_plans",
        reads=(
            history("silver.events"),
            latest("silver.items"),
            history("features.item_vectors"),
            optional(history("silver.promotions")),
            optional(latest("silver.stock")),
            optional(latest("silver.campaigns")),
            optional(history("silver.ad_events")),
        ),
        writes=("ops.backtests",),
    ),
)
MAINTENANCE = (Job("maintain_tables", reads=(), writes=("ops.maintenance",)),)
JOBS: dict[str, Job] = {job.name: job for job in NIGHT + TRAINING + EVALUATION + BACKTEST + MAINTENANCE}


def edges(jobs: tuple[Job, ...]) -> list[tuple[str, str]]:
    """(earlier, later) pairs of job names: the later reads a table that the earlier writes. Sorted.

    A model that judges an earlier night is not one of tonight's: who reads it waits for nobody. Jobs that train models
    of different kinds replace the same partition of ops.models: each waits for those declared before it.

    The order in which the jobs are declared above respects every edge, and is the order they run in on a laptop.
    """
    place = {job.name: number for number, job in enumerate(jobs)}

    def waits(job: Job, read: Read, other: Job) -> bool:
        if read.table not in other.writes or read.window == "judged" or other is job:
            return False
        if read.window in MODELS:
            return other.trains == (read.kind or RECOMMEND)
        return not (job.trains and other.trains) or place[other.name] < place[job.name]

    pairs = {(other.name, job.name) for job in jobs for other in jobs if not set(job.after).isdisjoint(other.writes)}
    for job in jobs:
        pairs |= {(other.name, job.name) for read in job.reads for other in jobs if waits(job, read, other)}
    return sorted(pairs)


WRITER = {table: job for job in JOBS.values() for table in job.writes}


@cache
def needs(job: Job) -> tuple[str, ...]:
    """The kinds of raw files that a job cannot do without: those that the tables it reads are made of."""
    kinds: dict[str, None] = {}
    for read in job.reads:
        layer, name = read.table.split(".")
        if read.optional or read.window == "files" or read.table in job.writes:
            continue
        if read.window in MODELS:
            for trainer in (other for other in JOBS.values() if other.trains == (read.kind or RECOMMEND)):
                kinds |= dict.fromkeys(needs(trainer))
        elif read.kind or (layer == "bronze" and name in bronze.KINDS):
            kinds[read.kind or name] = None
        elif read.table in WRITER:
            kinds |= dict.fromkeys(needs(WRITER[read.table]))
    return tuple(kinds)


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
