"""A shop's lake as a reader has it that is not Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltalake import DeltaTable

GOLD = ("recommendations", "similar_items", "default_recommendations", "demand_forecast", "demand_profile")


def table(conf: Path, name: str) -> list[tuple[Any, ...]]:
    """The rows of a table of the shop, sorted, by a reader that is not Spark."""
    found = DeltaTable(str(conf.parent / "lake" / name)).to_pyarrow_table().to_pylist()
    return sorted(tuple(repr(value) for value in row.values()) for row in found)


def dates(conf: Path, name: str) -> set[str]:
    rows = DeltaTable(str(conf.parent / "lake" / name)).to_pyarrow_table(columns=["run_date"])
    return {str(value) for value in rows.column("run_date").to_pylist()}
