"""A deployment: paths, settings, and the mapping of a retailer's raw columns to canonical ones. No Spark."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator

from schemas.blocked import Blocked
from schemas.clock import ShopClock, day_end, known_timezone
from schemas.drift import Drift, SourceLimits
from schemas.encoder import EncoderConf
from schemas.errors import ConfError
from schemas.experiments import Experiment, refuse_overlaps
from schemas.gate import Gate
from schemas.lineage import Lineage
from schemas.lists import PRODUCT_ID, Lists, Variants
from schemas.normal_form import composed
from schemas.prices import Prices
from schemas.privacy import Privacy
from schemas.segments import Segments
from schemas.silver import RECORDS_OF
from schemas.source import Source, section
from schemas.storage import CHAIN, Storage, public_uri, spark_uri
from schemas.strict import Strict
from schemas.suspects import Suspects

# Columns that the clean jobs fill in themselves; the others come from a mapping.
DERIVED = {
    "run_date",
    "event_date",
    "source_file",
    "source_row",
    "record_count",
    "unknown_items",
    "order_id",
    "is_known",
}
DERIVED |= {"described_on", "listed_on", "last_listed_on"}
# Columns a mapping may leave out although the table requires them: they have a default.
DEFAULTED = {
    "events": {"event_id"},
    "items": {"title"},
    "stock": {"on_order", "snapshot_date"},
    "campaigns": {"items"},
    "ad_events": {"event_id"},
}
# (job, former key of [jobs.<job>]): its replacement, as messages name it.
RENAMED = {
    ("train_model", "served_layers"): 'served_encoder ("full", or "small" for three layers and 8-bit products)',
    ("train_model", "served_format"): 'served_encoder ("full", or "small" for three layers and 8-bit products)',
    ("train_model", "distil_steps"): 'served_encoder ("small" distils in 400 steps)',
    ("train_model", "refit_steps"): "encoder_seconds (the refit is a part of it)",
    ("train_model", "newest_steps"): "newest_encoder (true or false; its steps follow from encoder_seconds)",
    ("train_model", "evaluate_every"): "encoder_seconds (evaluations follow from it)",
}
# Former keys of a deployment, with their replacements.
MOVED = {"max_silent_days": "max_silent_days of each source, such as [sources.events]"}
# Default of max_silent_days, the days after a source's newest raw file in which runs are accepted: a till that is
# silent for more than a day is broken, a catalogue may come once.
SILENT_DAYS = {"events": 1}


class Holiday(Strict):
    """[[holidays]]: a day that does not sell like its weekday; those of one `name` are alike from year to year."""

    date: dt.date
    name: str = Field(min_length=1)
    closed: bool = False  # nothing is sold


def _no_item(value: str) -> str:
    if value == "overall":
        raise ValueError("'overall' is the item as a thing, and no aspect of it")
    return value


AspectName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9 _-]{0,99}$"), AfterValidator(_no_item)]
Seed = Annotated[str, Field(pattern=r"^\S+( \S+)?$")]  # a word or two


class Deployment(Strict):
    """One TOML file of conf/. Relative paths are relative to that file's folder."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    lake: str
    landing: str
    spark: str
    checkpoints: str = ""  # a local folder for checkpoints of trainings; default: in the lake, if local
    users: str = "users"  # what the shop calls them in its reports
    timezone: Annotated[str, AfterValidator(known_timezone)] = "UTC"  # of its days, and of times without an offset
    day_ends_at: Annotated[str, AfterValidator(day_end)] = "00:00"  # the end of the business day
    returns_within_days: int = Field(default=90, ge=0)  # a return undoes what was bought at most so long before
    reconsider_days: int = Field(default=90, ge=0)  # days that are cleaned again once the catalogue has their items
    sources: dict[str, Source]
    holidays: list[Holiday] = []
    drift: Drift = Drift()
    gate: Gate = Gate()
    encoder: EncoderConf = EncoderConf()
    lists: Lists = Lists()
    variants: Variants = Variants()
    segments: Segments = Segments()
    aspects: dict[AspectName, Annotated[list[Seed], Field(min_length=1)]] = {}  # of reviews: words that name each
    experiments: list[Experiment] = []
    suspects: Suspects = Suspects()
    blocked: list[Blocked] = []
    privacy: Privacy = Privacy()
    prices: Prices = Prices()
    lineage: Lineage = Lineage()
    storage: Storage = Storage()
    jobs: dict[str, dict[str, Any]] = {}
    file: str = ""  # its path, set by load(), for messages

    @model_validator(mode="after")
    def _sources_fit_their_tables(self) -> Deployment:
        if not self.sources:
            raise ValueError(f"[sources.<kind>] is missing: there must be one; kinds are {', '.join(RECORDS_OF)}")
        if "campaign_items" in self.kinds and "campaigns" not in self.kinds:
            raise ValueError("[sources.campaign_items]: there must be [sources.campaigns] too")
        for name, source in self.sources.items():
            kind = source.kind or name
            if kind not in RECORDS_OF:
                known = ", ".join(RECORDS_OF)
                what = f"kind = {kind!r}: unknown" if source.kind else "unknown source without a kind"
                raise ValueError(f"[sources.{name}] {what}; kinds are {known}")
            if kind != "events" and (wrong := {"guest_ids", "max_lines_share"} & source.model_fields_set):
                raise ValueError(f"[sources.{name}] {min(wrong)}: only events have it; these are {kind}")
            if source.full and kind != "items":
                raise ValueError(f"[sources.{name}] full: only a source of items may be complete in each file")
            table = RECORDS_OF[kind]
            if "identical_lines" in source.model_fields_set and "event_id" not in table.column_names:
                raise ValueError(f"[sources.{name}] identical_lines: holds for events and ad_events, not for {kind}")
            allowed = [name for name in table.column_names if name not in DERIVED]
            if source.replaces and kind != "events":
                raise ValueError(f"[sources.{name}] replaces: is of events alone, not of {kind}")
            for since, version in source.versions():
                where = section(name, "map", since)
                if source.replaces and source.replaces not in version.map:
                    raise ValueError(f"{where} {source.replaces}: missing, and replaces needs it")
                for column in version.map:
                    if column not in allowed:
                        raise ValueError(f"{where} {column}: no such column; {table.name} has {', '.join(allowed)}")
                for column in allowed:
                    required = not table.column(column).nullable and column not in DEFAULTED.get(kind, ())
                    if required and column not in version.map:
                        raise ValueError(f"{where} {column}: missing, and {table.name} requires it")
        return self

    @model_validator(mode="after")
    def _lists_have_their_sources(self) -> Deployment:
        if self.lists.model_fields_set and "stock" not in self.kinds:
            raise ValueError(f"[lists] {min(self.lists.model_fields_set)}: there must be [sources.stock] too")
        return self

    @model_validator(mode="after")
    def _experiments_are_apart(self) -> Deployment:
        refuse_overlaps(self.experiments)
        return self

    @property
    def public_lake(self) -> str:
        """The lake's folder as readers other than Spark name it."""
        return public_uri(self.lake)

    @property
    def product_sql(self) -> str:
        """SQL over silver.items that names the product of which an item is a variant; "" where none is."""
        sql = self.variants.product
        return sql if self.maps("items", PRODUCT_ID) or sql != PRODUCT_ID else ""

    @property
    def blocks(self) -> bool:
        """Whether any item may be blocked: by [[blocked]], or by a source of kind blocked."""
        return bool(self.blocked or self.of_kind("blocked"))

    @property
    def clock(self) -> ShopClock:
        """The clock by which moments are assigned to days."""
        return ShopClock(self.timezone, self.day_ends_at)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of raw files that it has."""
        return tuple(dict.fromkeys(source.kind or name for name, source in self.sources.items()))

    def maps(self, kind: str, column: str) -> bool:
        """Whether any source of a kind, in any of its versions, gives a canonical column."""
        return any(column in v.map for source in self.of_kind(kind).values() for _, v in source.versions())

    def of_kind(self, *kinds: str) -> dict[str, Source]:
        """Its sources of these kinds, by name."""
        return {name: source for name, source in self.sources.items() if (source.kind or name) in kinds}

    def max_silent_days(self, name: str) -> int | None:
        """How many days after its newest raw file a source may be silent; None: any number."""
        source = self.sources[name]
        if source.max_silent_days is not None:
            return source.max_silent_days
        return SILENT_DAYS.get(source.kind or name)

    def drift_limits(self, name: str) -> SourceLimits | None:
        """How far a day of a source may differ from the days before; None: no limit."""
        source = self.sources[name]
        by_default = (source.kind or name) == "events" or source.full
        return source.drift or (SourceLimits() if by_default else None)

    @property
    def full_catalogues(self) -> list[str]:
        """The names of its sources of items whose files of a day are the complete catalogue."""
        return [name for name, source in self.of_kind("items").items() if source.full]

    def max_rejected_share(self, kind: str) -> float:
        """The largest share of a kind's records that may be rejected: the maximum over its sources."""
        return max(source.max_rejected_share for source in self.of_kind(kind).values())

    def max_lines_share(self, kind: str) -> float:
        """The largest share of a kind's rows that one user_id should have: the maximum over its sources."""
        return max(source.max_lines_share for source in self.of_kind(kind).values())

    def min_rejected(self, kind: str) -> int:
        """The number of rejected records of a kind that never stops a run: the maximum over its sources."""
        return max(source.min_rejected for source in self.of_kind(kind).values())

    def is_simulated(self, kind: str) -> bool:
        """Whether any of its raw files of a kind are made up."""
        return any(source.simulated for source in self.of_kind(kind).values())


def load(path: str | Path, *, landing: str | None = None) -> Deployment:
    """The deployment that a TOML file describes, its paths made absolute; `landing` takes the place of the file's.

    Raises ConfError naming the file, the key and what is wrong with it.
    """
    file = Path(path)
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfError(f"{file}: no such file; name a deployment with --conf conf/<deployment>.toml") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfError(f"{file}: not TOML: {error}") from None
    if "file" in raw:
        raise ConfError(f"{file}: file: unknown key")
    for key in MOVED.keys() & raw.keys():
        raise ConfError(f"{file}: {key}: this key has been replaced by {MOVED[key]}")
    try:
        deployment = Deployment.model_validate(composed(raw))
    except ValidationError as error:
        raise ConfError("\n".join(_readable(file, problem) for problem in error.errors())) from None
    here = file.resolve().parent
    try:
        privacy = deployment.privacy.based_at(here, _absolute(deployment.lake, here))
    except ValueError as error:
        raise ConfError(f"{file}: {error}") from None
    return deployment.model_copy(
        update={
            "file": str(file),
            "lake": _absolute(deployment.lake, here),
            "landing": _absolute(landing, Path.cwd()) if landing else _absolute(deployment.landing, here),
            "spark": _absolute(deployment.spark, here),
            "checkpoints": _absolute(deployment.checkpoints, here) if deployment.checkpoints else "",
            "encoder": deployment.encoder.based_at(here),
            "lineage": deployment.lineage.based_at(here),
            "privacy": privacy,
        }
    )


def _absolute(path: str, base: Path) -> str:
    """A URI as Spark takes it; a path relative to `base`."""
    if re.match(r"^[a-z0-9]+://[^/]*@", path):
        raise ConfError(f"{path.split('://')[0]}://...@...: {CHAIN}")
    return spark_uri(path) if re.match(r"^[a-z0-9]+://", path) else str((base / path).resolve())


def _readable(file: Path, problem: Any) -> str:
    """A pydantic error as a line: file, key, what is wrong."""
    key = ".".join(str(part) for part in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "unknown key"
    elif problem["type"] == "missing":
        message = "missing key"
    elif problem["type"] == "date_type":
        message = f"must be a date like 2017-07-01, without quotes or time, not {problem['input']!r}"
    elif problem["type"] != "value_error":
        message = f"{message}, not {problem['input']!r}"
    return f"{file}: {key + ': ' if key else ''}{message}"
