"""The lead over the peers on cuts before the judged one: a single date may be a lucky one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.offline.contenders import Contenders, peers
from jobs.offline.evaluation_rows import NIGHT, TASKS, K
from jobs.offline.judged_night import JudgedNight
from jobs.offline.measures import LEAD, MeasureRow
from jobs.offline.training_data import PastNight
from udfs.days import date_of
from udfs.evaluation import metrics
from udfs.evaluation.metrics import Bootstrap, Interval, PerUser, percentile_ends
from udfs.horizon import HORIZON_DAYS
from udfs.recommend import fit_ranker, ranker
from udfs.recommend.feature_meanings import FEATURES

LEARNED = 3  # runs that a cut's ranker learns from, 28 days apart: those of one cut are those of the next
BEST_PEER = "best peer"


@dataclass(frozen=True)
class Cut:
    """One cut: NDCG@K per task of the fusion and of the best peer, of all users of the shop (NaN: not judged)."""

    day: int
    ours: dict[str, PerUser]
    best: dict[str, PerUser]
    peer: dict[str, str]


def earlier_cuts(judged: JudgedNight, count: int, say: Callable[[str], None]) -> list[MeasureRow]:
    """NDCG and lead over the best peer on `count` cuts, 28 days apart, before the judged one, and their mean lead.

    On each cut our ranker learns from the LEARNED runs before it, the peers are tuned 28 days before it, and none sees
    what followed. Vectors are BERT's before any tuning: a tuned one has seen purchases after the early cuts, so the
    lead is rather too small. The best peer is the one that was best on the cut itself. Cuts without enough history are
    left out.
    """
    shop, day = judged.shop, judged.contest.day
    first = int(shop.interactions.day.min(initial=day)) + HORIZON_DAYS
    days = [day - HORIZON_DAYS * number for number in range(1, count + 1)]
    days = [cut for cut in days if cut - LEARNED * HORIZON_DAYS >= first]
    if not days:
        say("earlier cuts: the history is too short for one")
        return []
    wanted = sorted({cut - HORIZON_DAYS * number for cut in days for number in range(LEARNED + 1)})
    known = shop.catalogue.with_vectors(*judged.base)
    nights = shop.past_nights(known, dict.fromkeys(wanted, True), judged.used, cores=os.cpu_count() or 1)
    cuts = []
    for cut in days:
        cuts.append(_cut(judged, cut, nights, say))
        nights.pop(cut)
    return rows_of(cuts, len(shop.interactions.users))


def _cut(judged: JudgedNight, day: int, nights: dict[int, PastNight], say: Callable[[str], None]) -> Cut:
    interactions = judged.shop.interactions
    users, truth = metrics.truths(interactions, day)
    contest = Contenders(interactions, day, users, truth, K)
    past = [nights[day - HORIZON_DAYS * number].night for number in range(1, LEARNED + 1)]
    fitted = fit_ranker.fit_order(past, tuple(FEATURES), judged.used, judged.settings(fit_ranker.Settings.seed))
    tonight = nights[day]
    score = ranker.raw_score(fitted, tonight.night.features)
    contest.rank(NIGHT, tonight.pairs.user, tonight.pairs.item, score, tonight.own)
    say(f"cut {date_of(day)}:")
    peers(contest, say)

    def everyone(values: PerUser) -> PerUser:
        spread = np.full(len(interactions.users), np.nan)
        spread[users] = values
        return spread

    ours: dict[str, PerUser] = {}
    best: dict[str, PerUser] = {}
    names: dict[str, str] = {}
    for task in TASKS:
        ndcg = {name: metrics.ranking(lists, truth[task], K)["ndcg"] for name, lists in contest.of(task)}
        ours[task] = everyone(ndcg.pop(NIGHT))
        names[task] = max(ndcg, key=lambda name: float(np.nanmean(ndcg[name])))
        best[task] = everyone(ndcg[names[task]])
    return Cut(day, ours, best, names)


def rows_of(cuts: Sequence[Cut], users: int) -> list[MeasureRow]:
    """NDCG and lead of each cut, under its date, and the mean lead under the newest cut's date."""
    draws = Bootstrap(users)
    made: list[MeasureRow] = []
    for task in TASKS:
        for cut in cuts:
            ours, best = cut.ours[task], cut.best[task]
            figures = [(NIGHT, f"ndcg@{K}", draws.mean(ours)), (cut.peer[task], f"ndcg@{K}", draws.mean(best))]
            figures.append((cut.peer[task], LEAD, draws.relative(ours, best)))
            day, part = date_of(cut.day), "earlier cut"
            made += [MeasureRow.of(day, task, name, metric, part, value) for name, metric, value in figures]
        lead = mean_lead(draws, [cut.ours[task] for cut in cuts], [cut.best[task] for cut in cuts])
        part = f"mean of {len(cuts)} earlier cuts"
        made.append(MeasureRow.of(date_of(cuts[0].day), task, BEST_PEER, LEAD, part, lead))
    return made


def mean_lead(draws: Bootstrap, ours: Sequence[PerUser], best: Sequence[PerUser]) -> Interval:
    """The mean over cuts of (mean of ours / mean of best - 1); a resample draws users with all their cuts."""
    pairs = [draws.of_relative(each, other) for each, other in zip(ours, best, strict=True)]
    sums = draws.sums(np.stack([column for pair in pairs for column in (pair.top, pair.bottom)], axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample may hold no user whom the peer served
        leads = (sums[:, ::2] / sums[:, 1::2] - 1).mean(axis=1)
    value = float(np.mean([pair.top.sum() / pair.bottom.sum() - 1 for pair in pairs]))
    counted = np.any([np.isfinite(each) for each in ours], axis=0)
    return Interval(value, *percentile_ends(leads), int(counted.sum()))
