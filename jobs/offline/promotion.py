"""Promotion of a recommend model: its ranker against the last promoted ones and a peer, on a run that none has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from pyspark.sql import DataFrame

from jobs.offline.model_registry import HELD
from jobs.offline.training_data import PastNight, Shop
from schemas.gate import Gate
from udfs.evaluation import metrics
from udfs.evaluation.metrics import TASK_ALL, TASK_NEW, Interval, Lists, Mask, PerUser
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Codes
from udfs.recommend import ranker, scoring
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.peer_grids import PEERS
from udfs.recommend.peer_tuning import blends

K = 10
TASKS = {TASK_ALL: "all items", TASK_NEW: "items new to the user"}
PEER, PEER_PARAMS = "item_knn", {"pair_half_life": None, "half_life": 120, "others": 0.1}  # good at both tasks
PEER_USERS = 4_000  # on so many the peer is compared: it scores every item for each
Verdict: TypeAlias = dict[str, float]


def said_of(version: str, verdict: Verdict, *, held: bool = False) -> str:
    """Progress line: whether runs will use the new model, and its figures; `verdict` is from `compare`."""
    figures = []
    for task, name in TASKS.items():
        figure = f"{verdict[f'ndcg_{task}']:.4f} on {name}"
        for key, rival in (("gain", "the best of the last promoted"), ("peer_gain", f"{PEER} + popularity")):
            if f"{key}_{task}" in verdict:
                gain, low, high = (verdict[f"{key}_{task}{end}"] for end in ("", "_low", "_high"))
                figure += f" ({gain:+.4f}, {low:+.4f} to {high:+.4f}, over {rival})"
        figures.append(figure)
    decided = (HELD if held else "promoted") if verdict["promoted"] else "NOT promoted, nights keep the model in use"
    return f"model {version}: {decided}. NDCG@{K} of its ranker on a night that neither has seen: {', '.join(figures)}"


def last_promoted(models: DataFrame, generators: tuple[str, ...], count: int) -> list[ranker.Ranker]:
    """The judged rankers of the last `count` promoted models, newest first: those with today's features and generators.

    models: ops.models up to the date; a row of before there were kinds is a recommend model.
    """
    recommend = models.where("promoted").where("coalesce(kind, 'recommend') = 'recommend'")
    newest = recommend.orderBy("run_date", "model_version").select("ranker").tail(count)
    found = []
    for row in reversed(newest):
        try:
            each = ranker.from_json(row["ranker"])
        except (TypeError, ValueError):
            continue  # of a kind that this version no longer reads
        if (each.names, each.generators) == (tuple(FEATURES), generators):
            found.append(each)
    return found


def compare(
    fitted: ranker.Ranker, before: list[ranker.Ranker], shop: Shop, later: PastNight, gate: Gate | None = None
) -> Verdict:
    """NDCG@10 of the ranker on a past run it has not seen, for all items and for new ones, and the verdict.

    Not promoted where, on either task, it is worse than the best of `before` beyond chance (the paired 95 % interval of
    the difference lies below zero) or by more than the gate's margin: with the model in use alone as the rival, ten
    losses within chance would add up. Nor where it is more than the margin below a peer, unless it is better than that
    best. The first model of a shop is promoted: it has none to lose to, and runs need one.
    """
    gate = gate or Gate()
    verdict: Verdict = {"promoted": 1.0}
    users, truths = metrics.truths(shop.interactions, later.day)
    draws = metrics.Bootstrap(len(users))
    peer, drawn = peer_lists(shop, later.day, users)
    for task, rows in ((TASK_ALL, np.ones(len(later.own), bool)), (TASK_NEW, ~later.own)):

        def ndcg(lists: Lists, task: str = task) -> PerUser:
            return metrics.ranking(lists, truths[task], K)["ndcg"]

        def ranked(judged: ranker.Ranker, rows: ranker.Labels = rows) -> Lists:
            score = ranker.raw_score(judged, later.night.features)[rows]
            return scoring.lists(later.pairs.user[rows], later.pairs.item[rows], score, users, K)

        ours = ndcg(ranked(fitted))
        verdict[f"ndcg_{task}"] = float(np.nanmean(ours))
        figures = [ndcg(ranked(each)) for each in before]
        best = max(figures, key=lambda values: float(np.nanmean(values)), default=None)
        theirs = np.where(drawn, ndcg(peer[task]), np.nan)
        floor = draws.difference(ours, theirs)
        verdict |= {f"peer_{task}": float(np.nanmean(theirs))} | _named(f"peer_gain_{task}", floor)
        if best is not None:
            gain = draws.difference(ours, best)
            verdict |= _named(f"gain_{task}", gain)
            lost = gain.high < 0 or gain.value < -gate.margin * float(np.nanmean(best))
            below_peer = floor.value < -gate.margin * verdict[f"peer_{task}"] and not gain.value > 0
            if lost or below_peer:
                verdict["promoted"] = 0.0
    return {name: value for name, value in verdict.items() if np.isfinite(value)}


def _named(name: str, gain: Interval) -> Verdict:
    return {name: gain.value, f"{name}_low": gain.low, f"{name}_high": gain.high}


def peer_lists(shop: Shop, day: int, users: Codes) -> tuple[Mapping[str, Lists], Mask]:
    """Per task the peer's lists [users, K], its popularity tuned 28 days earlier, and which users have one.

    Beyond PEER_USERS it is a sample of them.
    """
    peer, earlier = PEERS[PEER], day - HORIZON_DAYS
    drawn = np.sort(np.random.default_rng(earlier).permutation(len(users))[:PEER_USERS])
    known, bought = metrics.truths(shop.interactions, earlier)
    part = np.sort(np.random.default_rng(earlier).permutation(len(known))[:PEER_USERS])
    truth = {task: bought[task][part] for task in TASKS}
    tried = blends(peer.fit(shop.interactions, earlier, **PEER_PARAMS), known[part], truth, TASKS) if len(part) else {}
    scorer = peer.fit(shop.interactions, day, **PEER_PARAMS)
    lists = {task: np.full((len(users), K), -1, np.int64) for task in TASKS}
    for task, rows in lists.items():
        best = max(tried.get(task, ()), key=lambda blend: blend.ndcg, default=None)
        chosen = scorer.blended(best.weight, best.days) if best else scorer
        rows[drawn] = chosen.top(users[drawn], K, task == TASK_NEW)
    return lists, np.isin(np.arange(len(users)), drawn)
