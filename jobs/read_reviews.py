"""Reviews into clauses, each with its sentiment and the aspects of the item that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.reports import progress
from jobs.transforms import json_models
from jobs.transforms.arrow_rows import schema
from jobs.transforms.held import held
from jobs.transforms.reviews import newest_reviews
from jobs.transforms.vectors import encode, text_key
from schemas import reviews as tables
from schemas.derive import plain_ddl
from schemas.run import Model, RunContext
from udfs.encoder.stored_vectors import from_bytes
from udfs.sentiment import fitted, model, unknown
from udfs.sentiment.aspects import Lexicon
from udfs.sentiment.sentences import clauses

CLAUSES = "review_id STRING, user_id STRING, sentence_no INT, sentence STRING, aspects ARRAY<STRING>"
READ = ("sentiment", "p_negative", "p_neutral", "p_positive", "weight", "unknown_share")
SCORED = "text_key STRING, " + ", ".join(f"{name} DOUBLE" for name in READ)


def read_reviews(
    reviews: DataFrame,
    items: DataFrame,
    review_sentences: DataFrame,
    sentiment_model: Model | None,
    *,
    run: RunContext,
) -> DataFrame:
    """features.review_sentences: the clauses of every review with a text, by the newest record of each review.

    Only clauses that neither the newest run nor training has read by this model are encoded. Without a promoted
    model there is no row. Copies of a text are read too (once); rate_items leaves them out.
    """
    if sentiment_model is None:
        progress.say("reviews: no promoted sentiment model yet, texts are not read (make train)")
        return reviews.sparkSession.createDataFrame([], plain_ddl(tables.REVIEW_SENTENCES))
    written = newest_reviews(reviews, items).where("coalesce(title, text) IS NOT NULL")
    lexicon = json_models.applied(sentiment_model, fitted.from_json).lexicon
    split = written.select("review_id", "user_id", "title", "text", "category").mapInArrow(_splitter(lexicon), CLAUSES)
    keyed = held(split.withColumn("text_key", text_key(F.col("sentence"), sentiment_model)))
    known = held(review_sentences.select("text_key", *READ).dropDuplicates(["text_key"]))
    wanted = keyed.select("text_key", "sentence").dropDuplicates(["text_key"])
    new = wanted.join(known, "text_key", "left_anti").select("sentence", F.col("sentence").alias("text"))
    nothing = review_sentences.select("text_key", F.lit(None).cast("binary").alias("vector")).limit(0)
    vectors, _ = encode(new, nothing, sentiment_model)
    scored = vectors.select("text_key", "sentence", "vector").mapInArrow(_scorer(sentiment_model), SCORED)
    of_run = {"run_date": F.lit(run.run_date), "model_version": F.lit(sentiment_model.version)}
    complete = keyed.join(known.unionByName(scored), "text_key", "inner").withColumns(of_run)
    return complete.select(*tables.REVIEW_SENTENCES.column_names)


def _splitter(lexicon: Lexicon) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def split(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        matchers: dict[str, Callable[[str], list[str]]] = {}
        for batch in batches:
            rows = []
            for review in batch.to_pylist():
                category = review["category"]
                named = matchers.get(category) or matchers.setdefault(category, lexicon.matcher(category))
                for number, clause in enumerate(clauses(review["title"], review["text"]), start=1):
                    row = {"review_id": review["review_id"], "user_id": review["user_id"], "sentence_no": number}
                    rows.append(row | {"sentence": clause, "aspects": named(clause)})
            yield pa.RecordBatch.from_pylist(rows, schema=schema(CLAUSES))

    return split


def _scorer(of: Model) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    file_name = of.file_name

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        folder = SparkFiles.get(file_name)
        head = fitted.read(folder).head
        for batch in batches:
            vectors = from_bytes(batch.column("vector").to_pylist(), len(head.score))
            p = head.of_clauses(head.scores(vectors))
            values = {
                "sentiment": model.sentiment(p),
                **dict(zip(("p_negative", "p_neutral", "p_positive"), model.polarity(p).T, strict=True)),
                "weight": head.weights(vectors),
                "unknown_share": unknown.shares(folder, batch.column("sentence").to_pylist()),
            }
            columns = {name: pa.array(np.asarray(value, np.float64)) for name, value in values.items()}
            yield pa.RecordBatch.from_pydict(
                {"text_key": batch.column("text_key"), **{name: columns[name] for name in READ}}
            )

    return score


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("read_reviews")
