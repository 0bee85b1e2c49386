"""The weekly training: BERT fine-tuned on history -> next purchase, then the ranker fitted on a later month."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs import launch, progress, ranker, runtime
from jobs.build_histories import build_histories, history_texts
from jobs.encode_items import encode_items
from jobs.encode_users import encode_users
from jobs.generate_candidates import generate_candidates
from jobs.purchases import active_items, purchases
from jobs.top_n import top_n
from schemas import features, ops
from schemas.derive import plain_ddl
from udfs import encoder
from udfs.training import TrainingReport, fine_tune


def train_model(
    events: DataFrame,
    items: DataFrame,
    *,
    run_date: dt.date,
    publish_model: Callable[[Path], str],
    horizon_days: int = 28,
    train_days: int = 182,
    baskets_per_user: int = 6,
    items_per_basket: int = 2,
    max_examples: int = 40_000,
    max_checks: int = 600,
    evaluations: int = 3,
    max_steps: int = 240,
    batch_size: int = 32,
    learning_rate: float = 5e-5,
    temperature: float = 0.1,
    max_items: int = 16,
    max_history_tokens: int = 96,
    max_item_tokens: int = 32,
    seed: int = 7,
) -> DataFrame:
    """One row of ops.models; `publish_model` is given the folder of the model that it registers, and says where it is.

    Time is split once, at cut_date = run_date - horizon_days. The encoder learns from baskets up to the cut; the
    days after it choose when to stop. The ranker then learns from candidates as of the cut, labelled with what was
    bought after it: it never meets a score from a model that had seen the answer.
    """
    cut = run_date - dt.timedelta(days=horizon_days)
    before, after = events.where(F.col("event_date") <= F.lit(cut)), events.where(F.col("event_date") > F.lit(cut))
    bought = purchases(before).where("user_id IS NOT NULL").persist()
    examples = training_examples(bought, items, cut, train_days, baskets_per_user, items_per_basket, max_items)
    checks = validation_examples(bought, purchases(after), items, items_per_basket, max_items)
    drawn: list[Column | str] = [
        F.xxhash64("user_id", "history", "item_text", F.lit(seed)),
        "user_id",
        "history",
        "item_text",
    ]
    table = (
        examples.orderBy(*drawn).limit(max_examples).unionByName(checks.orderBy(*drawn).limit(max_checks)).toPandas()
    )
    if table.empty or set(table["split"]) != {"train", "validation"}:
        raise runtime.DataError(
            f"silver.events has too few purchases to train on: {horizon_days} days before {run_date} and "
            "earlier ones are needed, of the same users"
        )
    table = table.sort_values(["split", "user_id", "history", "item_text"], ignore_index=True)
    with tempfile.TemporaryDirectory(prefix="nightshelf-") as scratch:
        output = Path(scratch) / "training"
        report = fine_tune(
            table,
            encoder.base_folder(),
            output,
            seed=seed,
            max_steps=max_steps,
            batch_size=min(batch_size, int((table["split"] == "train").sum())),
            learning_rate=learning_rate,
            warmup_share=0.1,
            temperature=temperature,
            max_history_tokens=max_history_tokens,
            max_item_tokens=max_item_tokens,
            evaluate_every=max(1, max_steps // evaluations),
            patience=2,
            log=progress.say,
        )
        weights = encoder.sha256(output / encoder.WEIGHTS)
        version = f"{run_date}-{weights[:8]}"
        (output / "training.json").write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
        folder = publish_model(output.rename(Path(scratch) / version))
    progress.say("fitting the ranker on what was bought after the cut")
    unranked = runtime.Model(version, folder, {}, cut)
    spark = events.sparkSession
    runtime.ship(spark, unranked)
    fitted = fit_ranker(before, after, items, unranked, max_items)
    row = {
        "run_date": run_date,
        "model_version": version,
        "folder": f"models/{version}",
        "base_sha256": encoder.BASE_SHA256,
        "weights_sha256": weights,
        "trained_from": cut - dt.timedelta(days=train_days - 1),
        "cut_date": cut,
        "example_count": report.train_examples,
        "metrics": metrics(report),
        "ranker": json.dumps(fitted),
        "promoted": True,
        "code_version": launch.code_version(),
    }
    return spark.createDataFrame([tuple(row[name] for name in ops.MODELS.column_names)], plain_ddl(ops.MODELS))


def training_examples(
    bought: DataFrame,
    items: DataFrame,
    cut: dt.date,
    train_days: int,
    baskets_per_user: int,
    items_per_basket: int,
    max_items: int,
) -> DataFrame:
    """Split 'train', user_id, history, item_text, item_count: what a user had bought before a day, and an item bought
    on it.

    Of each user `baskets_per_user` days and of each `items_per_basket` items, chosen by hash: the same every time.
    """
    days = bought.select("user_id", F.col("event_date").alias("day"), "item_id").distinct()
    first = bought.groupBy("user_id").agg(F.min("event_date").alias("first_day"))
    eligible = days.join(first, "user_id", "inner").where(
        (F.col("day") > F.col("first_day")) & (F.col("day") > F.lit(cut - dt.timedelta(days=train_days)))
    )
    chosen = top_n(
        eligible.select("user_id", "day").distinct(),
        ["user_id"],
        [F.xxhash64("user_id", "day"), "day"],
        baskets_per_user,
    )
    targets = top_n(
        eligible.join(chosen, ["user_id", "day"], "left_semi").select("user_id", "day", "item_id"),
        ["user_id", "day"],
        [F.xxhash64("user_id", "day", "item_id"), "item_id"],
        items_per_basket,
    )
    earlier = chosen.join(bought, "user_id", "inner").where(F.col("event_date") < F.col("day"))
    histories = history_texts(earlier, items, ["user_id", "day"], max_items)
    return _examples("train", targets.join(histories, ["user_id", "day"], "inner"), items, bought)


def validation_examples(
    bought: DataFrame, later: DataFrame, items: DataFrame, items_per_user: int, max_items: int
) -> DataFrame:
    """Split 'validation': each user's history at the cut, and items that the user bought after it, chosen by hash."""
    targets = top_n(
        later.where("user_id IS NOT NULL").select("user_id", "item_id").distinct(),
        ["user_id"],
        [F.xxhash64("user_id", "item_id"), "item_id"],
        items_per_user,
    )
    histories = history_texts(bought, items, ["user_id"], max_items)
    return _examples("validation", targets.join(histories, "user_id", "inner"), items, bought)


def _examples(split: str, pairs: DataFrame, items: DataFrame, bought: DataFrame) -> DataFrame:
    texts = items.select("item_id", F.col("text").alias("item_text"))
    counts = bought.join(texts, "item_id", "inner").groupBy("item_text").agg(F.count("*").alias("item_count"))
    named = (
        pairs.select("user_id", "history", "item_id").join(texts, "item_id", "inner").join(counts, "item_text", "left")
    )
    return named.select(
        F.lit(split).alias("split"),
        "user_id",
        "history",
        "item_text",
        F.coalesce("item_count", F.lit(1)).alias("item_count"),
    )


def fit_ranker(
    before: DataFrame, after: DataFrame, items: DataFrame, model: runtime.Model, max_items: int
) -> dict[str, object]:
    """The ranker for this encoder: the night as it would have been at the cut, labelled with what followed."""
    cut, spark = model.cut_date, before.sparkSession
    bought = purchases(before).persist()
    sold = items.join(active_items(bought, cut, 84), "item_id", "left_semi")
    histories = build_histories(before, items, run_date=cut, max_items=max_items)
    nothing = spark.createDataFrame([], "text_key STRING, vector BINARY")
    item_vectors = encode_items(sold, nothing, model, run_date=cut).persist()
    user_vectors = encode_users(histories, nothing, model, run_date=cut).persist()
    candidates = generate_candidates(before, item_vectors, user_vectors, run_date=cut)
    known = ranker.features(candidates.select(*features.CANDIDATES.column_names), bought, cut)
    truth = purchases(after).where("user_id IS NOT NULL").select("user_id", "item_id").distinct()
    labelled = known.join(truth.withColumn("label", F.lit(1.0)), ["user_id", "item_id"], "left").fillna(0.0, ["label"])
    return ranker.fit(labelled.persist())


def metrics(report: TrainingReport) -> dict[str, float]:
    """The figures that ops.models keeps: on the days after the cut, before and after training."""
    return {
        "recall_at_20_before": report.before.recall_at_20,
        "recall_at_20_after": report.after.recall_at_20,
        "mrr_before": report.before.mrr,
        "mrr_after": report.after.mrr,
        "best_step": float(report.best_step),
        "steps": float(report.steps),
        "seconds": report.seconds,
    }


if __name__ == "__main__":
    launch.main("train_model")
