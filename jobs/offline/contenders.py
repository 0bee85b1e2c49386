"""Contenders of an evaluation: lists for its users, of the judged run and of the peers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from pyspark.sql import DataFrame

from jobs.offline.measures import MeasureRow, ReliabilityRow
from jobs.transforms.ranking import FALLBACK
from udfs.evaluation import metrics
from udfs.evaluation.calibration import calibration, reliability
from udfs.evaluation.metrics import TASK_ALL, TASK_NEW, Lists, Mask
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Codes, Floats, Interactions
from udfs.recommend import candidates, scoring
from udfs.recommend.peer_grids import PEERS
from udfs.recommend.peer_tuning import Choice, lists_of, tune
from udfs.recommend.rerank import rerank

PUBLISHED = "published (after rules)"
DIVERSITIES = (0.1, 0.3)
ERROR, RATIO = "calibration_error", "calibration_ratio"
PLACES = ((1, 1), (2, 3), (4, 6), (7, 10), (11, 20))  # ranks whose calibration is reported together
SHOWN = 10  # places of a list that count as shown to its user


@dataclass
class Contenders:
    """The contenders on one cut: `users` with their `truth` per task, and lists [users, k] by (task, contender)."""

    interactions: Interactions
    day: int
    users: Codes
    truth: Mapping[str, sp.csr_matrix]
    k: int
    lists: dict[tuple[str, str], Lists] = field(default_factory=dict)
    sliced: list[str] = field(default_factory=list)
    variants: list[str] = field(default_factory=list)  # the run's own lists under other rules
    shown: dict[tuple[str, str], Mask] = field(default_factory=dict)  # items in the first SHOWN of any list
    pairs: candidates.Candidates | None = None
    refits: dict[tuple[str, str], list[metrics.PerUser]] = field(default_factory=dict)  # NDCG of each fit of a variant

    @cached_property
    def history(self) -> Interactions:
        """What was bought before the cut."""
        return self.interactions.before(self.day)

    def of(self, task: str) -> Iterator[tuple[str, Lists]]:
        """Each contender of a task."""
        return ((name, lists) for (of, name), lists in self.lists.items() if of == task)

    def catalogue(self) -> Mask:
        """The items sold before the cut: what coverage is a share of."""
        return np.bincount(self.history.item, minlength=len(self.history.items)) > 0

    def matrix(self, user: Codes, item: Codes) -> sp.csr_matrix:
        """[users, items]: 1 at each of these pairs."""
        shape = (len(self.interactions.users), len(self.interactions.items))
        return sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=shape)[self.users]

    def bought(self, user: Codes, item: Codes) -> Mask:
        """Whether each pair was bought in the 28 days from the cut."""
        return self.interactions.within(self.day, self.day + HORIZON_DAYS).holds(user, item)

    def codes(self, table: pd.DataFrame) -> tuple[Any, Any, Any]:
        """User and item codes of the rows whose user and item are both known here, and which rows these are."""
        user = pd.Index(self.interactions.users).get_indexer(pd.Index(table["user_id"]))
        item = pd.Index(self.interactions.items).get_indexer(pd.Index(table["item_id"]))
        known = (user >= 0) & (item >= 0)
        return user[known].astype(np.int32), item[known].astype(np.int32), known

    def rank(self, name: str, user: Any, item: Any, score: Any, own: Any) -> None:
        """Lists of scored pairs: all of them, and those that are new to the user."""
        for task, rows in ((TASK_ALL, np.ones(len(own), bool)), (TASK_NEW, ~own)):
            self.listed(task, name, user[rows], item[rows], score[rows])

    def refit(self, name: str, user: Any, item: Any, score: Any, own: Any) -> None:
        """Lists of scored pairs as in `rank`, of one fit of several: the first one's lists and the NDCG of all."""
        for task, rows in ((TASK_ALL, np.ones(len(own), bool)), (TASK_NEW, ~own)):
            if (task, name) not in self.lists:
                self.listed(task, name, user[rows], item[rows], score[rows])
            top = scoring.lists(user[rows], item[rows], score[rows], self.users, SHOWN)
            self.refits.setdefault((task, name), []).append(metrics.ranking(top, self.truth[task], SHOWN)["ndcg"])

    def listed(self, task: str, name: str, user: Any, item: Any, score: Any) -> None:
        """Lists of scored pairs, which may be of more users than the judged ones."""
        self.lists[task, name] = scoring.lists(user, item, score, self.users, self.k)
        top = scoring.lists(user, item, score, np.unique(user), SHOWN)
        self.shown[task, name] = np.bincount(top[top >= 0], minlength=len(self.interactions.items)) > 0


@dataclass(frozen=True)
class Calibrated:
    """Probabilities that a run gave to pairs of a user and an item, and whether each was bought.

    slice: which pairs; place: the pair's rank in its user's list, from 1.
    """

    contender: str
    slice: str
    user: Codes
    place: Codes
    probability: npt.NDArray[np.float64]
    bought: Mask

    def bins(self) -> list[ReliabilityRow]:
        """The reliability plot's points."""
        return [
            ReliabilityRow(TASK_ALL, b.predicted, b.observed, b.low, b.high, b.count)
            for b in reliability(self.probability, self.bought)
        ]

    def rows(self, cut_date: dt.date, by_rank: bool = False) -> Iterator[MeasureRow]:
        """The calibration error and, per tenth of the pairs, purchases over their sum of probabilities.

        by_rank: also of the pairs at the first, at the next two, at the next three places, and so on.
        """
        number = np.unique(self.user, return_inverse=True)[1]
        draws = metrics.Bootstrap(int(number.max(initial=-1)) + 1)
        found = calibration(self.probability, self.bought, number, draws)
        yield self._row(cut_date, ERROR, self.slice, found.error)
        for place, ratio in enumerate(found.ratios, 1):
            yield self._row(cut_date, RATIO, f"{self.slice}, tenth {place} by probability", ratio)
        for first, last in PLACES if by_rank else ():
            at = (self.place >= first) & (self.place <= last)
            if at.any():
                part = calibration(self.probability[at], self.bought[at], number[at], draws)
                name = f"{self.slice}, rank {first}" + (f" to {last}" if last > first else "")
                yield self._row(cut_date, ERROR, name, part.error)
                hit, said = (
                    np.bincount(number[at], values[at], draws.users).astype(np.float64)
                    for values in (self.bought, self.probability)
                )
                yield self._row(cut_date, RATIO, name, draws.ratio(hit, said))

    def _row(self, cut_date: dt.date, metric: str, part: str, value: metrics.Interval) -> MeasureRow:
        return MeasureRow.of(cut_date, TASK_ALL, self.contender, metric, part, value)


def night_lists(contest: Contenders, name: str, scored: DataFrame, published: DataFrame, vectors: Floats) -> Calibrated:
    """Add the run's full ranking and its published lists; return its probabilities for every user it scored.

    The same ranking at each of DIVERSITIES contends too: compared with the plain one it shows the cost of diversity.
    """
    table = scored.select("user_id", "item_id", "score", "times_bought").toPandas()
    user, item, known = contest.codes(table)
    score, own = table["score"].to_numpy()[known], table["times_bought"].to_numpy()[known] > 0
    contest.rank(name, user, item, score, own)
    for strength in DIVERSITIES if vectors.shape[1] else ():
        variant = f"{name}, diversity {strength}"
        contest.variants.append(variant)
        for task, rows in ((TASK_ALL, np.ones(len(own), bool)), (TASK_NEW, ~own)):
            contest.lists[task, variant] = _apart(contest, user[rows], item[rows], score[rows], vectors, strength)
    published_lists(contest, TASK_ALL, PUBLISHED, published)
    contest.sliced.append(name)
    place = np.empty(len(user), np.int32)
    order, number = scoring.best_first(user, item, score)
    place[order] = number + 1
    return Calibrated(name, "all", user, place, score, contest.bought(user, item))


def published_scores(contest: Contenders, published: DataFrame) -> Calibrated:
    """The probabilities in the rows of gold.recommendations, of every user; what fills up short lists has none."""
    scored = published.where(f"NOT array_contains(sources, '{FALLBACK}')")
    listed = scored.select("user_id", "item_id", "rank", "score").toPandas()
    user, item, known = contest.codes(listed)
    place, score = listed["rank"].to_numpy(np.int32)[known], listed["score"].to_numpy(np.float64)[known]
    return Calibrated(PUBLISHED, "published rows", user, place, score, contest.bought(user, item))


def published_lists(contest: Contenders, task: str, name: str, published: DataFrame) -> None:
    """Add rows of gold.recommendations as a contender: the run's own lists under some rules."""
    listed = published.select("user_id", "item_id", "rank").toPandas()
    user, item, known = contest.codes(listed)
    contest.listed(task, name, user, item, -listed["rank"].to_numpy(np.float64)[known])
    if name not in contest.variants:
        contest.variants.append(name)


def _apart(contest: Contenders, user: Any, item: Any, score: Any, vectors: Floats, strength: float) -> Lists:
    """The lists that the run would have published at this strength of diversity, without other rules."""
    order, _ = scoring.best_first(user, item, score)
    order = order[np.isin(user[order], contest.users)]
    chosen = []
    for block in np.array_split(contest.users, max(1, len(contest.users) // 1_000)):  # bounds the pool's vectors
        rows = order[np.isin(user[order], block)]
        places = rerank(user[rows], score[rows], contest.k, vectors=vectors[item[rows]], diversity=strength)
        chosen.append(rows[places])
    return in_order(contest, user, item, np.concatenate(chosen))


def in_order(contest: Contenders, user: Any, item: Any, chosen: Any) -> Lists:
    """Lists of the chosen pairs, each user's in the order of the rows."""
    place = -np.arange(len(chosen), dtype=np.float64)
    return scoring.lists(user[chosen], item[chosen], place, contest.users, contest.k)


def peers(contest: Contenders, say: Callable[[str], None]) -> list[Choice]:
    """Every peer, tuned on the cut 28 days earlier and fitted on all days before this one; the best is sliced too."""
    chosen = []
    for name in PEERS:
        choices = tune(name, contest.interactions, contest.day - HORIZON_DAYS)
        lists = lists_of(choices, contest.interactions, contest.day, contest.users, contest.k)
        contest.lists |= lists
        chosen += choices
        for choice in choices:
            ndcg = metrics.ranking(lists[choice.task, choice.contender][:, :10], contest.truth[choice.task], 10)["ndcg"]
            say(f"{choice.task} {choice.contender}: NDCG@10 {np.nanmean(ndcg):.4f} (validation {choice.ndcg:.4f})")
    best = [max((c for c in chosen if c.task == task), key=lambda c: c.ndcg) for task in (TASK_ALL, TASK_NEW)]
    contest.sliced += sorted({choice.contender for choice in best})
    return chosen
