"""Users' purchase histories into vectors; only histories that changed since the newest run are read again."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.purchases import known_purchases
from jobs.transforms.user_vectors import encode
from schemas import features
from schemas.run import Model, RunContext


def encode_users(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    user_vectors: DataFrame,
    model: Model,
    *,
    run: RunContext,
) -> DataFrame:
    """features.user_vectors: one unit vector per user who bought an item of the run's catalogue.

    By the user encoder of the model: the mean of the items' vectors, newer purchases weighing more, or a BERT which
    reads the purchases (jobs/offline/user_training.py). It does not depend on the run's date: a user without a new
    purchase keeps it bit for bit.
    """
    bought = known_purchases(events, items, run.deployment).where("user_id IS NOT NULL")
    vectors = encode(bought, item_vectors, user_vectors, model)
    return vectors.withColumn("run_date", F.lit(run.run_date)).select(*features.USER_VECTORS.column_names)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("encode_users")
