"""The one top-N: every order in Nightshelf is total, so that a run repeated gives the same lists."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F


def top_n(
    frame: DataFrame, per: Sequence[Column | str], order: Sequence[Column | str], n: int, rank: str | None = None
) -> DataFrame:
    """The first `n` rows of each group in `order`, which must be total within a group.

    With `rank`, that column numbers them from 1 (int).
    """
    place = rank or "_place"
    window = Window.partitionBy(*per).orderBy(*order)
    chosen = frame.withColumn(place, F.row_number().over(window)).where(F.col(place) <= n)
    return chosen if rank else chosen.drop(place)
