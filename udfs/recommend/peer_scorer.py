"""Scorer: a fitted peer, its scores and its lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import scipy.sparse as sp

from udfs.evaluation.metrics import Lists, Mask
from udfs.interactions import Codes, Floats, Interactions
from udfs.top_k.exact import best_columns

RECENT_DAYS = 28
WINDOWS = (28, 7, 14, 21, 56, 84)  # days whose buyers may count in a blend; those of our own features among them
USER_BLOCK = 256  # with 70,000 items: 70 MiB of scores at a time


@dataclass(frozen=True)
class Scorer:
    """A fitted peer: fresh scores [users, items] for a block of users; a score of 0 means no evidence for an item.

    own: [users, items], stored where the user bought the item before the day; sold: items with a sale before it;
    recent: log(1 + buyers of the last so many days) per item; weight, days: of the blend, a weight of 0 without one.
    """

    of: Callable[[Codes], Floats]
    own: sp.csr_matrix
    sold: Mask
    recent: Callable[[int], Floats]
    weight: float = 0.0
    days: int = RECENT_DAYS

    def blended(self, weight: float, days: int = RECENT_DAYS) -> Scorer:
        """The same scores + weight * recent(days)."""
        return replace(self, weight=weight, days=days)

    def scores(self, users: Codes) -> Floats:
        """[users, items] float32; -inf for what is not to be listed: never sold, or scored 0."""
        values = self.of(users)
        if self.weight:
            values += np.float32(self.weight) * self.recent(self.days)
        return np.where((values != 0) & self.sold, values, np.float32(-np.inf))

    def top(self, users: Codes, k: int, exclude_own: bool) -> Lists:
        """[users, k] item codes by (score desc, item_id asc), -1 where a list is short; `users` may hold any codes."""
        lists = np.full((len(users), k), -1, np.int64)
        for start in range(0, len(users), USER_BLOCK):
            block = users[start : start + USER_BLOCK]
            scores = self.scores(block)
            if exclude_own:
                mask_own(scores, self.own[block])
            lists[start : start + USER_BLOCK] = best_columns(scores, k)
        return lists


def mask_own(scores: Floats, own: sp.csr_matrix) -> None:
    """What the users of these rows bought becomes -inf, in place."""
    scores[np.repeat(np.arange(len(scores)), np.diff(own.indptr)), own.indices] = -np.inf


def recent_buyers(seen: Interactions, day: int) -> Callable[[int], Floats]:
    """log(1 + buyers of the last so many days before `day`) per item, each window counted once."""

    @cache
    def recent(days: int) -> Floats:
        return np.log1p(seen.within(day - days, day).buyers().astype(np.float32))

    return recent


def scorer(seen: Interactions, day: int, of: Callable[[Codes], Floats]) -> Scorer:
    """A scorer whose fresh scores are `of`, for items sold in `seen`, the purchases before `day`."""
    sold = np.bincount(seen.item, minlength=len(seen.items)) > 0
    return Scorer(of, seen.matrix(), sold, recent_buyers(seen, day))
