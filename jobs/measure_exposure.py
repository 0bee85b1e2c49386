"""Whose items the lists show, beside whose items are bought: exposure by brand, category, location, tail and new."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.exposure import LIST_OF, groups, listed, measured
from jobs.transforms.held import held
from jobs.transforms.purchases import purchases
from schemas import exposure
from schemas.drift import ExposureLimits
from schemas.errors import ConfError
from schemas.run import RunContext


def measure_exposure(
    events: DataFrame,
    items: DataFrame,
    recommendations: DataFrame,
    similar_items: DataFrame,
    default_recommendations: DataFrame,
    *,
    run: RunContext,
    days: int = 28,
) -> DataFrame:
    """ops.exposure: of the newest lists of each gold table, beside what was bought on the last `days` days.

    A group whose items fill a tenth of the lists and are a twentieth of what is bought has a ratio of 2. Where
    [drift.exposure] limits the ratio of a kind, a group whose interval lies outside the limits fails a check, which is
    a warning: rules of lists (rank_recommendations) bring it back, and an evaluation says what they cost.
    """
    if days < 1:
        raise ConfError(f"[jobs.measure_exposure] days must be at least 1; it is {days}")
    tables = (recommendations, similar_items, default_recommendations)
    bought = held(purchases(events, run.deployment))
    first = run.run_date - dt.timedelta(days=days - 1)
    of_item = held(groups(items, bought, first))
    lately = bought.where(F.col("event_date") >= F.lit(first))
    found = measured(held(listed(dict(zip(LIST_OF, tables, strict=True)))), of_item, lately)
    return found.select(F.lit(run.run_date).alias("run_date"), "*", _within(run.deployment.drift.exposure)).select(
        *exposure.EXPOSURE.column_names
    )


def _within(limits: Mapping[Any, ExposureLimits]) -> Column:
    """Whether a group's interval reaches into the limits of its kind; null without limits, or without a ratio."""
    start = F.lit(None).cast("boolean")

    def also(rest: Column, kind: str) -> Column:
        most = limits[kind].most
        inside = F.col("high") >= limits[kind].least
        if most is not None:
            inside &= F.col("low") <= most
        return F.when(F.col("kind") == kind, inside).otherwise(rest)

    return reduce(also, limits, start).alias("is_within")


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("measure_exposure")
