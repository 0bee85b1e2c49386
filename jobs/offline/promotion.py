"""Promotion of a recommend model: its ranker against the one in use, on a past run that neither has seen."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.offline.training_data import PastNight, Shop
from udfs.evaluation import metrics
from udfs.recommend import ranker, scoring
from udfs.recommend.feature_meanings import FEATURES

K = 10
Verdict: TypeAlias = dict[str, float]


def said_of(version: str, verdict: Verdict) -> str:
    """Progress line: whether runs will use the new model, and its figures; `verdict` is from `compare`."""
    tasks = {metrics.TASK_ALL: "all items", metrics.TASK_NEW: "new items"}
    figures = []
    for task, name in tasks.items():
        figure = f"{verdict[f'ndcg_{task}']:.4f} on {name}"
        if f"gain_{task}" in verdict:
            gain, low, high = (verdict[f"gain_{task}{end}"] for end in ("", "_low", "_high"))
            figure += f" ({gain:+.4f}, {low:+.4f} to {high:+.4f}, over the model in use)"
        figures.append(figure)
    decided = "promoted" if verdict["promoted"] else "NOT promoted, nights keep the model in use"
    return f"model {version}: {decided}. NDCG@{K} of its ranker on a night that neither has seen: {', '.join(figures)}"


def incumbent(models: DataFrame, generators: tuple[str, ...]) -> ranker.Ranker | None:
    """The judged ranker of the newest promoted model, if it has the current features and the same generators."""
    recommend = models.where("promoted").where("coalesce(kind, 'recommend') = 'recommend'")
    row = recommend.orderBy(F.desc("run_date"), F.desc("model_version")).select("ranker").first()
    try:
        current = ranker.from_json(row["ranker"]) if row else None
    except (TypeError, ValueError):
        return None  # of a kind that this version no longer reads
    same = current and (current.names, current.generators) == (tuple(FEATURES), generators)
    return current if same else None


def compare(fitted: ranker.Ranker, current: ranker.Ranker | None, shop: Shop, later: PastNight) -> Verdict:
    """NDCG@10 of the ranker on a past run it has not seen, for all items and for new ones, and the verdict.

    Promoted unless it is worse than the ranker in use beyond chance: neither task's paired 95 % interval of the
    difference lies below zero.
    """
    verdict: Verdict = {"promoted": 1.0}
    users, truths = metrics.truths(shop.interactions, later.day)
    draws = metrics.Bootstrap(len(users))
    for task, rows in ((metrics.TASK_ALL, np.ones(len(later.own), bool)), (metrics.TASK_NEW, ~later.own)):
        truth = truths[task]

        def ndcg(judged: ranker.Ranker, rows: ranker.Labels = rows, truth: Any = truth) -> metrics.PerUser:
            score = ranker.raw_score(judged, later.night.features)[rows]
            lists = scoring.lists(later.pairs.user[rows], later.pairs.item[rows], score, users, K)
            return metrics.ranking(lists, truth, K)["ndcg"]

        ours = ndcg(fitted)
        verdict[f"ndcg_{task}"] = float(np.nanmean(ours))
        if current:
            gain = draws.difference(ours, ndcg(current))
            verdict |= {f"gain_{task}": gain.value, f"gain_{task}_low": gain.low, f"gain_{task}_high": gain.high}
            if gain.high < 0:
                verdict["promoted"] = 0.0
    return verdict
