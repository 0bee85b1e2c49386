"""Candidates of every generator for every user, each with the probability that the user buys it."""

from __future__ import annotations

import datetime as dt
import math
import os
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import SparkFiles
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.catalogue import described
from jobs.transforms.counted_buyers import counted_items
from jobs.transforms.held import held
from jobs.transforms.purchases import known_purchases, within
from jobs.transforms.shop_sample import ShopSize, sampled, shop_size
from schemas import features
from schemas.errors import NoModelError
from schemas.run import PIECES, Model, RunContext
from udfs.catalogue import catalogue_of
from udfs.days import day_number
from udfs.encoder import user_encoder
from udfs.encoder.model_folder import ModelError
from udfs.horizon import HABIT_DAYS
from udfs.interactions import from_frame
from udfs.recommend import scoring, state_files
from udfs.recommend.item_statistics import counts_of
from udfs.recommend.sample_budget import SampleBudget

VECTOR = "vector"  # of a user, on a row of its own among the purchases


def score_candidates(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    user_vectors: DataFrame,
    suspects: DataFrame,
    model: Model,
    *,
    run: RunContext,
    per_user: int = 150,
    new_per_user: int = 60,
    arrivals_per_user: int = 5,
    explained_per_user: int = 40,
    users_per_block: int = 5_000,
) -> DataFrame:
    """features.candidates: the most probable candidates of each user with a purchase.

    Those are the `per_user` best of all, and the `new_per_user` best of the items that the user never bought: a list
    of new items is then complete even for a user with hundreds of own items. They include the `arrivals_per_user` best
    of the recently described items without a purchase, however improbable (jobs/rank_recommendations.py). The
    `explained_per_user` best have the factors of their score (udfs/recommend/factors.py): lists are built from these,
    and a factor costs more than a score.

    Purchases of the last HABIT_DAYS count. Items are counted over everybody. What is learned of them (neighbours,
    factors) is fitted in one task, so that its cost is bounded: on a sample within the budget of the model's training
    (udfs/recommend/sample_budget.py). It is shipped as files; users are then scored in independent blocks. Where the
    model has a learned user encoder, its vectors are those of the users; else the mean vectors as of the run.
    """
    budget = budget_of(model, run.run_date)
    day = day_number(run.run_date) + 1  # the first day that the run has not seen
    lines = known_purchases(within(events, run.run_date, HABIT_DAYS), items, run.deployment).transform(held)
    size = shop_size(lines, [day])
    slots = lines.sparkSession.sparkContext.defaultParallelism
    blocks = max(math.ceil(size.users / users_per_block / slots), 1) * slots  # every slot has as many as any other
    known = counted_catalogue(items, item_vectors, lines, suspects, run)
    fitted = fitted_state(lines, size, known, budget, day)
    folders = model.file_name, run.share(fitted)
    columns = ", ".join(f"{name} {features.CANDIDATES.column(name).type}" for name in scoring.SCORED)
    rows = lines.where("user_id IS NOT NULL").select(*scoring.LINES)
    if user_encoder.is_learned(SparkFiles.get(model.file_name)):
        learned = user_vectors.where(F.col("model_version") == model.version).select("user_id", "vector")
        bought = rows.select("user_id").distinct()
        rows = rows.unionByName(learned.join(bought, "user_id", "left_semi"), allowMissingColumns=True)
    scored = rows.repartition(blocks, "user_id").mapInArrow(
        _scorer(day, folders, (per_user, new_per_user, arrivals_per_user), explained_per_user), columns
    )
    return scored.select(
        F.lit(run.run_date).alias("run_date"), *scoring.SCORED, F.lit(model.version).alias("model_version")
    ).select(*features.CANDIDATES.column_names)


def fitted_state(lines: DataFrame, size: ShopSize, known: DataFrame, budget: SampleBudget, day: int) -> DataFrame:
    """PIECES of the files of a run's state (udfs/recommend/state_files.py).

    lines: purchases of a shop of this size; known: the catalogue with everybody's counts (`counted_catalogue`).
    """
    return (
        sampled(lines, size, budget)
        .groupBy(F.lit(0).alias("all"))
        .cogroup(known.groupBy(F.lit(0).alias("all")))
        .applyInArrow(_fitter(day, size.buyers[day]), PIECES)
    )


def budget_of(model: Model, run_date: dt.date) -> SampleBudget:
    """The sample that the model was trained on; NoModelError where an earlier version trained it."""
    try:
        return scoring.read_budget(SparkFiles.get(model.file_name))
    except ModelError as error:
        raise NoModelError(f"{error}; train another: make train RUN_DATE={run_date}") from None


def counted_catalogue(
    items: DataFrame, item_vectors: DataFrame, lines: DataFrame, suspects: DataFrame, run: RunContext
) -> DataFrame:
    """Rows of the catalogue that scoring may need, with everybody's counts: items bought, and those listed lately."""
    counts = counted_items(lines, suspects, run, day_number(run.run_date) + 1)
    lately = F.coalesce("listed_on", "described_on") > F.lit(run.run_date - dt.timedelta(days=scoring.FRESH_DAYS))
    known = described(items, item_vectors).join(counts, "item_id", "left")
    return known.where(F.col("buyers").isNotNull() | lately)


def _fitter(day: int, shop_buyers: int) -> Callable[[pa.Table, pa.Table], pa.Table]:
    def fit(lines: pa.Table, described: pa.Table) -> pa.Table:
        table = described.to_pandas()
        known = catalogue_of(table)
        interactions = from_frame(lines.to_pandas(date_as_object=False), known.items)
        counts = counts_of(table, known.items, shop_buyers)
        state = scoring.fit_state(interactions, known, day, counts=counts, threads=os.cpu_count() or 1)
        names = ("file", "offset", "content")
        pieces = ([pa.array([value]) for value in piece] for piece in state_files.pieces(state))
        return pa.Table.from_batches([pa.RecordBatch.from_arrays(piece, names) for piece in pieces])

    return fit


def _scorer(
    day: int, folders: tuple[str, str], most: tuple[int, int, int], explained: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """folders: of the model and of the state, as SparkFiles knows them."""

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        lines = list(batches)
        if lines:
            model, state = (SparkFiles.get(folder) for folder in folders)
            table, learned = pa.Table.from_batches(lines), None
            if VECTOR in table.column_names:
                is_vector = pc.is_valid(table.column(VECTOR))
                learned = table.filter(is_vector).select(["user_id", VECTOR]).to_pandas()
                table = table.filter(pc.invert(is_vector)).drop_columns([VECTOR])
            purchases = table.to_pandas(date_as_object=False)
            yield from scoring.score_users(purchases, state_files.read(state), model, day, *most, learned, explained)

    return score


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("score_candidates")
