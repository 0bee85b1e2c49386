"""User histories into vectors; a user whose history text has not changed keeps the vector of an earlier night."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import launch
from jobs.runtime import Model
from jobs.vectors import encode
from schemas import features


def encode_users(user_histories: DataFrame, user_vectors: DataFrame, model: Model, *, run_date: dt.date) -> DataFrame:
    """features.user_vectors: one unit vector per user with a purchase."""
    texts = user_histories.select("user_id", F.col("history").alias("text"))
    vectors = encode(texts, user_vectors, model, "history")
    return vectors.withColumn("run_date", F.lit(run_date)).select(*features.USER_VECTORS.column_names)


if __name__ == "__main__":
    launch.main("encode_users")
