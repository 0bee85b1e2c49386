"""What a night's lists were worth, 28 days later: against every peer, with intervals, as rows and as a page."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.offline.base_of import base_of
from jobs.offline.contenders import Contenders, night_lists, peers, published_lists, published_scores
from jobs.offline.earlier_cuts import LEARNED, earlier_cuts
from jobs.offline.evaluation_rows import LONG, NIGHT, TASKS, K, generators, rows_of
from jobs.offline.judged_night import JudgedNight, ablations, bert, listed_ahead
from jobs.offline.measures import ImportanceRow, MeasureRow, ParameterRow
from jobs.offline.training_data import collect
from jobs.offline.user_groups import group_gaps
from jobs.reports import progress
from jobs.reports.evaluation_page import Evaluation, evaluation_page
from jobs.transforms.catalogue import active
from jobs.transforms.purchases import purchases
from jobs.transforms.ranking import FALLBACK, Rules, ranked_lists
from jobs.transforms.top_n import top_n
from schemas import ops
from schemas.derive import plain_ddl
from schemas.errors import TooEarlyError
from schemas.explanations import IMPORTANCES
from schemas.run import Model, RunContext
from udfs.days import date_of, day_number
from udfs.evaluation import metrics
from udfs.evaluation.metrics import TASK_ALL, TASK_NEW
from udfs.horizon import HORIZON_DAYS
from udfs.recommend import scoring
from udfs.recommend.feature_meanings import FEATURES, group_of
from udfs.recommend.peer_tuning import Choice
from udfs.recommend.sample_budget import SampleBudget

LONG_TAILS = (0.5,)  # shares for jobs/transforms/recommendation_lists.py; each is a contender
MOST_FEATURES = 30  # shown on the page
PROTOCOL = (
    "Models saw what was bought before the cut; truth is what each user with a purchase before it bought in the 28 "
    "days from it; lists are of the whole catalogue. Peers were tuned on the cut 28 days earlier. Task B leaves the "
    "user's own items out of lists and truth."
)


def evaluate_recommendations(
    events: DataFrame,
    items: DataFrame,
    item_vectors: DataFrame,
    candidates: DataFrame,
    recommendations: DataFrame,
    users: DataFrame,
    model: Model,
    *,
    run: RunContext,
    segment: str = "",
    max_users: int = 20_000,
    ablate: bool = True,
    ablation_rows: int = 200_000,
    refits: int = 3,
    cuts: int = 0,
    listed: bool = False,
) -> dict[str, DataFrame]:
    """ops.metrics and ops.evaluation_lists of the run 28 days before run_date, ops.importances, and an HTML page.

    That run is judged by what it wrote: features.candidates (its full ranking) and gold.recommendations (what it
    published, after rules). Peers and ablations are fitted here, on the driver, on at most about `max_users` users;
    each ablation `refits` times, on at most `ablation_rows` candidates of past runs. `segment` (a column of
    silver.events, such as a country) gives the slices for fairness; each attribute in silver.users gives the gaps
    between its groups. `listed`: also how well the fusion and BERT recommend items never sold before, had the shop
    described them ahead of their first sale. `cuts`: the lead over the best peer on so many cuts before, and its mean;
    each costs some minutes.
    """
    base = base_of(run.deployment)
    night = run.run_date - dt.timedelta(days=HORIZON_DAYS)
    cut, cut_date = day_number(night) + 1, night + dt.timedelta(days=1)
    scored_pairs = _of_night(candidates, "features.candidates", night)
    published = _of_night(recommendations, "gold.recommendations", night)
    folder = Path(SparkFiles.get(model.file_name))
    story = json.loads((folder / scoring.TRAINING).read_text("utf-8"))
    shop = collect(events, items, SampleBudget(max_users), run.deployment, run.run_date, _rebuilt(story, cut, cuts))
    seen = shop.with_vectors_of(_of_night(item_vectors, "features.item_vectors", night).toPandas())
    buyers, truth = metrics.truths(shop.interactions, cut)
    contest = Contenders(shop.interactions, cut, buyers, truth, LONG)
    progress.say(f"{len(buyers):,} users bought in the 28 days after {night}")
    scored = night_lists(contest, NIGHT, scored_pairs, published, seen.item_vectors())
    known = purchases(events.where(F.col("run_date") <= F.lit(night)), run.deployment)
    for share in LONG_TAILS:
        _give_last_places(contest, share, scored_pairs, items, item_vectors, known, model, night)
    judged = JudgedNight(contest, seen, shop, folder, base, story, ablation_rows)
    choices = [*peers(contest, progress.say), *bert(judged, progress.say)]
    parts = ablations(judged, refits) if ablate else []
    contest.variants += listed_ahead(judged) if listed else []
    of_users = rows_of(contest, seen, cut_date, _segments(known, segment))
    listed_scores = published_scores(contest, published)
    calibrations = *scored.rows(cut_date), *listed_scores.rows(cut_date, by_rank=True)
    rows = [*of_users, *calibrations, *generators(contest), *group_gaps(contest, users, cut_date)]
    parameters = [_parameter(choice) for choice in choices]
    page = Evaluation(run.deployment.name, cut_date, PROTOCOL, NIGHT, TASKS, rows, contest.variants, parts)
    page = replace(page, reliability=listed_scores.bins(), importances=_importances(story), parameters=parameters)
    run.write_page(f"evaluation/{cut_date}.html", evaluation_page(page))
    rows += _earlier(judged, cuts)
    spark, day = events.sparkSession, run.run_date
    lists, importances = _lists(spark, day, contest), _of_features(spark, day, model, story)
    return {"ops.metrics": _measures(spark, day, rows), "ops.evaluation_lists": lists, "ops.importances": importances}


def _rebuilt(story: Mapping[str, Any], cut: int, cuts: int) -> list[int]:
    """Days whose runs are rebuilt: the judged one, those that its model learned from, and those of earlier cuts."""
    earlier = (cut - HORIZON_DAYS * number for number in range(1, cuts + LEARNED + 1) if cuts)
    return sorted({*(day_number(dt.date.fromisoformat(past)) for past in story["nights"]), *earlier, cut})


def _of_night(table: DataFrame, name: str, night: dt.date) -> DataFrame:
    """Rows that the run of `night` wrote; TooEarlyError if that date has no run."""
    rows = table.where(F.col("run_date") == F.lit(night))
    if not rows.take(1):
        raise TooEarlyError(f"{name} has no partition run_date={night}, the night to judge; run that night first")
    return rows


def _give_last_places(
    contest: Contenders,
    share: float,
    scored_pairs: DataFrame,
    items: DataFrame,
    vectors: DataFrame,
    known: DataFrame,
    model: Model,
    night: dt.date,
) -> None:
    """Add the lists of ten that rank_recommendations builds with this `long_tail`: its gain and its cost."""
    for task, rows in ((TASK_ALL, scored_pairs), (TASK_NEW, scored_pairs.where("times_bought = 0"))):
        rules = Rules(top_k=K, long_tail=share)
        listed = ranked_lists(rows, active(items), items, vectors, known, model, night, rules)
        own = F.array_contains("sources", FALLBACK)  # what fills a short list may be the user's own
        published_lists(contest, task, f"{NIGHT}, long tail {share}", listed.where(~own))


def _segments(bought: DataFrame, segment: str) -> dict[str, str]:
    """Each known user's most frequent value of `segment` in their purchases; empty without a segment."""
    if not segment:
        return {}
    with_value = bought.where(F.col(segment).isNotNull())
    counts = with_value.where("user_id IS NOT NULL").groupBy("user_id", F.col(segment).alias("value")).count()
    first = top_n(counts, ["user_id"], [F.desc("count"), "value"], 1)
    return {row["user_id"]: str(row["value"]) for row in first.select("user_id", "value").collect()}


def _importances(story: Mapping[str, Any]) -> list[ImportanceRow]:
    """The most important features of the judged run's model, from its training record."""
    top_features = list(story["importance"].items())[:MOST_FEATURES]
    return [ImportanceRow(name, value, FEATURES.get(name, "")) for name, value in top_features]


def _of_features(spark: SparkSession, run_date: dt.date, model: Model, story: Mapping[str, Any]) -> DataFrame:
    """A row of ops.importances for each feature of the judged run's model."""
    rows = [
        (run_date, model.version, name, group_of(name) if name in FEATURES else None, float(value))
        for name, value in story["importance"].items()
    ]
    return spark.createDataFrame(rows, plain_ddl(IMPORTANCES))


def _earlier(judged: JudgedNight, cuts: int) -> list[MeasureRow]:
    """Rows of earlier cuts, each said as a line of progress."""
    rows = earlier_cuts(judged, cuts, progress.say) if cuts else []
    for row in rows:
        ends = "" if row.low is None else f" ({row.low:.4f} to {row.high:.4f})"
        what = f"{row.cut_date}, {row.slice}, task {row.task}, {row.contender}"
        progress.say(f"{what}: {row.metric} {row.value:.4f}{ends}")
    return rows


def _parameter(choice: Choice) -> ParameterRow:
    words = ", ".join(f"{name} = {value}" for name, value in choice.params.items())
    weight = f"b = {choice.weight}, buyers of {choice.days} days" if choice.weight else ""
    return ParameterRow(choice.task, choice.contender, "; ".join(filter(None, (words, weight))) or "none", choice.ndcg)


def _measures(spark: SparkSession, run_date: dt.date, rows: list[MeasureRow]) -> DataFrame:
    values = [
        (run_date, r.cut_date, r.task, r.contender, r.metric, r.slice, float(r.value), r.low, r.high, r.user_count)
        for r in rows
        if np.isfinite(r.value)
    ]
    return spark.createDataFrame(values, plain_ddl(ops.METRICS))


def _lists(spark: SparkSession, run_date: dt.date, contest: Contenders) -> DataFrame:
    parts = []
    cut_date = date_of(contest.day)
    for (task, name), lists in contest.lists.items():
        row, place = np.nonzero(lists[:, :K] >= 0)
        same = {"run_date": run_date, "cut_date": cut_date, "task": task, "contender": name}
        per_row = {
            "user_id": pa.array(contest.history.users[contest.users[row]]),
            "rank": pa.array((place + 1).astype(np.int32)),
            "item_id": pa.array(contest.history.items[lists[row, place]]),
        }
        constant = {key: pa.array([value] * len(row)) for key, value in same.items()}
        parts.append(pa.table(constant | per_row))
    return spark.createDataFrame(pa.concat_tables(parts)).select(*ops.EVALUATION_LISTS.column_names)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("evaluate_recommendations")
