"""Limits of drift: how far a gold table may be from its usual figures before it is held back. No Spark."""

from __future__ import annotations

from pydantic import Field, field_validator

from schemas import TABLES
from schemas.strict import Strict


class Limits(Strict):
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
