"""Sentiment of items and of their aspects, from the clauses of their reviews and from stars."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.reports.review_page import SHOWN, review_page
from jobs.transforms import arrow_rows, json_models
from jobs.transforms.held import held
from jobs.transforms.reviews import marked_copies, newest_reviews
from schemas import reviews as tables
from schemas.errors import ConfError
from schemas.run import Model, RunContext
from udfs.sentiment import fitted, ratings, unknown

NEGATIVE = 0.5  # P(1 or 2 stars) from which a clause is negative
FEWEST_SHOWN, MOST_ROWS = 20, 1_000  # clauses of an aspect on the page; aspects on it
QUOTED = 20  # characters of the shortest clause that is quoted
SUMS = ("starred", "stars", "stars_squares", "read", "sentiments", "sentiment_squares", "recent", "recent_sentiments")
COUNTS = ("reviews", "mentions", "copies")
RATED = ", ".join(
    [
        *("item_id STRING", "category STRING", "aspect STRING"),
        *(f"{name} BIGINT" for name in COUNTS),
        *(f"{name} DOUBLE" for name in ratings.RATED if name != "reason"),
        "reason STRING",
    ]
)


def rate_items(
    reviews: DataFrame,
    review_sentences: DataFrame,
    items: DataFrame,
    sentiment_model: Model | None,
    *,
    run: RunContext,
    min_reviews: int = 5,
) -> dict[str, DataFrame]:
    """gold.item_sentiment: items, and their aspects, that at least `min_reviews` reviews speak of; gold.aspects.

    Of reviews of one item with the same text the first counts, the others are counted in `copies`. Stars without a
    text count for stars alone, a text without stars for sentiment alone. Clauses of which the encoder does not know
    over 30 % of the tokens count for nothing.
    """
    if min_reviews < 1:
        raise ConfError(f"[jobs.rate_items] min_reviews: must be at least 1, not {min_reviews}")
    marked = held(marked_copies(newest_reviews(reviews, items)))
    counted = marked.where(~F.col("is_copy")).select("review_id", "item_id", "category", "event_date", "stars")
    read = review_sentences.where(F.col("unknown_share") <= unknown.MOST).join(counted, "review_id", "inner")
    aspect = F.explode(F.concat(F.array(F.lit(tables.OVERALL)), "aspects")).alias("aspect")
    named = held(
        read.select(
            "review_id", "item_id", "category", "event_date", "stars", "sentence", "weight", aspect, *_sentiment()
        )
    )
    sums = _summed(_by_review(named, counted), run.run_date).where(F.col("reviews") >= min_reviews)
    copies = marked.where("is_copy").groupBy("item_id").agg(F.count("*").alias("copies"))
    joined = sums.join(copies, "item_id", "left").fillna(0, ["copies"])
    rated = joined.groupBy("category").applyInArrow(_rater, RATED)
    if run.deployment.is_simulated("reviews"):
        rated = rated.withColumn("reason", F.concat("reason", F.lit(" (SIMULATED files)")))
    version = F.lit(sentiment_model.version if sentiment_model else None).cast("string")
    of_run = {"run_date": F.lit(run.run_date), "model_version": version}
    complete = rated.join(_quotes(named), ["item_id", "aspect"], "left").withColumns(of_run)
    found = held(_aspects(named, sentiment_model, run))
    if sentiment_model:
        _write_page(found, run)
    return {
        "gold.item_sentiment": complete.select(*tables.ITEM_SENTIMENT.column_names),
        "gold.aspects": found,
    }


def _sentiment() -> list[Column | str]:
    return ["sentiment", (F.col("p_negative") >= NEGATIVE).cast("int").alias("negative")]


def _by_review(named: DataFrame, counted: DataFrame) -> DataFrame:
    """A row per review and aspect: its clauses' mean sentiment by weight, how many there are, and how many negative.

    `counted`: reviews without a clause that was read count overall, for their stars.
    """
    key = ["review_id", "item_id", "category", "event_date", "stars", "aspect"]
    mean = F.sum(F.col("weight") * F.col("sentiment")) / F.sum("weight")
    sums = [F.count("*").alias("mentions"), F.sum("negative").alias("negatives")]
    read = named.groupBy(*key).agg(mean.alias("sentiment"), *sums)
    silent = counted.join(named.select("review_id").distinct(), "review_id", "left_anti")
    nothing = {"aspect": F.lit(tables.OVERALL), "sentiment": F.lit(None).cast("double")}
    nothing |= {name: F.lit(0).cast("bigint") for name in ("mentions", "negatives")}
    starred = silent.where("stars IS NOT NULL").withColumns(nothing)
    return read.unionByName(starred.select(*read.columns))


def _summed(by_review: DataFrame, run_date: dt.date) -> DataFrame:
    """What udfs.sentiment.ratings reads, a row per item and aspect. Stars, if any, say whether a review is negative."""
    overall = F.col("aspect") == tables.OVERALL
    by_text = F.coalesce(F.col("sentiment") < -1 / 3, F.lit(False))
    negative_review = F.coalesce(F.col("stars") <= 2, by_text).cast("int")
    lately = F.col("event_date") > F.lit(run_date - dt.timedelta(days=ratings.LATELY_DAYS))
    recent = F.when(lately, F.col("sentiment"))
    sums = {
        "mentions": F.sum("mentions"),
        "negatives": F.sum(F.when(overall, negative_review).otherwise(F.col("negatives"))).cast("double"),
        "starred": F.count("stars"),
        "stars": F.sum("stars"),
        "stars_squares": F.sum(F.col("stars") * F.col("stars")),
        "read": F.count("sentiment"),
        "sentiments": F.sum("sentiment"),
        "sentiment_squares": F.sum(F.col("sentiment") * F.col("sentiment")),
        "recent": F.count(recent),
        "recent_sentiments": F.sum(recent),
    }
    rows = by_review.groupBy("item_id", "category", "aspect").agg(
        F.count("*").alias("reviews"), *(column.alias(name) for name, column in sums.items())
    )
    return rows.withColumns({name: F.coalesce(F.col(name).cast("double"), F.lit(0.0)) for name in SUMS})


def _rater(group: tuple[Any, ...], rows: pa.Table) -> pa.Table:
    found = ratings.rated(rows.to_pandas(), str(group[0].as_py()))
    return arrow_rows.table(found, RATED)


def _quotes(named: DataFrame) -> DataFrame:
    """item_id, aspect, best_quote, worst_quote: the most positive and the most negative clause, if they are so."""
    length = F.length("sentence")
    quoted = named.where((length >= QUOTED) & (length <= tables.QUOTE))
    best = F.max_by("sentence", F.when(F.col("sentiment") > 0, F.struct("sentiment", "weight", "sentence")))
    worst = F.min_by("sentence", F.when(F.col("sentiment") < 0, F.struct("sentiment", "weight", "sentence")))
    return quoted.groupBy("item_id", "aspect").agg(best.alias("best_quote"), worst.alias("worst_quote"))


def _aspects(named: DataFrame, model: Model | None, run: RunContext) -> DataFrame:
    """gold.aspects: of each category the aspects that its reviews name, with their terms."""
    terms = json_models.applied(model, fitted.from_json).lexicon.terms if model else {}
    listed = named.sparkSession.createDataFrame(list(terms.items()), "aspect STRING, terms ARRAY<STRING>")
    sums = [F.count("*").alias("mentions"), F.avg("sentiment").alias("sentiment")]
    found = named.where(F.col("aspect") != tables.OVERALL).groupBy("category", "aspect").agg(*sums)
    dated = found.join(listed, "aspect", "inner").withColumn("run_date", F.lit(run.run_date))
    return dated.select(*tables.ASPECTS.column_names)


def _write_page(aspects: DataFrame, run: RunContext) -> None:
    """The page `reviews/<run_date>.html` in the lake, of the categories with the most reviews' clauses."""
    enough = aspects.where(F.col("mentions") >= FEWEST_SHOWN)
    in_category = Window.partitionBy("category")
    places = {
        "praised": F.row_number().over(in_category.orderBy(F.desc("sentiment"), "aspect")),
        "criticised": F.row_number().over(in_category.orderBy("sentiment", "aspect")),
        "_size": F.sum("mentions").over(in_category),
    }
    of_page = enough.withColumns(places).where(F.least("praised", "criticised") <= SHOWN)
    rows = [row.asDict() for row in of_page.orderBy(F.desc("_size"), "category", "aspect").take(MOST_ROWS)]
    simulated = run.deployment.is_simulated("reviews")
    run.write_page(
        f"reviews/{run.run_date}.html", review_page(run.deployment.name, run.run_date, rows, simulated=simulated)
    )


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("rate_items")
