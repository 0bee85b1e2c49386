"""What a night's lists were worth, 28 days later: against every peer, with intervals, as rows and as a page."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.offline.base_of import base_of
from jobs.offline.contenders import Contenders, night_lists, peers, published_lists
from jobs.offline.judged_night import TUNED_OF, WHOLE, WITHOUT, JudgedNight, ablations, bert, listed_ahead
from jobs.offline.measures import ImportanceRow, MeasureRow, ParameterRow
from jobs.offline.training_data import collect
from jobs.reports import progress
from jobs.reports.evaluation_page import EVERYONE, LEAD, TUNING, WORTH, Evaluation, evaluation_page
from jobs.transforms.purchases import purchases
from jobs.transforms.ranking import FALLBACK, Rules, ranked_lists
from jobs.transforms.top_n import top_n
from schemas import ops
from schemas.derive import plain_ddl
from schemas.errors import TooEarlyError
from schemas.run import Model, RunContext
from udfs.catalogue import Catalogue
from udfs.days import date_of, day_number
from udfs.evaluation import metrics
from udfs.evaluation.metrics import TASK_ALL, TASK_NEW, Bootstrap, Interval, Mask
from udfs.horizon import HORIZON_DAYS
from udfs.recommend import candidates as proposals
from udfs.recommend import scoring
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.peer_tuning import Choice

K = 10
LONG_TAILS = (0.5,)  # shares for jobs/transforms/recommendation_lists.py; each is a contender
LONG = 50  # list length for the recall of rare items
NIGHT = "nightshelf"
TASKS = {TASK_ALL: "all items, repeats count", TASK_NEW: "items new to the user"}
COLD_DAYS = 14
MOST_FEATURES = 30  # shown on the page
HEAD_SHARE = 0.2  # of the catalogue; the remaining items are the long tail
FEWEST_OF_A_SEGMENT = 20
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
    model: Model,
    *,
    run: RunContext,
    segment: str = "",
    max_users: int = 20_000,
    ablate: bool = True,
    ablation_rows: int = 300_000,
    listed: bool = False,
) -> dict[str, DataFrame]:
    """ops.metrics and ops.evaluation_lists of the run 28 days before run_date, and an HTML page.

    That run is judged by what it wrote: features.candidates (its full ranking) and gold.recommendations (what it
    published, after rules). Peers and ablations are fitted here, on the driver, on at most about `max_users` users.
    `segment` (a column of silver.events, such as a country) gives the slices for fairness. `listed`: also how well the
    fusion and BERT recommend items never sold before, had the shop described them ahead of their first sale.
    """
    base = base_of(run.deployment)
    night = run.run_date - dt.timedelta(days=HORIZON_DAYS)
    cut, cut_date = day_number(night) + 1, night + dt.timedelta(days=1)
    scored_pairs = _of_night(candidates, "features.candidates", night)
    published = _of_night(recommendations, "gold.recommendations", night)
    shop = collect(events, items, max_users, run.deployment)
    seen = shop.with_vectors_of(_of_night(item_vectors, "features.item_vectors", night).toPandas())
    folder = Path(SparkFiles.get(model.file_name))
    story = json.loads((folder / scoring.TRAINING).read_text("utf-8"))
    users, truth = metrics.truths(shop.interactions, cut)
    contest = Contenders(shop.interactions, cut, users, truth, LONG)
    progress.say(f"{len(users):,} users bought in the 28 days after {night}")
    scored = night_lists(contest, NIGHT, scored_pairs, published, seen.item_vectors())
    for share in LONG_TAILS:
        _give_last_places(contest, share, scored_pairs, items, item_vectors, model, night)
    judged = JudgedNight(contest, seen, shop, folder, base, story, ablation_rows)
    choices = [*peers(contest, progress.say), *bert(judged, progress.say)]
    parts = ablations(judged) if ablate else []
    contest.variants += listed_ahead(judged) if listed else []
    known = purchases(events.where(F.col("run_date") <= F.lit(night)), run.deployment)
    of_users = _rows(contest, seen, cut_date, _segments(known, segment))
    rows = [*of_users, *scored.rows(cut_date), *_generators(contest)]
    page = Evaluation(
        shop=run.deployment.name,
        cut_date=cut_date,
        protocol=PROTOCOL,
        leader=NIGHT,
        tasks=TASKS,
        measures=rows,
        variants=contest.variants,
        ablations=parts,
        reliability=scored.bins(),
        importances=_importances(story),
        parameters=[_parameter(choice) for choice in choices],
    )
    run.write_page(f"evaluation/{cut_date}.html", evaluation_page(page))
    spark, day = events.sparkSession, run.run_date
    return {"ops.metrics": _measures(spark, day, rows), "ops.evaluation_lists": _lists(spark, day, contest)}


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
    model: Model,
    night: dt.date,
) -> None:
    """Add the lists of ten that rank_recommendations builds with this `long_tail`: its gain and its cost."""
    for task, rows in ((TASK_ALL, scored_pairs), (TASK_NEW, scored_pairs.where("times_bought = 0"))):
        listed = ranked_lists(rows, items, vectors, model, night, Rules(top_k=K, long_tail=share))
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


def _rows(contest: Contenders, seen: Catalogue, cut_date: dt.date, segments: dict[str, str]) -> Iterator[MeasureRow]:
    """Every metric of every contender: over all users, over user slices, over item slices."""
    draws = Bootstrap(len(contest.users))
    buyers = np.asarray((contest.history.matrix() > 0).sum(axis=0)).ravel()
    user_count = len(np.unique(contest.history.known().user))
    vectors, catalogue = seen.item_vectors(), contest.catalogue()
    slices, item_slices = dict(_user_slices(contest, segments)), dict(_item_slices(contest, buyers))
    for task in TASKS:
        truth = contest.truth[task]
        judged = {name: metrics.ranking(lists[:, :K], truth, K) for name, lists in contest.of(task)}
        for name, lists in contest.of(task):
            top = lists[:, :K]
            per_user = {f"{key}@{K}": values for key, values in judged[name].items()}
            per_user["novelty"] = metrics.novelty(top, buyers, user_count)
            if vectors.shape[1]:
                per_user["diversity"] = metrics.diversity(top, vectors)

            def row(metric: str, part: str, value: Interval, task: str = task, name: str = name) -> MeasureRow:
                low, high = (value.low, value.high) if np.isfinite(value.low) else (None, None)
                return MeasureRow(cut_date, task, name, metric, part, value.value, low, high, value.user_count)

            for metric, values in per_user.items():
                yield row(metric, "all", draws.mean(values))
            ndcg = judged[name]["ndcg"]
            if NIGHT in judged and name != NIGHT:
                yield row(LEAD, "all", draws.relative(judged[NIGHT]["ndcg"], ndcg))
            if WHOLE in judged and name.startswith(WITHOUT):  # gain from the part that this contender lacks
                yield row(WORTH, "all", draws.relative(judged[WHOLE]["ndcg"], ndcg))
            if name in TUNED_OF:
                yield row(TUNING, "all", draws.relative(judged[TUNED_OF[name]]["ndcg"], ndcg))
            measured = int(np.isfinite(ndcg).sum())
            for metric, value in (
                ("coverage", metrics.coverage(top, catalogue)),
                ("personalisation", metrics.personalisation(top)),
            ):
                yield row(metric, "all", Interval(value, np.nan, np.nan, measured))
            if (task, name) in contest.shown:
                share = float(contest.shown[task, name][catalogue].mean())
                yield row(EVERYONE, "all", Interval(share, np.nan, np.nan, user_count))
            if name in contest.sliced:
                for part, chosen in slices.items():
                    if np.isfinite(ndcg[chosen]).any():
                        yield row(f"ndcg@{K}", part, draws.mean(ndcg, chosen))
                for part, in_slice in item_slices.items():
                    hits, relevant = metrics.slice_hits(lists, truth, in_slice)
                    if relevant.any():
                        yield row(f"recall@{LONG}", part, draws.ratio(hits, relevant))


def _user_slices(contest: Contenders, segments: dict[str, str]) -> Iterator[tuple[str, Mask]]:
    days = contest.history.user_days()
    shopping = np.unique(np.stack([days.user, days.day]), axis=1)
    baskets = np.bincount(shopping[0], minlength=len(contest.history.users))[contest.users]
    yield "new users (1 basket)", baskets == 1
    yield "heavy users (most baskets, a tenth)", baskets >= np.quantile(baskets, 0.9)
    values = np.array([segments.get(user, "") for user in contest.history.users[contest.users]])
    for value, count in zip(*np.unique(values, return_counts=True), strict=True):
        if value and count >= FEWEST_OF_A_SEGMENT:
            yield f"country: {value}", values == value


def _item_slices(contest: Contenders, buyers: npt.NDArray[np.integer]) -> Iterator[tuple[str, Mask]]:
    first = np.full(len(contest.history.items), np.iinfo(np.int32).max)
    np.minimum.at(first, contest.history.item, contest.history.day)
    sold = first < contest.day
    yield "never sold before the cut", ~sold
    yield f"cold items (first sold in the last {COLD_DAYS} days)", sold & (first >= contest.day - COLD_DAYS)
    head = np.zeros(len(first), bool)
    head[np.lexsort((np.arange(len(first)), -buyers))[: int(HEAD_SHARE * sold.sum())]] = True
    yield "long tail (outside the best-selling fifth)", sold & ~head


def _generators(contest: Contenders) -> Iterator[MeasureRow]:
    """Recall of true purchases within 200 proposals of each generator, and within the union of all."""
    pairs = contest.pairs
    if pairs is None:
        return
    draws = Bootstrap(len(contest.users))
    date = date_of(contest.day)
    for task in TASKS:
        truth = contest.truth[task]
        wanted = np.diff(truth.indptr).astype(np.float64)
        for place, name in enumerate((*proposals.GENERATORS, "union")):
            if name == "union":
                hit = np.asarray(truth.multiply(contest.matrix(pairs.user, pairs.item)).sum(axis=1)).ravel()
            else:
                score = pairs.scores[:, place]
                rows = pairs.proposed[:, place] & np.isfinite(score)
                lists = scoring.lists(pairs.user[rows], pairs.item[rows], score[rows], contest.users, 200)
                hit = metrics.slice_hits(lists, truth, np.ones(truth.shape[1], bool))[0]
            value = draws.ratio(hit, wanted)
            yield MeasureRow(date, task, f"generator: {name}", "recall@200", "all", *astuple(value))


def _importances(story: Mapping[str, Any]) -> list[ImportanceRow]:
    """The most important features of the judged run's model, from its training record."""
    top_features = list(story["importance"].items())[:MOST_FEATURES]
    return [ImportanceRow(name, value, FEATURES.get(name, "")) for name, value in top_features]


def _parameter(choice: Choice) -> ParameterRow:
    words = ", ".join(f"{name} = {value}" for name, value in choice.params.items())
    weight = f"b = {choice.weight}" if choice.weight else ""
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
