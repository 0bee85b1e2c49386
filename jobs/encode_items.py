"""Item texts into vectors; only texts that no earlier night has encoded with this model go through BERT."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.vectors import encode
from schemas import features, ops
from schemas.run import Model, RunContext


def encode_items(items: DataFrame, item_vectors: DataFrame, model: Model, *, run: RunContext) -> dict[str, DataFrame]:
    """features.item_vectors: one unit vector per item of the run's catalogue; ops.encodes: cost of the encoding."""
    vectors, encodes = encode(items.select("item_id", "text"), item_vectors, model)
    return {
        table.name: frame.withColumn("run_date", F.lit(run.run_date)).select(*table.column_names)
        for table, frame in ((features.ITEM_VECTORS, vectors), (ops.ENCODES, encodes))
    }


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("encode_items")
