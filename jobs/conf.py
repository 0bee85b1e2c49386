"""A deployment: where things are, how big, and how a retailer's raw columns become canonical ones. No Spark."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from schemas import TABLES

# What the clean jobs fill in themselves; a mapping gives the rest.
DERIVED = {
    "events": {"run_date", "event_date", "source_file", "source_row"},
    "items": {"run_date", "described_on", "record_count"},
}
# Columns a mapping may leave out although the table requires them: they have a default.
DEFAULTED = {"events": {"event_id"}, "items": {"title"}}


class ConfError(Exception):
    """Wrong usage or configuration: exit code 2."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(_Strict):
    """One kind of raw files: `files` is a glob below landing, `day` finds the date in a file's name."""

    files: str
    day: str = r"(\d{4}-\d{2}-\d{2})"
    columns: list[str] = Field(min_length=1)
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    encoding: str = "utf-8"
    map: dict[str, str]
    reject: dict[str, str] = {}

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError as error:
            raise ValueError(f"unknown encoding {value!r}") from error
        return value

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
    drift: Drift = Drift()
    jobs: dict[str, dict[str, Any]] = {}
    file: str = ""  # where it was read from; load() fills it in, for messages

    @model_validator(mode="after")
    def _sources_fit_their_tables(self) -> Deployment:
        for kind in DERIVED:
            if kind not in self.sources:
                raise ValueError(f"[sources.{kind}] is missing")
        for kind, source in self.sources.items():
            if kind not in DERIVED:
                raise ValueError(f"[sources.{kind}]: unknown source; known are {', '.join(DERIVED)}")
            table = TABLES[f"silver.{kind}"]
            allowed = [name for name in table.column_names if name not in DERIVED[kind]]
            for name in source.map:
                if name not in allowed:
                    raise ValueError(
                        f"[sources.{kind}.map] {name}: no such column; {table.name} has {', '.join(allowed)}"
                    )
            for name in allowed:
                required = not table.column(name).nullable and name not in DEFAULTED[kind]
                if required and name not in source.map:
                    raise ValueError(f"[sources.{kind}.map] {name}: missing, and {table.name} requires it")
        return self


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
    elif problem["type"] != "value_error":
        message = f"{message}, not {problem['input']!r}"
    return f"{file}: {key + ': ' if key else ''}{message}"
