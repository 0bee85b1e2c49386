"""Deterministic samples for bounded tasks: all rows of a share of a column's values."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

PARTS = 1_000_000


def drawn(frame: DataFrame, of: Column | str, most: int, count: int, purpose: str) -> DataFrame:
    """The rows of a share of the values of `of`: most / count, of whatever these two count; all where count <= most.

    Samples for different purposes are independent of each other.
    """
    if count <= most:
        return frame
    return frame.where(F.pmod(F.xxhash64(of, F.lit(purpose)), F.lit(PARTS)) < int(PARTS * most / count))
