"""A source: raw files of one kind, how they are read and how their columns become canonical ones. No Spark."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from schemas.drift import SourceLimits
from schemas.reason_codes import own
from schemas.rejects import most_rejected
from schemas.strict import Strict


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
    """ValueError where two of a source's own reasons have the same code."""
    sentences: dict[str, str] = {}
    for sentence in reject:
        code = own(sentence).code
        if first := sentences.get(code):
            raise ValueError(f"reject {first!r} and {sentence!r} both have the code {code}: word one of them otherwise")
        sentences[code] = sentence


def _no_quote_or_line_end(value: str) -> str:
    if value in ('"', "\r", "\n", "\0"):
        raise ValueError(f"{value!r} cannot divide or escape: it is a quote, a line end or NUL")
    return value


def _one_group(pattern: str, around: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"must have exactly one group, around {around}")
    return pattern


def _refuse_unfit_columns(version: Source) -> None:
    """ValueError where keys of a version of a source name columns that it lacks, or contradict each other."""
    carried, within = version.carry_down, version.carry_down_within
    for key, names in (("carry_down", carried), ("carry_down_within", [within] if within else [])):
        if unknown := [name for name in names if name not in version.columns]:
            raise ValueError(f"{key}: columns has no {unknown[0]!r}")
    if twice := [name for name in version.from_name if name in version.columns]:
        raise ValueError(f"from_name: columns has {twice[0]!r} too")
    if bool(carried) != bool(within):
        raise ValueError("carry_down and carry_down_within: neither is anything without the other")
    if within in carried:
        raise ValueError(f"carry_down_within = {within!r} is in carry_down: it must be on each line")
    if version.skip_lines and not version.header:
        raise ValueError("skip_lines: of files with a header alone, and header is false")
    if version.escape == version.delimiter:
        raise ValueError(f"escape = {version.escape!r} is the delimiter too")


Columns = Annotated[list[str], Field(min_length=1)]
Delimiter = Annotated[str, Field(min_length=1, max_length=1), AfterValidator(_no_quote_or_line_end)]
Escape = Annotated[str, Field(max_length=1), AfterValidator(_no_quote_or_line_end)]
Lines = Annotated[int, Field(ge=0)]
ShortLines = Literal["refuse", "fill"]
Encoding = Annotated[str, AfterValidator(_known_encoding)]
SqlOrFalse = Annotated[str | Literal[False], BeforeValidator(_sql_or_false)]


class Change(Strict):
    """Change of a source's raw files from a day on; other keys stay as they were.

    `map` and `reject` are merged key by key, where false drops a key; the others replace.
    """

    since: dt.date = Field(alias="from")
    columns: Columns | None = None
    delimiter: Delimiter | None = None
    encoding: Encoding | None = None
    escape: Escape | None = None
    skip_lines: Lines | None = None
    short_lines: ShortLines | None = None
    carry_down: list[str] | None = None
    carry_down_within: str | None = None
    map: dict[str, SqlOrFalse] = {}
    reject: dict[str, SqlOrFalse] = {}

    @model_validator(mode="after")
    def _something_is_new(self) -> Change:
        if self.model_fields_set == {"since"}:
            keys = [name for name in type(self).model_fields if name != "since"]
            raise ValueError(f"from {self.since}: changes nothing; it may name {', '.join(keys)}")
        return self

    def after(self, before: Source) -> Source:
        """The source with this change applied. ValueError where it drops a key that does not exist."""
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


class Source(Strict):
    """[sources.<name>], raw files of one kind: `files` is a glob below landing, `day` finds the date in a file's name.

    `kind`: what its records are, by default <name>; several sources may be of one kind. The other keys define how its
    files are read and mapped at first; `changes`: what differs from a day on.
    """

    kind: str = ""
    files: str
    day: str = r"(\d{4}-\d{2}-\d{2})"
    day_offset: int = Field(default=0, ge=-366, le=366)  # days from the date in the name to the day of the records
    columns: Columns
    delimiter: Delimiter = ","
    encoding: Encoding = "utf-8"
    escape: Escape = ""  # a sign before a quote within quotes; a doubled quote is read without it
    skip_lines: Lines = 0  # of the file, before its header
    header: bool = True  # false: files begin with a record, and `columns` are its fields
    short_lines: ShortLines = "refuse"  # "fill": a line may end before its last, empty cells
    from_name: dict[str, str] = {}  # more columns: regular expressions with a group, found in a file's path
    carry_down: list[str] = []  # columns that only the first line of a group fills
    carry_down_within: str = ""  # the column that each line of a group has
    simulated: bool = False  # the files are simulated, which every display of data derived from them states
    guest_ids: list[Annotated[str, Field(min_length=1)]] = []  # of events: user_ids shared by many users
    max_lines_share: float = Field(default=0.1, gt=0, le=1)  # of events: of a run's rows, those of one user_id
    max_rejected_share: float = Field(default=0.05, ge=0, le=1)  # of a day's records (of a log), of the newest (others)
    identical_lines: Literal["keep", "reject"] = "keep"  # of one file of events or ad_events without an event_id
    min_rejected: int = Field(default=10, ge=0)  # this number of rejected records stops no run, whatever their share
    max_silent_days: int | None = Field(default=None, ge=0)  # None: by kind, see Deployment.max_silent_days
    full: bool = False  # of items: the files of a day are the complete catalogue: other items are gone
    drift: SourceLimits | None = None  # None: of events and full catalogues the defaults
    replaces: Literal["", "basket_id"] = ""  # names an order; a later file's lines of it replace the earlier ones
    map: dict[str, str]
    reject: dict[str, str] = {}
    changes: list[Change] = []

    def most_rejected(self, records: int) -> int:
        """The number of `records` that may be rejected."""
        return most_rejected(self.max_rejected_share, records, self.min_rejected)

    def versions(self) -> list[tuple[dt.date, Source]]:
        """The versions of the source with their first days, oldest first; the first is the source without changes."""
        versions = [(dt.date.min, self.model_copy(update={"changes": []}))]
        for change in self.changes:
            versions.append((change.since, change.after(versions[-1][1])))
        return versions

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
            _refuse_unfit_columns(version)
        return self

    @field_validator("day")
    @classmethod
    def _finds_a_date(cls, value: str) -> str:
        return _one_group(value, "the date (YYYY-MM-DD)")

    @field_validator("from_name")
    @classmethod
    def _finds_a_value(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: _one_group(pattern, f"the value of {name}") for name, pattern in value.items()}


def section(name: str, part: str, since: dt.date) -> str:
    """The name of a section of a version of a source in messages: `[sources.events.map] as of 2017-07-01:`."""
    return f"[sources.{name}.{part}]" + (f" as of {since}:" if since > dt.date.min else "")
