"""A deployment: where things are, how big, and how a retailer's raw columns become canonical ones. No Spark."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from schemas import TABLES
from schemas.errors import ConfError
from schemas.reason_codes import own
from schemas.silver import RECORDS_OF

# What the clean jobs fill in themselves; a mapping gives the rest.
DERIVED = {"run_date", "event_date", "source_file", "source_row", "described_on", "record_count", "unknown_items"}
# Columns a mapping may leave out although the table requires them: they have a default.
DEFAULTED = {
    "events": {"event_id"},
    "items": {"title"},
    "stock": {"on_order", "snapshot_date"},
    "campaigns": {"items"},
    "ad_events": {"event_id"},
}
# (job, key of [jobs.<job>] that no longer exists): what has replaced it, as a message says it.
RENAMED = {
    ("train_model", "served_layers"): 'served_encoder ("full", or "small" for three layers and 8-bit products)',
    ("train_model", "served_format"): 'served_encoder ("full", or "small" for three layers and 8-bit products)',
    ("train_model", "distil_steps"): 'served_encoder ("small" distils in 400 steps)',
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _known_encoding(value: str) -> str:
    try:
        "".encode(value)
    except LookupError as error:
        raise ValueError(f"unknown encoding {value!r}") from error
    return value


def _sql_or_false(value: object) -> object:
    if value is not False and not isinstance(value, str):
        raise ValueError(f"must be SQL, or false to drop what held before, not {value!r}")
    return value


def _refuse_equal_codes(reject: Iterable[str]) -> None:
    """ValueError where two of a source's own reasons would have one code."""
    sentences: dict[str, str] = {}
    for sentence in reject:
        code = own(sentence).code
        if first := sentences.get(code):
            raise ValueError(f"reject {first!r} and {sentence!r} both have the code {code}: word one of them otherwise")
        sentences[code] = sentence


Columns = Annotated[list[str], Field(min_length=1)]
Delimiter = Annotated[str, Field(min_length=1, max_length=1)]
Encoding = Annotated[str, AfterValidator(_known_encoding)]
SqlOrFalse = Annotated[str | Literal[False], BeforeValidator(_sql_or_false)]


class Change(_Strict):
    """What is new about a source's raw files of one day and all later ones; the rest stays as it was.

    `columns`, `delimiter` and `encoding` replace; `map` and `reject` are merged key by key, where false drops a key.
    """

    since: dt.date = Field(alias="from")
    columns: Columns | None = None
    delimiter: Delimiter | None = None
    encoding: Encoding | None = None
    map: dict[str, SqlOrFalse] = {}
    reject: dict[str, SqlOrFalse] = {}

    @model_validator(mode="after")
    def _something_is_new(self) -> Change:
        if self.model_fields_set == {"since"}:
            raise ValueError(
                f"from {self.since}: changes nothing; it may name columns, delimiter, encoding, map, reject"
            )
        return self

    def after(self, before: Source) -> Source:
        """The source as it is with this change. ValueError where a key is dropped that is not there."""
        for part, old, new in (("map", before.map, self.map), ("reject", before.reject, self.reject)):
            for name, sql in new.items():
                if sql is False and name not in old:
                    raise ValueError(f"changes from {self.since}: {part} {name!r} = false: there is none to drop")
        return before.model_copy(
            update={
                **{name: getattr(self, name) for name in self.model_fields_set - {"since"}},
                "map": {name: sql for name, sql in (before.map | self.map).items() if sql is not False},
                "reject": {name: sql for name, sql in (before.reject | self.reject).items() if sql is not False},
            }
        )


class Source(_Strict):
    """[sources.<name>], raw files of one kind: `files` is a glob below landing, `day` finds the date in a file's name.

    `kind` says what its records are, by default what <name> says; several sources may be of one kind. The rest is how
    its files are read and mapped at first; `changes` says from which day on that is otherwise.
    """

    kind: str = ""
    files: str
    day: str = r"(\d{4}-\d{2}-\d{2})"
    columns: Columns
    delimiter: Delimiter = ","
    encoding: Encoding = "utf-8"
    simulated: bool = False  # the files are made up, which is then said wherever something made from them is shown
    max_rejected_share: float = Field(default=0.5, ge=0, le=1)  # of a day's records (of a log), of those read (others)
    map: dict[str, str]
    reject: dict[str, str] = {}
    changes: list[Change] = []

    def versions(self) -> list[tuple[dt.date, Source]]:
        """The source as it is from each of these days on, oldest first, itself without changes."""
        found = [(dt.date.min, self.model_copy(update={"changes": []}))]
        for change in self.changes:
            found.append((change.since, change.after(found[-1][1])))
        return found

    def on(self, day: dt.date) -> Source:
        """The version that holds for the raw files of one day."""
        return [version for since, version in self.versions() if since <= day][-1]

    @model_validator(mode="after")
    def _changes_follow_each_other(self) -> Source:
        days = [change.since for change in self.changes]
        for earlier, later in pairwise(days):
            if later <= earlier:
                raise ValueError(f"changes from {later} stand after those from {earlier}: dates must ascend")
        for _, version in self.versions():  # refuses what cannot be applied
            _refuse_equal_codes(version.reject)
        return self

    @field_validator("day")
    @classmethod
    def _one_group(cls, value: str) -> str:
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if groups != 1:
            raise ValueError("must have exactly one group, around the date (YYYY-MM-DD)")
        return value


class Limits(_Strict):
    """How far a gold table may be tonight from the median of the newest `nights` before, as shares of it.

    0.5 allows half to twice as much. Limits bind once there are `min_nights`. `changed` is the share of lists that may
    be others than the night before's: 1 allows all.
    """

    nights: int = Field(default=7, ge=1, le=60)
    min_nights: int = Field(default=3, ge=1)
    rows: float = Field(default=0.5, ge=0, le=1)
    lists: float = Field(default=0.5, ge=0, le=1)
    items: float = Field(default=0.5, ge=0, le=1)
    score: float = Field(default=0.8, ge=0, le=1)
    changed: float = Field(default=1.0, ge=0, le=1)


class Drift(Limits):
    """[drift]: the limits of every gold table, and in their place those of some, `[drift.tables."gold.<table>"]`."""

    tables: dict[str, Limits] = {}

    @field_validator("tables")
    @classmethod
    def _tables_of_gold(cls, value: dict[str, Limits]) -> dict[str, Limits]:
        gold = [name for name, table in TABLES.items() if table.layer == "gold"]
        if unknown := sorted(set(value) - set(gold)):
            raise ValueError(f"{unknown[0]}: no such gold table; there are {', '.join(gold)}")
        return value

    def of(self, table: str) -> Limits:
        """The limits of one table."""
        return self.tables.get(table, self)


class Holiday(_Strict):
    """[[holidays]]: a day that does not sell like its weekday; those of one `name` are alike from year to year."""

    date: dt.date
    name: str = Field(min_length=1)
    closed: bool = False  # nothing is sold


class Deployment(_Strict):
    """One TOML file of conf/. Relative paths are relative to that file's folder."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    lake: str
    landing: str
    spark: str
    checkpoints: str = ""  # a folder of this machine for trainings that are cut short; default: in the lake, if local
    users: str = "users"  # what the shop calls them in its reports
    max_silent_days: int = Field(default=7, ge=0)  # how long after its newest raw file a night may still be run
    sources: dict[str, Source]
    holidays: list[Holiday] = []
    drift: Drift = Drift()
    jobs: dict[str, dict[str, Any]] = {}
    file: str = ""  # where it was read from; load() fills it in, for messages

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
            table = RECORDS_OF[kind]
            allowed = [name for name in table.column_names if name not in DERIVED]
            for since, version in source.versions():
                where = section(name, "map", since)
                for column in version.map:
                    if column not in allowed:
                        raise ValueError(f"{where} {column}: no such column; {table.name} has {', '.join(allowed)}")
                for column in allowed:
                    required = not table.column(column).nullable and column not in DEFAULTED.get(kind, ())
                    if required and column not in version.map:
                        raise ValueError(f"{where} {column}: missing, and {table.name} requires it")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of raw files that it has."""
        return tuple(dict.fromkeys(source.kind or name for name, source in self.sources.items()))

    def of_kind(self, *kinds: str) -> dict[str, Source]:
        """Its sources of these kinds, by name."""
        return {name: source for name, source in self.sources.items() if (source.kind or name) in kinds}

    def max_rejected_share(self, kind: str) -> float:
        """Of the records of a kind, the largest share that may be rejected; the largest of its sources'."""
        return max(source.max_rejected_share for source in self.of_kind(kind).values())

    def is_simulated(self, kind: str) -> bool:
        """Whether any of its raw files of a kind are made up."""
        return any(source.simulated for source in self.of_kind(kind).values())


def section(name: str, part: str, since: dt.date) -> str:
    """How messages name a part of one version of a source: `[sources.events.map] as of 2017-07-01:`."""
    return f"[sources.{name}.{part}]" + (f" as of {since}:" if since > dt.date.min else "")


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
    try:
        deployment = Deployment.model_validate(raw)
    except ValidationError as error:
        raise ConfError("\n".join(_readable(file, problem) for problem in error.errors())) from None
    here = file.resolve().parent
    return deployment.model_copy(
        update={
            "file": str(file),
            "lake": _absolute(deployment.lake, here),
            "landing": _absolute(landing, Path.cwd()) if landing else _absolute(deployment.landing, here),
            "spark": _absolute(deployment.spark, here),
            "checkpoints": _absolute(deployment.checkpoints, here) if deployment.checkpoints else "",
        }
    )


def _absolute(path: str, base: Path) -> str:
    """A URI stays as it is; a path is taken from `base`."""
    return path if re.match(r"^[a-z0-9]+://", path) else str((base / path).resolve())


def _readable(file: Path, problem: Any) -> str:
    """One line for one pydantic error: file, key, what is wrong."""
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
