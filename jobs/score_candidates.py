"""Candidates of every generator for every user, each with the probability that the user buys it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable

import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.catalogue import described
from jobs.transforms.purchases import known_purchases, sampled
from schemas import features
from schemas.run import Model, RunContext
from udfs.catalogue import catalogue_of
from udfs.days import day_number
from udfs.interactions import from_frame
from udfs.recommend import scoring


def score_candidates(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    model: Model,
    *,
    run: RunContext,
    per_user: int = 150,
    new_per_user: int = 60,
    arrivals_per_user: int = 5,
    users_per_block: int = 5_000,
    max_users: int = 50_000,
) -> DataFrame:
    """features.candidates: the most probable candidates of each user with a purchase.

    Those are the `per_user` best of all, and the `new_per_user` best of the items that the user never bought: a list
    of new items is then complete even for a user with hundreds of own items. They include the `arrivals_per_user` best
    of the recently described items without a purchase, however improbable (jobs/rank_recommendations.py).

    Item models (neighbours, factors, counts) are fitted in one task, on at most `max_users` users, so that their cost
    is bounded; users are then scored in independent blocks.
    """
    lines = known_purchases(events, items, run.deployment).persist()
    users = lines.select("user_id").where("user_id IS NOT NULL").distinct().count()
    slots = lines.sparkSession.sparkContext.defaultParallelism
    blocks = max(math.ceil(users / users_per_block), slots)
    fitted = (
        sampled(lines, users, max_users)
        .groupBy(F.lit(0).alias("all"))
        .cogroup(described(items, item_vectors).groupBy(F.lit(0).alias("all")))
        .applyInArrow(_fitter(run.run_date), "state BINARY")
    )
    states = fitted.crossJoin(lines.sparkSession.range(blocks).select(F.col("id").cast("int").alias("block")))
    columns = ", ".join(f"{name} {features.CANDIDATES.column(name).type}" for name in scoring.SCORED)
    block = F.pmod(F.xxhash64("user_id"), F.lit(blocks)).cast("int")
    scored = (
        lines.where("user_id IS NOT NULL")
        .withColumn("block", block)
        .groupBy("block")
        .cogroup(states.groupBy("block"))
        .applyInArrow(_scorer(run.run_date, model.file_name, (per_user, new_per_user, arrivals_per_user)), columns)
    )
    return scored.select(
        F.lit(run.run_date).alias("run_date"), *scoring.SCORED, F.lit(model.version).alias("model_version")
    ).select(*features.CANDIDATES.column_names)


def _fitter(run_date: dt.date) -> Callable[[pa.Table, pa.Table], pa.Table]:
    day = day_number(run_date) + 1  # the first that the run has not seen

    def fit(lines: pa.Table, described: pa.Table) -> pa.Table:
        known = catalogue_of(described.to_pandas())
        interactions = from_frame(lines.to_pandas(), known.items)
        return pa.table({"state": pa.array([scoring.fit_state(interactions, known, day).to_bytes()], pa.binary())})

    return fit


def _scorer(run_date: dt.date, file_name: str, most: tuple[int, int, int]) -> Callable[[pa.Table, pa.Table], pa.Table]:
    day = day_number(run_date) + 1  # the first that the run has not seen

    def score(lines: pa.Table, states: pa.Table) -> pa.Table:
        state = scoring.state_from_bytes(states.column("state")[0].as_py())
        folder = SparkFiles.get(file_name)
        return pa.Table.from_batches([scoring.score_users(lines.to_pandas(), state, folder, day, *most)])

    return score


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("score_candidates")
