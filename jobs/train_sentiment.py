"""The weekly training of the sentiment model, from the stars of reviews up to run_date."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pyspark import SparkFiles
from pyspark.sql import DataFrame

from jobs.offline import sentiment_training as training
from jobs.offline.base_of import base_of
from jobs.offline.model_registry import new_row, rows_of, said_of
from jobs.offline.served_encoder import form_to_serve
from jobs.reports import progress
from jobs.transforms import devices
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from udfs import json_model
from udfs.encoder.base_model import base_sha256
from udfs.encoder.model_folder import MANIFEST, sha256
from udfs.sentiment.learning import Settings


def train_sentiment(
    reviews: DataFrame,
    items: DataFrame,
    models: DataFrame,
    sentiment_model: Model | None,
    *,
    run: RunContext,
    max_reviews: int = 30_000,
    tuned_layers: int = 2,
    epochs: int = 2,
    seed: int = 7,
) -> DataFrame:
    """The row of ops.models of a new sentiment model; none with fewer than 200 reviews that have stars and a text.

    A BERT reads clauses; its `tuned_layers` upper layers learn in `epochs` passes over the newest `max_reviews` reviews
    (0: none learns) what stars they lead to (udfs/sentiment/learning.py). One review in ten is never learned from: it
    calibrates, and decides on promotion against the model in use.
    """
    if min(max_reviews, tuned_layers) < 1 or epochs < 0:
        raise ConfError("[jobs.train_sentiment] max_reviews and tuned_layers must be at least 1, epochs at least 0")
    sample = training.sample_of(reviews, items, max_reviews)
    if len(sample.ids) < training.FEWEST_REVIEWS:
        progress.say(f"sentiment: {len(sample.ids)} reviews with stars and a text, {training.FEWEST_REVIEWS} needed")
        return rows_of(models, [])
    share = devices.share(dict(reviews.sparkSession.sparkContext.getConf().getAll()))
    current = Path(SparkFiles.get(sentiment_model.file_name)) if sentiment_model else None
    base, settings = base_of(run.deployment), Settings(tuned_layers=tuned_layers, epochs=epochs)
    with tempfile.TemporaryDirectory() as place:
        trained = training.train(
            sample,
            base,
            Path(place),
            form_to_serve("full", on_gpus=share.gpus > 0),
            settings,
            run.deployment.aspects,
            current,
            seed,
            progress.say,
        )
        version = f"sentiment-{run.run_date}-{sha256(trained.folder / MANIFEST)[:8]}"
        folder = trained.folder.rename(trained.folder.with_name(version))
        row = new_row(
            "sentiment",
            run,
            version,
            base=base_sha256(base),
            weights=sha256(folder / json_model.FILE),
            trained_from=sample.since,
            examples=trained.count,
            metrics=trained.figures,
            promoted=trained.promoted,
        )
        run.publish_model(folder)
    progress.say(said_of("sentiment", trained.promoted, trained.figures, held=bool(row["held"])))
    return rows_of(models, [row])


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("train_sentiment")
