"""What other choices for the places drawn at random would have been worth: off-policy value, by past draws."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator
from dataclasses import astuple, fields
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.reports import progress
from jobs.transforms import arrow_rows
from jobs.transforms.held import held
from jobs.transforms.purchases import purchases
from schemas import readouts
from schemas.derive import plain_ddl
from schemas.errors import ConfError, DataError
from schemas.run import RunContext
from udfs.experiments.off_policy import Choices, Sums, added, estimates, sums

BLOCKS = 32  # of users, each valued by one task
POLICIES = ("best", "upper_half", "drawn")
PRIOR = 20  # drawn places that a pool place's mean is held back by
FOUND = "policy STRING, " + ", ".join(f"{field.name} DOUBLE" for field in fields(Sums))


def value_policies(
    events: DataFrame, recommendations: DataFrame, *, run: RunContext, dates: int = 28, days: int = 7
) -> DataFrame:
    """ops.policies: ways to fill the places that `explore_places` draws, each by three estimators; empty without draws.

    Drawn places of `dates` dates count, the last of them `days` days before run_date; the reward of a place is 1 if its
    user bought its item on the `days` days after its date, returns taken off. That is intention to treat: no log says
    which lists were looked at. `best` shows the pool's items by score, `upper_half` any of the better half of the pool,
    `drawn` what was done. The model of rewards of the doubly robust estimator is the mean by place in the pool, of the
    other half of the users. DataError where a drawn place has no propensity, or one outside (0, 1].
    """
    if min(dates, days) < 1:
        raise ConfError(f"[jobs.value_policies] dates and days must be at least 1; they are {dates} and {days}")
    last = run.run_date - dt.timedelta(days=days)
    shown = F.col("run_date").between(last - dt.timedelta(days=dates - 1), last)
    drawn = held(
        _rewarded(recommendations.where(shown & F.col("is_explored")), purchases(events, run.deployment), days)
    )
    learned = _learned(drawn)
    parts = drawn.groupBy("block").applyInArrow(_valuer(learned), FOUND).collect() if learned else []
    rows = [row for policy in POLICIES for row in _rows(run.run_date, policy, parts)] if learned else []
    return events.sparkSession.createDataFrame(rows, plain_ddl(readouts.POLICIES))


def _rewarded(explored: DataFrame, bought: DataFrame, days: int) -> DataFrame:
    """block, user, fold, propensity, pool_place, place (from 1, of a list's drawn ones), reward: of drawn places."""
    user = F.xxhash64("user_id")
    of_list = Window.partitionBy("run_date", "user_id").orderBy("rank")
    drawn = explored.select(
        *("run_date", "user_id", "item_id", "propensity", "pool_place"),
        F.row_number().over(of_list).alias("place"),
        user.alias("user"),
        F.pmod(user, F.lit(2)).alias("fold"),
        F.pmod(F.shiftright(user, 1), F.lit(BLOCKS)).alias("block"),
    )
    wanted = ("user_id", "item_id", "event_date")
    then = bought.where("user_id IS NOT NULL").select(*wanted).distinct()
    after = F.datediff(then["event_date"], drawn["run_date"]).between(1, days)
    same = (then["user_id"] == drawn["user_id"]) & (then["item_id"] == drawn["item_id"])
    was_bought = drawn.join(then, same & after, "left_semi").select("run_date", "user_id", "item_id")
    rewards = drawn.join(was_bought.withColumn("reward", F.lit(1.0)), ["run_date", "user_id", "item_id"], "left")
    return rewards.fillna(0.0, ["reward"])


Learned = dict[tuple[int, int], tuple[float, float]]


def _learned(drawn: DataFrame) -> Learned:
    """By fold and place in the pool: how many were drawn and their rewards. DataError for an unusable propensity."""
    usable = F.col("propensity").between(1e-9, 1.0) & F.col("pool_place").isNotNull() & ~F.isnan("propensity")
    wrong = ~F.coalesce(usable, F.lit(False))
    example = F.min(F.when(wrong, F.struct("run_date", "propensity", "pool_place")))
    sums_of_place = (F.count("*").alias("drawn"), F.sum("reward").alias("rewards"))
    rows = drawn.groupBy("fold", "pool_place").agg(*sums_of_place, F.count_if(wrong).alias("wrong"), example).collect()
    if bad := [row for row in rows if row["wrong"]]:
        day, propensity, place = bad[0][-1]
        raise DataError(
            f"gold.recommendations: {sum(row['wrong'] for row in bad):,} drawn places cannot be weighed, such as one "
            f"of run_date={day} with propensity = {propensity} and pool_place = {place}; is_explored rows must have a "
            "propensity above 0 and at most 1, and a pool_place"
        )
    return {(int(row["fold"]), int(row["pool_place"])): (float(row["drawn"]), float(row["rewards"])) for row in rows}


def _expected(learned: Learned) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Rewards that a model of the other fold expects, by fold and place in the pool (from 0)."""
    places = max(place for _, place in learned)
    counts = np.zeros((2, places, 2))
    for (fold, place), found in learned.items():
        counts[1 - fold, place - 1] = found
    drawn, rewards = counts[..., 0], counts[..., 1]
    mean = rewards.sum(axis=1, keepdims=True) / np.maximum(drawn.sum(axis=1, keepdims=True), 1)
    expected: np.ndarray[Any, np.dtype[np.float64]] = (rewards + PRIOR * mean) / (drawn + PRIOR)
    return expected


def _valuer(learned: Learned) -> Callable[[pa.Table], pa.Table]:
    expected = _expected(learned)
    means = expected.cumsum(axis=1) / np.arange(1, expected.shape[1] + 1)  # of the first places of a pool

    def value(rows: pa.Table) -> pa.Table:
        names = ("user", "fold", "propensity", "pool_place", "place", "reward")
        user, fold, propensity, pool_place, place, reward = (rows[name].to_numpy() for name in names)
        pool = np.rint(1 / propensity).astype(int)
        fitting = np.minimum(pool, expected.shape[1])
        half = (pool + 1) // 2
        targets = {
            "best": ((pool_place == place).astype(float), expected[fold, np.minimum(place, fitting) - 1]),
            "upper_half": ((pool_place <= half) / half, means[fold, np.minimum(half, fitting) - 1]),
            "drawn": (propensity, means[fold, fitting - 1]),
        }
        mine = expected[fold, pool_place - 1]
        found = [
            (policy, *astuple(sums(Choices(user, propensity, target, reward, mine, of_target))))
            for policy, (target, of_target) in targets.items()
        ]
        columns = ["policy", *(field.name for field in fields(Sums))]
        return arrow_rows.table(pd.DataFrame(found, columns=columns), FOUND)

    return value


def _rows(run_date: dt.date, policy: str, parts: list[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of a policy, and a line for people."""
    total = added(Sums(*row[1:]) for row in parts if row["policy"] == policy)
    for one in estimates(total):
        said = f"{policy}, {one.estimator}: "
        if math.isnan(one.value):
            said += f"no value, effective sample {total.effective:,.0f}"
        else:
            said += f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f}) bought a drawn place"
        progress.say(f"{said}; {total.rows:,.0f} places of {total.clusters:,.0f} users")
        ends = (None if math.isnan(value) else value for value in (one.value, one.low, one.high))
        counts = (int(total.rows), int(total.clusters))
        yield (run_date, policy, one.estimator, *ends, total.effective, total.max_weight, *counts)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("value_policies")
