"""Limits of drift: how far figures of a gold table or a source may be from the usual ones. No Spark."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from schemas import TABLES
from schemas.strict import Strict


class Limits(Strict):
    """How far a run's gold table may differ from the median of the newest `nights` dates before, as shares of it.

    0.5 allows half to twice as much. Limits apply from `min_nights` dates on. `changed`: the share of lists that may
    differ from the date before; 1 allows all. `units`, and `amounts` for any other amount that a table's contract
    names, apply to sums (schemas.contract.Table.amounts); an amount that usually is below `least` is not judged.
    """

    nights: int = Field(default=7, ge=1, le=60)
    min_nights: int = Field(default=3, ge=1)
    rows: float = Field(default=0.5, ge=0, le=1)
    lists: float = Field(default=0.5, ge=0, le=1)
    items: float = Field(default=0.5, ge=0, le=1)
    score: float = Field(default=0.8, ge=0, le=1)
    changed: float = Field(default=1.0, ge=0, le=1)
    units: float = Field(default=0.5, ge=0, le=1)
    amounts: float = Field(default=0.8, ge=0, le=1)
    least: float = Field(default=20, ge=0)

    def share(self, figure: str) -> float:
        """How far a figure may be off."""
        if figure.startswith("score"):
            return self.score
        named: float = getattr(self, figure) if figure in Limits.model_fields else self.amounts
        return named


class ExposureLimits(Strict):
    """[drift.exposure.<kind>]: limits of the exposure of a group of items over its share of what is bought."""

    least: float = Field(default=0.0, ge=0)
    most: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> ExposureLimits:
        if self.most is not None and self.most <= self.least:
            raise ValueError(f"most = {self.most} must be above least = {self.least}")
        return self


class Drift(Limits):
    """[drift]: the limits of every gold table; `[drift.tables."gold.<table>"]` overrides those of one.

    exposure: limits of groups of items, by kind: brand, category, location, tail, new (jobs/measure_exposure.py).
    """

    tables: dict[str, Limits] = {}
    exposure: dict[Literal["brand", "category", "location", "tail", "new"], ExposureLimits] = {}

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


class SourceLimits(Strict):
    """[sources.<name>.drift]: how far a day of a source may differ from the days before, as shares.

    0.5 allows half of the quietest to twice the busiest of the newest `nights` days with files: a week has its Sunday,
    and a month its best day. Limits apply from `min_nights` days on, for figures that usually are at least `least`.
    rows: records; kept_share: the share accepted; locations, units, money: of accepted purchases; event_types: accepted
    events of each type.
    """

    nights: int = Field(default=28, ge=1, le=400)
    min_nights: int = Field(default=7, ge=1)
    least: float = Field(default=20, ge=0)
    rows: float = Field(default=0.5, ge=0, le=1)
    kept_share: float = Field(default=0.5, ge=0, le=1)
    locations: float = Field(default=0.5, ge=0, le=1)
    units: float = Field(default=0.5, ge=0, le=1)
    money: float = Field(default=0.5, ge=0, le=1)
    event_types: float = Field(default=0.9, ge=0, le=1)

    def share(self, figure: str) -> float:
        """The limit of a figure; one without its own limit is the count of an event type."""
        named: float = getattr(self, figure) if figure in SourceLimits.model_fields else self.event_types
        return named
