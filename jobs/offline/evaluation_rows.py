"""Figures of all contenders of an evaluation, as rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from jobs.offline.contenders import Contenders
from jobs.offline.judged_night import TUNED_OF, WHOLE, WITHOUT
from jobs.offline.measures import EVERYONE, LEAD, TUNING, WORTH, MeasureRow
from udfs.catalogue import Catalogue
from udfs.days import date_of
from udfs.evaluation import metrics
from udfs.evaluation.metrics import TASK_ALL, TASK_NEW, Bootstrap, Interval, Mask, PerUser, Quotient
from udfs.recommend import candidates as proposals
from udfs.recommend import scoring

K = 10
LONG = 50  # list length for the recall of rare items
NIGHT = "nightshelf"
TASKS = {TASK_ALL: "all items, repeats count", TASK_NEW: "items new to the user"}
COLD_DAYS = 14
HEAD_SHARE = 0.2  # of the catalogue; the remaining items are the long tail
FEWEST_OF_A_SEGMENT = 20

Add: TypeAlias = Callable[[str, str, "Interval | Quotient"], None]


@dataclass
class Figures:
    """Figures to come: those that are resampled share a few passes over the resamples."""

    cut_date: dt.date
    draws: Bootstrap
    wanted: list[tuple[str, str, str, str, Interval | Quotient]] = field(default_factory=list)

    def of(self, task: str, contender: str) -> Add:
        """A function that adds a figure of a contender: metric, slice, and the figure or what is to be resampled."""
        return lambda metric, part, value: self.wanted.append((task, contender, metric, part, value))

    def rows(self) -> list[MeasureRow]:
        """All figures, in the order in which they were added."""
        resampled = iter(self.draws.intervals([each[-1] for each in self.wanted if isinstance(each[-1], Quotient)]))
        made = []
        for task, contender, metric, part, value in self.wanted:
            found = next(resampled) if isinstance(value, Quotient) else value
            made.append(MeasureRow.of(self.cut_date, task, contender, metric, part, found))
        return made


def rows_of(contest: Contenders, seen: Catalogue, cut_date: dt.date, segments: dict[str, str]) -> list[MeasureRow]:
    """Every metric of every contender: over all users, over user slices, over item slices."""
    figures = Figures(cut_date, Bootstrap(len(contest.users)))
    buyers = np.asarray((contest.history.matrix() > 0).sum(axis=0)).ravel()
    user_count = len(np.unique(contest.history.known().user))
    vectors, catalogue = seen.item_vectors(), contest.catalogue()
    slices, item_slices = dict(_user_slices(contest, segments)), dict(_item_slices(contest, buyers))
    for task in TASKS:
        truth = contest.truth[task]
        judged = {name: metrics.ranking(lists[:, :K], truth, K) for name, lists in contest.of(task)}
        for name, lists in contest.of(task):
            at, top = figures.of(task, name), lists[:, :K]
            per_user = {f"{key}@{K}": values for key, values in judged[name].items()}
            per_user["novelty"] = metrics.novelty(top, buyers, user_count)
            if vectors.shape[1]:
                per_user["diversity"] = metrics.diversity(top, vectors)
            for metric, values in per_user.items():
                at(metric, "all", figures.draws.of_mean(values))
            _compared(contest, at, figures.draws, task, name, judged)
            ndcg = judged[name]["ndcg"]
            measured = int(np.isfinite(ndcg).sum())
            at("coverage", "all", Interval(metrics.coverage(top, catalogue), np.nan, np.nan, measured))
            at("personalisation", "all", Interval(metrics.personalisation(top), np.nan, np.nan, measured))
            if (task, name) in contest.shown:
                share = float(contest.shown[task, name][catalogue].mean())
                at(EVERYONE, "all", Interval(share, np.nan, np.nan, user_count))
            if name in contest.sliced:
                for part, chosen in slices.items():
                    if np.isfinite(ndcg[chosen]).any():
                        at(f"ndcg@{K}", part, figures.draws.of_mean(ndcg, chosen))
                for part, in_slice in item_slices.items():
                    hits, relevant = metrics.slice_hits(lists, truth, in_slice)
                    if relevant.any():
                        at(f"recall@{LONG}", part, figures.draws.of_ratio(hits, relevant))
    return figures.rows()


def _compared(
    contest: Contenders, at: Add, draws: Bootstrap, task: str, name: str, judged: Mapping[str, Mapping[str, PerUser]]
) -> None:
    """Add the figures of a contender beside another one."""
    ndcg = judged[name]["ndcg"]
    if NIGHT in judged and name != NIGHT:
        at(LEAD, "all", draws.of_relative(judged[NIGHT]["ndcg"], ndcg))
    if WHOLE in judged and name.startswith(WITHOUT):  # gain from the part that this contender lacks
        at(WORTH, "all", draws.refitted(*(np.stack(contest.refits[task, each]) for each in (WHOLE, name))))
    if name in TUNED_OF:
        at(TUNING, "all", draws.of_relative(judged[TUNED_OF[name]]["ndcg"], ndcg))


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


def generators(contest: Contenders) -> Iterator[MeasureRow]:
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
