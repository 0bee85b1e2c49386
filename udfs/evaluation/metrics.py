"""Quality of recommendation lists: per user, over all users with an interval, or over a slice of users or items.

Lists are item codes [users, K], best first, -1 where a list is short; truth is a sparse matrix [users, items] whose
stored entries are what the users bought. Where a metric is not defined for a user, it is NaN, and means leave the user
out. Sums run in a fixed order: the same input gives the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Codes, Interactions

Lists: TypeAlias = npt.NDArray[np.integer]
PerUser: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

TASK_ALL, TASK_NEW = "A", "B"  # all items, repeats count; items that are new to the user

DRAWS = 2_000  # bootstrap resamples: the ends of a 95 % interval are then good to some 3 % of its width
KEPT_VALUES = 2**26  # resampled counts held in memory (256 MiB); beyond it they are drawn again for each figure
BLOCK_VALUES = 2**22
AT_ONCE = 64  # figures that share a pass over the resamples


def truths(interactions: Interactions, day: int, horizon: int = HORIZON_DAYS) -> tuple[Codes, dict[str, sp.csr_matrix]]:
    """Users with a purchase before `day` and one in the horizon from it, and per task what they bought in the horizon.

    Distinct items, [users, items] in the users' order. In TASK_NEW a user's row may be empty; its metrics are NaN.
    Items never sold before the day stay in truth.
    """
    seen, later = interactions.before(day).known(), interactions.within(day, day + horizon).known()
    users = np.intersect1d(seen.user, later.user).astype(np.int32)
    bought, own = later.matrix()[users], seen.matrix()[users]
    bought.data[:], own.data[:] = 1, 1
    new = (bought - bought.multiply(own)).tocsr()
    new.eliminate_zeros()
    return users, {TASK_ALL: bought, TASK_NEW: new}


def hits(lists: Lists, truth: sp.csr_matrix) -> Mask:
    """[users, K]: whether the user bought the listed item. ValueError on a repeated or unknown item in a list."""
    users, items = truth.shape
    if lists.shape[0] != users:
        raise ValueError(f"{lists.shape[0]} lists for {users} users of truth")
    ordered = np.sort(lists, axis=1)
    if np.any((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)) or np.any(lists >= items):
        raise ValueError(f"each list must name each of the {items} items at most once")
    bought = np.repeat(np.arange(users, dtype=np.int64), np.diff(truth.indptr)) * items + truth.indices
    listed = np.arange(users, dtype=np.int64)[:, None] * items + lists
    return np.isin(listed, bought) & (lists >= 0)


def dcg(hit: Mask) -> PerUser:
    """Per user: the discounted cumulative gain of the places [users, K] that were bought."""
    return np.asarray((hit / np.log2(np.arange(2, hit.shape[1] + 2))).sum(axis=1), np.float64)


def ideal(truth: sp.csr_matrix, k: int) -> PerUser:
    """Per user: the gain of the best list of k places; NaN without truth."""
    gains = np.concatenate([[np.nan], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    return np.asarray(gains[np.minimum(np.diff(truth.indptr), k)], np.float64)


def ranking(lists: Lists, truth: sp.csr_matrix, k: int = 10) -> dict[str, PerUser]:
    """Per user: ndcg, recall, precision and hit_rate of the first k; NaN for users without truth.

    NDCG with binary gains, 1 / log2(rank + 1), against the best list of min(k, |truth|) items; precision over k
    places, also where a list is shorter.
    """
    hit = hits(lists[:, :k], truth)
    wanted = np.diff(truth.indptr).astype(np.float64)
    wanted[wanted == 0] = np.nan
    count = hit.sum(axis=1)
    defined = np.where(np.isnan(wanted), np.nan, 1.0)
    return {
        "ndcg": dcg(hit) / ideal(truth, k),
        "recall": count / wanted,
        "precision": defined * count / k,
        "hit_rate": defined * (count > 0),
    }


def slice_hits(lists: Lists, truth: sp.csr_matrix, items: Mask) -> tuple[PerUser, PerUser]:
    """Per user: how many true purchases of the chosen items the list holds, and how many there are.

    The quotient of the sums (`Bootstrap.ratio`) is the recall of true purchases of these items.
    """
    chosen = truth.multiply(items[None, :].astype(np.float32)).tocsr()
    chosen.eliminate_zeros()
    return hits(lists, chosen).sum(axis=1).astype(np.float64), np.diff(chosen.indptr).astype(np.float64)


def novelty(lists: Lists, buyers: npt.NDArray[np.integer], user_count: int) -> PerUser:
    """Per user: the mean of -log2(share of the user_count users that bought the item); NaN for an empty list.

    buyers: users per item in the training period. An item without a buyer counts as bought by one.
    """
    surprise = -np.log2(np.maximum(buyers, 1) / max(user_count, 1))
    return _mean_of_listed(surprise[lists], lists)


def diversity(lists: Lists, vectors: npt.NDArray[np.floating]) -> PerUser:
    """Per user: 1 - mean cosine over the pairs of listed items; NaN for lists with fewer than two.

    vectors [items, d] of any length; cosines with a zero vector are 0.
    """
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1)
    count = (lists >= 0).sum(axis=1).astype(np.float64)
    pairs = np.where(count > 1, count * (count - 1), np.nan)
    listed = unit[lists] * (lists >= 0)[:, :, None]
    # The sum over all ordered pairs is the square of the sum less the squares.
    similarity = np.square(listed.sum(axis=1)).sum(axis=1) - np.square(listed).sum(axis=(1, 2))
    return np.asarray(1 - similarity / pairs, np.float64)


def coverage(lists: Lists, catalogue: Mask) -> float:
    """The share of the catalogue that is in at least one list; NaN for an empty catalogue."""
    listed = np.zeros(len(catalogue), np.bool_)
    listed[lists[lists >= 0]] = True
    return float((listed & catalogue).sum() / catalogue.sum()) if catalogue.any() else float("nan")


def personalisation(lists: Lists) -> float:
    """1 - the mean share of K that the lists of two users have in common, over all pairs; NaN for one user.

    An item in c lists is common to c (c - 1) / 2 pairs, so the result is exact.
    """
    users, k = lists.shape
    if users < 2:
        return float("nan")
    times = np.unique(lists[lists >= 0], return_counts=True)[1].astype(np.float64)
    return float(1 - (times * (times - 1)).sum() / (k * users * (users - 1.0)))


def _mean_of_listed(values: npt.NDArray[np.floating], lists: Lists) -> PerUser:
    count = (lists >= 0).sum(axis=1)
    return np.asarray(np.where(lists >= 0, values, 0).sum(axis=1) / np.where(count > 0, count, np.nan), np.float64)


@dataclass(frozen=True)
class Interval:
    """A figure, the ends of its 95 % interval, and the number of users behind it."""

    value: float
    low: float
    high: float
    user_count: int

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """Low and high as tables have them: None for an interval that could not be had."""
        return (self.low, self.high) if math.isfinite(self.low) else (None, None)


@dataclass(frozen=True)
class Quotient:
    """A figure to be resampled: the sum over users of top over that of bottom, less offset; count: users behind it."""

    top: PerUser
    bottom: PerUser
    offset: float
    count: int


def percentile_ends(values: PerUser) -> tuple[float, float]:
    """Ends of the 95 % interval of a figure's resamples; NaN where none has a value."""
    finite = values[np.isfinite(values)]  # a resample may hold no user of a small slice
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


class Bootstrap:
    """Bootstrap over one set of users, with the same resamples for every figure: figures of one run are paired.

    Percentile intervals. A user without a value (NaN) has no weight in any resample.
    """

    def __init__(self, users: int, *, draws: int = DRAWS, seed: int = 0) -> None:
        self.users, self.draws, self.seed = users, draws, seed
        self._kept = list(self._drawn()) if users * draws <= KEPT_VALUES else None

    def mean(self, values: PerUser, chosen: Mask | None = None) -> Interval:
        """The mean over users, or over the chosen ones: a slice."""
        return self.intervals([self.of_mean(values, chosen)])[0]

    def ratio(self, top: PerUser, bottom: PerUser, chosen: Mask | None = None) -> Interval:
        """The sum of top over the sum of bottom; user_count: users whose bottom is not 0."""
        return self.intervals([self.of_ratio(top, bottom, chosen)])[0]

    def difference(self, contender: PerUser, peer: PerUser, chosen: Mask | None = None) -> Interval:
        """The mean of contender - peer, user by user."""
        return self.mean(contender - peer, chosen)

    def relative(self, contender: PerUser, peer: PerUser, chosen: Mask | None = None) -> Interval:
        """Mean of contender / mean of peer - 1, over the users with a value for each."""
        return self.intervals([self.of_relative(contender, peer, chosen)])[0]

    def of_mean(self, values: PerUser, chosen: Mask | None = None) -> Quotient:
        """What `mean` resamples."""
        return self.of_ratio(values, np.ones(self.users), chosen)

    def of_ratio(self, top: PerUser, bottom: PerUser, chosen: Mask | None = None) -> Quotient:
        """What `ratio` resamples."""
        counted = self._told(chosen, top, bottom)
        return Quotient(_only(top, counted), _only(bottom, counted), 0, int((counted & (bottom != 0)).sum()))

    def of_relative(self, contender: PerUser, peer: PerUser, chosen: Mask | None = None) -> Quotient:
        """What `relative` resamples."""
        counted = self._told(chosen, contender, peer)
        return Quotient(_only(contender, counted), _only(peer, counted), 1, int(counted.sum()))

    def intervals(self, figures: Sequence[Quotient]) -> list[Interval]:
        """The interval of each figure: many in one pass over the resamples, which costs little more than one."""
        found = []
        for start in range(0, len(figures), AT_ONCE):
            part = figures[start : start + AT_ONCE]
            sums = self.sums(np.stack([column for each in part for column in (each.top, each.bottom)], axis=1))
            for place, each in enumerate(part):
                top, bottom = sums[:, 2 * place], sums[:, 2 * place + 1]
                found.append(self._ends(top, bottom, (each.top.sum(), each.bottom.sum()), each.offset, each.count))
        return found

    def sums(self, columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """[draws, columns]: the sum over each resample's users of [users, columns]."""
        return np.concatenate([counts @ columns for counts in (self._kept or self._drawn())])

    def refitted(self, contender: PerUser, peer: PerUser) -> Interval:
        """Mean of contender / mean of peer - 1 over refits and users, each [refits, users], refits paired by row.

        A resample draws users, and one refit fewer than there are: the variance between refits of their mean is then
        not underestimated, as it would be with all of them.
        """
        refits, counted = len(contender), self._told(None, *contender, *peer)
        columns = np.stack([_only(values, counted) for values in (*contender, *peer)], axis=1)
        sums = self.sums(columns)
        draw = np.random.default_rng([self.seed, refits])
        picked = draw.integers(0, refits, (len(sums), max(refits - 1, 1)))
        top, bottom = (
            np.take_along_axis(part, picked, axis=1).sum(axis=1) for part in (sums[:, :refits], sums[:, refits:])
        )
        value = columns[:, :refits].sum(), columns[:, refits:].sum()
        return self._ends(top, bottom, value, 1, int(counted.sum()))

    def _told(self, chosen: Mask | None, *values: PerUser) -> Mask:
        if any(len(array) != self.users for array in values):
            raise ValueError(f"{self.users} users expected; found {[len(array) for array in values]}")
        counted = np.ones(self.users, np.bool_) if chosen is None else chosen.copy()
        for array in values:
            counted &= ~np.isnan(array)
        return counted

    @staticmethod
    def _ends(top: PerUser, bottom: PerUser, sums: tuple[float, float], offset: float, count: int) -> Interval:
        """The quotient of `sums`, and the quantiles of those of the resamples, less `offset`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.divide(*sums) - offset
            shares = top / bottom - offset
        if not count:
            return Interval(float("nan"), float("nan"), float("nan"), count)
        return Interval(float(value), *percentile_ends(shares), count)

    def _drawn(self) -> Iterator[npt.NDArray[np.float32]]:
        """Blocks [draws, users] of how often each user is in a resample."""
        draw = np.random.default_rng(self.seed)
        size = max(1, BLOCK_VALUES // max(self.users, 1))
        for start in range(0, self.draws, size):
            rows = min(size, self.draws - start)
            picked = draw.integers(0, self.users, (rows, self.users)) if self.users else np.zeros((rows, 0), np.int64)
            cells = (picked + np.arange(rows)[:, None] * self.users).ravel()
            counts = np.bincount(cells, minlength=rows * self.users)
            yield counts.reshape(rows, self.users).astype(np.float32)


def _only(values: PerUser, counted: Mask) -> PerUser:
    return np.where(counted, values, 0).astype(np.float64)
