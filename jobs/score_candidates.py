"""Candidates of every generator for every user, each with the probability that the user buys it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.catalogue import described
from jobs.transforms.held import held
from jobs.transforms.purchases import known_purchases, sampled
from schemas import features
from schemas.run import Model, RunContext
from udfs.catalogue import catalogue_of
from udfs.days import day_number
from udfs.interactions import from_frame
from udfs.recommend import scoring, state_files


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
    is bounded, and shipped as files; users are then scored in independent blocks.
    """
    lines = known_purchases(events, items, run.deployment).transform(held)
    users = lines.select("user_id").where("user_id IS NOT NULL").distinct().count()
    slots = lines.sparkSession.sparkContext.defaultParallelism
    blocks = max(math.ceil(users / users_per_block / slots), 1) * slots  # every slot has as many as any other
    fitted = (
        sampled(lines, users, max_users)
        .groupBy(F.lit(0).alias("all"))
        .cogroup(_candidates(lines, described(items, item_vectors), run.run_date).groupBy(F.lit(0).alias("all")))
        .applyInArrow(_fitter(run.run_date), "file STRING, offset BIGINT, content BINARY")
    )
    folders = model.file_name, run.share(fitted)
    columns = ", ".join(f"{name} {features.CANDIDATES.column(name).type}" for name in scoring.SCORED)
    scored = (
        lines.where("user_id IS NOT NULL")
        .select(*scoring.LINES)
        .repartition(blocks, "user_id")
        .mapInArrow(_scorer(run.run_date, folders, (per_user, new_per_user, arrivals_per_user)), columns)
    )
    return scored.select(
        F.lit(run.run_date).alias("run_date"), *scoring.SCORED, F.lit(model.version).alias("model_version")
    ).select(*features.CANDIDATES.column_names)


def _candidates(lines: DataFrame, catalogue: DataFrame, run_date: dt.date) -> DataFrame:
    """Rows of the catalogue that scoring may need: items that were ever bought, and those first listed lately."""
    sold = lines.select("item_id").distinct().withColumn("is_sold", F.lit(True))
    lately = F.coalesce("listed_on", "described_on") > F.lit(run_date - dt.timedelta(days=scoring.FRESH_DAYS))
    return catalogue.join(sold, "item_id", "left").where(F.col("is_sold") | lately).drop("is_sold")


def _fitter(run_date: dt.date) -> Callable[[pa.Table, pa.Table], pa.Table]:
    day = day_number(run_date) + 1  # the first that the run has not seen

    def fit(lines: pa.Table, described: pa.Table) -> pa.Table:
        known = catalogue_of(described.to_pandas())
        interactions = from_frame(lines.to_pandas(date_as_object=False), known.items)
        state = scoring.fit_state(interactions, known, day)
        names = ("file", "offset", "content")
        pieces = ([pa.array([value]) for value in piece] for piece in state_files.pieces(state))
        return pa.Table.from_batches([pa.RecordBatch.from_arrays(piece, names) for piece in pieces])

    return fit


def _scorer(
    run_date: dt.date, folders: tuple[str, str], most: tuple[int, int, int]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """folders: of the model and of the state, as SparkFiles knows them."""
    day = day_number(run_date) + 1  # the first that the run has not seen

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        lines = list(batches)
        if lines:
            model, state = (SparkFiles.get(folder) for folder in folders)
            table = pa.Table.from_batches(lines).to_pandas(date_as_object=False)
            yield from scoring.score_users(table, state_files.read(state), model, day, *most)

    return score


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("score_candidates")
